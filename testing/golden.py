"""Runs the checkpoints of golden.ts in Hugging Face transformers and records some of their logits in golden.json.

    node testing/golden.ts /tmp/golden
    python3 -m venv /tmp/golden-venv && /tmp/golden-venv/bin/pip install torch transformers
    /tmp/golden-venv/bin/python testing/golden.py /tmp/golden
    npm run format
"""

import hashlib
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM

IDS = [1, 40, 7, 262, 299, 12, 300, 5, 5, 281, 90, 33, 317, 2, 64, 150, 8]
STRIDE = 23

checkpoints = pathlib.Path(sys.argv[1])
cases = {}
for folder in sorted(path for path in checkpoints.iterdir() if path.is_dir()):
    model, loading = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", output_loading_info=True
    )
    # transformers would silently ignore unknown tensors and initialize missing ones at random.
    problems = {key: value for key, value in loading.items() if value}
    if problems:
        raise SystemExit(f"{folder.name}: {problems}")
    with torch.no_grad():
        logits = model.eval()(torch.tensor([IDS])).logits[0].double()
    cases[folder.name] = {
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "logits": [round(x, 5) for row in logits.tolist() for x in row[::STRIDE]],
        "rms": [round(x, 5) for x in logits.square().mean(-1).sqrt().tolist()],
    }
    print(folder.name, type(model).__name__, cases[folder.name]["rms"][-1])

target = pathlib.Path(__file__).with_suffix(".json")
target.write_text(json.dumps({"ids": IDS, "stride": STRIDE, "cases": cases}))
