# One epoch of TRL's DPOTrainer on the CPU at float32 with a given learning rate, after which the policy is saved, so that
# Attune's engine measures it on the same held-out pairs as every other policy.
import time

import torch
from datasets import Dataset
from peer import check_tokens, run_peer
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer


def run(plan):
    torch.set_num_threads(plan["threads"])
    started = time.perf_counter()
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(plan["source"], dtype=torch.float32),
        args=DPOConfig(
            output_dir=plan["folder"],
            per_device_train_batch_size=plan["batchPairs"],
            num_train_epochs=1,
            learning_rate=plan["learningRate"],
            lr_scheduler_type="cosine",
            # A share of the steps where it is below 1.
            warmup_steps=0.1,
            beta=0.1,
            max_length=None,
            max_grad_norm=1.0,
            seed=plan["seed"],
            use_cpu=True,
            bf16=False,
            dataloader_pin_memory=False,
            gradient_checkpointing=False,
            precompute_ref_log_probs=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(plan["texts"]),
        processing_class=AutoTokenizer.from_pretrained(plan["source"]),
    )
    check_tokens(trainer.train_dataset, plan["pairs"])
    trainer.train()
    seconds = time.perf_counter() - started
    trainer.save_model(plan["folder"])
    return {"seconds": seconds}


run_peer(run)
