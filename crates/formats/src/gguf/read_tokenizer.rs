//! The tokenizer of a GGUF file as a tokenizer.json: byte-pair encoding of GPT-2's kind, or of SentencePiece's as Llama 2 and
//! Mistral have it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::container::{GgufFile, GgufValue};
use super::sentence_piece::UNKNOWN;
use super::tokenizer::{CONTROL, LLAMA_WORDS, NORMAL, UNUSED, USER_DEFINED, WHOLE, target_tokens};
use crate::error::FormatError;
use crate::hugging_face::QWEN_WORDS;

/// GPT-2's words, as llama.cpp has them between others.
const GPT2_WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
/// What llama.cpp cuts a text by, one after another, where a file does not say how its model does.
pub(super) const DEFAULT_WORDS: [&str; 4] = [r"[\p{P}\$\+<=>\^~\|]+", GPT2_WORDS, r"\p{N}+", r"[0-9][0-9][0-9]"];

/// The tokenizer.json of a file.
///
/// # Errors
/// [`FormatError::Unsupported`] for a tokenizer of another kind, [`FormatError::Tokenizer`] without one.
pub(crate) fn json(file: &GgufFile) -> Result<Value, FormatError> {
    let Some(tokens) = file.texts("tokenizer.ggml.tokens") else {
        return Err(FormatError::Tokenizer {
            path: file.path.clone(),
            reason: "it lacks tokenizer.ggml.tokens, so it has no tokenizer; convert it again with its tokenizer"
                .to_owned(),
        });
    };
    let merges = file.texts("tokenizer.ggml.merges").unwrap_or_default();
    let words = file.text("tokenizer.ggml.pre");
    // What was exported here comes back as it was, unless something has been changed since.
    if let Some(whole) = file.text(WHOLE)
        && let Ok(whole) = serde_json::from_str::<Value>(whole)
        && target_tokens(&whole, tokens.len())
            .is_ok_and(|target| target.texts == tokens && target.merges == merges && Some(target.words) == words)
    {
        return Ok(whole);
    }
    let kinds = match file.metadata.get("tokenizer.ggml.token_type") {
        Some(GgufValue::I32s(kinds)) if kinds.len() == tokens.len() => kinds.clone(),
        None => vec![NORMAL; tokens.len()],
        Some(_) => {
            let reason = "tokenizer.ggml.token_type has another length than the tokens; restore it from a copy";
            return Err(file.damaged(reason));
        }
    };
    let vocabulary = Vocabulary::new(file, tokens, &kinds)?;
    let mut tokenizer = match file.text("tokenizer.ggml.model") {
        Some("gpt2") => byte_pairs(file, &vocabulary, merges)?,
        Some("llama") => sentence_pieces(file, &vocabulary, tokens)?,
        other => {
            let reason = "gpt2 and llama are read; import the Hugging Face directory that it was made from";
            return Err(file.unsupported("tokenizer.ggml.model", other.unwrap_or("absent"), reason));
        }
    };
    tokenizer["version"] = json!("1.0");
    tokenizer["truncation"] = Value::Null;
    tokenizer["padding"] = Value::Null;
    tokenizer["added_tokens"] = vocabulary.added.into();
    let is_sentence_piece = file.text("tokenizer.ggml.model") == Some("llama");
    let adds_start = file.flag("tokenizer.ggml.add_bos_token").unwrap_or(is_sentence_piece);
    let start = file.size("tokenizer.ggml.bos_token_id")?.and_then(|id| Some((id, tokens.get(id)?.as_str())));
    tokenizer["post_processor"] = start.filter(|_| adds_start).map_or(Value::Null, |(id, token)| template(id, token));
    Ok(tokenizer)
}

/// Tokens by their texts, and those that are no text.
struct Vocabulary {
    ids: Map<String, Value>,
    added: Vec<Value>,
    unknown: Option<String>,
}

impl Vocabulary {
    fn new(file: &GgufFile, tokens: &[String], kinds: &[i32]) -> Result<Self, FormatError> {
        let mut this = Self { ids: Map::new(), added: Vec::new(), unknown: None };
        for (id, (token, kind)) in tokens.iter().zip(kinds).enumerate() {
            let is_special = matches!(*kind, CONTROL | UNKNOWN);
            if is_special || *kind == USER_DEFINED {
                this.added.push(json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": is_special}));
            }
            if *kind == UNKNOWN {
                this.unknown.get_or_insert_with(|| token.clone());
            }
            // The library numbers added tokens after the vocabulary unless they are in it.
            let text = if *kind == UNUSED { format!("[PAD{id}]") } else { token.clone() };
            this.ids.insert(text, json!(id));
        }
        if this.ids.len() != tokens.len() {
            return Err(file.damaged("tokenizer.ggml.tokens has a token twice; restore it from a copy"));
        }
        Ok(this)
    }

    fn model(&self, merges: Vec<Value>) -> Value {
        json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": self.ids,
            "merges": merges,
        })
    }
}

fn byte_pairs(file: &GgufFile, vocabulary: &Vocabulary, merges: &[String]) -> Result<Value, FormatError> {
    let byte_level = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let split = |patterns: &[&str]| {
        let splits = patterns.iter().map(
            |pattern| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false}),
        );
        let steps: Vec<Value> = splits.chain([byte_level(false)]).collect();
        json!({"type": "Sequence", "pretokenizers": steps})
    };
    let (normalizer, pre_tokenizer) = match file.text("tokenizer.ggml.pre") {
        Some("gpt-2") => (Value::Null, byte_level(true)),
        Some("qwen2") => (json!({"type": "NFC"}), split(&[QWEN_WORDS])),
        Some("llama-bpe") => (Value::Null, split(&[LLAMA_WORDS])),
        Some("smollm") => {
            let digits = json!({"type": "Digits", "individual_digits": true});
            (Value::Null, json!({"type": "Sequence", "pretokenizers": [digits, byte_level(true)]}))
        }
        None | Some("default") => (Value::Null, split(&DEFAULT_WORDS)),
        Some(other) => {
            let reason = "gpt-2, qwen2, llama-bpe, smollm and default are read; import the Hugging Face directory that it was made from";
            return Err(file.unsupported("tokenizer.ggml.pre", other, reason));
        }
    };
    let pairs = merges.iter().filter_map(|merge| merge.split_once(' ').map(|(left, right)| json!([left, right])));
    let mut model = vocabulary.model(pairs.collect());
    model["ignore_merges"] = json!(file.text("tokenizer.ggml.pre") == Some("llama-bpe"));
    Ok(json!({"normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "decoder": byte_level(true), "model": model}))
}

/// Pieces that are merged best score first, as a list of merges, best first (`convert_slow_tokenizer.py` of transformers).
fn sentence_pieces(file: &GgufFile, vocabulary: &Vocabulary, tokens: &[String]) -> Result<Value, FormatError> {
    let scores = match file.metadata.get("tokenizer.ggml.scores") {
        Some(GgufValue::F32s(scores)) if scores.len() == tokens.len() => scores,
        _ => return Err(file.damaged("tokenizer.ggml.scores is missing or has another length than the tokens")),
    };
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let mut merges = Vec::new();
    for (token, score) in tokens.iter().zip(scores) {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(one), Some(other)) = (ids.get(left), ids.get(right)) {
                merges.push((*score, *one, *other, left, right));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut model = vocabulary.model(merges.iter().map(|(_, _, _, left, right)| json!([left, right])).collect());
    model["byte_fallback"] = json!(true);
    model["fuse_unk"] = json!(true);
    model["unk_token"] = json!(vocabulary.unknown);
    let has_prefix = file.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true);
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    let mut normalizers = vec![replace];
    if has_prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(json!({
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": model,
    }))
}

/// Puts a token before each text.
fn template(id: usize, token: &str) -> Value {
    let special = |type_id: u32| json!({"SpecialToken": {"id": token, "type_id": type_id}});
    let sequence = |name: &str, type_id: u32| json!({"Sequence": {"id": name, "type_id": type_id}});
    json!({
        "type": "TemplateProcessing",
        "single": [special(0), sequence("A", 0)],
        "pair": [special(0), sequence("A", 0), special(1), sequence("B", 1)],
        "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tril_text::Tokenizer;

    use super::*;

    /// Bytes follow the three special tokens, then these pieces, best first.
    const PIECES: [&str; 8] = ["ab", "▁ab", "bc", "c▁", "▁", "a", "b", "c"];

    fn file(changes: &[(&str, GgufValue)]) -> GgufFile {
        let specials = ["<unk>", "<s>", "</s>"].map(str::to_owned);
        let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
        let tokens: Vec<String> = specials.into_iter().chain(bytes).chain(PIECES.map(str::to_owned)).collect();
        let scores = (0..tokens.len()).map(|id| -(id as f32)).collect();
        let kinds = (0..tokens.len() as i32).map(|id| {
            [UNKNOWN, CONTROL, CONTROL, 6, NORMAL][match id {
                0..3 => id as usize,
                3..259 => 3,
                _ => 4,
            }]
        });
        let pairs = [
            ("tokenizer.ggml.model", GgufValue::Text("llama".to_owned())),
            ("tokenizer.ggml.scores", GgufValue::F32s(scores)),
            ("tokenizer.ggml.token_type", GgufValue::I32s(kinds.collect())),
            ("tokenizer.ggml.tokens", GgufValue::Texts(tokens)),
            ("tokenizer.ggml.bos_token_id", GgufValue::Integer(1)),
        ];
        let pairs = pairs.iter().chain(changes).map(|(key, value)| ((*key).to_owned(), value.clone()));
        GgufFile { path: PathBuf::from("x.gguf"), metadata: pairs.collect(), tensors: Vec::new() }
    }

    fn ids(text: &str, changes: &[(&str, GgufValue)]) -> Vec<u32> {
        let json = json(&file(changes)).expect("a tokenizer").to_string();
        let tokenizer = Tokenizer::from_json(&json, &PathBuf::from("x.gguf")).expect("it opens");
        let ids = tokenizer.encode(text).expect("ids");
        assert_eq!(tokenizer.decode(&ids).expect("text"), text);
        ids
    }

    #[test]
    fn sentence_pieces_are_merged_best_score_first_after_a_space_and_fall_back_to_bytes() {
        // `ab` first, then `▁ab`, which leaves nothing for `c▁` to take.
        assert_eq!(ids("abc ab", &[]), [260, 266, 260]);
        assert_eq!(ids("é", &[]), [263, 3 + 0xC3, 3 + 0xA9]);
        let without_space = [("tokenizer.ggml.add_space_prefix", GgufValue::Bool(false))];
        assert_eq!(ids("abc", &without_space), [259, 266]);
    }

    #[test]
    fn a_vocabulary_of_pieces_goes_out_as_it_came_in_and_one_that_merges_otherwise_is_refused() {
        let file = file(&[]);
        let mut tokenizer = json(&file).expect("a tokenizer");
        let target = target_tokens(&tokenizer, 267).expect("it fits");
        assert_eq!(Some(target.texts.as_slice()), file.texts("tokenizer.ggml.tokens"));
        assert_eq!(file.metadata.get("tokenizer.ggml.token_type"), Some(&GgufValue::I32s(target.kinds)));
        assert!(target.adds_start && target.adds_space);
        assert_eq!(target.unknown, Some(0));
        // What is merged, best first.
        assert!(target.scores.expect("scores")[259..263].is_sorted_by(|one, next| one > next));
        let merges = tokenizer["model"]["merges"].as_array_mut().expect("merges");
        assert_eq!(merges.len(), 4);
        merges.push(json!(["▁a", "b"]));
        let misfits = target_tokens(&tokenizer, 267).expect_err("▁ab is made in two places");
        assert!(misfits[0].to_string().contains("▁a b"), "{}", misfits[0]);
    }

    #[test]
    fn what_is_no_such_vocabulary_is_told() {
        for (changes, expected) in [
            ([("tokenizer.ggml.model", GgufValue::Text("bert".to_owned()))], "tokenizer.ggml.model = bert"),
            ([("tokenizer.ggml.scores", GgufValue::F32s(vec![0.0]))], "tokenizer.ggml.scores"),
            ([("tokenizer.ggml.token_type", GgufValue::I32s(vec![1]))], "tokenizer.ggml.token_type"),
            ([("tokenizer.ggml.tokens", GgufValue::Texts(vec!["a".to_owned(); 267]))], "twice"),
        ] {
            let error = json(&file(&changes)).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
