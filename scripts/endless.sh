#!/usr/bin/env bash
# Whether a text without end takes constant memory and time a token: trains a tiny model with rotary positions and a window
# for a few steps, has it write N tokens, one byte each, and prints memory and time along the way. Linux only (/proc).
#
#   scripts/endless.sh TEXT [N] [flags of tril sample]     e.g. scripts/endless.sh tinyshakespeare.txt 1000000
set -euo pipefail
text=$1 n=${2:-1000000}
shift $(($# < 2 ? $# : 2))
tril=${TRIL:-target/release/tril}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$tril" train configs/smoke.toml --data "$text" --out "$dir/run" --set tokenizer.kind=char --set model.d_model=32 \
  --set model.n_layers=2 --set model.positions=rotary --set model.window=16 --set sample.interval=0 >"$dir/log" 2>&1
"$tril" sample "$dir/run" --max-tokens "$n" "$@" >"$dir/text" 2>"$dir/report" &
pid=$!
# Processor time so far in milliseconds, all threads together.
cpu() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print ($12 + $13) * 1000 / hz }' /proc/$pid/stat; }
wall() { date +%s%3N; }
last_cpu=0 last_wall=$(wall) last=0
printf '%10s  %9s  %s\n' tokens memory 'a token since the line before: processor, clock'
for at in $((n / 100)) $(seq $((n / 10)) $((n / 10)) $((n - n / 10))) $((n - n / 20)); do
  while size=$(stat -c %s "$dir/text") && ((size < at)); do
    kill -0 $pid 2>/dev/null || { cat "$dir/report"; exit 1; }
    sleep 0.01
  done
  now_cpu=$(cpu) now_wall=$(wall)
  kb=$(awk '/^VmRSS/ { print $2 }' /proc/$pid/status)
  awk -v at="$at" -v kb="$kb" -v n=$((size - last)) \
    -v c0="$last_cpu" -v c1="$now_cpu" -v w0="$last_wall" -v w1="$now_wall" \
    'BEGIN { printf "%10d  %6.1f MB  %.4f ms, %.4f ms\n", at, kb / 1024, (c1 - c0) / n, (w1 - w0) / n }'
  last_cpu=$now_cpu last_wall=$now_wall last=$size
done
wait $pid
cat "$dir/report"
