//! Several texts made at once, as one batch: each is what it would be alone, and all are shown in their order.

use std::io::Write;

use anyhow::Result;
use tril_infer::{Batch, Event, GenerateOptions, Step};
use tril_model::Gpt;
use tril_text::{StopTexts, StopWatch, TextStream, Tokenizer, Watched};

use crate::ending::Ending;

/// What texts are made with.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    pub gpt: &'a Gpt,
    pub tokenizer: &'a Tokenizer,
    pub stops: &'a StopTexts,
}

/// A text to be made after a prompt.
#[derive(Debug, Clone)]
pub struct Job {
    pub ids: Vec<u32>,
    pub options: GenerateOptions,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// How many tokens it took, those of a stop text among them.
    pub tokens: usize,
    /// Sum of ln of the model's own probability of these tokens.
    pub logprob: f64,
    pub ending: Ending,
    /// How the token that ended it was drawn, if one did.
    pub stop: Option<Step>,
}

/// What happens to a text.
pub enum Told<'a> {
    /// It has one token more.
    Step(&'a Step),
    /// This much more of it is certain.
    Piece(&'a str),
    /// There is no more of it.
    End(Written),
}

impl<'a> Writer<'a> {
    /// Makes all texts, at most `width` at a time, and tells of each by its number what happens to it.
    ///
    /// # Errors
    /// Of the generator, of the tokenizer, and what `tell` returns.
    pub fn write(self, jobs: &[Job], width: usize, mut tell: impl FnMut(usize, Told<'_>) -> Result<()>) -> Result<()> {
        let mut batch = Batch::new(self.gpt);
        let mut texts: Vec<Option<Text<'a>>> = jobs.iter().map(|_| None).collect();
        let mut begun = 0;
        loop {
            while begun < jobs.len() && batch.len() < width {
                // Sequences are numbered as they join, so their numbers are those of the jobs.
                let number = batch.join(&jobs[begun].ids, jobs[begun].options.clone())?;
                texts[number] = Some(Text::new(self.tokenizer, self.stops));
                begun += 1;
            }
            if batch.is_empty() {
                return Ok(());
            }
            for (number, event) in batch.step()? {
                let ending = match event {
                    Event::Step(step) => {
                        tell(number, Told::Step(&step))?;
                        let Some(text) = &mut texts[number] else { continue };
                        let (piece, ending) = text.take(&step)?;
                        show(number, &piece, &mut tell)?;
                        ending.map(|ending| (ending, None))
                    }
                    Event::Ended(ended) => Some((Ending::Finish(ended.finish), ended.stop)),
                };
                if let Some((ending, stop)) = ending {
                    batch.leave(number);
                    let Some(text) = texts[number].take() else { continue };
                    let (piece, written) = text.end(ending, stop)?;
                    show(number, &piece, &mut tell)?;
                    tell(number, Told::End(written))?;
                }
            }
        }
    }
}

impl Writer<'_> {
    /// Makes a single text and writes it as it comes.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn write_one(self, ids: &[u32], options: &GenerateOptions, out: &mut impl Write) -> Result<()> {
        let job = Job { ids: ids.to_vec(), options: options.clone() };
        self.write(&[job], 1, |_, what| {
            if let Told::Piece(piece) = what {
                write!(out, "{piece}")?;
                out.flush()?;
            }
            Ok(())
        })
    }
}

fn show(number: usize, piece: &str, tell: &mut impl FnMut(usize, Told<'_>) -> Result<()>) -> Result<()> {
    if piece.is_empty() { Ok(()) } else { tell(number, Told::Piece(piece)) }
}

/// A text while it is made: tokens go in, what is certain comes out.
struct Text<'a> {
    stream: TextStream<'a>,
    stops: StopWatch<'a>,
    tokens: usize,
    logprob: f64,
}

impl<'a> Text<'a> {
    fn new(tokenizer: &'a Tokenizer, stops: &'a StopTexts) -> Self {
        Self { stream: tokenizer.stream(), stops: stops.watch(), tokens: 0, logprob: 0.0 }
    }

    /// What is certain after one more token, and the ending if a stop text has appeared.
    fn take(&mut self, step: &Step) -> Result<(String, Option<Ending>)> {
        self.tokens += 1;
        self.logprob += step.logprob;
        let piece = self.stream.push(step.token)?.unwrap_or_default();
        Ok(certain(self.stops.push(&piece)))
    }

    /// What was held back, now that no more tokens come; a stop text in it is the ending after all.
    fn end(mut self, ending: Ending, stop: Option<Step>) -> Result<(String, Written)> {
        let Self { tokens, logprob, .. } = self;
        let (mut piece, stopped) = certain(self.stops.push(&self.stream.finish()?));
        piece.push_str(&self.stops.finish());
        let (ending, stop) = stopped.map_or((ending, stop), |stopped| (stopped, None));
        Ok((piece, Written { tokens, logprob, ending, stop }))
    }
}

fn certain(watched: Watched<'_>) -> (String, Option<Ending>) {
    (watched.text, watched.stop.map(|text| Ending::StopText(text.to_owned())))
}

/// Writes texts in their order, the first that is not complete as it comes.
pub struct InOrder<W> {
    out: W,
    texts: Vec<Held>,
    current: usize,
}

/// A text whose turn has not come.
struct Held {
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
    pub fn new(openings: Vec<String>, out: W) -> Result<Self> {
        let texts = openings.into_iter().map(|text| Held { text, is_complete: false }).collect();
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

    /// Writes what can be written.
    fn release(&mut self) -> Result<()> {
        while let Some(held) = self.texts.get_mut(self.current) {
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
        let mut out = Vec::new();
        let mut in_order = InOrder::new(vec!["a".into(), "b".into(), "c".into()], &mut out).expect("written");
        in_order.piece(1, "B").expect("written");
        in_order.piece(0, "A").expect("written");
        in_order.end(2).expect("written");
        in_order.end(1).expect("written");
        assert_eq!(
            String::from_utf8_lossy(in_order.out),
            "aA",
            "the first as it comes, the others when it is complete"
        );
        in_order.end(0).expect("written");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), "aA\n---------------\nbB\n---------------\nc\n");
    }
}
