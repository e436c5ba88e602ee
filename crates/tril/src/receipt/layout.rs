//! How a receipt is laid out for readers: a line a field, and a line a token.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// Objects in an array that is the fifth of what is open, or a later one, are on one line: tokens are, samples in the
/// fourth and prompts in the second are not.
const LINES: usize = 5;

/// JSON, with a newline at the end.
pub fn to_bytes(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Layout::default()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A [`PrettyFormatter`] that leaves some objects on one line.
#[derive(Default)]
struct Layout {
    pretty: PrettyFormatter<'static>,
    /// What is open: arrays and objects.
    open: Vec<Kind>,
    /// How much was open before the object that is on one line, if one is.
    line: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Object,
}

impl Layout {
    /// Closes what was opened last; whether that was on one line.
    fn close(&mut self) -> bool {
        let on_line = self.line.is_some();
        self.open.pop();
        self.line = self.line.filter(|line| self.open.len() > *line);
        on_line
    }
}

impl Formatter for Layout {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open.push(Kind::Array);
        if self.line.is_some() { writer.write_all(b"[") } else { self.pretty.begin_array(writer) }
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.close() { writer.write_all(b"]") } else { self.pretty.end_array(writer) }
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        match (self.line, first) {
            (None, _) => self.pretty.begin_array_value(writer, first),
            (Some(_), true) => Ok(()),
            (Some(_), false) => writer.write_all(b", "),
        }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.line.is_some() { Ok(()) } else { self.pretty.end_array_value(writer) }
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.open.len() >= LINES && self.open.last() == Some(&Kind::Array) {
            self.line.get_or_insert(self.open.len());
        }
        self.open.push(Kind::Object);
        if self.line.is_some() { writer.write_all(b"{") } else { self.pretty.begin_object(writer) }
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.close() { writer.write_all(b"}") } else { self.pretty.end_object(writer) }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        match (self.line, first) {
            (None, _) => self.pretty.begin_object_key(writer, first),
            (Some(_), true) => Ok(()),
            (Some(_), false) => writer.write_all(b", "),
        }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.line.is_some() { Ok(()) } else { self.pretty.end_object_value(writer) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn tokens_are_on_one_line_each_and_the_rest_on_a_line_a_field() {
        let token = json!({"id": 1, "share": [0.25, 0.5], "more": {"a": []}});
        let value = json!({"prompts": [{"a": [], "prompt": {"tokens": [{"id": 1}]}, "samples": [{"tokens": [token, token]}, {}]}]});
        let text = String::from_utf8(to_bytes(&value).expect("JSON")).expect("UTF-8");
        let line = r#"{"id": 1, "more": {"a": []}, "share": [0.25, 0.5]}"#;
        let expected = format!(
            r#"{{
  "prompts": [
    {{
      "a": [],
      "prompt": {{
        "tokens": [
          {{"id": 1}}
        ]
      }},
      "samples": [
        {{
          "tokens": [
            {line},
            {line}
          ]
        }},
        {{}}
      ]
    }}
  ]
}}
"#
        );
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
    }

    #[test]
    fn numbers_are_read_as_they_were_written_to_the_last_bit() {
        let mut bits = 0x3fe5_5555_0000_0000_u64;
        let numbers: Vec<f64> = std::iter::repeat_with(|| {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from_bits(bits >> 2)
        })
        .filter(|number| number.is_finite())
        .take(20_000)
        .collect();
        let bytes = to_bytes(&numbers).expect("JSON");
        let read: Vec<f64> = serde_json::from_slice(&bytes).expect("JSON");
        let bits = |numbers: &[f64]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(&numbers));
    }
}
