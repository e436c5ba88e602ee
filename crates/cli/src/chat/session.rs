//! A text that a user and a model write in turn, and going back in it. Knows no terminal.

#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use tril_infer::{Finish, Generator, PrefixCache};
use tril_model::Gpt;
use tril_text::{Part, TextError, Tokenizer};

use super::settings::Settings;
use crate::args::Format;
use crate::ending::Ending;
use crate::sample::prompt_ids;
use crate::view::{Certain, Rest, View, show};

const NO_LINE: &str = "there is no line to go back to";

/// A chat. The ids so far are the turns'; what the model computed for them is kept and used again as far as it can be.
pub struct Session<'a> {
    gpt: &'a Gpt,
    tokenizer: &'a Tokenizer,
    format: Format,
    first_index: u64,
    pub settings: Settings,
    turns: Vec<Turn>,
    remembered: Option<PrefixCache>,
    /// What was remembered before the last turn: where a window's cache cannot be taken back, this can still be used.
    before_last: Option<PrefixCache>,
}

/// What a user added, and what the model did.
struct Turn {
    line: String,
    said: Written,
    answer: Written,
    sample_index: u64,
    /// The model ended the text with this turn; another begins with the next.
    ends_text: bool,
}

#[derive(Default)]
struct Written {
    ids: Vec<u32>,
    text: String,
}

/// How an answer came about.
pub struct Report {
    pub tokens: usize,
    pub not_shown: usize,
    pub ending: Ending,
    /// How many tokens the model saw for the first one, and how many of these it had to compute.
    pub context: usize,
    pub computed: usize,
    /// How many tokens left a full context on the way.
    pub dropped: usize,
}

impl<'a> Session<'a> {
    pub fn new(
        gpt: &'a Gpt,
        tokenizer: &'a Tokenizer,
        format: Format,
        first_index: u64,
        settings: Settings,
    ) -> Session<'a> {
        Self { gpt, tokenizer, format, first_index, settings, turns: vec![], remembered: None, before_last: None }
    }

    /// Adds a line and writes what follows it, until `stop` if not before. If that fails, nothing is added. After an empty
    /// line the text goes on as it would have without a pause.
    pub fn say(&mut self, line: &str, out: &mut impl Write, stop: &AtomicBool) -> Result<Report> {
        let index = self.turns.last().filter(|_| line.is_empty()).map_or(self.first_index, |last| last.sample_index);
        self.take_turn(line, index, out, stop)
    }

    /// Takes the last line and its answer back; returns the line.
    pub fn undo(&mut self) -> Result<String> {
        let Some(turn) = self.turns.pop() else { bail!(NO_LINE) };
        if let Some(before) = self.before_last.take() {
            self.remembered = Some(before);
        }
        Ok(turn.line)
    }

    /// Another answer to the last line: its next sample.
    pub fn regenerate(&mut self, out: &mut impl Write, stop: &AtomicBool) -> Result<Report> {
        let index = self.turns.last().map_or(0, |turn| turn.sample_index.wrapping_add(1));
        let line = self.last_line()?.to_owned();
        self.retake(&line, index, out, stop)
    }

    /// The same as if this line had been typed in place of the last one.
    pub fn edit(&mut self, line: &str, out: &mut impl Write, stop: &AtomicBool) -> Result<Report> {
        self.retake(line, self.first_index, out, stop)
    }

    /// The last line that was typed.
    pub fn last_line(&self) -> Result<&str> {
        match self.turns.last() {
            Some(turn) => Ok(&turn.line),
            None => bail!(NO_LINE),
        }
    }

    /// Changes a setting; see [`Settings::set`].
    pub fn set(&mut self, name: &str, values: Vec<String>) -> Result<()> {
        self.settings.set(name, values, self.tokenizer)
    }

    /// The text so far, hidden parts too.
    pub fn transcript(&self) -> String {
        let mut transcript = String::new();
        for turn in &self.turns {
            transcript += &turn.said.text;
            transcript += &turn.answer.text;
            if turn.ends_text {
                let rule = if transcript.ends_with('\n') { "\n" } else { "\n\n" };
                transcript += rule;
            }
        }
        transcript
    }

    fn retake(&mut self, line: &str, index: u64, out: &mut impl Write, stop: &AtomicBool) -> Result<Report> {
        let Some(last) = self.turns.pop() else { bail!(NO_LINE) };
        if let Some(before) = &self.before_last {
            self.remembered = Some(before.clone());
        }
        let retaken = self.take_turn(line, index, out, stop);
        if retaken.is_err() {
            self.turns.push(last);
        }
        retaken
    }

    fn take_turn(&mut self, line: &str, index: u64, out: &mut impl Write, stop: &AtomicBool) -> Result<Report> {
        let said = self.said(line).map_err(|error| error.in_text("the line"))?;
        let ids: Vec<u32> = self.turns.iter().flat_map(Turn::ids).chain(&said.ids).copied().collect();
        let options = self.settings.options(index, self.tokenizer.end_of_text());
        let remembered = self.remembered.clone();
        let mut generator = Generator::resume(self.gpt, &ids, options, self.remembered.take())?;
        let before = self.transcript() + &said.text;
        let mut view = View::new(self.tokenizer, self.settings.filters(), &before);
        let mut answer = Written::default();
        let (mut context, mut computed, mut dropped, mut ending) = (0, 0, 0, None);
        for step in &mut generator {
            let step = step?;
            if answer.ids.is_empty() {
                (context, computed) = (step.context, step.computed);
            }
            dropped += step.dropped;
            answer.ids.push(step.token);
            let Certain { parts, stop: stop_text } = view.push(step.token)?;
            answer.add(&parts, out)?;
            let interrupted = stop.load(Ordering::Relaxed).then_some(Ending::Interrupted);
            ending = stop_text.map(Ending::from).or(interrupted);
            if ending.is_some() {
                break;
            }
        }
        let tokens = answer.ids.len();
        let finish = generator.ended().map(|ended| ended.finish);
        let ends_text = finish == Some(Finish::EndOfText);
        // A text that may go on is not cut within a character: its tokens come again.
        let Rest { parts, stop: stop_text, not_shown } = if ends_text { view.finish()? } else { view.pause() };
        answer.add(&parts, out)?;
        let ending = ending.or_else(|| stop_text.map(Ending::from)).or(finish.map(Ending::Finish));
        let ending = ending.unwrap_or(Ending::Interrupted);
        answer.ids = cut(self.tokenizer, answer.ids, &answer.text)?;
        self.remembered = generator.into_prefix_cache();
        self.before_last = remembered;
        self.turns.push(Turn { line: line.to_owned(), said, answer, sample_index: index, ends_text });
        Ok(Report { tokens, not_shown, ending, context, computed, dropped })
    }

    /// What a line adds to the text. An empty one adds nothing but the end of a text that the model has ended, and what
    /// the very first token follows.
    fn said(&self, line: &str) -> Result<Written, TextError> {
        let Format { before, after } = &self.format;
        let text = if line.is_empty() { String::new() } else { format!("{before}{line}{after}") };
        let ids = match self.turns.last() {
            None => prompt_ids(self.tokenizer, &text)?,
            Some(last) => {
                let end = self.tokenizer.end_of_text().filter(|_| last.ends_text);
                end.into_iter().chain(self.tokenizer.encode(&text)?).collect()
            }
        };
        Ok(Written { ids, text })
    }
}

impl Turn {
    fn ids(&self) -> impl Iterator<Item = &u32> {
        self.said.ids.iter().chain(&self.answer.ids)
    }
}

impl Written {
    /// Adds parts of a text and writes those that are shown.
    fn add(&mut self, parts: &[Part], out: &mut impl Write) -> std::io::Result<()> {
        self.text.extend(parts.iter().map(Part::text));
        show(parts, out)
    }
}

/// Ids that say `text`, the beginning of what `ids` say: as many of them as are part of it, and the rest encoded anew.
fn cut(tokenizer: &Tokenizer, mut ids: Vec<u32>, text: &str) -> Result<Vec<u32>, TextError> {
    loop {
        let said = tokenizer.decode(&ids)?;
        if let Some(rest) = text.strip_prefix(said.as_str()) {
            ids.extend(if rest.is_empty() { vec![] } else { tokenizer.encode(rest)? });
            return Ok(ids);
        }
        ids.pop();
    }
}
