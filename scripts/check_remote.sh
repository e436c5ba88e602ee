#!/usr/bin/env bash
# A device behind a WebSocket, over loopback: training, generation, proofs, a broken connection, wrong peers, keys. By hand and
# not in CI: the feature `remote` adds minutes of building.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUST_LOG="${RUST_LOG:-off}"
cargo test --release --locked -p tril-cli --features remote --test tests -- remote "$@"
