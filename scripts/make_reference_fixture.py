#!/usr/bin/env python3
"""Makes tests/fixtures/training.json and tests/fixtures/*.safetensors: what PyTorch says about the gradient of every
parameter and about ten steps of training, for `tests/reference_training.rs` to compare with.

    python3 -m venv venv && venv/bin/pip install torch numpy
    venv/bin/python scripts/make_reference_fixture.py            # writes the fixture, needs no network

The model is written here once more, from the papers and PyTorch's own functions, and computed in float64, so that the
reference has no rounding of its own worth mentioning. Nothing of it is taken from the crates but the names of the
parameters, the layout of their matrices, [in, out], and which windows of the text a step learns from (`STARTS`).
"""
import json
import math
import random
import struct
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"

# Fields of a recipe; what is left out has the default of `GptConfig`, `TrainConfig` or `OptimizerConfig`, and is given
# here too where this script needs it. All sizes of a case differ, so that swapped axes cannot hide.
GPT2 = dict(
    vocab_size=17, max_seq_len=13, n_layers=2, n_heads=3, n_kv_heads=3, d_model=12, d_head=4, d_ff=44,
    positions="learned", norm="layer", norm_bias=True, norm_eps=1e-5, mlp="gelu_tanh", qkv_bias=True,
    output_bias=True, mlp_bias=True, tied_head=True,
)
LLAMA = dict(
    vocab_size=19, max_seq_len=16, n_layers=2, n_heads=4, n_kv_heads=2, d_model=14, d_head=6, d_ff=21,
    positions="rotary", rope_theta=500.0, norm="rms", norm_eps=1e-6, mlp="swiglu", tied_head=False,
)
WINDOWED = dict(
    vocab_size=23, max_seq_len=15, n_layers=2, n_heads=2, n_kv_heads=1, d_model=10, d_head=8, d_ff=27,
    positions="rotary", rope_theta=100.0, window=4, norm="layer", norm_eps=1e-5, qk_norm=True, mlp="relu2",
    tied_head=True,
)
PLAIN = dict(
    vocab_size=21, max_seq_len=12, n_layers=1, n_heads=3, n_kv_heads=3, d_model=9, d_head=5, d_ff=26,
    positions="learned", window=6, norm="rms", norm_gain=False, norm_eps=1e-5, qk_norm=True, mlp="gelu",
    mlp_bias=True, tied_head=False,
)
OPTIMIZER = dict(
    learning_rate=0.03, min_learning_rate=0.003, warmup_steps=4, decay_steps=9, beta1=0.9, beta2=0.95, eps=1e-8,
    weight_decay=0.2,
)
CASES = {
    "gpt2": (GPT2, dict(seq_len=11, seed=1), dict(max_grad_norm=1.0)),
    "llama": (LLAMA, dict(seq_len=13, seed=2), dict(max_grad_norm=1.7)),
    "windowed": (WINDOWED, dict(seq_len=14, seed=3), dict(max_grad_norm=1.2)),
    "plain": (PLAIN, dict(seq_len=10, seed=4), dict(max_grad_norm=0.9)),
}
STEPS, BATCH_SIZE, TEXT_LEN = 10, 6, 300
# Where the windows of each step begin in the text, row by row: what `TrainingText::window_start` says for the seed. The
# test checks that and prints them where they differ.
STARTS = {
    "gpt2": [
        [2, 189, 90, 123, 266, 200], [46, 277, 134, 233, 167, 79], [68, 145, 35, 244, 13, 255],
        [101, 156, 57, 178, 112, 211], [222, 24, 93, 71, 5, 258], [126, 27, 82, 16, 214, 115],
        [236, 247, 225, 159, 148, 203], [192, 137, 49, 181, 60, 269], [280, 38, 170, 104, 171, 39],
        [6, 248, 127, 105, 17, 50], [83, 160, 116, 138, 149, 61],
    ],
    "llama": [
        [177, 8, 229, 60, 99, 164], [21, 86, 125, 203, 190, 73], [47, 34, 112, 242, 138, 255],
        [151, 281, 268, 216, 129, 272], [51, 38, 259, 220, 246, 207], [103, 90, 64, 12, 77, 181],
        [25, 155, 233, 194, 142, 116], [168, 285, 231, 23, 166, 205], [140, 101, 218, 257, 10, 127],
        [244, 283, 153, 49, 36, 88], [270, 75, 192, 62, 114, 179],
    ],
    "plain": [
        [6, 196, 266, 126, 206, 166], [96, 146, 186, 246, 216, 156], [46, 116, 56, 26, 86, 286],
        [76, 106, 16, 236, 256, 136], [276, 36, 226, 66, 176, 258], [228, 278, 178, 38, 168, 208],
        [8, 148, 248, 218, 188, 128], [108, 28, 138, 288, 58, 238], [18, 78, 198, 88, 48, 158],
        [268, 68, 118, 98, 104, 224], [54, 234, 274, 154, 194, 204],
    ],
    "windowed": [
        [226, 240, 86, 30, 114, 72], [100, 268, 184, 170, 254, 142], [2, 58, 128, 44, 16, 156],
        [198, 212, 143, 115, 269, 17], [199, 157, 87, 129, 185, 227], [255, 73, 171, 3, 59, 241],
        [213, 101, 45, 31, 60, 46], [18, 102, 74, 116, 32, 200], [144, 214, 186, 130, 172, 242],
        [158, 88, 228, 4, 270, 256], [200, 270, 158, 46, 256, 186],
    ],
}


def text(vocab_size):
    """Ids with something to learn in them: each follows from the two before it, but for some noise."""
    noise = random.Random("text")
    ids = [1, 2]
    while len(ids) < TEXT_LEN:
        ids.append((ids[-1] + 2 * ids[-2] + (noise.random() < 0.3)) % vocab_size)
    return ids


def shapes(c):
    """Name and shape of each parameter."""
    d, heads, width = c["d_model"], c["n_heads"] * c["d_head"], c["d_head"]
    found = {"token_embedding.weight": (c["vocab_size"], d)}
    if c["positions"] == "learned":
        found["position_embedding.weight"] = (c["max_seq_len"], d)

    def linear(name, d_in, d_out, bias):
        found[f"{name}.weight"] = (d_in, d_out)
        if bias:
            found[f"{name}.bias"] = (d_out,)

    def norm(name, size, bias):
        if c.get("norm_gain", True):
            found[f"{name}.gain"] = (size,)
        if bias:
            found[f"{name}.bias"] = (size,)

    for i in range(c["n_layers"]):
        block = f"blocks.{i}"
        norm(f"{block}.attention_norm", d, c.get("norm_bias"))
        qkv = heads + 2 * c["n_kv_heads"] * width
        linear(f"{block}.attention.qkv", d, qkv, c.get("qkv_bias"))
        linear(f"{block}.attention.output", heads, d, c.get("output_bias"))
        if c.get("qk_norm"):
            norm(f"{block}.attention.q_norm", width, False)
            norm(f"{block}.attention.k_norm", width, False)
        norm(f"{block}.mlp_norm", d, c.get("norm_bias"))
        linear(f"{block}.mlp.up", d, c["d_ff"] * (2 if c["mlp"] == "swiglu" else 1), c.get("mlp_bias"))
        linear(f"{block}.mlp.down", c["d_ff"], d, c.get("mlp_bias"))
    norm("final_norm", d, c.get("norm_bias"))
    if not c["tied_head"]:
        linear("head", d, c["vocab_size"], False)
    return found


def fresh(name, shape):
    """Values that float32 holds exactly, loud enough that every part of the model matters."""
    draw = random.Random(name)
    centre, std = (1.0, 0.2) if name.endswith("gain") else (0.0, 0.2 if len(shape) == 1 else 0.35)
    values = [draw.gauss(centre, std) for _ in range(math.prod(shape))]
    return np.array(values, dtype=np.float32).reshape(shape)


class Model:
    def __init__(self, config, weights):
        self.c = config
        self.w = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in weights.items()}

    def linear(self, x, name):
        y = x @ self.w[f"{name}.weight"]
        return y + self.w[f"{name}.bias"] if f"{name}.bias" in self.w else y

    def norm(self, x, name, kind):
        gain, bias, eps = self.w.get(f"{name}.gain"), self.w.get(f"{name}.bias"), self.c["norm_eps"]
        if kind == "layer":
            return F.layer_norm(x, x.shape[-1:], gain, bias, eps)
        return F.rms_norm(x, x.shape[-1:], gain, eps)

    def rotate(self, x):
        """Pairs (i, i + half) as complex numbers, times e^(i · position · theta^(−2i/d_head))."""
        half = self.c["d_head"] // 2
        frequencies = self.c["rope_theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angles = torch.outer(torch.arange(x.shape[-2], dtype=torch.float64), frequencies)
        turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angles), angles)
        return torch.cat([turned.real, turned.imag], dim=-1)

    def attention(self, x, name):
        c = self.c
        rows, length, _ = x.shape
        counts = [c["n_heads"], c["n_kv_heads"], c["n_kv_heads"]]
        parts = self.linear(x, f"{name}.qkv").split([n * c["d_head"] for n in counts], dim=-1)
        q, k, v = (part.view(rows, length, n, c["d_head"]).transpose(1, 2) for part, n in zip(parts, counts))
        if c.get("qk_norm"):
            q, k = self.norm(q, f"{name}.q_norm", "rms"), self.norm(k, f"{name}.k_norm", "rms")
        if c["positions"] == "rotary":
            q, k = self.rotate(q), self.rotate(k)
        k, v = (part.repeat_interleave(c["n_heads"] // c["n_kv_heads"], dim=1) for part in (k, v))
        distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
        seen = (distance >= 0) & (distance < (c.get("window") or length))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.linear(mixed.transpose(1, 2).reshape(rows, length, -1), f"{name}.output")

    def mlp(self, x, name):
        up = self.linear(x, f"{name}.up")
        kind = self.c["mlp"]
        if kind == "swiglu":
            gate, up = up.chunk(2, dim=-1)
            active = F.silu(gate) * up
        elif kind == "relu2":
            active = F.relu(up).square()
        else:
            active = F.gelu(up, approximate="tanh" if kind == "gelu_tanh" else "none")
        return self.linear(active, f"{name}.down")

    def loss(self, inputs, targets):
        c, kind = self.c, self.c["norm"]
        x = F.embedding(inputs, self.w["token_embedding.weight"])
        if c["positions"] == "learned":
            x = x + self.w["position_embedding.weight"][: inputs.shape[1]]
        for i in range(c["n_layers"]):
            block = f"blocks.{i}"
            x = x + self.attention(self.norm(x, f"{block}.attention_norm", kind), f"{block}.attention")
            x = x + self.mlp(self.norm(x, f"{block}.mlp_norm", kind), f"{block}.mlp")
        x = self.norm(x, "final_norm", kind)
        head = self.w["token_embedding.weight"].T if c["tied_head"] else self.w["head.weight"]
        return F.cross_entropy((x @ head).flatten(0, 1), targets.flatten())


def learning_rate(step, o):
    """Linear warm-up, half a cosine, floor. Steps count from 1."""
    if step < o["warmup_steps"]:
        return o["learning_rate"] * step / o["warmup_steps"]
    progress = min(1.0, (step - o["warmup_steps"]) / (o["decay_steps"] - o["warmup_steps"]))
    return o["min_learning_rate"] + (o["learning_rate"] - o["min_learning_rate"]) * (1 + math.cos(math.pi * progress)) / 2


def batch(ids, starts, seq_len):
    windows = torch.tensor([ids[start : start + seq_len + 1] for start in starts])
    return windows[:, :-1], windows[:, 1:]


def train(config, weights, ids, starts, seq_len, optimizer):
    """What each of ten steps reported, and the loss that they lead to, on the batch that would be next."""
    model = Model(config, weights)
    groups = [
        {"params": [p for p in model.w.values() if p.dim() == 2], "weight_decay": optimizer["weight_decay"]},
        {"params": [p for p in model.w.values() if p.dim() == 1], "weight_decay": 0.0},
    ]
    betas = (optimizer["beta1"], optimizer["beta2"])
    adamw = torch.optim.AdamW([group for group in groups if group["params"]], betas=betas, eps=optimizer["eps"])
    reports = []
    for step, rows in enumerate(starts[:STEPS], start=1):
        rate = learning_rate(step, optimizer)
        for group in adamw.param_groups:
            group["lr"] = rate
        adamw.zero_grad()
        loss = model.loss(*batch(ids, rows, seq_len))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.w.values(), optimizer["max_grad_norm"])
        adamw.step()
        reports.append({"step": step, "loss": loss.item(), "grad_norm": norm.item(), "learning_rate": rate})
    with torch.no_grad():
        return reports, model.loss(*batch(ids, starts[STEPS], seq_len)).item()


def write_safetensors(path, tensors):
    """https://huggingface.co/docs/safetensors: the length of a JSON header, the header, the values."""
    header, data = {}, b""
    for name, value in sorted(tensors.items()):
        bytes_ = np.ascontiguousarray(value, dtype="<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(bytes_)]}
        data += bytes_
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def main():
    torch.use_deterministic_algorithms(True)
    FIXTURES.mkdir(exist_ok=True)
    cases = {}
    for name, (config, train_fields, optimizer_fields) in CASES.items():
        train_fields = dict(steps=STEPS, batch_size=BATCH_SIZE, **train_fields)
        optimizer = dict(OPTIMIZER, **optimizer_fields)
        ids, seq_len, starts = text(config["vocab_size"]), train_fields["seq_len"], STARTS[name]
        weights = {path: fresh(path, shape) for path, shape in shapes(config).items()}
        model = Model(config, weights)
        loss = model.loss(*batch(ids, starts[0], seq_len))
        loss.backward()
        reports, next_loss = train(config, weights, ids, starts, seq_len, optimizer)
        assert abs(loss.item() - reports[0]["loss"]) < 1e-12
        clipped = [report["step"] for report in reports if report["grad_norm"] > optimizer["max_grad_norm"]]
        assert 0 < len(clipped) < STEPS, f"{name}: clipping must be at work in some steps and idle in others: {clipped}"
        tensors = {f"weights/{path}": value for path, value in weights.items()}
        tensors |= {f"gradients/{path}": p.grad.numpy() for path, p in model.w.items()}
        write_safetensors(FIXTURES / f"{name}.safetensors", tensors)
        cases[name] = dict(
            model=config, train=train_fields, optimizer=optimizer, ids=ids, starts=starts, steps=reports, next_loss=next_loss
        )
        losses = " ".join(f"{report['loss']:.3f}" for report in reports)
        norms = " ".join(f"{report['grad_norm']:.2f}" for report in reports)
        print(f"{name}: losses {losses} and then {next_loss:.3f}; norms {norms}; clipped at {clipped}")
    lines = [f'"{name}": {json.dumps(case)}' for name, case in cases.items()]
    (FIXTURES / "training.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
