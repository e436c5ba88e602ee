#!/usr/bin/env bash
# Loads a server that speaks OpenAI's API with 1, 4, 16 and 64 connections, each of which asks for 64 tokens again and again.
#
# Needs: wrk; a server, such as `tril serve runs/shape`, and nothing else that computes.
# Usage: scripts/load_test.sh [http://127.0.0.1:8080] [SECONDS]
set -euo pipefail

address=${1:-http://127.0.0.1:8080}
seconds=${2:-15}
lua=$(dirname "$0")/load.lua
for connections in 1 4 16 64; do
  printf '%3d connections: ' "$connections"
  wrk -t1 "-c$connections" "-d${seconds}s" --timeout 60s -s "$lua" "$address" | tail -1
done
