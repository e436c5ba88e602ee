#!/usr/bin/env python3
"""How often `tril verify --ids` accuses an honest text that was made on another device.

    cargo build --release --features ndarray
    target/release/tril train --out runs/tales
    scripts/verify_honest.py --tril target/release/tril --run runs/tales --device ndarray --texts 10000

Every text is made on one device, with a receipt that gives its ids, and verified on the CPU by prompt, seed and sample index
alone: once as it is demanded by default, and once more with a tolerance where the first verdict is no pass. Needs Python, and a
build with the device in it.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROMPT = "There was once"


def command(arguments, stdin=None):
    done = subprocess.run([str(part) for part in arguments], input=stdin, capture_output=True, text=True)
    if done.returncode not in (0, 1, 3):
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
    return done


def texts(args, seed, directory):
    """The ids of a batch of texts by sample index, and the seconds that they took."""
    receipt = directory / "receipt.json"
    done = command(
        [args.tril, "sample", args.run, "--prompt", PROMPT, "--ignore-eos", "-n", args.tokens, "--device", args.device]
        + ["--num-samples", args.batch, "--seed", seed, "--receipt", receipt]
    )
    samples = json.loads(receipt.read_text())["prompts"][0]["samples"]
    ids = {sample["sample_index"]: [token["id"] for token in sample["tokens"]] for sample in samples}
    return ids, float(re.search(r"in ([\d.]+) s", done.stderr)[1])


def grade(args, seed, index, ids, *options):
    done = command(
        [args.verifier or args.tril, "verify", args.run, "--ids", "-", "--prompt", PROMPT, "--ignore-eos", "--json"]
        + ["--seed", seed, "--sample-index", index, "--threads", 1, *options],
        stdin=json.dumps(ids),
    )
    return json.loads(done.stdout), float(re.search(r"verified in ([\d.]+) s", done.stderr)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tril", default="target/release/tril")
    parser.add_argument("--verifier", help="the program that verifies, if it is another build")
    parser.add_argument("--run", default="runs/tales")
    parser.add_argument("--device", default="ndarray", help="where the texts are made")
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=64, help="tokens of a text")
    parser.add_argument("--batch", type=int, default=500, help="texts that are made together")
    parser.add_argument("--tolerance", default="1e-3", help="of the second verdict")
    parser.add_argument("--jobs", type=int, default=2, help="texts that are verified at a time")
    args = parser.parse_args()
    if not shutil.which(args.tril):
        parser.error(f"there is no program {args.tril}: cargo build --release makes it, --tril names another")
    verdicts, with_tolerance = {}, {}
    tokens = other = made = verified = 0
    worst = 0.0
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(args.jobs) as jobs:
        for seed in range(1, args.texts // args.batch + 1):
            batch, seconds = texts(args, seed, Path(directory))
            made += seconds
            graded = list(jobs.map(lambda item: grade(args, seed, *item), batch.items()))
            for (index, ids), (report, seconds) in zip(batch.items(), graded):
                tokens += len(ids)
                verified += seconds
                other += report["other"]
                verdicts[report["verdict"]] = verdicts.get(report["verdict"], 0) + 1
                if report["verdict"] != "pass":
                    worst = max(worst, report["first"]["missed_by"])
                    report, _ = grade(args, seed, index, ids, "--tolerance", args.tolerance)
                with_tolerance[report["verdict"]] = with_tolerance.get(report["verdict"], 0) + 1
            print(f"{seed * args.batch} texts: {verdicts}", file=sys.stderr, flush=True)
    count = sum(verdicts.values())
    print(f"{count} texts of {args.tokens} tokens made on {args.device}, {tokens} tokens; verified on the CPU")
    print(f"the same tokens demanded: {verdicts}; {other} tokens other than the draw gives, which misses by at most {worst:.1e}")
    print(f"with --tolerance {args.tolerance}: {with_tolerance}")
    print(f"made in {made:.1f} s ({args.batch} at a time), verified in {verified:.1f} s (one at a time, one thread): {verified / made:.2f} of it")


if __name__ == "__main__":
    main()
