#!/usr/bin/env python3
"""The recipe of configs/shakespeare_char.toml as a PyTorch loop, to compare validation losses.

    python3 -m venv venv && venv/bin/pip install torch numpy
    venv/bin/python scripts/torch_shakespeare.py TINYSHAKESPEARE.txt [SEED]

datasets/README.md says where the text is found. The model is that of torch_baseline.py. Windows are drawn
independently, as nanoGPT does; the loss is over the whole validation split, in consecutive windows, each target once,
as `tril` measures it.
"""
import math
import sys
import time
from pathlib import Path

from torch_baseline import SHAPES, Gpt, adamw, train_step  # says what to install if PyTorch is missing
import torch
from torch.nn import functional as F

SHAPE = SHAPES["char-cpu"]
SEQ_LEN, STEPS, WARMUP, PEAK, FLOOR = SHAPE.block_size, 2000, 100, 1e-3, 1e-4


def learning_rate(step):  # step counts from 1
    if step < WARMUP:
        return PEAK * step / WARMUP
    progress = (step - WARMUP) / (STEPS - WARMUP)
    return FLOOR + 0.5 * (1 + math.cos(math.pi * progress)) * (PEAK - FLOOR)


@torch.no_grad()
def validation_loss(model, ids):
    """Nats a token over all of `ids`: whole windows, 64 at a time, then what is left."""
    predicted = len(ids) - 1
    whole = predicted // SEQ_LEN * SEQ_LEN
    spans = [(begin, min(begin + 64 * SEQ_LEN, whole), SEQ_LEN) for begin in range(0, whole, 64 * SEQ_LEN)]
    if whole < predicted:
        spans.append((whole, predicted, predicted - whole))
    total = 0.0
    for begin, end, width in spans:
        logits = model(ids[begin:end].view(-1, width)).flatten(0, 1)
        total += F.cross_entropy(logits, ids[begin + 1 : end + 1], reduction="sum").item()
    return total / predicted


def main():
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: torch_shakespeare.py TINYSHAKESPEARE.txt [SEED]")
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    seed = int(sys.argv[2]) if len(sys.argv) == 3 else 1337
    torch.manual_seed(seed)
    characters = {c: i for i, c in enumerate(sorted(set(text)))}
    if len(characters) != SHAPE.vocab_size:
        raise SystemExit(f"{sys.argv[1]} has {len(characters)} characters, and Tiny Shakespeare {SHAPE.vocab_size}")
    ids = torch.tensor([characters[c] for c in text])
    cut = int(len(ids) * 0.9)
    train, held_out = ids[:cut], ids[cut:]
    model = Gpt(SHAPE)
    optimizer = adamw(model, PEAK)
    begin = time.time()
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        starts = torch.randint(len(train) - SEQ_LEN, (SHAPE.batch_size,))
        windows = torch.stack([train[start : start + SEQ_LEN + 1] for start in starts])
        train_step(model, optimizer, windows[:, :-1], windows[:, 1:])
    print(f"seed {seed}: validation loss {validation_loss(model, held_out):.4f} after {time.time() - begin:.0f} s")


if __name__ == "__main__":
    main()
