# DIL optimization steps in eager PyTorch with Hugging Face's Llama and the lsif loss.
# `whole`: the straightforward version, all logits of the whole batch at once. `lean`: the memory-efficient version, with
# micro-batches of similar length and logits of response positions only.
import time

import torch
import torch.nn.functional as F
from peer import run_peer, process_start, measure_other_cores
from transformers import AutoModelForCausalLM


# No other size was faster, and larger ones used more memory.
MICRO_BATCH_TOKENS = 512


def run(plan):
    torch.set_num_threads(plan["threads"])
    model = AutoModelForCausalLM.from_pretrained(plan["source"], dtype=torch.float32, attn_implementation="sdpa")
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan["learningRate"], weight_decay=0.0, fused=True)
    budget = MICRO_BATCH_TOKENS if plan["variant"] == "lean" else None
    groups = plan_groups(plan["pairs"], budget)
    compute_logps = lean_logps if plan["variant"] == "lean" else whole_logps

    computed = sum(2 * len(group) * max(map(sequence_length, group)) for group in groups)
    load_seconds = time.time() - process_start()

    def step():
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for group in groups:
            loss = pair_losses(model, compute_logps, group).sum() / len(plan["pairs"])
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        optimizer.step()
        seconds = time.perf_counter() - started
        return {"loss": total, "gradNorm": norm, "computed": computed, "seconds": seconds}

    warm = [step() for _ in range(plan["warmUp"])]
    stop_measuring = measure_other_cores()
    steps = [step() for _ in range(plan["steps"])]
    return {"warm": warm, "steps": steps, "otherCores": stop_measuring(), "loadSeconds": load_seconds}


def plan_groups(pairs, budget):
    """Groups pairs of similar length so that two padded sequences per pair fit the token budget."""
    if budget is None:
        return [pairs]
    groups = []
    for pair in sorted(pairs, key=sequence_length, reverse=True):
        longest = sequence_length(groups[-1][0]) if groups else 0
        if groups and 2 * longest * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return groups


def sequence_length(pair):
    return len(pair["prompt"]) + max(len(pair["chosen"]), len(pair["rejected"])) - 1


def pair_losses(model, compute_logps, group):
    """lsif with reduction mean: -exp(f_w) + exp(2 f_l) / 2 of each pair, shape [P]."""
    sides = [(pair["prompt"], pair[side], pair["refs"][side]) for side in ("chosen", "rejected") for pair in group]
    length = max(len(prompt) + len(response) for prompt, response, _ in sides) - 1
    ids = torch.zeros(len(sides), length, dtype=torch.long)
    mask = torch.zeros(len(sides), length, dtype=torch.long)
    targets = torch.zeros(len(sides), length, dtype=torch.long)
    refs = torch.zeros(len(sides), length)
    weights = torch.zeros(len(sides), length)
    for row, (prompt, response, logps) in enumerate(sides):
        begin, end = len(prompt) - 1, len(prompt) + len(response) - 1
        ids[row, :end] = torch.tensor((prompt + response)[:-1])
        mask[row, :end] = 1
        targets[row, begin:end] = torch.tensor(response)
        refs[row, begin:end] = torch.tensor(logps)
        weights[row, begin:end] = 1 / len(response)
    logps = compute_logps(model, ids, mask, targets, weights > 0)
    ratios = ((logps - refs) * weights).sum(dim=1)
    chosen, rejected = ratios.chunk(2)
    return 0.5 * torch.exp(2 * rejected) - torch.exp(chosen)


def whole_logps(model, ids, mask, targets, is_response):
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return -F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def lean_logps(model, ids, mask, targets, is_response):
    hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    logps = -F.cross_entropy(model.lm_head(hidden[is_response]), targets[is_response], reduction="none")
    return torch.zeros(targets.shape).masked_scatter(is_response, logps)


run_peer(run)
