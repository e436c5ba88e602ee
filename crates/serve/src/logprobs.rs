//! The logarithms of tokens' probabilities as both kinds of completions list them.

use serde_json::{Map, Value, json};
use tril::Tokenizer;

/// What stands for −∞, which JSON has no number for; OpenAI's own API sends it too.
const LEAST: f64 = -9999.0;

/// A token and how probable it was. The first token of a text that nothing predicts has no numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenEntry {
    /// Its id.
    pub id: u32,
    /// Characters of the answer's text before it.
    pub text_offset: usize,
    /// ln p, if something predicted it.
    pub logprob: Option<f64>,
    /// The most probable ids in its place.
    pub top: Vec<(u32, f64)>,
}

/// The lists of `/v1/completions`: tokens, their numbers, their alternatives by text, where they begin.
pub fn as_lists(entries: &[TokenEntry], tokenizer: &Tokenizer) -> Value {
    let tokens: Vec<String> = entries.iter().map(|entry| name(entry.id, tokenizer)).collect();
    let logprobs: Vec<Option<f64>> = entries.iter().map(|entry| entry.logprob.map(finite)).collect();
    let top: Vec<Option<Value>> = entries.iter().map(|entry| alternatives(entry, tokenizer)).collect();
    let offsets: Vec<usize> = entries.iter().map(|entry| entry.text_offset).collect();
    json!({ "tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top, "text_offset": offsets })
}

/// The alternatives of a token by their texts, the token itself among them. Where two have one text, the more probable counts.
fn alternatives(entry: &TokenEntry, tokenizer: &Tokenizer) -> Option<Value> {
    let own = (entry.id, entry.logprob?);
    let mut by_text = Map::new();
    for (id, logprob) in entry.top.iter().chain([&own]) {
        by_text.entry(name(*id, tokenizer)).or_insert_with(|| finite(*logprob).into());
    }
    Some(Value::Object(by_text))
}

/// The list of `/v1/chat/completions`: one object a token.
pub fn as_objects(entries: &[TokenEntry], tokenizer: &Tokenizer) -> Value {
    let object = |id: u32, logprob: f64| {
        let bytes = bytes(id, tokenizer);
        let name = String::from_utf8_lossy(&bytes).into_owned();
        json!({ "token": name, "logprob": finite(logprob), "bytes": bytes })
    };
    let tokens = entries.iter().map(|entry| {
        let mut token = object(entry.id, entry.logprob.unwrap_or(0.0));
        token["top_logprobs"] = entry.top.iter().map(|(id, logprob)| object(*id, *logprob)).collect();
        token
    });
    json!({ "content": tokens.collect::<Vec<_>>() })
}

/// A token's text; its bytes where they are no characters by themselves, in OpenAI's way of writing them.
fn name(id: u32, tokenizer: &Tokenizer) -> String {
    match std::str::from_utf8(&bytes(id, tokenizer)) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let bytes = tokenizer.token_bytes(id).iter().map(|byte| format!("\\x{byte:02x}"));
            format!("bytes:{}", bytes.collect::<String>())
        }
    }
}

/// The bytes of a token; those of its name where it adds none to a text.
fn bytes(id: u32, tokenizer: &Tokenizer) -> Vec<u8> {
    match tokenizer.token_bytes(id) {
        [] => tokenizer.token_text(id).into_bytes(),
        bytes => bytes.to_vec(),
    }
}

fn finite(logprob: f64) -> f64 {
    if logprob.is_finite() { logprob } else { LEAST }
}

#[cfg(test)]
mod tests {
    use tril::text::{TokenizerConfig, TokenizerKind};

    use super::*;

    fn tokenizer() -> Tokenizer {
        let config = TokenizerConfig { kind: TokenizerKind::Byte, end_of_text: true, ..TokenizerConfig::default() };
        Tokenizer::build(&config, &["a"]).expect("a tokenizer")
    }

    #[test]
    fn the_token_itself_is_among_its_alternatives_with_the_same_number() {
        let entry = |logprob, top| TokenEntry { id: 97, text_offset: 3, logprob, top };
        let entries = [
            entry(None, vec![]),
            entry(Some(-0.5), vec![(97, -0.5), (98, -1.5)]),
            entry(Some(-2.0), vec![(0xe4, -0.5), (256, f64::NEG_INFINITY)]),
        ];
        let expected = json!({
            "tokens": ["a", "a", "a"],
            "token_logprobs": [null, -0.5, -2.0],
            "top_logprobs": [null, {"a": -0.5, "b": -1.5}, {"a": -2.0, "bytes:\\xe4": -0.5, "<|endoftext|>": -9999.0}],
            "text_offset": [3, 3, 3],
        });
        assert_eq!(as_lists(&entries, &tokenizer()), expected);
    }

    #[test]
    fn a_chats_tokens_have_their_bytes() {
        let entries = [TokenEntry { id: 0xe7, text_offset: 0, logprob: Some(-1.0), top: vec![(97, -1.5)] }];
        let expected = json!({ "content": [{
            "token": "\u{fffd}", "logprob": -1.0, "bytes": [0xe7],
            "top_logprobs": [{ "token": "a", "logprob": -1.5, "bytes": [97] }],
        }]});
        assert_eq!(as_objects(&entries, &tokenizer()), expected);
    }
}
