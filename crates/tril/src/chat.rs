//! A text that a user and a model write in turn, and going back in it. What was computed for it is kept and used again.

use std::ops::ControlFlow;

use tril_infer::{DraftTally, FinishReason, GenerateOptions, PrefixCache};
use tril_text::{HiddenParts, StopTexts, TextError, Tokenizer};

use crate::generate::{CutCharacter, GenerateRequest, GeneratedText, TextEventKind};
use crate::unescape::unescape;
use crate::{Draft, Error, Model};

/// A text in turns. The ids so far are the turns'; what the model computed for them is used again as far as it can be.
pub struct Chat {
    model: Model,
    format: ChatFormat,
    /// How answers are made; may be changed between turns.
    pub settings: ChatSettings,
    turns: Vec<Turn>,
    prefix_cache: Option<PrefixCache>,
    draft: Option<Draft>,
    /// The cache before the last turn: where a window's cache cannot be taken back, this can still be used.
    before_last: Option<PrefixCache>,
}

/// How answers are made.
#[derive(Debug, Clone, Default)]
pub struct ChatSettings {
    /// How tokens are chosen. `sample_index` is that of the first answer to a line; `stop_token` is not looked at: the
    /// tokenizer's end-of-text token ends an answer.
    pub options: GenerateOptions,
    /// Texts that end an answer and are no part of it.
    pub stop: StopTexts,
    /// Parts that are generated and kept, but not shown.
    pub hidden: HiddenParts,
}

/// What stands before and after the line that a user adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChatFormat {
    /// Before it.
    pub before: String,
    /// After it.
    pub after: String,
}

/// What a user added, and what the model did.
struct Turn {
    line: String,
    said: Passage,
    answer: Passage,
    sample_index: u64,
    /// The model ended the text with this turn; another begins with the next.
    ends_text: bool,
}

/// Part of the text, with its ids.
#[derive(Default)]
struct Passage {
    ids: Vec<u32>,
    text: String,
}

/// How an answer came about.
#[derive(Debug, Clone)]
pub struct ChatReply {
    /// How many tokens it has, hidden ones and those of a stop text included.
    pub tokens: usize,
    /// How many of them are not shown.
    pub hidden_tokens: usize,
    /// Why there are no more.
    pub finish: FinishReason,
    /// The stop text that ended it, if one did.
    pub stop_text: Option<String>,
    /// How many tokens the model saw for the first one.
    pub context: usize,
    /// How many of these had to be computed; the others were known from the turns before.
    pub computed: usize,
    /// How many tokens left a full context on the way.
    pub dropped: usize,
    /// How guesses fared, where some were made.
    pub guesses: DraftTally,
}

/// Why a chat could not go on as it was asked to. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// There is no turn before this one.
    #[error("there is no line to go back to")]
    NoLine,
    /// The line or the settings.
    #[error(transparent)]
    Generate(#[from] Error),
    /// What the answer was shown to.
    #[error(transparent)]
    Shown(#[from] std::io::Error),
}

impl From<TextError> for ChatError {
    fn from(error: TextError) -> Self {
        Self::Generate(error.into())
    }
}

/// Takes each piece of an answer that is to be shown, and says whether more is wanted.
pub type ShowPiece<'a> = dyn FnMut(&str) -> std::io::Result<ControlFlow<()>> + 'a;

impl ChatFormat {
    /// Reads a template such as `Q: {}\nA:`, where {} is the line and `\n`, `\t` and `\\` are a new line, a tab and a
    /// backslash.
    ///
    /// # Errors
    /// A message about a template without exactly one {}, or with another letter after a backslash.
    pub fn parse(template: &str) -> Result<Self, String> {
        let parts: Vec<&str> = template.split("{}").collect();
        let [before, after] = parts[..] else {
            return Err(format!("it must hold {{}} once, where the line goes, and holds it {} times", parts.len() - 1));
        };
        Ok(Self { before: unescape(before)?, after: unescape(after)? })
    }
}

impl Chat {
    /// An empty text; see [`Model::chat`].
    pub fn new(model: Model, format: ChatFormat, settings: ChatSettings) -> Self {
        Self { model, format, settings, turns: Vec::new(), prefix_cache: None, draft: None, before_last: None }
    }

    /// Has tokens guessed, so that one pass checks several of them. It changes the time, never an answer.
    #[must_use]
    pub fn with_draft(self, draft: Draft) -> Self {
        Self { draft: Some(draft), ..self }
    }

    /// The model that answers.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Adds a line and has `show` see what follows it, until the answer ends or no more is wanted. After an empty line
    /// the text goes on as it would have without a pause.
    ///
    /// # Errors
    /// [`ChatError::Generate`] for a line that the tokenizer cannot encode, bad settings or a failing model;
    /// [`ChatError::Shown`]. Nothing is added then.
    pub fn say(&mut self, line: &str, show: &mut ShowPiece<'_>) -> Result<ChatReply, ChatError> {
        let first = self.settings.options.sample_index;
        let index = self.turns.last().filter(|_| line.is_empty()).map_or(first, |last| last.sample_index);
        self.take_turn(line, index, show)
    }

    /// Takes the last line and its answer back; returns the line.
    ///
    /// # Errors
    /// [`ChatError::NoLine`].
    pub fn undo(&mut self) -> Result<String, ChatError> {
        let turn = self.turns.pop().ok_or(ChatError::NoLine)?;
        if let Some(before) = self.before_last.take() {
            self.prefix_cache = Some(before);
        }
        Ok(turn.line)
    }

    /// Another answer to the last line: its next sample.
    ///
    /// # Errors
    /// As [`Chat::say`], and [`ChatError::NoLine`].
    pub fn regenerate(&mut self, show: &mut ShowPiece<'_>) -> Result<ChatReply, ChatError> {
        let index = self.turns.last().map_or(0, |turn| turn.sample_index.wrapping_add(1));
        let line = self.last_line()?.to_owned();
        self.retake(&line, index, show)
    }

    /// The same as if this line had been said in place of the last one.
    ///
    /// # Errors
    /// As [`Chat::say`], and [`ChatError::NoLine`].
    pub fn edit(&mut self, line: &str, show: &mut ShowPiece<'_>) -> Result<ChatReply, ChatError> {
        self.retake(line, self.settings.options.sample_index, show)
    }

    /// The last line that was said.
    ///
    /// # Errors
    /// [`ChatError::NoLine`].
    pub fn last_line(&self) -> Result<&str, ChatError> {
        self.turns.last().map(|turn| turn.line.as_str()).ok_or(ChatError::NoLine)
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

    fn retake(&mut self, line: &str, index: u64, show: &mut ShowPiece<'_>) -> Result<ChatReply, ChatError> {
        let last = self.turns.pop().ok_or(ChatError::NoLine)?;
        if let Some(before) = &self.before_last {
            self.prefix_cache = Some(before.clone());
        }
        let retaken = self.take_turn(line, index, show);
        if retaken.is_err() {
            self.turns.push(last);
        }
        retaken
    }

    fn take_turn(&mut self, line: &str, index: u64, show: &mut ShowPiece<'_>) -> Result<ChatReply, ChatError> {
        let tokenizer = self.model.tokenizer();
        let said = self.said(line).map_err(|error| error.in_text("the line"))?;
        let request = GenerateRequest {
            prompt: self.transcript() + &said.text,
            prompt_ids: self.turns.iter().flat_map(Turn::ids).chain(&said.ids).copied().collect(),
            options: GenerateOptions {
                sample_index: index,
                stop_token: tokenizer.end_of_text(),
                ..self.settings.options.clone()
            },
            stop: self.settings.stop.clone(),
            hidden: self.settings.hidden.clone(),
            prefix_cache: self.prefix_cache.clone(),
            // A text that may go on is not cut within a character: its tokens come again.
            cut_character: CutCharacter::LeaveOut,
        };
        let before = request.prompt_ids.clone();
        let mut generator = self.model.generator();
        if let Some(draft) = &self.draft {
            generator = generator.with_draft(draft);
        }
        let number = generator.add(request)?;
        let mut answer = Passage::default();
        let (mut context, mut computed, mut dropped) = (0, 0, 0);
        let mut generated: Option<GeneratedText> = None;
        while let Some(event) = generator.next() {
            let flow = match event.map_err(Error::from)?.kind {
                TextEventKind::Token(token) => {
                    if answer.ids.is_empty() {
                        (context, computed) = (token.context, token.computed);
                    }
                    dropped += token.dropped;
                    answer.ids.push(token.sampled.token);
                    // Asked at each token, for a long part may be hidden.
                    show("")?
                }
                TextEventKind::Text(text) => {
                    answer.text.push_str(&text);
                    show(&text)?
                }
                TextEventKind::Hidden(text) => {
                    answer.text.push_str(&text);
                    ControlFlow::Continue(())
                }
                TextEventKind::Finished(finished) => {
                    generated = Some(*finished);
                    ControlFlow::Continue(())
                }
            };
            if flow.is_break() {
                generator.interrupt(number);
            }
        }
        let Some(generated) = generated else { unreachable!("a request that did not fail has finished") };
        let tokens = answer.ids.len();
        answer.ids = cut(self.model.tokenizer(), &before, answer.ids, &answer.text)?;
        self.before_last = std::mem::replace(&mut self.prefix_cache, generated.prefix_cache);
        let ends_text = generated.finish == FinishReason::EndOfText;
        self.turns.push(Turn { line: line.to_owned(), said, answer, sample_index: index, ends_text });
        let GeneratedText { finish, stop_text, hidden_tokens, .. } = generated;
        let guesses = generator.draft_tally();
        Ok(ChatReply { tokens, hidden_tokens, finish, stop_text, context, computed, dropped, guesses })
    }

    /// What a line adds to the text. An empty one adds nothing but the end of a text that the model has ended, and what
    /// the very first token follows.
    fn said(&self, line: &str) -> Result<Passage, TextError> {
        let ChatFormat { before, after } = &self.format;
        let tokenizer = self.model.tokenizer();
        let text = if line.is_empty() { String::new() } else { format!("{before}{line}{after}") };
        let ids = match self.turns.last() {
            None => tokenizer.encode_prompt(&text)?,
            Some(last) => {
                let end = tokenizer.end_of_text().filter(|_| last.ends_text);
                let before: Vec<u32> = self.turns.iter().flat_map(Turn::ids).copied().collect();
                // A text that the model has ended is followed by another, which has a beginning.
                let ids =
                    if last.ends_text { tokenizer.encode(&text)? } else { tokenizer.encode_after(&before, &text)? };
                end.into_iter().chain(ids).collect()
            }
        };
        Ok(Passage { ids, text })
    }
}

impl Turn {
    fn ids(&self) -> impl Iterator<Item = &u32> {
        self.said.ids.iter().chain(&self.answer.ids)
    }
}

/// Ids that say `text` after those before, the beginning of what `ids` say: as many of them as are part of it, and the rest encoded anew.
fn cut(tokenizer: &Tokenizer, before: &[u32], mut ids: Vec<u32>, text: &str) -> Result<Vec<u32>, TextError> {
    loop {
        let said = tokenizer.decode_after(before, &ids)?;
        if let Some(rest) = text.strip_prefix(said.as_str()) {
            let so_far = [before, &ids].concat();
            ids.extend(if rest.is_empty() { vec![] } else { tokenizer.encode_after(&so_far, rest)? });
            return Ok(ids);
        }
        ids.pop();
    }
}

#[cfg(test)]
mod tests;
