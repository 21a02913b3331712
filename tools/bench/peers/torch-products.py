# Seconds that PyTorch takes for each of some products of matrices, the best of many.
import time

import torch
from peer import answer


def work(plan):
    torch.set_num_threads(plan["threads"])
    return {"seconds": [measure(product, plan["repeats"]) for product in plan["products"]]}


def measure(product, repeats):
    rows, inner, columns = product["rows"], product["inner"], product["columns"]
    left = torch.rand(inner, rows).T if product["transposeA"] else torch.rand(rows, inner)
    right = torch.rand(columns, inner).T if product["transposeB"] else torch.rand(inner, columns)
    out = torch.empty(rows, columns)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        best = min(best, time.perf_counter() - started)
    return best


answer(work)
