#!/usr/bin/env python3
"""How fast a text becomes tokens: tril, Hugging Face's `tokenizers` and `tiktoken`, with the same byte-pair vocabulary, in turn
on the same cores. Needs the packages tokenizers and tiktoken.

    tril train --data TEXT --out RUN --steps 0          # learns the vocabulary
    scripts/encode_speed.py TEXT RUN/step-000000/tokenizer.json [THREADS]
"""

import json
import os
import shutil
import subprocess
import sys
import time

if len(sys.argv) < 3:
    sys.exit(__doc__)
text_path, tokenizer_path = sys.argv[1], sys.argv[2]
threads = int(sys.argv[3]) if len(sys.argv) > 3 else os.cpu_count()
os.environ["RAYON_NUM_THREADS"] = str(threads)
os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"

import tiktoken  # noqa: E402  (after the number of threads)
import tokenizers  # noqa: E402

# GPT-2's pattern, which byte-level tokenizers of `tokenizers` cut words by.
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def byte_alphabet():
    """The bytes by the characters that stand for them, as in GPT-2."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


def pieces(text, length=64 * 1024):
    """The text in pieces that end with lines, as many as are encoded side by side."""
    result, piece, size = [], [], 0
    for line in text.split("\n"):
        piece.append(line)
        size += len(line) + 1
        if size >= length:
            result.append("\n".join(piece) + "\n")
            piece, size = [], 0
    return result + ["\n".join(piece)]


def fastest(work, seconds=5.0):
    best, begin = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


text = open(text_path, encoding="utf-8", newline="").read()
size = len(text.encode())
parts = pieces(text)
assert "".join(parts) == text

own = json.load(open(tokenizer_path, encoding="utf-8"))
alphabet = byte_alphabet()
vocab = own["model"]["vocab"]
ranks = {bytes(alphabet[character] for character in token): rank for token, rank in vocab.items()}
theirs = tokenizers.Tokenizer.from_file(tokenizer_path)
tik = tiktoken.Encoding("own", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})

reference = [id for part in theirs.encode_batch_fast(parts) for id in part.ids]
found = [id for part in tik.encode_ordinary_batch(parts, num_threads=threads) for id in part]
print(f"{size} bytes, {len(reference)} tokens; tiktoken has {'the same' if found == reference else 'OTHER'} ids")
program = os.environ.get("TRIL", "target/release/tril")
if not shutil.which(program):
    sys.exit(f"there is no program {program}: cargo build --release makes it, TRIL names another")
command = [program, "bench", "encode", text_path, tokenizer_path, "--json"]
tril = json.loads(subprocess.run([*command, "--threads", str(threads)], capture_output=True, check=True).stdout)
assert tril["tokens"] == len(reference), (tril["tokens"], len(reference))
rates = {
    "tril bench encode": tril["megabytes_per_second"],
    f"tokenizers {tokenizers.__version__} encode_batch": size / 1e6 / fastest(lambda: theirs.encode_batch(parts)),
    f"tokenizers {tokenizers.__version__} encode_batch_fast": size / 1e6 / fastest(lambda: theirs.encode_batch_fast(parts)),
    f"tiktoken {tiktoken.__version__} encode_ordinary_batch": size / 1e6 / fastest(lambda: tik.encode_ordinary_batch(parts, num_threads=threads)),
}
for name, rate in rates.items():
    print(f"{name:40} {rate:6.1f} MB/s on {threads} threads")
