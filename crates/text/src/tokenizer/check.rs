//! What a tokenizer.json may hold, looked at before the library reads it: the library allocates what a file names, goes
//! as deep as a file does, and lets a few bytes grow into gigabytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// Bytes of a file. The largest vocabularies in use take some 40 million.
const MAX_BYTES: usize = 1 << 28;
/// Parts within parts, and parts in all, of one step of the pipeline. The library tries every kind of part at each level,
/// so its time grows with the power of the depth.
const MAX_DEPTH: usize = 4;
const MAX_PARTS: usize = 64;
/// How many times as long a text may become by all replacements of one step.
const MAX_GROWTH: usize = 64;
/// Length of a pattern or of any other text in a part.
const MAX_TEXT: usize = 4096;
/// Any number in a part, such as characters to strip.
const MAX_NUMBER: f64 = 65_536.0;

/// The steps of the pipeline that are made of parts.
const STEPS: [&str; 4] = ["normalizer", "pre_tokenizer", "post_processor", "decoder"];

/// Reads the text as JSON and refuses what no honest tokenizer has; the error is a reason for a message.
pub(super) fn check(json: &str) -> Result<Value, String> {
    if json.len() > MAX_BYTES {
        return Err(format!("it has {} bytes, more than {MAX_BYTES}", json.len()));
    }
    let file: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    for step in STEPS {
        let mut found = Found { parts: 0, growth: 1 };
        if let Some(part) = file.get(step) {
            found.check(part, 0).map_err(|reason| format!("{step}: {reason}"))?;
        }
    }
    Ok(file)
}

/// What one step was found to hold.
struct Found {
    parts: usize,
    growth: usize,
}

impl Found {
    fn check(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        match value {
            Value::Object(fields) => {
                self.part(value, depth)?;
                // Special tokens of a template are as many as there are; they are no parts.
                let is_table = |name: &String| name == "special_tokens";
                fields.iter().filter(|(name, _)| !is_table(name)).try_for_each(|(name, value)| match name.as_str() {
                    "precompiled_charsmap" => check_charsmap(value),
                    _ => self.check(value, depth),
                })
            }
            Value::Array(values) => values.iter().try_for_each(|value| self.check(value, depth + 1)),
            Value::String(text) if text.len() > MAX_TEXT => {
                Err(format!("a text of {} bytes, more than {MAX_TEXT}", text.len()))
            }
            Value::Number(number) if number.as_f64().is_none_or(|number| !(0.0..=MAX_NUMBER).contains(&number)) => {
                Err(format!("the number {number}, which is not from 0 to {MAX_NUMBER}"))
            }
            _ => Ok(()),
        }
    }

    fn part(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        self.parts += usize::from(text("type").is_some());
        if depth > MAX_DEPTH {
            return Err(format!("parts within parts more than {MAX_DEPTH} deep"));
        }
        if self.parts > MAX_PARTS {
            return Err(format!("more than {MAX_PARTS} parts"));
        }
        match text("type") {
            Some("Precompiled") if value.get("precompiled_charsmap").is_none() => {
                Err("a Precompiled part without its precompiled_charsmap".to_owned())
            }
            Some("FixedLength") if value.get("length").and_then(Value::as_u64) == Some(0) => {
                Err("a FixedLength part of length 0".to_owned())
            }
            Some("Replace") => {
                self.growth = self.growth.saturating_mul(text("content").map_or(1, str::len).max(1));
                if self.growth > MAX_GROWTH {
                    return Err(format!("Replace parts that make a text more than {MAX_GROWTH} times as long"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A `SentencePiece` map in base64: the length of a trie in bytes, the trie, and UTF-8 text that it points into.
fn check_charsmap(value: &Value) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("precompiled_charsmap {what}"));
    let Some(bytes) = value.as_str().and_then(|text| STANDARD.decode(text).ok()) else { return wrong("is not base64") };
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return wrong("is cut off") };
    let size = u32::from_le_bytes(*size) as usize;
    match rest.split_at_checked(size) {
        None => wrong("is cut off"),
        Some(([], _)) => wrong("has an empty trie"),
        Some((trie, _)) if !trie.len().is_multiple_of(4) => wrong("has a trie of broken units"),
        Some((_, text)) if std::str::from_utf8(text).is_err() => wrong("holds text that is not UTF-8"),
        Some(_) => Ok(()),
    }
}
