"""Writes a GGUF of the shape and tokenizer of a tril checkpoint of Llama's form, with random weights in F32: for measuring another
program on the same shape, where what is written does not matter.

Needs: pip install gguf numpy
Usage: python scripts/make_random_gguf.py runs/shape/step-000000 shape.gguf
"""

import json
import pathlib
import sys

import gguf
import numpy

checkpoint, out = pathlib.Path(sys.argv[1]), sys.argv[2]
config = json.loads((checkpoint / "config.json").read_text())
tokenizer = json.loads((checkpoint / "tokenizer.json").read_text())
n_layers, d_model, d_ff = config["n_layers"], config["d_model"], config["d_ff"]
n_heads, n_kv_heads, d_head = config["n_heads"], config["n_kv_heads"], config["d_head"]
vocab_size = config["vocab_size"]

writer = gguf.GGUFWriter(out, "llama")
writer.add_name("a random model")
writer.add_context_length(config["max_seq_len"])
writer.add_embedding_length(d_model)
writer.add_block_count(n_layers)
writer.add_feed_forward_length(d_ff)
writer.add_head_count(n_heads)
writer.add_head_count_kv(n_kv_heads)
writer.add_key_length(d_head)
writer.add_value_length(d_head)
writer.add_rope_dimension_count(d_head)
writer.add_rope_freq_base(config["rope_theta"])
writer.add_layer_norm_rms_eps(config["norm_eps"])
writer.add_vocab_size(vocab_size)
writer.add_file_type(gguf.LlamaFileType.ALL_F32)

vocab = dict(tokenizer["model"]["vocab"])
special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
names = [None] * vocab_size
for name, number in {**vocab, **special}.items():
    names[number] = name
kinds = [gguf.TokenType.CONTROL if name in special else gguf.TokenType.NORMAL for name in names]
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("gpt-2")
writer.add_token_list(names)
writer.add_token_types(kinds)
merges = tokenizer["model"]["merges"]
writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
end = special.get("<|endoftext|>", vocab_size - 1)
writer.add_eos_token_id(end)
writer.add_bos_token_id(end)
writer.add_add_bos_token(False)

random = numpy.random.default_rng(1)


def add(name, *shape):
    writer.add_tensor(name, (random.standard_normal(shape) * 0.02).astype(numpy.float32))


def ones(name):
    writer.add_tensor(name, numpy.ones(d_model, dtype=numpy.float32))


add("token_embd.weight", vocab_size, d_model)
for layer in range(n_layers):
    block = f"blk.{layer}"
    ones(f"{block}.attn_norm.weight")
    add(f"{block}.attn_q.weight", n_heads * d_head, d_model)
    add(f"{block}.attn_k.weight", n_kv_heads * d_head, d_model)
    add(f"{block}.attn_v.weight", n_kv_heads * d_head, d_model)
    add(f"{block}.attn_output.weight", d_model, n_heads * d_head)
    ones(f"{block}.ffn_norm.weight")
    add(f"{block}.ffn_gate.weight", d_ff, d_model)
    add(f"{block}.ffn_up.weight", d_ff, d_model)
    add(f"{block}.ffn_down.weight", d_model, d_ff)
ones("output_norm.weight")
if not config["tied_head"]:
    add("output.weight", vocab_size, d_model)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
