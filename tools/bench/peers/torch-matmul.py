# Seconds that PyTorch takes for each matrix product, the fastest of several repeats.
import time

import torch
from peer import run_peer


def run(plan):
    torch.set_num_threads(plan["threads"])
    return {"seconds": [measure(matmul, plan["repeats"]) for matmul in plan["matmuls"]]}


def measure(matmul, repeats):
    rows, inner, columns = matmul["rows"], matmul["inner"], matmul["columns"]
    left = torch.rand(inner, rows).T if matmul["transposeA"] else torch.rand(rows, inner)
    right = torch.rand(columns, inner).T if matmul["transposeB"] else torch.rand(inner, columns)
    out = torch.empty(rows, columns)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        best = min(best, time.perf_counter() - started)
    return best


run_peer(run)
