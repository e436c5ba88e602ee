//! The one loop that makes text: requests go in, events come out, and requests may be added and removed while it runs.

mod event;
mod request;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

use tril_infer::{
    BatchGenerator, DraftTally, Drafter, Event, FinishReason, GeneratedToken, LanguageModel, PrefixCache, check_prompt,
};
use tril_model::Gpt;
use tril_text::{FilteredEnd, Part, TextFilter, Tokenizer};

pub use event::{Completion, GeneratedText, RequestError, TextEvent, TextEventKind};
pub use request::{CutCharacter, GenerateRequest};

use crate::Error;

/// Makes texts, several at a time: an iterator of what happens to them.
///
/// Each text is what it would be alone. A long prompt is computed in chunks, between the steps of the others. Requests
/// may be added and removed between any two events; once the iterator has returned `None` it has no request left that is not
/// paused, and goes on if one is added or resumed. An item that is an error is the end of that request alone.
///
/// It owns what it works with and may move to another thread.
pub struct TextGenerator<M: LanguageModel = Arc<Gpt>> {
    batch: BatchGenerator<M>,
    vocab_size: usize,
    tokenizer: Arc<Tokenizer>,
    batch_size: usize,
    added: usize,
    waiting: VecDeque<(usize, GenerateRequest<M::Cache>)>,
    /// Texts in work, by their numbers in the batch.
    in_work: BTreeMap<usize, Text>,
    ready: VecDeque<Result<TextEvent<M::Cache>, RequestError>>,
}

/// A text in work.
struct Text {
    request: usize,
    filter: TextFilter<Arc<Tokenizer>>,
    cut_character: CutCharacter,
    tokens: usize,
    logprob: f64,
}

/// Requests that go together unless another number is asked for.
const BATCH_SIZE: usize = 16;

impl<M: LanguageModel> TextGenerator<M> {
    /// A generator without a request.
    pub fn new(model: M, tokenizer: Arc<Tokenizer>) -> Self {
        Self {
            vocab_size: model.vocab_size(),
            batch: BatchGenerator::new(model),
            tokenizer,
            batch_size: BATCH_SIZE,
            added: 0,
            waiting: VecDeque::new(),
            in_work: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Has at most so many requests in work at a time; the others wait for their turn, in order. It changes memory and
    /// time, never a text.
    #[must_use]
    pub fn with_batch_size(self, batch_size: NonZeroUsize) -> Self {
        Self { batch_size: batch_size.get(), ..self }
    }

    /// Has at most so many positions of prompts computed between two steps of the others. It changes memory and time,
    /// never a text.
    #[must_use]
    pub fn with_prefill_chunk(self, prefill_chunk: NonZeroUsize) -> Self {
        Self { batch: self.batch.with_prefill_chunk(prefill_chunk), ..self }
    }

    /// Has next tokens guessed by anything that can, so that one pass checks several of them. It changes the time, never a
    /// text. [`TextGenerator::with_draft`] has what usually guesses.
    #[must_use]
    pub fn with_drafter(self, drafter: Box<dyn Drafter>) -> Self {
        Self { batch: self.batch.with_drafter(drafter), ..self }
    }

    /// How guesses have fared.
    pub fn draft_tally(&self) -> DraftTally {
        self.batch.draft_tally()
    }

    /// Adds a request; returns its number, counted from 0.
    ///
    /// # Errors
    /// [`Error::Infer`] for an empty prompt, an id outside the vocabulary, or bad settings.
    pub fn add(&mut self, request: GenerateRequest<M::Cache>) -> Result<usize, Error> {
        check_prompt(&request.prompt_ids, self.vocab_size)?;
        request.options.sampler.check(self.vocab_size)?;
        let number = self.added;
        self.waiting.push_back((number, request));
        self.added += 1;
        Ok(number)
    }

    /// Takes a request out; nothing more is told of it. False if there is no such request any more.
    pub fn remove(&mut self, request: usize) -> bool {
        self.ready.retain(|event| match event {
            Ok(event) => event.request != request,
            Err(error) => error.request != request,
        });
        match self.number_in_batch(request) {
            Some(number) => {
                self.batch.remove(number);
                self.in_work.remove(&number).is_some()
            }
            None => self.take_out_of_waiting(request),
        }
    }

    /// Ends a request where it is: what was held back of its text comes, and that it is finished. One that has not begun
    /// is taken out, and nothing is told of it. False if there is no such request any more.
    pub fn interrupt(&mut self, request: usize) -> bool {
        match self.number_in_batch(request) {
            Some(number) => {
                let prefix_cache = self.batch.remove(number);
                self.finish(number, FinishReason::Interrupted, None, prefix_cache);
                true
            }
            None => self.take_out_of_waiting(request),
        }
    }

    /// Leaves a request as it is until [`TextGenerator::resume`], for a reader that is slow; its text is the same. False if
    /// it is not in work.
    pub fn pause(&mut self, request: usize) -> bool {
        self.number_in_batch(request).is_some_and(|number| self.batch.pause(number))
    }

    /// Goes on with a request that is paused. False if it is not in work.
    pub fn resume(&mut self, request: usize) -> bool {
        self.number_in_batch(request).is_some_and(|number| self.batch.resume(number))
    }

    /// What can be continued later of a request in work, if it has a cache: its text without the last token.
    pub fn prefix_cache(&self, request: usize) -> Option<PrefixCache<M::Cache>> {
        self.batch.prefix_cache(self.number_in_batch(request)?)
    }

    /// Takes one step of the model, which may bring events, or none while prompts are being computed. Whoever has other things
    /// to do between steps calls this and [`TextGenerator::take_event`], in place of iterating.
    pub fn advance(&mut self) {
        self.admit();
        if self.batch.is_going() {
            self.step();
        }
    }

    /// The next event that is at hand.
    pub fn take_event(&mut self) -> Option<Result<TextEvent<M::Cache>, RequestError>> {
        self.ready.pop_front()
    }

    /// Ends all requests as [`TextGenerator::interrupt`] does; returns those that had not begun.
    pub fn interrupt_all(&mut self) -> Vec<usize> {
        let requests: Vec<usize> = self.in_work.values().map(|text| text.request).collect();
        for request in requests {
            self.interrupt(request);
        }
        self.waiting.drain(..).map(|(number, _)| number).collect()
    }

    /// Makes one text to its end, with all that happened to it.
    ///
    /// # Errors
    /// As [`TextGenerator::add`], and what ends the text in an error.
    pub fn complete(mut self, request: GenerateRequest<M::Cache>) -> Result<Completion<M::Cache>, Error> {
        let number = self.add(request)?;
        let (mut text, mut tokens) = (String::new(), Vec::new());
        for event in self {
            match event {
                Ok(event) if event.request != number => {}
                Ok(TextEvent { kind: TextEventKind::Token(token), .. }) => tokens.push(*token),
                Ok(TextEvent { kind: TextEventKind::Text(more), .. }) => text.push_str(&more),
                Ok(TextEvent { kind: TextEventKind::Hidden(_), .. }) => {}
                Ok(TextEvent { kind: TextEventKind::Finished(generated), .. }) => {
                    return Ok(Completion { text, tokens, generated: *generated });
                }
                Err(error) if error.request != number => {}
                Err(error) => return Err(error.source),
            }
        }
        unreachable!("a request that was added finishes or fails")
    }

    fn take_out_of_waiting(&mut self, request: usize) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|(number, _)| *number != request);
        self.waiting.len() < before
    }

    fn number_in_batch(&self, request: usize) -> Option<usize> {
        self.in_work.iter().find(|(_, text)| text.request == request).map(|(number, _)| *number)
    }

    /// Begins with those that wait, as many as there is room for.
    fn admit(&mut self) {
        while self.batch.len() < self.batch_size
            && let Some((request, mut asked)) = self.waiting.pop_front()
        {
            match self.batch.add_from(&asked.prompt_ids, asked.options, asked.prefix_cache.take()) {
                Ok(number) => {
                    let tokenizer = Arc::clone(&self.tokenizer);
                    let filter = TextFilter::new(tokenizer, &asked.stop, &asked.hidden, &asked.prompt);
                    let filter = match filter.after_ids(&asked.prompt_ids) {
                        Ok(filter) => filter,
                        Err(error) => {
                            self.batch.remove(number);
                            self.fail(request, error.into());
                            continue;
                        }
                    };
                    let cut_character = asked.cut_character;
                    self.in_work.insert(number, Text { request, filter, cut_character, tokens: 0, logprob: 0.0 });
                }
                Err(error) => self.fail(request, error.into()),
            }
        }
    }

    /// One step of all texts in work.
    fn step(&mut self) {
        let events = match self.batch.step() {
            Ok(events) => events,
            Err(error) => {
                // What a device has lost is lost for all.
                for (number, text) in std::mem::take(&mut self.in_work) {
                    self.batch.remove(number);
                    self.fail(text.request, error.clone().into());
                }
                return;
            }
        };
        for (number, event) in events {
            match event {
                Event::Token(token) => self.take(number, token),
                Event::Finished(finished) => {
                    self.finish(number, finished.reason, finished.stop, finished.prefix_cache);
                }
                Event::Failed(error) => {
                    if let Some(text) = self.in_work.remove(&number) {
                        self.fail(text.request, error.into());
                    }
                }
            }
        }
    }

    /// One more token of a text.
    fn take(&mut self, number: usize, token: GeneratedToken) {
        let Some(text) = self.in_work.get_mut(&number) else { return };
        text.tokens += 1;
        text.logprob += token.sampled.logprob;
        let (request, filtered) = (text.request, text.filter.push(token.sampled.token));
        self.tell(request, TextEventKind::Token(Box::new(token)));
        match filtered {
            Ok(filtered) => {
                self.show(request, filtered.parts);
                if filtered.stop.is_some() {
                    let prefix_cache = self.batch.remove(number);
                    self.finish_at(number, FinishReason::StopText, filtered.stop, None, prefix_cache);
                }
            }
            Err(error) => {
                self.batch.remove(number);
                self.in_work.remove(&number);
                self.fail(request, error.into());
            }
        }
    }

    fn finish(
        &mut self,
        number: usize,
        reason: FinishReason,
        stop: Option<GeneratedToken>,
        prefix_cache: Option<PrefixCache<M::Cache>>,
    ) {
        self.finish_at(number, reason, None, stop, prefix_cache);
    }

    /// Tells what was held back, now that no more tokens come; a stop text in it is the ending after all.
    fn finish_at(
        &mut self,
        number: usize,
        reason: FinishReason,
        stop_text: Option<String>,
        stop_token: Option<GeneratedToken>,
        prefix_cache: Option<PrefixCache<M::Cache>>,
    ) {
        let Some(Text { request, filter, cut_character, tokens, logprob }) = self.in_work.remove(&number) else {
            return;
        };
        let end = match cut_character {
            CutCharacter::LeaveOut if reason != FinishReason::EndOfText => Ok(filter.pause()),
            _ => filter.finish(),
        };
        let FilteredEnd { parts, stop, hidden_tokens } = match end {
            Ok(end) => end,
            Err(error) => return self.fail(request, error.into()),
        };
        self.show(request, parts);
        let (finish, stop_text, stop_token) = match stop_text.or(stop) {
            Some(stop) => (FinishReason::StopText, Some(stop), None),
            None => (reason, None, stop_token),
        };
        let text = GeneratedText { finish, stop_text, stop_token, tokens, hidden_tokens, logprob, prefix_cache };
        self.tell(request, TextEventKind::Finished(Box::new(text)));
    }

    fn show(&mut self, request: usize, parts: Vec<Part>) {
        for part in parts {
            self.tell(
                request,
                match part {
                    Part::Shown(text) => TextEventKind::Text(text),
                    Part::Hidden(text) => TextEventKind::Hidden(text),
                },
            );
        }
    }

    fn tell(&mut self, request: usize, kind: TextEventKind<M::Cache>) {
        self.ready.push_back(Ok(TextEvent { request, kind }));
    }

    fn fail(&mut self, request: usize, source: Error) {
        self.ready.push_back(Err(RequestError { request, source }));
    }
}

impl<M: LanguageModel> Iterator for TextGenerator<M> {
    type Item = Result<TextEvent<M::Cache>, RequestError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            self.admit();
            if self.batch.is_going() {
                self.step();
            } else if self.ready.is_empty() {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
