//! Models of other tools: what transformers computes is computed here, what goes out comes back, what does not fit is named.
//!
//! | module | what it holds |
//! |---|---|
//! | `fixtures` | directories that transformers wrote: its logits, its tokens (`scripts/make_format_fixtures.py`) |
//! | `round_trips` | every form of ours, out and in again: the same bits |
//! | `refusals` | files that are missing, damaged or contradict each other, and fields that do not fit |
//! | `recipes` | what every shipped recipe can be exported to |
//! | `llama2c` | what `run.c` would read |
//!
//! What llama.cpp, transformers and `run.c` themselves make of it is checked by `scripts/check_formats.sh`.

mod fixtures;
mod llama2c;
mod recipes;
mod refusals;
mod round_trips;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use tril::{ComputeDevice, ExistingFiles, ExportFormat, ExportOptions, Model, Tokenizer};
use tril_model::{Gpt, GptConfig, MlpKind, NormKind, Positions};
use tril_text::{TokenizerConfig, TokenizerKind};

use crate::support::*;

/// A text with every sort of character that tokenizers stumble over.
const TEXT: &str =
    "The cat's in the hat, the hat is in the hall. 猫が好き。café é 😀 “it's 12”\n\nthe cat is in the hall\n";

/// A tokenizer of this kind with an end of text, learnt from [`TEXT`].
fn tokenizer(kind: TokenizerKind) -> Tokenizer {
    let config = TokenizerConfig { kind, vocab_size: 270, end_of_text: true, ..TokenizerConfig::default() };
    Tokenizer::build(&config, &[TEXT]).expect("a tokenizer")
}

/// A model of this shape over that vocabulary.
fn noisy(config: GptConfig, tokenizer: Tokenizer) -> Model {
    let config = GptConfig { vocab_size: tokenizer.vocab_size(), ..config };
    Model::new(model(config, &Device::flex()), Arc::new(tokenizer), "memory").expect("they fit")
}

/// Logits of some ids.
fn logits(gpt: &Gpt) -> Vec<f32> {
    let ids = some_ids(1, gpt.config().max_seq_len.min(12), gpt.config().vocab_size);
    values(gpt.forward(input(&ids, 1, &gpt.device())))
}

fn open(path: &Path) -> Model {
    Model::open(path, &ComputeDevice::cpu()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Why it does not open.
fn refusal(path: &Path) -> String {
    match Model::open(path, &ComputeDevice::cpu()) {
        Ok(_) => panic!("{} opens", path.display()),
        Err(error) => {
            assert!(error.is_user_error(), "{error}");
            error.to_string()
        }
    }
}

/// Exports a model into a directory and returns where.
fn exported(model: &Model, dir: &Path, options: ExportOptions) -> PathBuf {
    let name = if options.format == ExportFormat::Gguf { "model.gguf" } else { "out" };
    std::fs::create_dir_all(dir).expect("a directory");
    let out = dir.join(name);
    model.export(options, &out, ExistingFiles::Replace).unwrap_or_else(|error| panic!("{options:?}: {error}"));
    out
}

/// Llama's form at its smallest, all sizes different.
fn llama() -> GptConfig {
    GptConfig { n_heads: 4, n_kv_heads: 2, d_model: 28, d_head: 6, d_ff: 34, rope_theta: 500.0, ..llama_config() }
}

/// GPT-2's form with everything that it may have.
fn gpt2() -> GptConfig {
    gpt2_config()
}

/// Every form that some tool has, each with its name, and whether llama.cpp has it too.
fn forms() -> Vec<(&'static str, GptConfig, bool)> {
    let bare = GptConfig {
        norm_bias: false,
        qkv_bias: false,
        output_bias: false,
        mlp_bias: false,
        norm_gain: false,
        tied_head: false,
        ..gpt2()
    };
    let relu2 = GptConfig { mlp: MlpKind::Relu2, ..llama() };
    let qk_norm = GptConfig { qk_norm: true, ..llama() };
    vec![
        ("gpt2", gpt2(), true),
        ("gpt2 without gains and biases", bare.clone(), true),
        ("gpt2 with some biases", GptConfig { output_bias: true, norm_gain: true, ..bare.clone() }, true),
        ("gpt2 with exact GELU", GptConfig { mlp: MlpKind::Gelu, ..gpt2() }, false),
        ("gpt2 with squared ReLU", GptConfig { mlp: MlpKind::Relu2, ..gpt2() }, false),
        ("llama", llama(), true),
        ("llama, tied, without gains", GptConfig { tied_head: true, norm_gain: false, ..llama() }, true),
        ("llama with a window as long as its context", GptConfig { window: 26, ..llama() }, true),
        ("llama with a bias on queries", GptConfig { qkv_bias: true, ..llama() }, true),
        ("llama with all biases", GptConfig { qkv_bias: true, output_bias: true, mlp_bias: true, ..llama() }, true),
        ("mistral", GptConfig { window: 5, ..llama() }, false),
        ("mistral with squared ReLU", GptConfig { window: 5, ..relu2.clone() }, false),
        ("qwen3", qk_norm.clone(), true),
        ("qwen3 without gains", GptConfig { norm_gain: false, tied_head: true, ..qk_norm.clone() }, true),
        ("qwen3 with a window", GptConfig { window: 4, ..qk_norm.clone() }, false),
        ("qwen3 with squared ReLU", GptConfig { mlp: MlpKind::Relu2, ..qk_norm }, false),
        ("arcee", relu2.clone(), true),
        ("arcee with biases", GptConfig { output_bias: true, mlp_bias: true, ..relu2 }, false),
    ]
}

/// A form that no tool has.
fn nobodys() -> GptConfig {
    GptConfig { positions: Positions::Rotary, norm: NormKind::Layer, ..llama() }
}
