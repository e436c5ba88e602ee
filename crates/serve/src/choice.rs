//! One text on its way to a client: what of it can be sent, with the tokens that it is made of, and why it ends.

use tril::{FinishReason, GeneratedText, GeneratedToken, Tokenizer};

use crate::job::Cutoff;
use crate::logprobs::TokenEntry;

/// A text that is being made.
#[derive(Debug)]
pub struct Choice {
    told: Told,
    /// Bytes of text that have been handed on.
    shown: usize,
    /// Bytes that the tokens so far stand for.
    made: usize,
    /// Characters that have begun in the tokens so far, those of an echoed prompt among them.
    offset: usize,
    /// Tokens whose text is not certain yet, each with the bytes before it.
    held: Vec<(usize, TokenEntry)>,
}

/// Whether tokens are told beside the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The text alone.
    Text,
    /// The tokens of the text, and not the one that ends it.
    Tokens,
    /// That one too, so that every step has its numbers.
    AllTokens,
}

/// More of a text.
#[derive(Debug, Default)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// The tokens of it.
    pub tokens: Vec<TokenEntry>,
}

/// Why a text ends.
#[derive(Debug, Clone)]
pub struct Ending {
    /// What the generator says.
    reason: FinishReason,
    /// Why it was interrupted.
    cutoff: Option<Cutoff>,
    /// The stop text that appeared.
    pub stop_text: Option<String>,
    /// Tokens that were made for it, that of its end among them.
    pub tokens: usize,
}

impl Choice {
    /// A text that follows so many characters of an echoed prompt.
    pub fn new(told: Told, offset: usize) -> Self {
        Self { told, shown: 0, made: 0, offset, held: Vec::new() }
    }

    /// Takes a token, whose text comes when it is certain.
    pub fn push(&mut self, token: &GeneratedToken, tokenizer: &Tokenizer) {
        if self.told == Told::Text {
            return;
        }
        let id = token.sampled.token;
        let bytes = tokenizer.token_bytes(id);
        let entry = self.entry(token, bytes);
        self.held.push((self.made, entry));
        self.made += bytes.len();
        self.offset += characters(bytes);
    }

    /// Takes text that is certain, with the tokens that begin in it.
    pub fn show(&mut self, text: String) -> Piece {
        self.shown += text.len();
        Piece { text, tokens: self.release() }
    }

    /// What is left of the tokens when the text ends, and why it does.
    pub fn end(&mut self, text: &GeneratedText, cutoff: Option<Cutoff>) -> (Piece, Ending) {
        let mut tokens = self.release();
        // What a stop text is made of is no part of the answer.
        let held = std::mem::take(&mut self.held);
        if text.finish != FinishReason::StopText {
            tokens.extend(held.into_iter().map(|(_, entry)| entry));
        }
        if let (Told::AllTokens, Some(stop)) = (self.told, &text.stop_token) {
            tokens.push(self.entry(stop, &[]));
        }
        let made = text.tokens + usize::from(text.stop_token.is_some());
        let ending = Ending { reason: text.finish, cutoff, stop_text: text.stop_text.clone(), tokens: made };
        (Piece { text: String::new(), tokens }, ending)
    }

    fn entry(&self, token: &GeneratedToken, bytes: &[u8]) -> TokenEntry {
        TokenEntry {
            id: token.sampled.token,
            text_offset: begin_of(bytes, self.offset),
            logprob: Some(token.sampled.logprob),
            top: token.top_logprobs.clone(),
        }
    }

    fn release(&mut self) -> Vec<TokenEntry> {
        let certain = self.held.iter().take_while(|(begin, _)| *begin < self.shown).count();
        self.held.drain(..certain).map(|(_, entry)| entry).collect()
    }
}

impl Ending {
    /// In the words of OpenAI's API.
    pub fn reason(&self) -> &'static str {
        match self.reason {
            FinishReason::EndOfText | FinishReason::StopText => "stop",
            FinishReason::MaxTokens | FinishReason::ContextFull | FinishReason::Interrupted => "length",
        }
    }

    /// More precisely.
    pub fn detail(&self) -> &'static str {
        match (self.reason, self.cutoff) {
            (FinishReason::EndOfText, _) => "end_of_text",
            (FinishReason::StopText, _) => "stop_text",
            (FinishReason::MaxTokens, _) => "max_tokens",
            (FinishReason::ContextFull, _) => "context_full",
            (FinishReason::Interrupted, Some(Cutoff::TimeLimit)) => "time_limit",
            (FinishReason::Interrupted, Some(Cutoff::Shutdown) | None) => "shutdown",
        }
    }
}

/// Where a token of these bytes begins in a text, after tokens in which so many characters have begun: one that goes on with a
/// character begins where that does.
pub fn begin_of(bytes: &[u8], characters: usize) -> usize {
    let goes_on = bytes.first().is_some_and(|byte| byte & 0xc0 == 0x80);
    characters.saturating_sub(usize::from(goes_on))
}

/// How many characters begin in some bytes of UTF-8.
pub fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use tril::SampledToken;
    use tril::text::{TokenizerConfig, TokenizerKind};

    use super::*;

    fn tokenizer() -> Tokenizer {
        let config = TokenizerConfig { kind: TokenizerKind::Byte, end_of_text: true, ..TokenizerConfig::default() };
        Tokenizer::build(&config, &["a"]).expect("a tokenizer")
    }

    fn token(id: u32) -> GeneratedToken {
        let sampled = SampledToken { token: id, logprob: -1.0, cdf_interval: 0.0..1.0, uniform: None };
        let (position, context, computed, dropped) = (0, 1, 1, 0);
        GeneratedToken { sampled, position, context, computed, dropped, alternatives: vec![], top_logprobs: vec![] }
    }

    fn finished(finish: FinishReason, stop_token: Option<GeneratedToken>) -> GeneratedText {
        let (stop_text, tokens, hidden_tokens, logprob) = (None, 6, 0, -6.0);
        GeneratedText { finish, stop_text, stop_token, tokens, hidden_tokens, logprob, prefix_cache: None }
    }

    fn offsets(piece: &Piece) -> Vec<(u32, usize)> {
        piece.tokens.iter().map(|entry| (entry.id, entry.text_offset)).collect()
    }

    #[test]
    fn tokens_come_with_the_text_that_they_begin_and_those_of_a_stop_text_do_not_come() {
        let (tokenizer, mut choice) = (tokenizer(), Choice::new(Told::Tokens, 10));
        let push = |choice: &mut Choice, bytes: &[u8]| {
            bytes.iter().for_each(|byte| choice.push(&token(u32::from(*byte)), &tokenizer));
        };
        push(&mut choice, "猫a".as_bytes());
        let piece = choice.show("猫a".into());
        assert_eq!(offsets(&piece), [(0xe7, 10), (0x8c, 10), (0xab, 10), (97, 11)]);
        push(&mut choice, b"\n#");
        let (piece, ending) = choice.end(&finished(FinishReason::StopText, None), None);
        assert_eq!((offsets(&piece), ending.reason(), ending.detail()), (vec![], "stop", "stop_text"));
    }

    #[test]
    fn the_token_that_ends_a_text_is_told_where_every_step_is() {
        for (told, expected) in [(Told::Tokens, vec![]), (Told::AllTokens, vec![(256, 0)]), (Told::Text, vec![])] {
            let mut choice = Choice::new(told, 0);
            let (piece, ending) = choice.end(&finished(FinishReason::EndOfText, Some(token(256))), None);
            assert_eq!((offsets(&piece), ending.tokens), (expected, 7));
        }
    }

    #[test]
    fn a_text_that_is_cut_has_its_tokens_to_the_last_and_says_why() {
        let (tokenizer, mut choice) = (tokenizer(), Choice::new(Told::Tokens, 0));
        choice.push(&token(0xe7), &tokenizer);
        let (piece, ending) = choice.end(&finished(FinishReason::Interrupted, None), Some(Cutoff::TimeLimit));
        assert_eq!((offsets(&piece), ending.reason(), ending.detail()), (vec![(0xe7, 0)], "length", "time_limit"));
    }
}
