#!/usr/bin/env python3
"""Runs what `tril export --format gguf` writes in llama.cpp and compares: the tokens of awkward texts, and 120 greedy
tokens with F32 weights and cache; and that F16, BF16 and Q8_0 load and go on alike.

    python3 -m venv venv && venv/bin/pip install xllamacpp
    venv/bin/python scripts/check_llama_cpp.py target/release/tril WORK

Small models of every architecture that llama.cpp has of ours are trained for some steps first. Where the two differ, the
two best tokens must be nearer to each other than a tolerance, in nats: it is larger for GPT-2, whose GELU llama.cpp looks
up in a table of f16.
"""
import json
import os
import subprocess
import sys
import urllib.request
from importlib.metadata import version

if len(sys.argv) < 3:
    sys.exit(__doc__)
TRIL, WORK = os.path.abspath(sys.argv[1]), sys.argv[2]
EXACT, TABLE = 1e-3, 2e-2
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "fixtures", "formats")
IMPORTED = ["from-gpt2", "from-qwen3"]
LLAMA = "positions=rotary norm=rms window=0"
GPT2 = "positions=learned norm=layer norm_gain=true qk_norm=false window=0 mlp=gelu_tanh"
END = ["tokenizer.end_of_text=true"]
# What these have learnt ends before the context does, and llama.cpp must end it there too.
WITH_DOCUMENTS = ["llama", "llama2c-grouped", "arcee", "gpt2-bare"]
# Name, fields of [model], tokenizer, tolerance, further options of the export.
CASES = [
    ("llama", f"{LLAMA} mlp=swiglu tied_head=true", "bpe", EXACT, []),
    ("llama-windowed", f"{LLAMA} mlp=swiglu tied_head=true window=160", "bpe", EXACT, []),
    ("llama-grouped", f"{LLAMA} mlp=swiglu tied_head=false n_heads=4 n_kv_heads=2 d_head=24 rope_theta=500.0", "bpe", EXACT, []),
    ("llama-biased", f"{LLAMA} mlp=swiglu qkv_bias=true output_bias=true mlp_bias=true norm_gain=false", "byte", EXACT, []),
    ("qwen3", f"{LLAMA} mlp=swiglu qk_norm=true n_heads=4 n_kv_heads=2 d_head=32", "bpe", EXACT, []),
    ("qwen3-plain", f"{LLAMA} mlp=swiglu qk_norm=true norm_gain=false tied_head=false", "char", EXACT, []),
    ("arcee", f"{LLAMA} mlp=relu2 tied_head=false", "char", EXACT, []),
    ("arcee-grouped", f"{LLAMA} mlp=relu2 n_kv_heads=1 d_head=16", "byte", EXACT, []),
    ("gpt2", f"{GPT2} norm_bias=true qkv_bias=true output_bias=true mlp_bias=true", "bpe", TABLE, []),
    ("gpt2-bare", f"{GPT2} norm_bias=false qkv_bias=false output_bias=false mlp_bias=false tied_head=false norm_gain=false", "char", TABLE, []),
    ("gpt2-exact-gelu", f"{GPT2} mlp=gelu norm_bias=false qkv_bias=false output_bias=false mlp_bias=false", "char", TABLE, ["--approximate-gelu"]),
]
DEFAULTS = "norm_gain=true norm_bias=false qkv_bias=false output_bias=false mlp_bias=false qk_norm=false tied_head=true"
SIZES = "max_seq_len=160 n_layers=2 n_heads=3 n_kv_heads=0 d_model=96 d_head=0 d_ff=160 zero_init_outputs=false rope_theta=10000.0"
TEXT = "Once there was a 猫 in the hall, and it’s 3 o'clock. “明月幾時有，把酒問青天。”\nDon't go, said é to ë!\n\nA  B   C 😀.\n"
TEXTS = {
    "char": ["Once there", " 猫 明月", "  A  B\n\n", "😀é"],
    "any": ["Once upon a time", "  two  spaces\n\n x\t.", "猫が好き。明月幾時有", "emoji 👩‍👩‍👧‍👦!", "<|endoftext|> quoted",
            "it's 'fine', 1234 don't", "\n\n\n", "a\r\nb \u3000c"],
}


def tril(*arguments):
    done = subprocess.run([TRIL, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"tril {' '.join(arguments)}\n{done.stderr}")
    return done.stdout


def train(name, fields, kind):
    run = f"{WORK}/{name}"
    if os.path.exists(run):
        return run
    # The last of two that set the same field counts.
    sets = dict(field.split("=") for field in f"{DEFAULTS} {SIZES} {fields}".split())
    sets = [f"model.{name}={value}" for name, value in sets.items()]
    sets += [f"tokenizer.kind={kind}", "tokenizer.vocab_size=400", "train.steps=80", "train.batch_size=4", "train.seq_len=96",
             "train.micro_batches=1", "train.dropout=0", "optimizer.kind=adamw", "optimizer.learning_rate=3e-3",
             "data.validation_fraction=0.2", "sample.interval=0"] + END
    text = f"{WORK}/{name}.txt"
    with open(text, "w") as file:
        file.write(TEXT * 60)
    documents = ["--separator", "\n\n"] if name in WITH_DOCUMENTS else []
    tril("train", "--data", text, "--out", run, *documents, *[f"--set={field}" for field in sets])
    return run


def ids_of(checkpoint, text):
    path = f"{WORK}/text"
    with open(path, "w", newline="") as file:
        file.write(text)
    return [token["id"] for token in json.loads(tril("score", checkpoint, path, "--json"))["tokens"]]


def greedy(checkpoint, prompt, count):
    path = f"{WORK}/receipt.json"
    tril("sample", checkpoint, "--prompt", prompt, "--temperature", "0", "-n", str(count), "--ignore-eos", "--receipt", path)
    with open(path) as file:
        prompt = json.load(file)["prompts"][0]
    return [token["id"] for token in prompt["prompt"]["tokens"]], [token["id"] for token in prompt["samples"][0]["tokens"]]


def serve(path):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_gpu_layers, params.n_parallel, params.n_ctx, params.cpuparams.n_threads = 0, 1, 0, 2
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.fit_params = params.warmup = False
    # Any port that is free.
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        params.port = probe.getsockname()[1]
    return xllamacpp.Server(params)


def post(server, route, **fields):
    request = urllib.request.Request(
        server.listening_address + route, json.dumps(fields).encode(), {"Content-Type": "application/json"}
    )
    return json.load(urllib.request.urlopen(request, timeout=120))


def tokens(server, text, parse_special):
    return post(server, "/tokenize", content=text, add_special=True, parse_special=parse_special)["tokens"]


def compare(name):
    """In a process of its own: a server does not end before its process does."""
    _, _, kind, tolerance, options = next(case for case in CASES if case[0] == name)
    run, path = f"{WORK}/{name}", f"{WORK}/{name}.gguf"
    tril("export", run, path, "--format", "gguf", "--force", *options)
    server = serve(path)
    for text in TEXTS["char" if kind == "char" else "any"]:
        ours, theirs = ids_of(run, text), tokens(server, text, parse_special=False)
        assert ours == theirs, f"{name}: {text!r} is {ours} here and {theirs} there"
    # There as here a program may ask for the token itself.
    [end] = tokens(server, "<|endoftext|>", parse_special=True)
    assert json.loads(tril("info", run, "--json"))["tokenizer"]["vocab_size"] - 1 == end
    prompt, ours = greedy(run, "Once there", 120)
    reply = post(server, "/completion", prompt=prompt, n_predict=120, temperature=0, top_k=1, n_probs=2,
                 return_tokens=True, cache_prompt=False)
    theirs, ended = reply["tokens"], ""
    if end in ours:
        ours = ours[: ours.index(end)]
        ended = ", and the end"
        assert reply["stop_type"] == "eos" or ours != theirs[: len(ours)], f"{name}: {reply['stop_type']}"
    equal = next((at for at, pair in enumerate(zip(ours, theirs)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
    if ours != [token for token in theirs if token != end]:
        best = [entry["logprob"] for entry in reply["completion_probabilities"][equal]["top_logprobs"]]
        assert best[0] - best[1] < tolerance, f"{name}: token {equal} differs, {best}\n{ours}\n{theirs}"
        ended = f", then two within {best[0] - best[1]:.4f}"
    return f"{equal} of {len(ours)} greedy tokens equal{ended}"


def loads(name, data_type):
    _, _, _, _, options = next(case for case in CASES if case[0] == name)
    run, path = f"{WORK}/{name}", f"{WORK}/{name}-{data_type}.gguf"
    tril("export", run, path, "--format", "gguf", "--dtype", data_type, "--force", *options)
    server = serve(path)
    # The file is read back here as it is there; but llama.cpp rounds activations too where weights are rounded.
    prompt, _ = greedy(path, "Once there", 1)
    with open(f"{WORK}/receipt.json") as file:
        ours = json.load(file)["prompts"][0]["samples"][0]["tokens"][0]
    fields = dict(n_predict=1, temperature=0, top_k=1, n_probs=5, ignore_eos=True, cache_prompt=False)
    best = post(server, "/completion", prompt=prompt, **fields)["completion_probabilities"][0]["top_logprobs"]
    theirs = next(token["logprob"] for token in best if token["id"] == ours["id"])
    assert abs(theirs - ours["logprob"]) < 0.05, f"{name} in {data_type}: {ours} here, {best} there"
    return f"{data_type} within {abs(theirs - ours['logprob']):.4f}"


def imported(name):
    """A directory that transformers wrote, through here into llama.cpp."""
    directory, path = os.path.join(FIXTURES, name.removeprefix("from-")), f"{WORK}/{name}.gguf"
    tril("export", directory, path, "--format", "gguf", "--force")
    server = serve(path)
    for text in TEXTS["any"]:
        ours, theirs = ids_of(directory, text), tokens(server, text, parse_special=False)
        assert ours == theirs, f"{name}: {text!r} is {ours} here and {theirs} there"
    prompt, ours = greedy(directory, "The boy", 10)
    theirs = post(server, "/completion", prompt=prompt, n_predict=10, temperature=0, top_k=1, return_tokens=True)["tokens"]
    assert theirs == ours, f"{name}: {ours} here, {theirs} there"
    return f"from transformers into llama.cpp: {len(ours)} greedy tokens equal"


if __name__ == "__main__":
    os.makedirs(WORK, exist_ok=True)
    if len(sys.argv) == 4 and sys.argv[3] in IMPORTED:
        print(f"{sys.argv[3]:<18} {imported(sys.argv[3])}", flush=True)
        os._exit(0)
    if len(sys.argv) == 4:
        report = [compare(sys.argv[3])] + [loads(sys.argv[3], data_type) for data_type in ["f16", "bf16", "q8_0"]]
        print(f"{sys.argv[3]:<18} {', '.join(report)}", flush=True)
        sys.stdout.flush()
        os._exit(0)
    print(f"xllamacpp {version('xllamacpp')}", flush=True)
    failed = []
    for name, fields, kind in [case[:3] for case in CASES] + [(name, "", "") for name in IMPORTED]:
        if fields:
            train(name, fields, kind)
        done = subprocess.run([sys.executable, __file__, TRIL, WORK, name], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if " I " not in line[:24]]
            print(f"{name}: failed\n" + "\n".join(lines[-25:]))
            failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
