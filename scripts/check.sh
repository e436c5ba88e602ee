#!/usr/bin/env bash
# Everything that must hold before a change lands: formatting, lints, docs, the tests, llama.cpp on what is exported (from
# PyPI, into a directory of its own), the README's first command, the equality tests on a second backend, and the GPU device.
# Run it from anywhere; CARGO_TARGET_DIR is respected. Where there is no GPU, it takes SwiftShader, a program that stands in
# for one: Debian's package chromium has it.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { printf '\n== %s\n' "$*"; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say "formatting"
cargo fmt --check

say "lints"
cargo clippy --release --locked --workspace --all-targets -- -D warnings

say "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps

say "what would be published"
# Whether it compiles from what is packed, `cargo publish --workspace --dry-run` says, which takes minutes and a network.
cargo package --workspace --locked --list --allow-dirty >"$work/packed"
for file in configs/tales.toml datasets/tales.toml datasets/corpora.toml page/page.css src/known_hashes.toml build.rs; do
  grep -qx "$file" "$work/packed" || { echo "no crate would have $file in it" >&2; exit 1; }
done

say "tests"
cargo test --release --locked 2>&1 | tee "$work/tests.log"
skipped=$(grep -c '^SKIPPED' "$work/tests.log" || true)
echo "tests skipped for want of shared data: $skipped"
if [ -d "${TRIL_SHARED:-../shared}" ] && [ "$skipped" -gt 0 ]; then
  echo "the shared data is there, so nothing may be skipped" >&2
  exit 1
fi

say "every command of the essays"
cargo test --release --locked -p tril-cli --test tests -- --ignored every_command_of_both_essays

say "what is exported runs in llama.cpp"
TRIL="${CARGO_TARGET_DIR:-target}/release/tril" scripts/check_formats.sh "$work/formats"

say "the CPU's operations on lesser instruction sets"
# Not by `-p`: that would build Burn once more, with other features.
for set in avx2 plain; do
  TRIL_SIMD=$set cargo test --release --locked --test cpu --test exact --test definitions
done

say "the README's first command"
cargo run --release --locked -- train --out "$work/run"
cargo run --release --locked -- sample "$work/run" --max-tokens 100

say "the equality tests on a second backend, and the GPU device"
swiftshader=/usr/lib/chromium/vk_swiftshader_icd.json
if [ -z "${VK_DRIVER_FILES:-}" ] && [ -e "$swiftshader" ]; then
  export VK_DRIVER_FILES="$swiftshader"
fi
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$work}"
cargo test --release --locked -p tril-cli --features ndarray,wgpu --test tests -- \
  equivalence generation learning recomputation reference checkpoints proofs gpu 2>&1 | tee "$work/gpu.log"
if grep -q '^SKIPPED.*no adapter' "$work/gpu.log"; then
  echo "no GPU was found: install chromium for SwiftShader, or set VK_DRIVER_FILES to a driver's file" >&2
  exit 1
fi
