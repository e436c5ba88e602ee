//! Between which tokens a model has seen texts: what an empty prompt begins with, and what ends a text. A vocabulary may
//! have tokens for both that stood nowhere in what the model learnt from.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::Tokenizer;
use crate::error::TextError;

/// What a model has learnt that texts begin and end with, in the form of Hugging Face's `generation_config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct TextBounds {
    /// What an empty prompt stands for; none leaves it to [`Tokenizer::encode_prompt`].
    pub bos_token_id: Option<u32>,
    /// What ends a text; none where no text that was learnt from has an end.
    pub eos_token_id: Option<u32>,
}

impl TextBounds {
    /// What can be learnt from a training text: an end of text that stands in it, and a beginning that does.
    #[must_use]
    pub fn learnt(tokenizer: &Tokenizer, training: &[u32]) -> Self {
        Self::learnt_from(tokenizer, training.first().copied(), |id| training.contains(&id))
    }

    /// The same of a training text of which is known what it begins with and which ids stand in it.
    #[must_use]
    pub fn learnt_from(tokenizer: &Tokenizer, first: Option<u32>, stands_in_it: impl Fn(u32) -> bool) -> Self {
        let is_learnt = |id: &u32| stands_in_it(*id);
        let eos_token_id = tokenizer.end_of_text().filter(is_learnt);
        let start = tokenizer.default_start(eos_token_id);
        let is_known = !start.is_empty() && start.iter().all(is_learnt);
        let bos_token_id = first.filter(|_| !is_known);
        Self { bos_token_id, eos_token_id }
    }

    /// Reads a `generation_config.json`; `origin` is for error messages. Where it names no end of text, the tokenizer does.
    ///
    /// # Errors
    ///
    /// `InvalidBounds`.
    pub fn from_json(json: &[u8], origin: &Path, tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let read = || {
            let file: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
            if !file.is_object() {
                return Err("it is no object".to_owned());
            }
            let bos_token_id = id(&file, "bos_token_id", None)?;
            Ok(Self { bos_token_id, eos_token_id: id(&file, "eos_token_id", tokenizer.end_of_text())? })
        };
        read().map_err(|reason| TextError::InvalidBounds { path: origin.to_owned(), reason })
    }

    /// The text of a `generation_config.json`.
    ///
    /// # Errors
    ///
    /// None that is not a fault of this library.
    pub fn to_json(&self) -> Result<String, TextError> {
        serde_json::to_string_pretty(self).map(|json| json + "\n").map_err(TextError::library("save"))
    }
}

/// The id that a field names: the first where it names several, `absent` where there is no such field.
fn id(file: &Value, field: &str, absent: Option<u32>) -> Result<Option<u32>, String> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match file.get(field) {
        None => Ok(absent),
        Some(Value::Null) => Ok(None),
        Some(Value::Array(ids)) if !ids.is_empty() && ids.iter().all(|id| one(id).is_some()) => Ok(one(&ids[0])),
        Some(value) => one(value).map(Some).ok_or_else(|| format!("`{field}` is {value}, which is no token id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TokenizerConfig, TokenizerKind};

    fn tokenizer(kind: TokenizerKind) -> Tokenizer {
        let config = TokenizerConfig { kind, end_of_text: true, ..TokenizerConfig::default() };
        Tokenizer::build(&config, &["ab\n"]).expect("a tokenizer")
    }

    #[test]
    fn what_is_learnt_is_what_stands_in_the_training_text() {
        let tokenizer = tokenizer(TokenizerKind::Byte);
        let end = tokenizer.end_of_text();
        let learnt = |ids: &[u32]| TextBounds::learnt(&tokenizer, ids);
        assert_eq!(learnt(&[97, 10, 256, 98]), TextBounds { bos_token_id: None, eos_token_id: end });
        assert_eq!(learnt(&[97, 10, 98]), TextBounds { bos_token_id: None, eos_token_id: None });
        assert_eq!(learnt(&[98, 97]), TextBounds { bos_token_id: Some(98), eos_token_id: None });
        let prompt = |bounds: TextBounds| tokenizer.clone().with_bounds(bounds).expect("known").encode_prompt("");
        assert_eq!(prompt(learnt(&[97, 10, 256])).expect("ids"), [256]);
        assert_eq!(prompt(learnt(&[97, 10])).expect("ids"), [10]);
        assert_eq!(prompt(learnt(&[98, 97])).expect("ids"), [98]);
    }

    #[test]
    fn files_of_others_are_read_and_what_is_no_id_is_told() {
        let tokenizer = tokenizer(TokenizerKind::Char);
        let read = |json: &str| TextBounds::from_json(json.as_bytes(), Path::new("x.json"), &tokenizer);
        let bounds = |bos_token_id, eos_token_id| TextBounds { bos_token_id, eos_token_id };
        for (json, expected) in [
            ("{\"bos_token_id\": 1, \"eos_token_id\": [2, 0], \"top_k\": 4}", bounds(Some(1), Some(2))),
            ("{\"eos_token_id\": null}", bounds(None, None)),
            ("{}", bounds(None, tokenizer.end_of_text())),
        ] {
            assert_eq!(read(json).expect(json), expected, "{json}");
        }
        for bounds in [bounds(None, None), bounds(Some(0), Some(3))] {
            assert_eq!(read(&bounds.to_json().expect("JSON")).expect("its own"), bounds);
        }
        for json in ["", "[]", "{\"bos_token_id\": -1}", "{\"eos_token_id\": [\"a\"]}", "{\"eos_token_id\": []}"] {
            let error = read(json).expect_err(json).to_string();
            assert!(error.starts_with("x.json: not a usable generation_config.json: "), "{error}");
        }
        assert!(tokenizer.clone().with_bounds(bounds(Some(4), None)).is_err(), "beyond the vocabulary");
    }
}
