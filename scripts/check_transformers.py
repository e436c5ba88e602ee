#!/usr/bin/env python3
"""Compares with transformers both ways: models that it makes, read here in place and imported; models that are trained
here, exported and read there. Log-probabilities of every token of some texts must be within 1e-4, tokens and greedy texts
equal.

    python3 -m venv venv && venv/bin/pip install torch transformers
    venv/bin/python scripts/check_transformers.py target/release/tril WORK
"""
import json
import os
import shutil
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, __version__
from transformers import ArceeConfig, GPT2Config, LlamaConfig, MistralConfig, Qwen3Config

if len(sys.argv) < 3:
    sys.exit(__doc__)
sys.argv = sys.argv[:3]
from check_llama_cpp import CASES, TEXT, TEXTS, WORK, greedy, train, tril
from make_format_fixtures import fresh, tokenizer_of
from tokenizers import pre_tokenizers

TOLERANCE = 1e-4
ROPE = {"rope_type": "default", "rope_theta": 1000.0}
SIZES = dict(vocab_size=280, hidden_size=48, intermediate_size=72, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, head_dim=10, max_position_embeddings=96)
THEIRS = {
    "gpt2": GPT2Config(vocab_size=280, n_positions=96, n_embd=48, n_layer=3, n_head=4),
    "gpt2-gelu": GPT2Config(vocab_size=269, n_positions=96, n_embd=48, n_layer=3, n_head=4, activation_function="gelu", tie_word_embeddings=False),
    "llama": LlamaConfig(**SIZES, rope_parameters=ROPE),
    "llama-tied": LlamaConfig(**SIZES, tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
    "mistral": MistralConfig(**SIZES, sliding_window=9),
    "qwen3": Qwen3Config(**SIZES, tie_word_embeddings=True),
    "qwen3-windowed": Qwen3Config(**SIZES, use_sliding_window=True, sliding_window=7, max_window_layers=0),
    "arcee": ArceeConfig(**SIZES, attention_bias=True, mlp_bias=True),
}
# Forms of ours that transformers has and llama.cpp has not.
OURS = [(name, fields, kind) for name, fields, kind, _, _ in CASES] + [
    ("mistral", "positions=rotary norm=rms mlp=swiglu window=12", "bpe"),
    ("mistral-relu2", "positions=rotary norm=rms mlp=relu2 window=12 norm_gain=false", "char"),
    ("qwen3-relu2", "positions=rotary norm=rms mlp=relu2 qk_norm=true norm_gain=false tied_head=false window=0", "char"),
    ("gpt2-relu2", "positions=learned norm=layer mlp=relu2 window=0", "byte"),
]


def differences(model, tokenizer, checkpoint, text):
    """How far apart the log-probabilities of a text's tokens are, and how many there are."""
    path = f"{WORK}/text"
    with open(path, "w", newline="") as file:
        file.write(text)
    ours = json.loads(tril("score", checkpoint, path, "--json"))["tokens"]
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    assert ids == [token["id"] for token in ours], f"{checkpoint}: {text!r} is {ids} there"
    with torch.no_grad():
        theirs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    pairs = zip(ours[1:], zip(theirs, ids[1:]))
    return max(abs(token["logprob"] - row[target].item()) for token, (row, target) in pairs), len(ids)


def theirs_here(name, config):
    directory = f"{WORK}/theirs-{name}"
    shutil.rmtree(directory, ignore_errors=True)
    tokenizer = tokenizer_of(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    torch.manual_seed(1)
    model = fresh(type(AutoModelForCausalLM.from_config(config)), config, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    model.save_pretrained(directory)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(directory)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    imported = f"{WORK}/imported-{name}"
    tril("import", directory, imported, "--force")
    worst, count = 0.0, 0
    for text in TEXTS["any"]:
        if len(tokenizer(text, split_special_tokens=True).input_ids) < 2:
            continue
        for checkpoint in [directory, imported]:
            difference, tokens = differences(model, tokenizer, checkpoint, text)
            worst, count = max(worst, difference), count + tokens
    assert worst < TOLERANCE, f"{name}: {worst}"
    return f"{count} tokens within {worst:.1e}"


def ours_there(name, fields, kind):
    run, out = train(name, fields, kind), f"{WORK}/{name}-hf"
    tril("export", run, out, "--format", "hf", "--force")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    worst, count = 0.0, 0
    for text in TEXTS["char" if kind == "char" else "any"] + [TEXT[:60]]:
        assert tokenizer.decode(tokenizer(text).input_ids) == text, f"{name}: {text!r}"
        difference, tokens = differences(model, tokenizer, run, text)
        worst, count = max(worst, difference), count + tokens
    assert worst < TOLERANCE, f"{name}: {worst}"
    prompt, ours = greedy(run, "Once there", 100)
    with torch.no_grad():
        theirs = model.generate(torch.tensor([prompt]), max_new_tokens=100, do_sample=False, eos_token_id=None)[0].tolist()
    assert theirs[len(prompt) :] == ours, f"{name}: greedy tokens differ"
    # What transformers saves comes back with the same bits.
    again = f"{WORK}/{name}-again"
    model.save_pretrained(again)
    tokenizer.save_pretrained(again)
    info = [json.loads(tril("info", checkpoint, "--json")) for checkpoint in [run, again]]
    assert info[0]["config"] == info[1]["config"], name
    tril("import", again, f"{WORK}/{name}-back", "--force")
    hashes = [json.loads(tril("info", checkpoint, "--json"))["hashes"]["model"] for checkpoint in [run, f"{WORK}/{name}-back"]]
    assert hashes[0] == hashes[1], f"{name}: other bits"
    for data_type in ["f16", "bf16"]:
        tril("export", run, f"{WORK}/{name}-{data_type}", "--format", "hf", "--dtype", data_type, "--force")
        AutoModelForCausalLM.from_pretrained(f"{WORK}/{name}-{data_type}")
    return f"{type(model).__name__}: {count} tokens within {worst:.1e}, 100 greedy tokens equal, the same bits back"


if __name__ == "__main__":
    os.makedirs(WORK, exist_ok=True)
    torch.set_num_threads(2)
    print(f"transformers {__version__}, torch {torch.__version__}", flush=True)
    for name, config in THEIRS.items():
        print(f"theirs here  {name:<16} {theirs_here(name, config)}", flush=True)
    for name, fields, kind in OURS:
        print(f"ours there   {name:<16} {ours_there(name, fields, kind)}", flush=True)
