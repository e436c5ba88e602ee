//! Tokenizers for GGUF: byte-pair encoding of GPT-2's kind, as llama.cpp runs it; the other kind is in `sentence_piece`. Token texts stand there in GPT-2's letters
//! for bytes.

use std::collections::HashSet;

use serde_json::Value;
use tril_text::byte_alphabet;

use super::container::GgufValue;
use super::read_tokenizer::DEFAULT_WORDS;
use super::sentence_piece;
use crate::Exportable;
use crate::error::{FormatError, Misfit};
use crate::hugging_face::QWEN_WORDS;

/// How Llama 3's tokenizer cuts a text into words.
pub(super) const LLAMA_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The whole tokenizer.json, a key of the format's own.
pub(super) const WHOLE: &str = "tokenizer.huggingface.json";

/// What a token is to llama.cpp (`llama_token_type` of llama.h).
pub(super) const NORMAL: i32 = 1;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER_DEFINED: i32 = 4;
pub(super) const UNUSED: i32 = 5;

/// A tokenizer as llama.cpp has it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TargetTokens {
    /// By id: in letters for bytes, or the name of an added token.
    pub texts: Vec<String>,
    pub kinds: Vec<i32>,
    /// Two tokens with a space between them, best first.
    pub merges: Vec<String>,
    /// How llama.cpp cuts a text into words.
    pub words: &'static str,
    /// Whether each text begins with the token that texts begin with.
    pub adds_start: bool,
    /// Whether a space stands before each text.
    pub adds_space: bool,
    /// How early each piece is merged, of SentencePiece's kind.
    pub scores: Option<Vec<f32>>,
    /// What stands for what no token spells, of that kind.
    pub unknown: Option<u32>,
}

/// What llama.cpp would make of a tokenizer.json.
///
/// # Errors
/// Every part of it that llama.cpp does otherwise.
pub(crate) fn target_tokens(tokenizer: &Value, vocab_size: usize) -> Result<TargetTokens, Vec<Misfit>> {
    let refuse = part_misfit;
    let part = |name: &str| tokenizer.get(name).unwrap_or(&Value::Null);
    let model = part("model");
    if sentence_piece::is_one(tokenizer) {
        return sentence_piece::target(tokenizer, vocab_size);
    }
    if model.get("type").and_then(Value::as_str).is_some_and(|kind| kind != "BPE") {
        return Err(refuse("model", model, "byte-pair encoding is written, as GPT-2 has it"));
    }
    for (field, is_plain) in [
        ("continuing_subword_prefix", is_absent(model.get("continuing_subword_prefix"))),
        ("end_of_word_suffix", is_absent(model.get("end_of_word_suffix"))),
    ] {
        if !is_plain {
            let value = model.get(field).unwrap_or(&Value::Null);
            return Err(refuse(&format!("model.{field}"), value, "GPT-2's byte-pair encoding has none"));
        }
    }
    let vocab: Vec<(String, usize)> = model
        .get("vocab")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(token, id)| Some((token.clone(), usize::try_from(id.as_u64()?).ok()?)))
        .collect();
    let mut merges = merges(model);
    let is_single = vocab.iter().all(|(token, _)| token.chars().count() == 1);
    let pre = part("pre_tokenizer");
    let words = match words(pre) {
        Some(words) => words,
        // Bytes alone: nothing is merged, so it does not matter where words end.
        None if is_byte_level(pre) && merges.is_empty() => "gpt-2",
        None if pre.is_null() && merges.is_empty() && is_single => "",
        None => {
            return Err(refuse(
                "pre_tokenizer",
                pre,
                "it cuts a text into words in a way that llama.cpp is not known to have",
            ));
        }
    };
    if model.get("ignore_merges").and_then(Value::as_bool) == Some(true) && words != "llama-bpe" {
        let value = Value::Bool(true);
        return Err(refuse("model.ignore_merges", &value, "llama.cpp takes whole words first for Llama 3's alone"));
    }
    let normalizer = part("normalizer");
    let is_nfc = normalizer.get("type").and_then(Value::as_str) == Some("NFC") && words == "qwen2";
    if !(normalizer.is_null() || is_nfc) {
        return Err(refuse("normalizer", normalizer, "llama.cpp changes no text before it cuts it"));
    }
    let adds_start = adds_start(part("post_processor")).ok_or_else(|| {
        refuse("post_processor", part("post_processor"), "llama.cpp adds one token before a text at most")
    })?;
    let mut texts: Vec<Option<(String, i32)>> = vec![None; vocab_size];
    let mut put = |id: usize, text: String, kind: i32| {
        if let Some(place) = texts.get_mut(id) {
            *place = Some((text, kind));
        }
    };
    for (token, id) in vocab {
        if words.is_empty() {
            merges.extend(merges_of_character(&token));
            put(id, letters(token.as_bytes()), NORMAL);
        } else {
            put(id, token, NORMAL);
        }
    }
    for added in part("added_tokens").as_array().into_iter().flatten() {
        let (id, content) = (added.get("id").and_then(Value::as_u64), added.get("content").and_then(Value::as_str));
        let kind = if added.get("special").and_then(Value::as_bool) == Some(true) { CONTROL } else { USER_DEFINED };
        if let (Some(id), Some(content)) = (id, content) {
            put(id as usize, content.to_owned(), kind);
        }
    }
    let mut seen = HashSet::new();
    merges.retain(|merge| seen.insert(merge.clone()));
    let filled =
        texts.into_iter().enumerate().map(|(id, text)| text.unwrap_or_else(|| (format!("[UNUSED{id}]"), UNUSED)));
    let (texts, kinds) = filled.unzip();
    let words = if words.is_empty() { "gpt-2" } else { words };
    Ok(TargetTokens { texts, kinds, merges, words, adds_start, adds_space: false, scores: None, unknown: None })
}

/// That a part of a tokenizer.json, as it is, does not fit.
pub(super) fn part_misfit(field: &str, value: &Value, reason: &str) -> Vec<Misfit> {
    let kind = value.get("type").and_then(Value::as_str).map_or_else(|| value.to_string(), str::to_owned);
    vec![Misfit::new(&format!("tokenizer.{field}"), kind, reason)]
}

fn is_absent(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_null() || value.as_str() == Some(""))
}

fn is_byte_level(part: &Value) -> bool {
    part.get("type").and_then(Value::as_str) == Some("ByteLevel")
        && part.get("add_prefix_space").and_then(Value::as_bool) == Some(false)
}

/// What llama.cpp calls this way to cut a text into words.
fn words(pre: &Value) -> Option<&'static str> {
    let has_regex = |part: &Value| part.get("use_regex").and_then(Value::as_bool).unwrap_or(true);
    if is_byte_level(pre) {
        return has_regex(pre).then_some("gpt-2");
    }
    let steps = pre.get("pretokenizers")?.as_array()?;
    if is_default(steps) {
        return Some("default");
    }
    let [first, second] = &steps[..] else { return None };
    let is_split = first.get("behavior").and_then(Value::as_str) == Some("Isolated")
        && first.get("invert").and_then(Value::as_bool) == Some(false);
    match first.pointer("/pattern/Regex").and_then(Value::as_str) {
        _ if !is_byte_level(second) => None,
        Some(QWEN_WORDS) if is_split && !has_regex(second) => Some("qwen2"),
        Some(LLAMA_WORDS) if is_split && !has_regex(second) => Some("llama-bpe"),
        None if first.get("type").and_then(Value::as_str) == Some("Digits")
            && first.get("individual_digits").and_then(Value::as_bool) == Some(true)
            && has_regex(second) =>
        {
            Some("smollm")
        }
        _ => None,
    }
}

/// Whether these are the steps of a file that does not say how its model cuts words.
fn is_default(steps: &[Value]) -> bool {
    let patterns = steps.iter().map_while(|step| step.pointer("/pattern/Regex").and_then(Value::as_str));
    patterns.eq(DEFAULT_WORDS) && steps.len() == DEFAULT_WORDS.len() + 1
}

/// Whether a token stands before each text; none where anything else is added.
pub(super) fn adds_start(post: &Value) -> Option<bool> {
    match post.get("type").and_then(Value::as_str) {
        None | Some("ByteLevel") => Some(false),
        Some("Sequence") => {
            let steps = post.get("processors")?.as_array()?;
            steps.iter().map(adds_start).try_fold(false, |all, one| Some(all | one?))
        }
        Some("TemplateProcessing") => match &post.get("single")?.as_array()?[..] {
            [only] if only.get("Sequence").is_some() => Some(false),
            [first, second] if first.get("SpecialToken").is_some() && second.get("Sequence").is_some() => Some(true),
            _ => None,
        },
        Some(_) => None,
    }
}

/// Two tokens with a space between them, best first.
pub(super) fn merges(model: &Value) -> Vec<String> {
    let pairs = model.get("merges").and_then(Value::as_array).into_iter().flatten();
    pairs
        .filter_map(|merge| match merge {
            Value::String(pair) => Some(pair.clone()),
            Value::Array(pair) => match &pair[..] {
                [left, right] => Some(format!("{} {}", left.as_str()?, right.as_str()?)),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

/// GPT-2's letters for bytes.
pub(crate) fn letters(bytes: &[u8]) -> String {
    let alphabet = byte_alphabet();
    bytes.iter().map(|byte| alphabet[usize::from(*byte)]).collect()
}

/// What puts the bytes of a character together, which llama.cpp takes apart: each byte joins those before it. No such merge
/// reaches into another character, because no character begins with a byte that continues one.
fn merges_of_character(token: &str) -> Vec<String> {
    let bytes = token.as_bytes();
    (1..bytes.len()).map(|end| format!("{} {}", letters(&bytes[..end]), letters(&bytes[end..=end]))).collect()
}

/// What a file says of a model's tokenizer, every special id included: llama.cpp takes 11 for what is not said.
pub(crate) fn tokenizer_metadata(
    model: &Exportable<'_>,
    tokens: &TargetTokens,
) -> Result<Vec<(String, GgufValue)>, FormatError> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let bounds = model.tokenizer.bounds();
    let end = bounds.eos_token_id.or(model.tokenizer.end_token()).unwrap_or_default();
    let start = bounds.bos_token_id.unwrap_or(end);
    let mut pairs = vec![
        (key("model"), GgufValue::Text(if tokens.scores.is_some() { "llama" } else { "gpt2" }.to_owned())),
        (key("pre"), GgufValue::Text(tokens.words.to_owned())),
        (key("tokens"), GgufValue::Texts(tokens.texts.clone())),
        (key("token_type"), GgufValue::I32s(tokens.kinds.clone())),
        match &tokens.scores {
            Some(scores) => (key("scores"), GgufValue::F32s(scores.clone())),
            None => (key("merges"), GgufValue::Texts(tokens.merges.clone())),
        },
        (key("bos_token_id"), GgufValue::U32(start)),
        (key("eos_token_id"), GgufValue::U32(end)),
        (key("eot_token_id"), GgufValue::U32(end)),
        (key("unknown_token_id"), GgufValue::U32(tokens.unknown.unwrap_or(end))),
        (key("padding_token_id"), GgufValue::U32(end)),
        (key("add_bos_token"), GgufValue::Bool(tokens.adds_start)),
        (key("add_eos_token"), GgufValue::Bool(false)),
        (key("add_space_prefix"), GgufValue::Bool(tokens.adds_space)),
        (WHOLE.to_owned(), GgufValue::Text(model.tokenizer.to_json()?)),
    ];
    if let Some(template) = model.chat_template {
        pairs.push(("tokenizer.chat_template".to_owned(), GgufValue::Text(template.to_owned())));
    }
    Ok(pairs)
}
