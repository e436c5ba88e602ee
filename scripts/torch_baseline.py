#!/usr/bin/env python3
"""How fast PyTorch trains and decodes the two shapes of `tril bench`, on the CPU.

    python3 -m venv venv && venv/bin/pip install torch numpy
    venv/bin/python scripts/torch_baseline.py train --preset char-cpu --json
    venv/bin/python scripts/torch_baseline.py decode --preset baby --threads 2
    venv/bin/python scripts/torch_baseline.py products --preset baby --threads 1

`train` repeats optimizer steps on random tokens: forward, backward, clipping to a global norm of 1, AdamW.
`decode` writes as many tokens as the context holds, one at a time with a KV cache, the most probable one each time.
Both print the median rate in tokens a second, after a warm-up; --json prints one JSON object on one line.
`products` times the matrix products of a step alone, forward and backward, in GFLOP/s: `cargo bench -p tril-kernels -- linear`
does the same for tril.

The model is nanoGPT's: pre-norm blocks, learned positions, exact GELU, no biases, a head that shares the token
embedding. Its parameters are as many as tril's: 804,096 for char-cpu and 10,745,088 for baby.
"""
import argparse
import json
import math
import statistics
import time
from dataclasses import dataclass

try:
    import torch
except ImportError:
    raise SystemExit("torch_baseline.py needs PyTorch: python3 -m venv venv && venv/bin/pip install torch numpy") from None
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """Sizes of a model and of the batch that trains it."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    batch_size: int
    params: int
    vocab_size: int = 65  # the characters of Tiny Shakespeare


SHAPES = {
    "char-cpu": Shape(n_layer=4, n_head=4, n_embd=128, block_size=64, batch_size=12, params=804_096),
    "micro": Shape(n_layer=1, n_head=4, n_embd=64, block_size=16, batch_size=16, params=54_528),
    "baby": Shape(n_layer=6, n_head=6, n_embd=384, block_size=256, batch_size=8, params=10_745_088),
}


class KvCache:
    """Keys and values of one layer, in memory that is reserved once: [batch, n_head, block_size, head size]."""

    def __init__(self, shape, batch_size):
        size = (batch_size, shape.n_head, shape.block_size, shape.n_embd // shape.n_head)
        self.keys, self.values, self.length = torch.empty(size), torch.empty(size), 0

    def append(self, keys, values):  # [batch, n_head, new, head size] -> the same with all positions so far
        begin, self.length = self.length, self.length + keys.shape[2]
        self.keys[:, :, begin : self.length] = keys
        self.values[:, :, begin : self.length] = values
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.n_head = shape.n_head
        self.c_attn = nn.Linear(shape.n_embd, 3 * shape.n_embd, bias=False)
        self.c_proj = nn.Linear(shape.n_embd, shape.n_embd, bias=False)

    def forward(self, x, cache=None):  # [batch, time, n_embd] -> the same
        batch, time_, n_embd = x.shape
        queries, keys, values = (
            part.view(batch, time_, self.n_head, -1).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1)
        )
        if cache is not None:
            keys, values = cache.append(keys, values)
        # With a cache a single query sees all keys; without one the mask is the triangle.
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=cache is None)
        return self.c_proj(mixed.transpose(1, 2).reshape(batch, time_, n_embd))


class Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.ln_1 = nn.LayerNorm(shape.n_embd, bias=False)
        self.attn = Attention(shape)
        self.ln_2 = nn.LayerNorm(shape.n_embd, bias=False)
        self.c_fc = nn.Linear(shape.n_embd, 4 * shape.n_embd, bias=False)
        self.c_proj = nn.Linear(4 * shape.n_embd, shape.n_embd, bias=False)

    def forward(self, x, cache=None):
        x = x + self.attn(self.ln_1(x), cache)
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x))))


class Gpt(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.wte = nn.Embedding(shape.vocab_size, shape.n_embd)
        self.wpe = nn.Embedding(shape.block_size, shape.n_embd)
        self.h = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.ln_f = nn.LayerNorm(shape.n_embd, bias=False)
        # GPT-2's first weights: those that write into the residual stream begin smaller, by its depth.
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith("c_proj.weight")
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * shape.n_layer) if residual else 0.02)

    def forward(self, ids, caches=None):  # [batch, time] -> logits [batch, time, vocab_size]
        begin = caches[0].length if caches else 0
        x = self.wte(ids) + self.wpe(torch.arange(begin, begin + ids.shape[1]))
        for layer, block in enumerate(self.h):
            x = block(x, caches[layer] if caches else None)
        return F.linear(self.ln_f(x), self.wte.weight)


def adamw(model, learning_rate):
    """AdamW as in nanoGPT: weight decay on matrices only."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99))


def train_step(model, optimizer, inputs, targets):
    """One optimizer step on a batch, [batch, time] each. Returns the loss before it, in nats a token."""
    loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def repeat(work, seconds):
    """Times `work` again and again for `seconds`, three times at least, after a warm-up of a fifth of that."""
    for budget, fewest in ((seconds / 5, 1), (seconds, 3)):
        times, begin = [], time.perf_counter()
        while len(times) < fewest or time.perf_counter() - begin < budget:
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
    return times


def measure_training(model, seconds, compiled):
    shape = model.shape
    optimizer = adamw(model, 1e-3)
    forward = torch.compile(model) if compiled else model
    ids = torch.randint(shape.vocab_size, (shape.batch_size, shape.block_size + 1))
    times = repeat(lambda: train_step(forward, optimizer, ids[:, :-1], ids[:, 1:]), seconds)
    return shape.batch_size * shape.block_size / statistics.median(times)


def measure_decoding(model, seconds):
    shape = model.shape

    @torch.inference_mode()
    def fill_the_context():
        caches = [KvCache(shape, 1) for _ in range(shape.n_layer)]
        token = torch.zeros((1, 1), dtype=torch.long)
        for _ in range(shape.block_size):
            token = model(token, caches)[:, -1].argmax(-1, keepdim=True)

    return shape.block_size / statistics.median(repeat(fill_the_context, seconds))


def measure_products(shape, seconds):
    """GFLOP/s of each weight's product, forward and backward (both gradients)."""
    width, rows = shape.n_embd, shape.batch_size * shape.block_size
    sizes = {
        "qkv": (width, 3 * width),
        "output": (width, width),
        "up": (width, 4 * width),
        "down": (4 * width, width),
        "head": (width, shape.vocab_size),
    }
    for name, (d_input, d_output) in sizes.items():
        x, weight, gradient = torch.randn(rows, d_input), torch.randn(d_output, d_input), torch.randn(rows, d_output)
        passes = {"forward": lambda: x @ weight.T, "backward": lambda: (gradient @ weight, gradient.T @ x)}
        for count, (which, work) in enumerate(passes.items(), start=1):
            times = repeat(work, seconds / 10)
            flops = 2 * count * rows * d_input * d_output
            yield f"{name} {which}", flops / statistics.median(times) / 1e9, flops / min(times) / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["train", "decode", "products"])
    parser.add_argument("--preset", choices=SHAPES, default="char-cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long to measure, after the warm-up")
    parser.add_argument("--compile", action="store_true", help="train through torch.compile")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(1337)
    if options.mode == "products":
        rates = list(measure_products(SHAPES[options.preset], options.seconds))
        if options.json:
            print(json.dumps({name: {"median": median, "best": best} for name, median, best in rates}))
        else:
            for name, median, best in rates:
                print(f"{name:16} {median:6.1f} GFLOP/s, {best:6.1f} at best")
        return
    model = Gpt(SHAPES[options.preset])
    params = sum(parameter.numel() for parameter in model.parameters())
    if params != model.shape.params:
        raise SystemExit(f"{options.preset} has {params} parameters here, and {model.shape.params} in tril")
    if options.mode == "train":
        rate = measure_training(model, options.seconds, options.compile)
    else:
        rate = measure_decoding(model, options.seconds)
    row = {
        "preset": options.preset,
        "torch": torch.__version__,
        "threads": options.threads,
        "compile": options.compile,
        "params": params,
        f"{options.mode}_tok_s": rate,
    }
    print(json.dumps(row) if options.json else "\n".join(f"{key:>14}: {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
