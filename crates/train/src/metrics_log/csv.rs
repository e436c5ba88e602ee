//! Metrics as comma-separated values (RFC 4180, lines ended by a newline alone).

use serde_json::Value;

/// What steps and evaluations say; what one of them does not say is empty.
const COLUMNS: [&str; 10] = [
    "kind",
    "step",
    "loss",
    "grad_norm",
    "learning_rate",
    "tokens_per_second",
    "perplexity",
    "bits_per_byte",
    "tokens",
    "bytes",
];

pub(super) fn header() -> Vec<u8> {
    (COLUMNS.join(",") + "\n").into_bytes()
}

/// A record as a line. Numbers are written as in `metrics.jsonl`, so that they read back as the same.
pub(super) fn line(record: &Value) -> Vec<u8> {
    let cell = |column: &&str| match record.get(*column) {
        None | Some(Value::Null) => String::new(),
        // Names of kinds, which need no quotes.
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    (COLUMNS.iter().map(cell).collect::<Vec<_>>().join(",") + "\n").into_bytes()
}
