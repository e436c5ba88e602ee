//! What is done to a file or a command line that was right.

use serde_json::{Value, json};
use tril::model::random::hash;

/// Random numbers that an input's number names.
pub struct Draws {
    seed: u64,
    count: u64,
}

impl Draws {
    /// Those of an input.
    pub fn of(input: u64) -> Self {
        Self { seed: hash([0, input]), count: 0 }
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.count += 1;
        (hash([self.seed, self.count]) % end.max(1) as u64) as usize
    }

    /// One of some values.
    pub fn one_of<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }
}

/// Values that readers trip over.
pub fn odd_values() -> Vec<Value> {
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let numbers =
        [json!(-1), json!(0), json!(1), json!(255), json!(65_536), json!(u32::MAX), json!(u64::MAX), json!(1e308)];
    let texts = ["", "a", "\u{1b}[2J", "\u{0}", "猫", "../..", "[", "(a+)+$", "<|endoftext|>"].map(|text| json!(text));
    let others =
        [json!(null), json!(true), json!([]), json!({}), json!("x".repeat(10_000)), json!(0.5), json!(-1e-300), deep];
    numbers.into_iter().chain(texts).chain(others).collect()
}

/// Changes some values, fields and entries of JSON.
pub fn mutate_json(text: &[u8], draws: &mut Draws) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(text) else { return mutate_bytes(text, draws) };
    let odd = odd_values();
    for _ in 0..1 + draws.below(3) {
        let mut at = &mut value;
        // Down to some value.
        for _ in 0..draws.below(8) {
            let count = match at {
                Value::Object(fields) => fields.len(),
                Value::Array(values) => values.len(),
                _ => 0,
            };
            if count == 0 {
                break;
            }
            let index = draws.below(count);
            at = match at {
                Value::Object(fields) => fields.iter_mut().nth(index).expect("a field").1,
                Value::Array(values) => &mut values[index],
                _ => unreachable!("it holds something"),
            };
        }
        let other = draws.one_of(&odd).clone();
        match (draws.below(4), at) {
            (0, Value::Object(fields)) if !fields.is_empty() => {
                let name = fields.keys().nth(draws.below(fields.len())).expect("a field").clone();
                fields.remove(&name);
            }
            (1, Value::Object(fields)) => {
                fields.insert((*draws.one_of(&["type", "id", "", "\u{1b}", "n"])).to_owned(), other);
            }
            (0, Value::Array(values)) if !values.is_empty() => {
                values.remove(draws.below(values.len()));
            }
            (1, Value::Array(values)) => {
                let copy = values.first().cloned().unwrap_or(other);
                values.insert(draws.below(values.len() + 1), copy);
            }
            (_, Value::Number(number)) if draws.below(2) == 0 => {
                *number = (number.as_i64().unwrap_or(7).wrapping_add(draws.below(5) as i64 - 2)).into();
            }
            (_, at) => *at = other,
        }
    }
    serde_json::to_vec(&value).expect("JSON")
}

/// Changes some bytes, words or lines.
pub fn mutate_bytes(bytes: &[u8], draws: &mut Draws) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let odd: [&[u8]; 12] = [
        b"-1",
        b"0",
        b"18446744073709551616",
        b"1e999",
        b"nan",
        b"\"",
        b"[",
        b"\x1b[2J",
        b"\xff\xfe",
        b"\n",
        b"=",
        b"\\u0000",
    ];
    for _ in 0..1 + draws.below(4) {
        let at = draws.below(bytes.len() + 1);
        let end = (at + 1 + draws.below(8)).min(bytes.len());
        match draws.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << draws.below(8),
            1 => drop(bytes.splice(at..end.max(at), Vec::new())),
            2 => bytes.truncate(at),
            3 => {
                let copy = bytes[at.min(end)..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            // A whole word or number.
            4 => {
                let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.' || *byte == b'_';
                let end = at + bytes[at..].iter().take_while(|byte| is_word(byte)).count();
                drop(bytes.splice(at..end, draws.one_of(&odd).to_vec()));
            }
            _ => drop(bytes.splice(at..at, draws.one_of(&odd).to_vec())),
        }
    }
    bytes
}
