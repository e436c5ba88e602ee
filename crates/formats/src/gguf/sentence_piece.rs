//! Byte-pair encoding as SentencePiece has it, for GGUF: pieces with scores, a space before the text, bytes for what no piece
//! spells. This is the tokenizer of Llama 2 and Mistral.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::tokenizer::{CONTROL, NORMAL, TargetTokens, UNUSED, USER_DEFINED, adds_start, merges, part_misfit};
use crate::error::Misfit;

/// What stands for a space.
const SPACE: &str = "▁";
/// What pieces are to llama.cpp (`llama_token_type` of llama.h).
pub(super) const UNKNOWN: i32 = 2;
const BYTE: i32 = 6;
/// Of a piece that no merge makes.
const NEVER: f32 = -1e9;

/// Whether a tokenizer.json falls back to bytes, as this kind does.
pub(super) fn is_one(tokenizer: &Value) -> bool {
    tokenizer.pointer("/model/byte_fallback").and_then(Value::as_bool) == Some(true)
}

/// What llama.cpp would make of it.
///
/// # Errors
/// What it does otherwise.
pub(super) fn target(tokenizer: &Value, vocab_size: usize) -> Result<TargetTokens, Vec<Misfit>> {
    let part = |name: &str| tokenizer.get(name).unwrap_or(&Value::Null);
    let model = part("model");
    let Some(adds_space) = adds_space(part("normalizer")) else {
        let reason = "llama.cpp puts ▁ before a text and for each space in it, and changes nothing else";
        return Err(part_misfit("normalizer", part("normalizer"), reason));
    };
    if !part("pre_tokenizer").is_null() {
        let reason = "llama.cpp takes no words apart where it falls back to bytes";
        return Err(part_misfit("pre_tokenizer", part("pre_tokenizer"), reason));
    }
    let adds_start = adds_start(part("post_processor")).ok_or_else(|| {
        part_misfit("post_processor", part("post_processor"), "llama.cpp adds one token before a text at most")
    })?;
    let vocab = model.get("vocab").and_then(Value::as_object);
    let ids: HashMap<&str, usize> =
        vocab.into_iter().flatten().filter_map(|(token, id)| Some((token.as_str(), id.as_u64()? as usize))).collect();
    let scores = scores(&ids, &merges(model))?;
    let mut texts: Vec<(String, i32, f32)> =
        (0..vocab_size).map(|id| (format!("[UNUSED{id}]"), UNUSED, NEVER)).collect();
    for (token, id) in &ids {
        let kind = if is_byte(token) { BYTE } else { NORMAL };
        let score = scores.get(token).copied().unwrap_or(NEVER);
        if let Some(place) = texts.get_mut(*id) {
            *place = ((*token).to_owned(), kind, score);
        }
    }
    let unknown = model.get("unk_token").and_then(Value::as_str);
    for added in part("added_tokens").as_array().into_iter().flatten() {
        let (id, content) = (added.get("id").and_then(Value::as_u64), added.get("content").and_then(Value::as_str));
        let (Some(id), Some(content)) = (id, content) else { continue };
        let kind = match added.get("special").and_then(Value::as_bool) {
            _ if Some(content) == unknown => UNKNOWN,
            Some(true) => CONTROL,
            _ => USER_DEFINED,
        };
        if let Some(place) = texts.get_mut(id as usize) {
            *place = (content.to_owned(), kind, 0.0);
        }
    }
    let unknown = unknown.and_then(|token| ids.get(token)).and_then(|id| u32::try_from(*id).ok());
    let scores = texts.iter().map(|(_, _, score)| *score).collect();
    let (texts, kinds) = texts.into_iter().map(|(text, kind, _)| (text, kind)).unzip();
    let merges = Vec::new();
    Ok(TargetTokens { texts, kinds, merges, words: "default", adds_start, adds_space, scores: Some(scores), unknown })
}

/// Whether a space stands before each text; none where anything else is done to a text.
fn adds_space(normalizer: &Value) -> Option<bool> {
    let steps: Vec<&Value> = match normalizer.get("type")?.as_str()? {
        "Sequence" => normalizer.get("normalizers")?.as_array()?.iter().collect(),
        _ => vec![normalizer],
    };
    let is_replace = |step: &Value| {
        step.pointer("/pattern/String").and_then(Value::as_str) == Some(" ")
            && step.get("content").and_then(Value::as_str) == Some(SPACE)
    };
    match steps[..] {
        [replace] if is_replace(replace) => Some(false),
        [prepend, replace] if is_replace(replace) => {
            (prepend.get("prepend").and_then(Value::as_str) == Some(SPACE)).then_some(true)
        }
        _ => None,
    }
}

fn is_byte(token: &str) -> bool {
    token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>')).is_some_and(|hex| hex.len() == 2)
}

/// A score for each piece that is merged, which has the best score merged first. That is the list of merges if it names all
/// pairs of pieces that make a piece, one piece after another.
fn scores<'a>(ids: &HashMap<&'a str, usize>, merges: &[String]) -> Result<HashMap<&'a str, f32>, Vec<Misfit>> {
    let refuse = |value: &str, reason: &str| Err(vec![Misfit::new("tokenizer.model.merges", value, reason)]);
    let mut pairs = HashSet::new();
    let mut scores: HashMap<&str, f32> = HashMap::new();
    let mut last = None;
    for (rank, merge) in merges.iter().enumerate() {
        let Some((left, right)) = merge.split_once(' ') else { continue };
        let Some((piece, _)) = ids.get_key_value([left, right].concat().as_str()) else {
            return refuse(merge, "it makes no piece of the vocabulary");
        };
        if last != Some(*piece) && scores.contains_key(piece) {
            return refuse(
                merge,
                "llama.cpp merges by pieces, and this piece's other pairs stand elsewhere in the list",
            );
        }
        scores.entry(piece).or_insert(-(rank as f32));
        last = Some(*piece);
        pairs.insert((left, right));
    }
    for piece in ids.keys() {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            let is_pair = ids.contains_key(left) && ids.contains_key(right);
            if is_pair && scores.contains_key(piece) && !pairs.contains(&(left, right)) {
                return refuse(
                    &format!("{left} {right}"),
                    "it is missing in the list, and llama.cpp merges any two pieces",
                );
            }
        }
    }
    Ok(scores)
}
