#!/usr/bin/env python3
"""How many tokens `tril verify --ids` needs to see that a text was made otherwise than it is said, and how often it
accuses an honest one.

    tril train && tril train --resume runs/tales --out runs/more --steps 1010
    scripts/verify_power.py --tril target/release/tril --run runs/tales --other runs/more

Each text is made with one thing changed and then verified as if nothing was. Needs Python and nothing else.
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROMPT = "There was once"


def command(arguments, stdin=None):
    done = subprocess.run(arguments, input=stdin, capture_output=True, text=True)
    if done.returncode not in (0, 1, 3):
        sys.exit(f"{' '.join(map(str, arguments))}: {done.stderr}")
    return done


class Power:
    def __init__(self, args, directory):
        self.args, self.directory = args, directory
        self.made = self.verified = self.tokens = 0.0

    def texts(self, model, seed, count, options):
        """The ids of texts by their sample index, by way of a receipt."""
        receipt = self.directory / "receipt.json"
        done = command(
            [self.args.tril, "sample", model, "--prompt", PROMPT, "--ignore-eos", "-n", str(self.args.tokens)]
            + ["--num-samples", str(count), "--seed", str(seed), "--receipt", receipt, *options]
        )
        self.made += float(re.search(r"in ([\d.]+) s", done.stderr)[1])
        samples = json.loads(receipt.read_text())["prompts"][0]["samples"]
        return {sample["sample_index"]: [token["id"] for token in sample["tokens"]] for sample in samples}

    def grade(self, seed, index, ids):
        done = command(
            [self.args.tril, "verify", self.args.run, "--ids", "-", "--prompt", PROMPT, "--ignore-eos", "--json"]
            + ["--seed", str(seed), "--sample-index", str(index)],
            stdin=json.dumps(ids),
        )
        self.verified += float(re.search(r"verified in ([\d.]+) s", done.stderr)[1])
        self.tokens += len(ids)
        return json.loads(done.stdout)

    def row(self, name, count, model, options=(), change=None, seed=1):
        """Tokens up to the first that is another, over so many texts."""
        found, shares = [], []
        for index, ids in self.texts(model, seed, count, list(options)).items():
            place = 0
            if change:
                place = change(ids, random.Random(index))
            report = self.grade(seed, index, ids)
            shares.append(report["share"])
            if report["verdict"] != "pass":
                found.append(report["first"]["index"] + 1 - place)
        found.sort()
        at = lambda share: found[min(len(found) - 1, int(share * len(found)))] if found else "-"
        missed, mean = count - len(found), 100 * sum(shares) / len(shares)
        print(f"{name:<44} {count:>6} {len(found):>6} {missed:>6} {at(0.5):>7} {at(0.9):>6} {at(1.0):>6} {mean:>7.2f} %", flush=True)


def swap(ids, draws):
    """Puts another token of the text in a place; tells how many are before it."""
    place = draws.randrange(len(ids))
    others = [id for id in ids if id != ids[place]]
    ids[place] = draws.choice(others)
    return place


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tril", default="target/release/tril")
    parser.add_argument("--run", default="runs/tales", help="the checkpoint that is said to have made the texts")
    parser.add_argument("--other", help="another checkpoint with the same tokenizer")
    parser.add_argument("--tokens", type=int, default=256, help="tokens of a text")
    parser.add_argument("--texts", type=int, default=100, help="texts of a row")
    parser.add_argument("--honest", type=int, default=1000, help="honest texts")
    args = parser.parse_args()
    if not shutil.which(args.tril):
        parser.error(f"there is no program {args.tril}: cargo build --release makes it, --tril names another")
    with tempfile.TemporaryDirectory() as directory:
        power = Power(args, Path(directory))
        print(f"{args.tokens} tokens a text; tokens until the first that is another, itself included")
        print(f"{'made with':<44} {'texts':>6} {'found':>6} {'missed':>6} {'median':>7} {'90 %':>6} {'all':>6} {'same':>9}")
        for dtype in ("f16", "q8_0"):
            model = Path(directory) / f"{dtype}.gguf"
            command([args.tril, "export", args.run, model, "--format", "gguf", "--dtype", dtype])
            power.row(f"weights rounded to {dtype}", args.texts, model)
        for option, values in {"--temperature": ("0.81", "1.0"), "--top-p": ("0.99", "0.9"), "--top-k": ("50",)}.items():
            for value in values:
                power.row(f"{option} {value}", args.texts, args.run, [option, value])
        if args.other:
            power.row("another checkpoint", args.texts, args.other)
        power.row("one token of it swapped", args.texts, args.run, change=swap)
        power.made = power.verified = power.tokens = 0.0
        power.row("what is said (honest)", args.honest, args.run, seed=2)
        print(f"honest: {power.tokens:.0f} tokens, made in {power.made:.1f} s as a batch, verified in {power.verified:.1f} s one text at a time")


if __name__ == "__main__":
    main()
