#!/usr/bin/env bash
# Everything that must hold before a change lands: formatting, lints, docs, the tests, the README's first command, and
# that the GPU features still compile. Run it from anywhere; CARGO_TARGET_DIR is respected.
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

say "the CPU's operations on lesser instruction sets"
# Not by `-p`: that would build Burn once more, with other features.
for set in avx2 plain; do
  TRIL_SIMD=$set cargo test --release --locked --test cpu --test exact --test definitions
done

say "the equality tests on a second backend"
cargo test --release --locked -p tril-cli --features ndarray --test tests -- equivalence generation learning reference checkpoints proofs

say "the README's first command"
cargo run --release --locked -- train --out "$work/run"
cargo run --release --locked -- sample "$work/run" --max-tokens 100

say "GPU features compile"
cargo check --release --locked -p tril-cli --features wgpu
