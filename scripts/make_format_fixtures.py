#!/usr/bin/env python3
"""Makes tests/fixtures/formats: small random models as transformers saves them, with its logits, and its tokens of some
texts, for `tests/formats` to compare with.

    python3 -m venv venv && venv/bin/pip install torch transformers gguf
    venv/bin/python scripts/make_format_fixtures.py          # needs no network

Each directory is one that people have: f32, f16, bf16, in shards, compiled, with the buffers of old releases, with
`rope_theta` where transformers 4 writes it. All sizes of a model differ, so that swapped axes cannot hide.
"""
import json
import shutil
from pathlib import Path

import gguf
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers, Regex
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers import ArceeConfig, ArceeForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers import MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM

OUT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "formats"
TEXT = "The boy said: “it's 12 o'clock”. The cat's in the hat, the hat is in the hall. 猫が好き。明月幾時有，把酒問青天。 café é\n\n" * 3
TEXTS = ["The boy", "  two  spaces\n\n x\t.", "猫が好き。明月", "👩‍👩‍👧 café", "<|endoftext|> quoted", "it's 'fine', 1234 don't"]
QWEN_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def fresh(kind, config, seed):
    """A model whose logits are far from each other, gains and biases too."""
    torch.manual_seed(seed)
    model = kind(config).eval().to(torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_gain = name.endswith("weight") and parameter.dim() == 1
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (1.0 if is_gain else 0.0))
    return model


def reloaded(directory, model):
    """With the weights that were rounded, and frequencies that were not."""
    return type(model).from_pretrained(directory, dtype=torch.float32).eval()


def expect(model, directory, vocab_size, rows, length, tokens=None):
    torch.manual_seed(7)
    ids = torch.randint(0, vocab_size, (rows, length))
    with torch.no_grad():
        logits = model(ids).logits
    expected = {"ids": ids.tolist(), "logits": [[[round(value, 5) for value in row] for row in one] for one in logits.tolist()]}
    if tokens:
        expected["tokens"] = tokens
    (directory / "expected.json").write_text(json.dumps(expected) + "\n")


def rewrite(directory, change_config=None, rename=None, dtype=None, more=None):
    path = directory / "config.json"
    config = json.loads(path.read_text())
    if change_config:
        change_config(config)
    path.write_text(json.dumps(config, indent=2) + "\n")
    path = directory / "model.safetensors"
    if path.exists():
        tensors = {(rename(name) if rename else name): tensor for name, tensor in load_file(path).items()}
        tensors |= more or {}
        save_file(tensors, path, metadata={"format": "pt"})
    for name in ["generation_config.json"]:
        (directory / name).unlink(missing_ok=True)


def save(name, model, **how):
    directory = OUT / name
    model.save_pretrained(directory, **how)
    return directory


def tokenizer_of(words, normalizer=None):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = words, decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=268, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    return tokenizer


def tokens_of(directory):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    return [[text, tokenizer(text, split_special_tokens=True, add_special_tokens=False).input_ids] for text in TEXTS]


def gpt2():
    tokenizer = tokenizer_of(pre_tokenizers.ByteLevel(add_prefix_space=False))
    config = GPT2Config(vocab_size=272, n_positions=21, n_embd=12, n_layer=2, n_head=3, n_inner=26, bos_token_id=268, eos_token_id=268)
    model = fresh(GPT2LMHeadModel, config, 1)
    directory = save("gpt2", model.to(torch.float16))
    rewrite(directory)
    # As GPT-2's own: two files, and the end of text in the vocabulary.
    vocab = tokenizer.get_vocab() | {"<|endoftext|>": 268}
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    (directory / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False) + "\n")
    (directory / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}\n')
    expect(reloaded(directory, model), directory, 272, 1, 5, tokens_of(directory))


def gpt2_old():
    config = GPT2Config(vocab_size=37, n_positions=13, n_embd=12, n_layer=2, n_head=2, activation_function="gelu", tie_word_embeddings=False)
    model = fresh(GPT2LMHeadModel, config, 2)
    directory = save("gpt2_old", model)
    buffers = {}
    for layer in range(2):
        buffers[f"h.{layer}.attn.bias"] = torch.tril(torch.ones(13, 13, dtype=torch.uint8)).view(1, 1, 13, 13).clone()
        buffers[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    rewrite(directory, rename=lambda name: name.removeprefix("transformer."), more=buffers)
    expect(model, directory, 37, 1, 11)


def llama():
    config = LlamaConfig(vocab_size=37, hidden_size=20, intermediate_size=34, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, head_dim=6, max_position_embeddings=19, rms_norm_eps=1e-5, tie_word_embeddings=False,
                         rope_parameters={"rope_type": "default", "rope_theta": 500.0}, attention_bias=True, mlp_bias=True)
    model = fresh(LlamaForCausalLM, config, 3)
    directory = save("llama", model.to(torch.bfloat16), max_shard_size="6KB")

    def as_transformers_4(config):
        del config["rope_parameters"]
        config |= {"rope_theta": 500.0, "rope_scaling": None, "torch_dtype": config.pop("dtype")}

    rewrite(directory, as_transformers_4)
    expect(reloaded(directory, model), directory, 37, 1, 11)


def mistral():
    config = MistralConfig(vocab_size=37, hidden_size=18, intermediate_size=26, num_hidden_layers=2, num_attention_heads=3,
                           num_key_value_heads=1, head_dim=4, max_position_embeddings=23, sliding_window=5, tie_word_embeddings=True)
    model = fresh(MistralForCausalLM, config, 4)
    directory = save("mistral", model)
    rewrite(directory, rename=lambda name: f"_orig_mod.{name}")
    expect(model, directory, 37, 1, 17)


def qwen3():
    words = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN_WORDS), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer = tokenizer_of(words, normalizers.NFC())
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    config = Qwen3Config(vocab_size=280, hidden_size=10, intermediate_size=14, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=1, head_dim=8, max_position_embeddings=29, rms_norm_eps=1e-6, tie_word_embeddings=True,
                         eos_token_id=270, bos_token_id=268)
    model = fresh(Qwen3ForCausalLM, config, 5)
    directory = save("qwen3", model.to(torch.bfloat16))
    rewrite(directory)
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=template)
    fast.save_pretrained(directory)
    expect(reloaded(directory, model), directory, 280, 1, 5, tokens_of(directory))


def arcee():
    config = ArceeConfig(vocab_size=37, hidden_size=16, intermediate_size=22, num_hidden_layers=2, num_attention_heads=2,
                         num_key_value_heads=2, head_dim=10, max_position_embeddings=15, attention_bias=True, mlp_bias=False)
    model = fresh(ArceeForCausalLM, config, 6)
    directory = save("arcee", model.to(torch.float16))
    rewrite(directory)
    expect(reloaded(directory, model), directory, 37, 1, 11)


def llama_cpp():
    """Written by the package of llama.cpp, in four types at once: queries and keys reordered as its converter has them."""

    config = LlamaConfig(vocab_size=37, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
                         num_key_value_heads=2, max_position_embeddings=19, rms_norm_eps=1e-5, tie_word_embeddings=False,
                         rope_parameters={"rope_type": "default", "rope_theta": 700.0})
    model = fresh(LlamaForCausalLM, config, 8)
    directory = OUT / "gguf"
    directory.mkdir(parents=True)
    writer = gguf.GGUFWriter(directory / "model.gguf", "llama")
    writer.add_context_length(19)
    writer.add_embedding_length(32)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(700.0)
    writer.add_rope_dimension_count(8)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    letters = [*"Ġabcdefghijklmnopqrstuvwxyz.,!'?Ċ", "Ġa", "Ġt", "he", "<|endoftext|>"]
    writer.add_token_list(letters)
    writer.add_token_types([1] * 36 + [3])
    writer.add_token_merges(["Ġ a", "Ġ t", "h e"])
    writer.add_eos_token_id(36)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 1)
    types = dict(attn_q="Q8_0", attn_k="F16", attn_v="BF16", ffn_up="Q8_0", ffn_down="Q8_0", token_embd="F16", output="BF16")
    state = model.state_dict()
    for name, tensor in list(state.items()):
        target = names.get_name(name, try_suffixes=(".weight",))
        kind = getattr(gguf.GGMLQuantizationType, types.get(target.split(".")[-2], "F32"))

        def reordered(matrix, back):
            if not name.endswith(("q_proj.weight", "k_proj.weight")):
                return matrix
            heads = 4 if "q_proj" in name else 2
            halves = (heads, 4, 2) if back else (heads, 2, 4)
            return matrix.reshape(*halves, -1).transpose(0, 2, 1, 3).reshape(matrix.shape)

        data = gguf.quants.quantize(reordered(tensor.numpy(), False), kind)
        writer.add_tensor(target, data, raw_dtype=kind)
        state[name] = torch.from_numpy(reordered(gguf.quants.dequantize(data, kind), True).copy()).reshape(tensor.shape)
    model.load_state_dict(state)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    expect(model, directory, 37, 1, 11)


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    for make in [gpt2, gpt2_old, llama, mistral, qwen3, arcee, llama_cpp]:
        make()
    total = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{total} bytes in {OUT}")
