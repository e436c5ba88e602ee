//! Several texts made at once, as one batch: each is what it would be alone, and all are shown in their order.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tril_infer::{BatchGenerator, Event, GenerateOptions, Step};
use tril_model::Gpt;
use tril_text::{Part, Tokenizer};

use crate::ending::Ending;
use crate::view::{Certain, Filters, Rest, View};

/// What texts are made with.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    pub gpt: &'a Gpt,
    pub tokenizer: &'a Tokenizer,
    pub filters: &'a Filters,
    /// Once it is set, texts end where they are.
    pub stop: &'a AtomicBool,
}

/// A text to be made after a prompt.
#[derive(Debug, Clone)]
pub struct Job {
    /// The prompt, where hidden parts may begin.
    pub prompt: String,
    pub ids: Vec<u32>,
    pub options: GenerateOptions,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// How many tokens it took, those of a stop text among them.
    pub tokens: usize,
    /// How many of them stand in hidden parts.
    pub not_shown: usize,
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
    /// This much more of it is certain, and to be shown.
    Piece(&'a str),
    /// There is no more of it.
    End(Written),
    /// It will not begin, nor any after it.
    Never,
}

impl<'a> Writer<'a> {
    /// Makes all texts, at most `width` at a time, and tells of each by its number what happens to it.
    ///
    /// # Errors
    /// Of the generator, of the tokenizer, and what `tell` returns.
    pub fn write(self, jobs: &[Job], width: usize, mut tell: impl FnMut(usize, Told<'_>) -> Result<()>) -> Result<()> {
        let mut batch = BatchGenerator::new(self.gpt);
        let mut texts: Vec<Option<Text<'a>>> = jobs.iter().map(|_| None).collect();
        let mut begun = 0;
        loop {
            while begun < jobs.len() && batch.len() < width {
                // Sequences are numbered as they join, so their numbers are those of the jobs.
                let number = batch.add(&jobs[begun].ids, jobs[begun].options.clone())?;
                texts[number] = Some(Text::new(View::new(self.tokenizer, self.filters, &jobs[begun].prompt)));
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
                        let Certain { parts, stop } = text.take(&step)?;
                        show(number, &parts, &mut tell)?;
                        stop.map(|stop| (Ending::from(stop), None))
                    }
                    Event::Ended(ended) => Some((Ending::Finish(ended.finish), ended.stop)),
                };
                if let Some((ending, stop)) = ending {
                    batch.remove(number);
                    let Some(text) = texts[number].take() else { continue };
                    end(number, text, ending, stop, &mut tell)?;
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                if begun < jobs.len() {
                    tell(begun, Told::Never)?;
                }
                for (number, text) in texts.into_iter().enumerate() {
                    if let Some(text) = text {
                        end(number, text, Ending::Interrupted, None, &mut tell)?;
                    }
                }
                return Ok(());
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
        let job = Job { prompt: String::new(), ids: ids.to_vec(), options: options.clone() };
        self.write(&[job], 1, |_, what| {
            if let Told::Piece(piece) = what {
                write!(out, "{piece}")?;
                out.flush()?;
            }
            Ok(())
        })
    }
}

fn show(number: usize, parts: &[Part], tell: &mut impl FnMut(usize, Told<'_>) -> Result<()>) -> Result<()> {
    parts.iter().try_for_each(|part| match part {
        Part::Shown(text) => tell(number, Told::Piece(text)),
        Part::Hidden(_) => Ok(()),
    })
}

/// Tells what was held back, now that no more tokens come; a stop text in it is the ending after all.
fn end(
    number: usize,
    text: Text<'_>,
    ending: Ending,
    stop_step: Option<Step>,
    tell: &mut impl FnMut(usize, Told<'_>) -> Result<()>,
) -> Result<()> {
    let Text { view, tokens, logprob } = text;
    let Rest { parts, stop, not_shown } = view.finish()?;
    show(number, &parts, tell)?;
    let (ending, stop) = stop.map_or((ending, stop_step), |stop| (Ending::from(stop), None));
    tell(number, Told::End(Written { tokens, not_shown, logprob, ending, stop }))
}

/// A text while it is made: tokens go in, what is certain comes out.
struct Text<'a> {
    view: View<'a>,
    tokens: usize,
    logprob: f64,
}

impl<'a> Text<'a> {
    fn new(view: View<'a>) -> Self {
        Self { view, tokens: 0, logprob: 0.0 }
    }

    /// What is certain after one more token.
    fn take(&mut self, step: &Step) -> Result<Certain<'a>> {
        self.tokens += 1;
        self.logprob += step.logprob;
        Ok(self.view.push(step.token)?)
    }
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

    /// No text from this one on will come.
    pub fn cut(&mut self, number: usize) {
        self.texts.truncate(number);
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
