# Optimisation steps of DIL in PyTorch, eagerly: Hugging Face's Llama, plain modules, the loss of DESIGN.md's table.
# `whole` is how one would write it: all logits of all rows at once. `lean` is how someone would who minds memory: only
# response positions reach the head, and micro-batches are of about one length.
import time

import torch
import torch.nn.functional as F
from peer import answer, read_start, watch_others
from transformers import AutoModelForCausalLM


# No size was quicker, and larger ones took more memory.
MICRO_BATCH_TOKENS = 512


def work(plan):
    torch.set_num_threads(plan["threads"])
    model = AutoModelForCausalLM.from_pretrained(plan["source"], dtype=torch.float32, attn_implementation="sdpa")
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan["learningRate"], weight_decay=0.0, fused=True)
    budget = MICRO_BATCH_TOKENS if plan["variant"] == "lean" else None
    groups = plan_groups(plan["pairs"], budget)
    logps_of = lean_logps if plan["variant"] == "lean" else whole_logps

    computed = sum(2 * len(group) * max(map(rows_length, group)) for group in groups)
    load_seconds = time.time() - read_start()

    def step():
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for group in groups:
            loss = losses_of(model, logps_of, group).sum() / len(plan["pairs"])
            loss.backward()
            total += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        optimizer.step()
        seconds = time.perf_counter() - started
        return {"loss": total, "gradNorm": norm, "computed": computed, "seconds": seconds}

    warm = [step() for _ in range(plan["warmUp"])]
    end_watch = watch_others()
    steps = [step() for _ in range(plan["steps"])]
    return {"warm": warm, "steps": steps, "others": end_watch(), "loadSeconds": load_seconds}


def plan_groups(pairs, budget):
    """Pairs in the order of their lengths, as many together as two padded rows for each fit the budget of tokens."""
    if budget is None:
        return [pairs]
    groups = []
    for pair in sorted(pairs, key=rows_length, reverse=True):
        longest = rows_length(groups[-1][0]) if groups else 0
        if groups and 2 * longest * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return groups


def rows_length(pair):
    return len(pair["prompt"]) + max(len(pair["chosen"]), len(pair["rejected"])) - 1


def losses_of(model, logps_of, group):
    """lsif with reduction mean: -exp(f_w) + exp(2 f_l) / 2 of each pair."""
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
    logps = logps_of(model, ids, mask, targets, weights > 0)
    ratios = ((logps - refs) * weights).sum(dim=1)
    chosen, rejected = ratios.chunk(2)
    return 0.5 * torch.exp(2 * rejected) - torch.exp(chosen)


def whole_logps(model, ids, mask, targets, wanted):
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return -F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


def lean_logps(model, ids, mask, targets, wanted):
    hidden = model.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    logps = -F.cross_entropy(model.lm_head(hidden[wanted]), targets[wanted], reduction="none")
    return torch.zeros(targets.shape).masked_scatter(wanted, logps)


answer(work)
