#!/usr/bin/env python3
"""Writes the licences of all crates that are linked into `tril`, with their texts, to the file that is named.

    scripts/licenses.py THIRD-PARTY-LICENSES.txt [TARGET]

The crates are those that Cargo.lock and Cargo.toml give for the target (x86_64-unknown-linux-gnu unless another is named), without
what only tests and build scripts need. A crate whose licence is not in the list below, or that has neither a text of its own nor
one that is known, is an error: somebody has to look.
"""
import json
import pathlib
import re
import subprocess
import sys

# What may be linked into a program under MIT or Apache-2.0.
ALLOWED = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-1-Clause", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0",
    "CC0-1.0", "CDLA-Permissive-2.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "Unicode-3.0", "Unicode-DFS-2016", "Unlicense", "Zlib",
}  # fmt: skip
TEXT = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
ROOT = pathlib.Path(__file__).resolve().parent.parent
OURS = {"MIT": ROOT / "LICENSE-MIT", "Apache-2.0": ROOT / "LICENSE-APACHE"}


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments, "--locked"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked(target):
    """The packages that the command's own dependencies lead to, with the features that it asks for: `cargo metadata` has more."""
    tree = cargo("tree", "-p", "tril-cli", "-e", "normal", "--target", target, "--prefix", "none", "-f", "{p}")
    names = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    packages = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target))["packages"]
    used = [one for one in packages if one["source"] and (one["name"], "v" + one["version"]) in names]
    return sorted(used, key=lambda one: (one["name"], one["version"]))


def allowed(expression):
    """Whether one of the choices of an SPDX expression is made of licences of the list."""
    expression = expression.replace("/", " OR ")
    words = re.findall(r"\(|\)|[^\s()]+", expression)

    def choice():
        found = both()
        while words and words[0] == "OR":
            words.pop(0)
            found = both() or found
        return found

    def both():
        found = one()
        while words and words[0] == "AND":
            words.pop(0)
            found = one() and found
        return found

    def one():
        word = words.pop(0)
        if word == "(":
            found = choice()
            words.pop(0)
            return found
        if words and words[0] == "WITH":
            word = " ".join([word, words.pop(0), words.pop(0)])
        return word in ALLOWED

    return choice()


def texts(package):
    """The texts of a crate, also of what it brings along in other languages."""
    root = pathlib.Path(package["manifest_path"]).parent
    found = sorted(path for path in root.rglob("*") if path.is_file() and TEXT.match(path.name) and path.suffix not in {".rs", ".html"})
    read = [path.read_text(encoding="utf-8", errors="replace").strip() for path in found if path.stat().st_size < 200_000]
    # Some crates carry no text; their licence is a standard one.
    return [text for text in read if text] or [path.read_text().strip() for name, path in OURS.items() if name in package["license"]]


def main():
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    target = sys.argv[2] if len(sys.argv) == 3 else "x86_64-unknown-linux-gnu"
    packages = linked(target)
    holders, faults = {}, []
    for package in packages:
        name = f"{package['name']} {package['version']}"
        if not package["license"] or not allowed(package["license"]):
            faults.append(f"{name}: its licence is {package['license']}")
        found = texts(package)
        if not found:
            faults.append(f"{name}: no text of its licence {package['license']}")
        for text in found:
            holders.setdefault(re.sub(r"\s+", " ", text), (text, []))[1].append(name)
    if faults:
        sys.exit("\n".join(faults))
    with open(sys.argv[1], "w", encoding="utf-8", newline="\n") as out:
        out.write("tril is linked from these crates, and from Rust's standard library (MIT OR Apache-2.0). Their texts follow.\n\n")
        for package in packages:
            out.write(f"{package['name']} {package['version']}: {package['license']}\n")
        for text, names in sorted(holders.values(), key=lambda one: one[1]):
            out.write(f"\n{'-' * 100}\n{', '.join(dict.fromkeys(names))}\n\n{text}\n")
    print(f"{len(packages)} crates, {len(holders)} texts")


main()
