#!/usr/bin/env python3
"""The recipe of configs/shakespeare_char.toml as a PyTorch loop, to compare validation losses.

    pip install torch numpy
    python scripts/torch_shakespeare.py ../shared 1337        # folder with bench/ and data/, seed

The model is that of bench/torch_baseline.py. Windows are drawn independently, as nanoGPT does; the loss is over the
whole validation split, in consecutive windows, each target once, as `tril` measures it.
"""
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

SEQ_LEN, BATCH_SIZE, STEPS, WARMUP, PEAK, FLOOR = 64, 12, 2000, 100, 1e-3, 1e-4


def learning_rate(step):  # step counts from 1
    if step < WARMUP:
        return PEAK * step / WARMUP
    progress = (step - WARMUP) / (STEPS - WARMUP)
    return FLOOR + 0.5 * (1 + math.cos(math.pi * progress)) * (PEAK - FLOOR)


def validation_loss(model, ids):
    whole = (len(ids) - 1) // SEQ_LEN
    spans = [(begin * SEQ_LEN, min(whole, begin + 64) * SEQ_LEN, SEQ_LEN) for begin in range(0, whole, 64)]
    if (len(ids) - 1) % SEQ_LEN:
        spans.append((whole * SEQ_LEN, len(ids) - 1, (len(ids) - 1) % SEQ_LEN))
    with torch.no_grad():
        losses = [
            F.cross_entropy(model(ids[a:b].view(-1, n)).flatten(0, 1), ids[a + 1 : b + 1], reduction="sum").item()
            for a, b, n in spans
        ]
    return sum(losses) / (len(ids) - 1)


def main():
    shared, seed = Path(sys.argv[1]), int(sys.argv[2])
    sys.path.insert(0, str(shared / "bench"))
    from torch_baseline import Gpt

    torch.manual_seed(seed)
    text = (shared / "data/tinyshakespeare.txt").read_text()
    index = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([index[c] for c in text])
    cut = int(len(ids) * 0.9)
    train, held_out = ids[:cut], ids[cut:]
    model = Gpt(4, 4, 128, SEQ_LEN)
    for name, p in model.named_parameters():
        if name.endswith(("proj.weight", "down.weight")):
            nn.init.normal_(p, std=0.02 / math.sqrt(2 * 4))
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.99))
    begin = time.time()
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        starts = torch.randint(len(train) - SEQ_LEN, (BATCH_SIZE,))
        inputs = torch.stack([train[s : s + SEQ_LEN] for s in starts])
        targets = torch.stack([train[s + 1 : s + SEQ_LEN + 1] for s in starts])
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    print(f"seed {seed}: validation loss {validation_loss(model, held_out):.4f} after {time.time() - begin:.0f} s")


main()
