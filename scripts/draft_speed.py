#!/usr/bin/env python3
"""How much faster guesses make a text: `tril sample` with `--draft` and without, in turn, as the tables in docs/performance.md.

    scripts/draft_speed.py --tril target/release/tril --turns 5 lookup sample runs/tales --temperature 0 -n 600
    scripts/draft_speed.py runs/shakespeare_fast sample runs/big --num-samples 8

The first word is what guesses, the rest the command. Both must print the same text, or it stops. It tells the guesses kept and
made, the median rates, and how many times as fast it went in each turn.
"""
import argparse
import re
import shutil
import statistics
import subprocess
import sys


def run(command):
    """What a command prints, its tokens a second, and its guesses kept and made."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    closing = re.search(r"\[\d+ tokens .* in [\d.]+ s, (\d+) a second", done.stderr)
    if not closing:
        sys.exit(f"{' '.join(command)} says no rate: {done.stderr.strip()}")
    guesses = re.search(r"(\d+) of (\d+) guesses kept", done.stderr)
    return done.stdout, float(closing[1]), [int(n) for n in guesses.groups()] if guesses else [0, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tril", default="target/release/tril")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("draft", help="lookup, or the run of a smaller model")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="sample RUN and its options")
    options = parser.parse_args()
    if not shutil.which(options.tril):
        parser.error(f"there is no program {options.tril}: cargo build --release makes it, --tril names another")
    plain = [options.tril, *options.command]
    rates, ratios, guesses = ([], []), [], None
    for _ in range(options.turns):
        expected, without, _ = run(plain)
        text, fast, guesses = run([*plain, "--draft", options.draft])
        if text != expected:
            sys.exit("the texts differ: guesses changed a token")
        rates[0].append(without)
        rates[1].append(fast)
        ratios.append(fast / without)
    kept, made = guesses
    share = f" ({100 * kept / made:.0f} %)" if made else ""
    print(f"{options.draft}: {' '.join(options.command)}")
    print(f"  {kept} of {made} guesses kept{share}; {statistics.median(rates[0]):,.0f} tokens a second without, "
          f"{statistics.median(rates[1]):,.0f} with; {min(ratios):.2f} to {max(ratios):.2f} times as fast, "
          f"median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
