#!/usr/bin/env python3
"""Compares with run.c of github.com/karpathy/llama2.c, which is not part of this repository: greedy texts, with a prompt
and without, tied head and not.

    python3 scripts/check_llama2c.py target/release/tril WORK path/to/run.c
"""
import os
import subprocess
import sys

if len(sys.argv) < 4:
    sys.exit(__doc__)
run_c = os.path.abspath(sys.argv.pop())
from check_llama_cpp import LLAMA, WORK, train, tril

# Both have learnt where documents end; `run.c` begins every text there.
MODELS = [("llama", f"{LLAMA} mlp=swiglu tied_head=true"), ("llama2c-grouped", f"{LLAMA} mlp=swiglu tied_head=false n_heads=4 n_kv_heads=2")]

if __name__ == "__main__":
    os.makedirs(WORK, exist_ok=True)
    subprocess.run(["cc", "-O2", "-o", f"{WORK}/run", run_c, "-lm"], check=True)
    for name, fields in MODELS:
        run, out = train(name, fields, "bpe"), f"{WORK}/{name}-llama2c"
        tril("export", run, out, "--format", "llama2c", "--force")
        for prompt in ["", "Once there", "猫 said é"]:
            call = [f"{WORK}/run", f"{out}/model.bin", "-z", f"{out}/tokenizer.bin", "-t", "0", "-n", "100", "-i", prompt]
            theirs = subprocess.run(call, capture_output=True, check=True).stdout.decode(errors="replace")
            if prompt:
                # It puts token 1 and a space before a prompt, so it goes on from another context; the prompt is as it was.
                assert theirs.startswith(prompt), f"{name}: {theirs!r} for {prompt!r}"
            else:
                ours = tril("sample", run, "--temperature", "0", "-n", "99").rstrip("\n")
                assert theirs.strip() and theirs.rstrip("\n") == ours, f"{name}: {theirs!r} there, {ours!r} here"
            print(f"{name:<18} {prompt!r}: {len(theirs)} characters", flush=True)
