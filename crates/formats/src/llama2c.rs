//! The checkpoint that `run.c` of github.com/karpathy/llama2.c runs (version 0 of its format), and its `tokenizer.bin`.
//!
//! `run.c` has ids of its own: texts begin with 1 and end where it comes again, and the byte of value b is b + 3. So the
//! tokens are put in another order: the end of text is 1, bytes are 3 to 258, and ids 0 and 2, which `run.c` never asks for,
//! are two ordinary tokens. No token is added, and no logit is lost.

use std::collections::HashMap;

use serde_json::Value;
use tril_model::{GptConfig, MlpKind, NormKind, Positions};
use tril_text::byte_alphabet;

use crate::Exportable;
use crate::error::{FormatError, Misfit};
use crate::form::{Architecture, Container, Form};
use crate::layout::Entry;
use crate::weights::stored;

/// What texts begin with and end at.
const BOUND: usize = 1;
/// The id of the byte 0.
const FIRST_BYTE: usize = 3;
const N_BYTES: usize = 256;
/// Below this `run.c` merges nothing.
const NEVER: f32 = -1e30;
/// Of the norms, as `run.c` has it.
const EPS: f64 = 1e-5;
/// Of the angles, as `run.c` has it.
const THETA: f64 = 10_000.0;

/// The names of the two files in their directory.
pub(crate) const MODEL: &str = "model.bin";
pub(crate) const TOKENIZER: &str = "tokenizer.bin";

/// A vocabulary in `run.c`'s order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vocabulary {
    /// Our id of each of its.
    pub ours: Vec<u32>,
    /// What each stands for, and how early it is merged.
    pieces: Vec<(Vec<u8>, f32)>,
}

/// What `run.c` cannot compute of a resolved config.
pub(crate) fn misfits(config: &GptConfig) -> Vec<Misfit> {
    let mut misfits = Vec::new();
    let mut check = |fits: bool, field: &str, value: &dyn ToString, reason: &str| {
        if !fits {
            misfits.push(Misfit::new(field, value.to_string(), reason));
        }
    };
    let mlp = match config.mlp {
        MlpKind::Gelu => "gelu",
        MlpKind::GeluTanh => "gelu_tanh",
        MlpKind::Relu2 => "relu2",
        MlpKind::Swiglu => "swiglu",
    };
    check(config.positions == Positions::Rotary, "positions", &"learned", "run.c has rotary positions");
    check(config.norm == NormKind::Rms, "norm", &"layer", "run.c has RMS norms");
    check(config.mlp == MlpKind::Swiglu, "mlp", &mlp, "run.c has swiglu");
    check(!config.qk_norm, "qk_norm", &true, "run.c has no norm on queries and keys");
    check(!config.qkv_bias, "qkv_bias", &true, "run.c has no biases");
    check(!config.output_bias, "output_bias", &true, "run.c has no biases");
    check(!config.mlp_bias, "mlp_bias", &true, "run.c has no biases");
    let is_rotary = config.positions == Positions::Rotary;
    check(!is_rotary || config.rope_theta == THETA, "rope_theta", &config.rope_theta, "run.c has 10000");
    check(config.norm_eps == EPS, "norm_eps", &config.norm_eps, "run.c has 1e-5");
    let width = config.n_heads * config.d_head;
    check(width == config.d_model, "d_head", &config.d_head, "run.c has d_model / n_heads");
    let is_whole = config.window == 0 || config.window >= config.max_seq_len;
    check(is_whole, "window", &config.window, "run.c sees the whole context");
    misfits
}

/// The vocabulary of a tokenizer.json as `run.c` can have it: byte-pair encoding over all 256 bytes, with one special token
/// that ends texts, and at least two merges.
///
/// - end: the token that ends texts
///
/// # Errors
/// Every reason against it.
pub(crate) fn vocabulary(tokenizer: &Value, vocab_size: usize, end: Option<u32>) -> Result<Vocabulary, Vec<Misfit>> {
    let refuse = |field: &str, value: &dyn ToString, reason: &str| {
        Err(vec![Misfit::new(&format!("tokenizer.{field}"), value.to_string(), reason)])
    };
    let Some(end) = end else {
        return refuse(
            "end_of_text",
            &false,
            "run.c begins and ends every text with one token, which the model must have learnt; train on documents with tokenizer.end_of_text=true",
        );
    };
    // What llama.cpp has as gpt-2 is byte-pair encoding without normaliser, template or byte fallback.
    let tokens = crate::gguf::target_tokens(tokenizer, vocab_size)?;
    let is_by_bytes = tokenizer.pointer("/pre_tokenizer/type").and_then(Value::as_str) == Some("ByteLevel");
    if tokens.words != "gpt-2" || !is_by_bytes {
        let kind = if tokens.scores.is_some() { "sentencepiece" } else { "char" };
        return refuse("kind", &kind, "run.c takes byte-pair encoding of GPT-2's kind, with all bytes; use kind bpe");
    }
    if tokens.adds_start {
        return refuse("post_processor", &true, "run.c puts its own token before each text");
    }
    let added = tokenizer.get("added_tokens").and_then(Value::as_array).map_or(0, Vec::len);
    if added != 1 {
        return refuse("added_tokens", &added, "run.c has one special token, which ends texts");
    }
    let alphabet = byte_alphabet();
    let ids: HashMap<&str, u32> = tokens.texts.iter().map(String::as_str).zip(0..).collect();
    let bytes =
        alphabet.iter().map(|letter| ids.get(letter.to_string().as_str()).copied()).collect::<Option<Vec<u32>>>();
    let Some(bytes) = bytes else {
        return refuse("vocabulary", &"without all bytes", "run.c spells what it does not know in bytes");
    };
    if vocab_size < FIRST_BYTE + N_BYTES {
        return refuse(
            "vocab_size",
            &vocab_size,
            "run.c's first byte is 3, so it takes 256 bytes, the end of text and two merges or more",
        );
    }
    let value = |letters: &str| -> Option<Vec<u8>> {
        letters
            .chars()
            .map(|letter| alphabet.iter().position(|one| *one == letter).and_then(|b| u8::try_from(b).ok()))
            .collect()
    };
    // A token is merged as early as its merge stands in the list.
    let mut ranks = HashMap::new();
    for (rank, merge) in tokens.merges.iter().enumerate() {
        ranks.entry(merge.replacen(' ', "", 1)).or_insert(rank);
    }
    let mut others = (0..vocab_size as u32).filter(|id| *id != end && !bytes.contains(id));
    let (Some(first), Some(second)) = (others.next(), others.next()) else {
        return refuse("vocab_size", &vocab_size, "run.c takes 256 bytes, the end of text and two merges or more");
    };
    let ours: Vec<u32> = [first, end, second].into_iter().chain(bytes.clone()).chain(others).collect();
    let mut pieces = Vec::new();
    for (place, id) in ours.iter().enumerate() {
        let text = tokens.texts[*id as usize].as_str();
        pieces.push(match place {
            BOUND => (b"\n<s>\n".to_vec(), NEVER),
            // A piece of no length is none to run.c.
            FIRST_BYTE => (b"<0x00>".to_vec(), NEVER),
            _ if (FIRST_BYTE..FIRST_BYTE + N_BYTES).contains(&place) => (vec![(place - FIRST_BYTE) as u8], NEVER),
            _ => match (value(text), ranks.get(text)) {
                (Some(bytes), Some(rank)) => (bytes, -(*rank as f32)),
                _ => return refuse("vocabulary", &text, "no merge makes this token, and run.c knows merges alone"),
            },
        });
    }
    Ok(Vocabulary { ours, pieces })
}

/// The two files.
pub(crate) fn files(
    model: &Exportable<'_>,
    vocabulary: &Vocabulary,
) -> Result<Vec<(&'static str, Vec<u8>)>, FormatError> {
    Ok(vec![(MODEL, weights(model, vocabulary)), (TOKENIZER, tokenizer_bin(vocabulary))])
}

/// Seven sizes, then each kind of tensor for all blocks (`memory_map_weights` of run.c).
fn weights(model: &Exportable<'_>, vocabulary: &Vocabulary) -> Vec<u8> {
    let config = model.gpt.config();
    // Rotary pairs are neighbours there as in llama.cpp's llama.
    let form = Form { architecture: Architecture::Llama, container: Container::Gguf, is_self_gated: false };
    let tensors: HashMap<String, (Entry, Vec<f32>)> =
        stored(model.gpt, form).map(|(entry, values)| (entry.name.clone(), (entry, values))).collect();
    let GptConfig { vocab_size, max_seq_len, n_layers, n_heads, n_kv_heads, d_model, d_ff, d_head, .. } = *config;
    // A negative vocabulary says that the head is a matrix of its own.
    let vocab = if config.tied_head { vocab_size as i32 } else { -(vocab_size as i32) };
    let sizes = [d_model, d_ff, n_layers, n_heads, n_kv_heads].map(|size| size as i32);
    let mut out: Vec<u8> = sizes.into_iter().chain([vocab, max_seq_len as i32]).flat_map(i32::to_le_bytes).collect();
    let put = |out: &mut Vec<u8>, values: &[f32]| out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let put_named = |out: &mut Vec<u8>, name: &str| {
        if let Some((_, values)) = tensors.get(name) {
            put(out, values);
        }
    };
    let put_rows = |out: &mut Vec<u8>, name: &str| {
        if let Some((_, values)) = tensors.get(name) {
            for id in &vocabulary.ours {
                put(out, &values[*id as usize * d_model..][..d_model]);
            }
        }
    };
    put_rows(&mut out, "token_embd.weight");
    for name in ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_down", "ffn_up"]
    {
        (0..n_layers).for_each(|layer| put_named(&mut out, &format!("blk.{layer}.{name}.weight")));
    }
    put_named(&mut out, "output_norm.weight");
    // Angles, which older versions of run.c had there; they are skipped today.
    out.resize(out.len() + max_seq_len * d_head * 4, 0);
    if !config.tied_head {
        put_rows(&mut out, "output.weight");
    }
    out
}

/// The longest piece, then score, length and bytes of each (`build_tokenizer` of run.c).
fn tokenizer_bin(vocabulary: &Vocabulary) -> Vec<u8> {
    let longest = vocabulary.pieces.iter().map(|(bytes, _)| bytes.len()).max().unwrap_or(0);
    let mut out = (longest as u32).to_le_bytes().to_vec();
    for (bytes, score) in &vocabulary.pieces {
        out.extend(score.to_le_bytes());
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(bytes);
    }
    out
}
