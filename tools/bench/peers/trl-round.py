# One round with TRL's DPOTrainer on the CPU at float32: evaluate held-out pairs, train one epoch, evaluate again.
# `default` follows its documentation; `tuned` precomputes the reference log-probabilities and keeps activations.
import time

import torch
from datasets import Dataset
from peer import check_tokens, measure_other_cores, process_start, run_peer
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer


def run(plan):
    torch.set_num_threads(plan["threads"])
    tuned = {"precompute_ref_log_probs": True, "gradient_checkpointing": False} if plan["variant"] == "tuned" else {}
    load_seconds = time.time() - process_start()
    stop_measuring = measure_other_cores()
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
        "lossBefore": before,
        "lossAfter": after,
        "loadSeconds": load_seconds,
        "otherCores": stop_measuring(),
    }


run_peer(run)
