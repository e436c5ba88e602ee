#!/usr/bin/env bash
# tril's speed, PyTorch's, candle's, llama2.c's and llama.cpp's, in turn on the same cores: training and decoding at the shapes of
# presets, as the tables in docs/performance.md.
#     python3 -m venv venv && venv/bin/pip install torch numpy
#     PYTHON=venv/bin/python scripts/compare.sh [char-cpu|micro|baby]...        without a name, char-cpu and baby
#     LLAMA2C=llama2.c/run.c WITHOUT_TORCH=1 scripts/compare.sh
#     CANDLE=1 WITHOUT_TORCH=1 scripts/compare.sh char-cpu micro
#     PYTHON=venv/bin/python LLAMACPP=1 WITHOUT_TORCH=1 scripts/compare.sh        with `pip install xllamacpp`
# It needs a Rust toolchain (or TRIL) and a Python, for the comparison with PyTorch one that has it; the model there is
# scripts/torch_baseline.py. Both sides must have the same number of parameters, or it stops; llama2.c, which has SwiGLU, is given
# about as many.
# PYTHON       the Python that has PyTorch                                [python3]
# WITHOUT_TORCH  if not empty, PyTorch is left out, and training with it unless CANDLE is set
# CANDLE       if not empty, training is compared with candle, Hugging Face's library for Rust, on so many threads (two are hardly
#              faster than one); the model there is scripts/candle_baseline, compiled for this processor
# LLAMA2C      run.c of github.com/karpathy/llama2.c, to be compiled by gcc; decoding is compared with it too
# LLAMACPP     if not empty, decoding is compared with llama.cpp (the Python package xllamacpp), which runs tril's own export of a
#              model of the preset's shape: f32 weights, f32 cache
# SIMD         avx2: all sides use no more than that                      [what there is]
# TRIL         a binary to measure instead of building this tree's
# THREADS      how many cores, the first that this process may use        [all]
# TURNS        how often each has its turn                                [3]
# SECONDS_EACH how long each side measures, each time                     [5]
# TORCH_FLAGS  passed on to torch_baseline.py train, such as --compile
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
baseline=scripts/torch_baseline.py
turns=${TURNS:-3}
seconds=${SECONDS_EACH:-5}
presets=("$@")
[ ${#presets[@]} -gt 0 ] || presets=(char-cpu baby)

refuse() { echo "compare.sh: $*" >&2; exit 2; }
for preset in "${presets[@]}"; do
  case $preset in
    char-cpu | micro | baby) ;;
    *) refuse "\`$preset\` is no preset; use char-cpu, micro or baby" ;;
  esac
done
case $turns in '' | *[!0-9]* | 0) refuse "TURNS=$turns: it must be a whole number above 0" ;; esac
case ${THREADS:-1} in *[!0-9]* | 0) refuse "THREADS=$THREADS: it must be a whole number above 0" ;; esac
case ${CANDLE:-1} in *[!0-9]* | 0) refuse "CANDLE=$CANDLE: it must be a whole number of threads above 0" ;; esac
case ${SIMD:-} in
  '') march=native ;;
  avx2)
    export TRIL_SIMD=avx2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2
    march=x86-64-v3
    ;;
  *) refuse "SIMD=$SIMD: it is avx2 or empty" ;;
esac
[ -z "${WITHOUT_TORCH:-}" ] || [ -n "${CANDLE:-}${LLAMA2C:-}${LLAMACPP:-}" ] ||
  refuse "without PyTorch, CANDLE, LLAMA2C and LLAMACPP there is nothing to compare with"
[ -z "${CANDLE:-}" ] || [ -z "${SIMD:-}" ] || refuse "candle cannot be held to SIMD=$SIMD; leave one of the two out"
[ -z "${LLAMACPP:-}" ] || "$python" -c 'import xllamacpp' 2>/dev/null ||
  refuse "$python has no xllamacpp; make an environment that has it, and name its Python (PYTHON=venv/bin/python)"
[ -n "${WITHOUT_TORCH:-}" ] || "$python" -c 'import torch' 2>/dev/null ||
  refuse "$python has no torch; make an environment that has it, and name its Python:
    python3 -m venv venv && venv/bin/pip install torch numpy
    PYTHON=venv/bin/python scripts/compare.sh"

# The first cores that this process may use, such as 0,1: both sides get the same.
cores=$("$python" - "${THREADS:-0}" <<'PY'
import os, sys
allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count()))
wanted = int(sys.argv[1]) or len(allowed)
if not 1 <= wanted <= len(allowed):
    sys.exit(f"compare.sh: THREADS={wanted}: there are {len(allowed)} cores to use")
print(",".join(map(str, allowed[:wanted])))
PY
) || exit 2
threads=$(echo "$cores" | tr ',' '\n' | wc -l | tr -d ' ')
pin=()
if command -v taskset >/dev/null; then pin=(taskset -c "$cores"); else echo "no taskset: cores are not pinned" >&2; fi

if [ -n "${TRIL:-}" ]; then
  tril=$TRIL
else
  cargo build --release --locked -p tril-cli
  tril=${CARGO_TARGET_DIR:-target}/release/tril
fi
[ -x "$tril" ] || refuse "$tril is no program; set TRIL to the binary"

scratch=$(mktemp -d)
rows=$scratch/rows
trap 'rm -rf "$scratch"' EXIT
if [ -n "${LLAMA2C:-}" ]; then
  [ -f "$LLAMA2C" ] || refuse "LLAMA2C=$LLAMA2C: there is no such file"
  llama2c=$(cd "$(dirname "$LLAMA2C")" && pwd)/$(basename "$LLAMA2C")
  gcc -Ofast -march="$march" -fopenmp -w -DRUN_C="\"$llama2c\"" -o "$scratch/llama2c" scripts/llama2c_decode.c -lm
fi
if [ -n "${CANDLE:-}" ]; then
  candle_target=${CARGO_TARGET_DIR:-target}/candle
  RUSTFLAGS="-C target-cpu=native" cargo build --release --locked --manifest-path scripts/candle_baseline/Cargo.toml \
    --target-dir "$candle_target"
  candle=$candle_target/release/candle-baseline
fi
measure() { # WHOSE PRESET COMMAND...: its last line, which is JSON, joins the rows
  local whose=$1 preset=$2
  shift 2
  local line
  line=$(${pin[@]+"${pin[@]}"} "$@" | tail -n 1)
  printf '%s\t%s\t%s\n' "$whose" "$preset" "$line" >>"$rows"
}
same_model() { # PRESET: all rows of it so far have one number of parameters
  local counts
  counts=$(awk -F '\t' -v preset="$1" '$2 == preset && match($3, /"params": *[0-9]+/) {
    print $1, substr($3, RSTART, RLENGTH) }' "$rows" | sort -u)
  [ "$(echo "$counts" | tr -dc '0-9\n' | sort -u | wc -l)" -eq 1 ] ||
    refuse "$1 is not one model; check its shape on both sides:"$'\n'"$counts"
}
# Characters of the embedded stories: some more than the preset's vocabulary of 65.
export_of() { # PRESET: a model of its shape as GGUF
  local recipe=shakespeare_char micro=()
  case $1 in
    baby) recipe=baby ;;
    micro) micro=(--set model.n_layers=1 --set model.d_model=64 --set model.max_seq_len=16 --set train.seq_len=16) ;;
  esac
  "$tril" train "$recipe" ${micro[@]+"${micro[@]}"} --data tales --steps 1 --out "$scratch/$1" --set train.batch_size=2 --set train.micro_batches=1 \
    --set tokenizer.kind=char --set tokenizer.end_of_text=true --device cpu >/dev/null 2>&1 &&
    "$tril" export "$scratch/$1" "$scratch/$1.gguf" --format gguf --dtype f32 --approximate-gelu >/dev/null 2>&1 ||
    refuse "no model of the shape $1 could be exported"
}
if [ -n "${LLAMACPP:-}" ]; then
  for preset in "${presets[@]}"; do export_of "$preset"; done
fi
for preset in "${presets[@]}"; do
  for turn in $(seq "$turns"); do
    echo "$preset, turn $turn of $turns" >&2
    for what in train decode; do
      [ "$what" = decode ] || [ -z "${WITHOUT_TORCH:-}" ] || [ -n "${CANDLE:-}" ] || continue
      [ "$what" = train ] || [ -z "${WITHOUT_TORCH:-}" ] || [ -n "${LLAMA2C:-}${LLAMACPP:-}" ] || continue
      flags=()
      # shellcheck disable=SC2206 # flags are words
      [ "$what" = decode ] || flags=(${TORCH_FLAGS:-})
      measure tril "$preset" "$tril" bench "$what" --preset "$preset" --device cpu --threads "$threads" \
        --seconds "$seconds" --json
      if [ -z "${WITHOUT_TORCH:-}" ]; then
        measure torch "$preset" "$python" "$baseline" "$what" --preset "$preset" --threads "$threads" \
          --seconds "$seconds" --json ${flags[@]+"${flags[@]}"}
      fi
      if [ "$what" = train ] && [ -n "${CANDLE:-}" ]; then
        RAYON_NUM_THREADS=$CANDLE measure candle "$preset" "$candle" "$preset" "$seconds"
      fi
      same_model "$preset"
      if [ "$what" = decode ] && [ -n "${LLAMA2C:-}" ]; then
        case $preset in
          char-cpu) shape=(128 341 4 4 64) ;;
          micro) shape=(64 171 1 4 16) ;;
          baby) shape=(384 1024 6 6 256) ;;
        esac
        OMP_NUM_THREADS=$threads measure llama2.c "$preset" "$scratch/llama2c" "${shape[@]}" "$seconds"
      fi
      if [ "$what" = decode ] && [ -n "${LLAMACPP:-}" ]; then
        case $preset in char-cpu) tokens=64 ;; micro) tokens=16 ;; baby) tokens=256 ;; esac
        measure llama.cpp "$preset" "$python" scripts/llamacpp_decode.py "$scratch/$preset.gguf" "$threads" "$tokens" "$seconds" \
          2>/dev/null
      fi
    done
  done
done

"$python" - "$rows" "$threads" <<'PY'
import json, os, platform, statistics, sys

def machine():
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()

rates, torch, others = {}, None, {}
for line in open(sys.argv[1]):
    whose, preset, text = line.rstrip("\n").split("\t")
    row = json.loads(text)
    if whose == "torch" and "train_tok_s" in row:
        torch = row
    if whose == "llama.cpp":
        others[whose] = f", llama.cpp of xllamacpp {row['xllamacpp']}"
    if whose == "candle":
        others[whose] = f", candle {row['candle']}"
    for what in ("train", "decode"):
        if f"{what}_tok_s" in row:
            rates.setdefault((preset, what, whose), []).append(row[f"{what}_tok_s"])
threads = int(sys.argv[2])
held = f", all sides held to {os.environ['SIMD']}" if os.environ.get("SIMD") else ""
peer = f", PyTorch {torch['torch']}{', compiled' if torch['compile'] else ''}" if torch else ""
print(f"{machine()}, {threads} of {os.cpu_count()} cores{held}{peer}{''.join(others.values())}; median tokens/s, in turn on the same cores\n")
print("| shape | what | tril | peer | | ratio of each turn | median ratio |")
print("|---|---|---:|---|---:|---|---:|")
words = {"train": "training", "decode": "decoding"}
for preset in dict.fromkeys(preset for preset, _, _ in rates):
    for what in words:
        ours = rates.get((preset, what, "tril"), [])
        for whose, name in (("torch", "PyTorch"), ("candle", "candle"), ("llama2.c", "llama2.c"), ("llama.cpp", "llama.cpp")):
            theirs = rates.get((preset, what, whose))
            if not theirs:
                continue
            ratios = [a / b for a, b in zip(ours, theirs)]
            print(f"| {preset} | {words[what]} | {statistics.median(ours):,.0f} | {name} | {statistics.median(theirs):,.0f} "
                  f"| {', '.join(f'{ratio:.2f}×' for ratio in ratios)} | {statistics.median(ratios):.2f}× |")
PY
