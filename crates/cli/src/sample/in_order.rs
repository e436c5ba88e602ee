//! Several texts that are made at once, shown one after another.

use std::io::Write;

use anyhow::Result;

use crate::shown::TextWriter;
use crate::style::{PROMPT, on_stdout};

/// Writes texts in their order, the first that is not complete as it comes.
pub struct InOrder<W: Write> {
    out: TextWriter<W>,
    texts: Vec<Held>,
    current: usize,
}

/// A text whose turn has not come.
struct Held {
    /// What it begins with, until that is written.
    opening: String,
    text: String,
    is_complete: bool,
}

/// Between two texts.
const RULE: &str = "\n---------------\n";

impl<W: Write> InOrder<W> {
    /// - openings: what each text begins with
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(openings: Vec<String>, out: TextWriter<W>) -> Result<Self> {
        let held = |opening| Held { opening, text: String::new(), is_complete: false };
        let texts = openings.into_iter().map(held).collect();
        let mut in_order = Self { out, texts, current: 0 };
        in_order.release()?;
        Ok(in_order)
    }

    /// # Errors
    /// If it cannot be written.
    pub fn piece(&mut self, number: usize, piece: &str) -> Result<()> {
        self.texts[number].text.push_str(piece);
        self.release()
    }

    /// # Errors
    /// If it cannot be written.
    pub fn end(&mut self, number: usize) -> Result<()> {
        self.texts[number].is_complete = true;
        self.release()
    }

    /// No text from this one on will come.
    pub fn cut(&mut self, number: usize) {
        self.texts.truncate(number);
    }

    /// Writes what can be written.
    fn release(&mut self) -> Result<()> {
        while let Some(held) = self.texts.get_mut(self.current) {
            self.out.styled(on_stdout(PROMPT), &std::mem::take(&mut held.opening))?;
            write!(self.out, "{}", std::mem::take(&mut held.text))?;
            if !held.is_complete {
                break;
            }
            self.current += 1;
            write!(self.out, "{}", if self.current < self.texts.len() { RULE } else { "\n" })?;
        }
        Ok(self.out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_written_in_their_order_whichever_is_complete_first() {
        let openings = vec!["a".into(), "b".into(), "c".into()];
        let mut in_order = InOrder::new(openings, TextWriter::raw(Vec::new())).expect("written");
        in_order.piece(1, "B").expect("written");
        in_order.piece(0, "A").expect("written");
        in_order.end(2).expect("written");
        in_order.end(1).expect("written");
        let written = |in_order: &InOrder<Vec<u8>>| String::from_utf8_lossy(in_order.out.written()).into_owned();
        assert_eq!(written(&in_order), "aA", "the first as it comes, the others when it is complete");
        in_order.end(0).expect("written");
        assert_eq!(written(&in_order), "aA\n---------------\nbB\n---------------\nc\n");
    }
}
