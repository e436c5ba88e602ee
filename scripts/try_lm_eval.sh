#!/usr/bin/env bash
# Has lm-eval's local completions measure a running server on a task that needs no network: which of two endings belongs to a
# beginning that the model wrote itself; and whether what follows it at temperature 0 is what `tril sample` writes.
#
# Needs: pip install "lm-eval[api]"; tril on the path; a server, such as `tril serve runs/tales`.
# Usage: scripts/try_lm_eval.sh runs/tales [http://127.0.0.1:8080]
set -euo pipefail

run=$1
address=${2:-http://127.0.0.1:8080}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

tril sample "$run" --jsonl --num-samples 60 --max-tokens 60 --ignore-eos --temperature 0.7 > "$dir/samples.jsonl"
python - "$dir" <<'PYTHON'
import json, pathlib, sys

dir = pathlib.Path(sys.argv[1])
texts = [json.loads(line)["text"] for line in (dir / "samples.jsonl").read_text().splitlines()]
with (dir / "begin.jsonl").open("w") as file:
    for text in texts:
        file.write(json.dumps({"prompt": text[: len(text) // 2]}) + "\n")
PYTHON
tril sample "$run" --jsonl --prompts "$dir/begin.jsonl" --max-tokens 20 --temperature 0 --stop '\n' > "$dir/greedy.jsonl"
model=$(python - "$dir" "$run" "$address" <<'PYTHON'
import json, pathlib, shutil, sys, urllib.request

dir, run, address = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
texts = [json.loads(line)["text"] for line in (dir / "samples.jsonl").read_text().splitlines()]
cut = [(text[: len(text) // 2], text[len(text) // 2 :]) for text in texts]
greedy = [json.loads(line)["text"] for line in (dir / "greedy.jsonl").read_text().splitlines()]
with (dir / "endings.jsonl").open("w") as file:
    for place, (begin, end) in enumerate(cut):
        other = cut[(place + 7) % len(cut)][1]
        right = place % 2
        choices = [other, end] if right else [end, other]
        line = {"begin": begin, "choices": choices, "right": right, "greedy": greedy[place]}
        file.write(json.dumps(line) + "\n")
# lm-eval reads the tokenizer as Hugging Face's library does.
best = json.loads((run / "checkpoints.json").read_text())["best"] if (run / "checkpoints.json").exists() else "."
(dir / "tokenizer").mkdir()
shutil.copy(run / best / "tokenizer.json", dir / "tokenizer")
config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
(dir / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(config))
(dir / "endings.yaml").write_text(f"""
task: tril_endings
dataset_path: json
dataset_kwargs: {{data_files: {{test: {dir}/endings.jsonl}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{begin}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{right}}}}"
target_delimiter: ""
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
""")
(dir / "greedy.yaml").write_text(f"""
task: tril_greedy
dataset_path: json
dataset_kwargs: {{data_files: {{test: {dir}/endings.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{begin}}}}"
doc_to_target: "{{{{greedy}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 20, temperature: 0}}
metric_list: [{{metric: exact_match}}]
""")
print(json.load(urllib.request.urlopen(address + "/v1/models"))["data"][0]["id"])
PYTHON
)
HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$dir/cache" lm-eval run --model local-completions --include_path "$dir" \
  --tasks tril_endings,tril_greedy --batch_size 8 --output_path "$dir/out" --log_samples \
  --model_args "model=$model,base_url=$address/v1/completions,tokenizer=$dir/tokenizer,num_concurrent=4,max_length=2048" \
  2> "$dir/log" || { cat "$dir/log"; exit 1; }
