# A round by TRL's DPOTrainer: look at the held-out pairs, train one epoch, look again. On the CPU and in float32.
# `default` is what its documentation has; `tuned` computes the reference once, beforehand, and keeps activations.
import time

import torch
from datasets import Dataset
from peer import answer, read_start, watch_others
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer


def work(plan):
    torch.set_num_threads(plan["threads"])
    tuned = {"precompute_ref_log_probs": True, "gradient_checkpointing": False} if plan["variant"] == "tuned" else {}
    load_seconds = time.time() - read_start()
    end_watch = watch_others()
    started = time.perf_counter()
    settings = DPOConfig(
        output_dir=plan["folder"],
        per_device_train_batch_size=plan["batchPairs"],
        per_device_eval_batch_size=plan["batchPairs"],
        num_train_epochs=1,
        learning_rate=plan["learningRate"],
        lr_scheduler_type="constant",
        warmup_steps=0,
        max_grad_norm=1.0,
        train_sampling_strategy="sequential",
        use_cpu=True,
        bf16=False,
        dataloader_pin_memory=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **tuned,
    )
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(plan["source"], dtype=torch.float32),
        args=settings,
        train_dataset=Dataset.from_list(plan["texts"]["train"]),
        eval_dataset=Dataset.from_list(plan["texts"]["heldOut"]),
        processing_class=AutoTokenizer.from_pretrained(plan["source"]),
    )
    check_tokens(trainer.train_dataset, plan["pairs"]["train"])
    check_tokens(trainer.eval_dataset, plan["pairs"]["heldOut"])
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    after = trainer.evaluate()["eval_loss"]
    seconds = time.perf_counter() - started
    return {
        "seconds": seconds,
        "before": before,
        "after": after,
        "loadSeconds": load_seconds,
        "others": end_watch(),
    }


def check_tokens(examples, pairs):
    """What it made of the texts must be the pairs that the others got as tokens."""
    for example, pair in zip(examples, pairs, strict=True):
        for name in ("prompt", "chosen", "rejected"):
            if example[f"{name}_ids"] != pair[name]:
                raise ValueError(f"the {name} has other tokens: {example[f'{name}_ids']} and not {pair[name]}")


answer(work)
