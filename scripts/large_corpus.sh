#!/bin/sh
# Makes a text of about so many bytes, trains some steps on it twice, and says how long each run took until its first step and
# how much memory it had at most. The second run finds the tokens that the first one has kept. For 4 GB, with 11 GB of room:
#     scripts/large_corpus.sh 4000000000 /tmp/large
set -eu
bytes=${1:?how many bytes} dir=${2:?a directory for the text, its tokens and the runs}
tril=${TRIL:-target/release/tril}
mkdir -p "$dir"
text=$dir/text-$bytes.txt

# Sentences of made-up words, of which a few are frequent and most are rare, in paragraphs. The same text everywhere.
if [ ! -e "$text" ]; then
    awk -v bytes="$bytes" '
        function draw(n) { state = state * 16807 % 2147483647; return int(state / 2147483647 * n) }
        BEGIN {
            state = 1
            split("b c d f g h k l m n p r s t v w st tr sh ch", onset, " "); split("a e i o u ai ea oo", vowel, " ")
            split("n r s t l m d ng", coda, " ")
            for (i = 0; i < 30000; i++) {
                word[i] = ""
                for (j = 1 + draw(i < 300 ? 1 : i < 6000 ? 2 : 4); j > 0; j--)
                    word[i] = word[i] onset[1 + draw(20)] vowel[1 + draw(8)] (draw(2) ? coda[1 + draw(8)] : "")
            }
            while (written < bytes) {
                line = ""
                for (sentence = 2 + draw(5); sentence > 0; sentence--) {
                    for (words = 4 + draw(12); words > 0; words--) {
                        share = draw(1000000) / 1000000
                        line = line word[int(30000 * share * share * share)] (words > 1 ? (draw(12) ? " " : ", ") : ". ")
                    }
                }
                print line "\n"
                written += length(line) + 2
            }
        }' > "$text.partial"
    mv "$text.partial" "$text"
fi

export TRIL_CACHE="$dir/cache"
for number in first second; do
    echo "--- the $number run"
    TRIL_BIN=$tril TEXT=$text OUT=$dir/run python3 - <<'EOF'
import os, resource, subprocess, time

begin = time.time()
command = [os.environ["TRIL_BIN"], "train", "--data", os.environ["TEXT"], "--out", os.environ["OUT"], "--force"]
command += ["--steps", "20", "--set", "sample.max_tokens=1", "--set", "train.eval_tokens=100000"]
run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
first = None
for line in run.stderr:
    if line.startswith("step ") and first is None:
        first = time.time() - begin
    print("   ", line, end="")
status = run.wait()
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"first step after {first:.1f} s, ended after {time.time() - begin:.1f} s, peak memory {peak:.0f} MiB, exit code {status}")
EOF
done
