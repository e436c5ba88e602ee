//! What a reader sees of a text while its tokens come: whole characters, nothing from a stop text on, no hidden parts.

use std::borrow::Borrow;
use std::collections::VecDeque;

use crate::error::TextError;
use crate::hide::{HiddenParts, HideWatch, Part};
use crate::stop::{StopTexts, StopWatch};
use crate::stream::TextStream;
use crate::tokenizer::Tokenizer;

/// One text on its way from tokens to a reader. It changes no token.
///
/// The tokenizer may be `&tokenizer` or an `Arc`.
#[derive(Debug, Clone)]
pub struct TextFilter<T: Borrow<Tokenizer>> {
    stream: TextStream<T>,
    watches: Watches,
}

/// What is certain after a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilteredText {
    /// Text that is to be shown, and text that is not.
    pub parts: Vec<Part>,
    /// The stop text that has ended the text: nothing that comes later is part of it.
    pub stop: Option<String>,
}

/// What is certain in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilteredEnd {
    /// What was held back.
    pub parts: Vec<Part>,
    /// The stop text that has ended the text, if it came with what was held back.
    pub stop: Option<String>,
    /// How many tokens were hidden, with all that they say.
    pub hidden_tokens: usize,
}

#[derive(Debug, Clone)]
struct Watches {
    stops: StopWatch,
    hidden: HideWatch,
    counter: HiddenTokens,
    /// Bytes that are held back and that the reader knows.
    seen: usize,
}

/// Counts the tokens that are hidden.
#[derive(Debug, Clone, Default)]
struct HiddenTokens {
    /// Tokens that have said nothing yet: each is part of a character that is not complete.
    silent: usize,
    waiting: VecDeque<Waiting>,
    hidden: usize,
}

/// Tokens that say something together of which some is held back.
#[derive(Debug, Clone)]
struct Waiting {
    tokens: usize,
    bytes: usize,
    shown: bool,
}

impl<T: Borrow<Tokenizer>> TextFilter<T> {
    /// For tokens that follow the text `before`, which the reader knows: a hidden part may begin or end in it, a stop text
    /// in it stops nothing, and none of it is shown again.
    #[must_use]
    pub fn new(tokenizer: T, stops: &StopTexts, hidden: &HiddenParts, before: &str) -> Self {
        let (stops, mut hidden, mut counter) = (stops.watch(), hidden.watch(), HiddenTokens::default());
        counter.piece(before);
        let parts = hidden.push(before);
        counter.parts(&parts);
        let seen = before.len() - parts.iter().map(|part| part.text().len()).sum::<usize>();
        Self { stream: TextStream::new(tokenizer), watches: Watches { stops, hidden, counter, seen } }
    }

    /// The same for tokens that follow these, the ids of `before`: how the first is written depends on them.
    ///
    /// # Errors
    /// As [`TextStream::after`].
    pub fn after_ids(self, before: &[u32]) -> Result<Self, TextError> {
        Ok(Self { stream: TextStream::after(self.stream.into_tokenizer(), before)?, ..self })
    }

    /// Takes the next token.
    ///
    /// # Errors
    /// As [`TextStream::push`].
    pub fn push(&mut self, token: u32) -> Result<FilteredText, TextError> {
        self.watches.counter.silent += 1;
        let piece = self.stream.push(token)?;
        Ok(self.watches.push(&piece.unwrap_or_default()))
    }

    /// What is still held back, now that no more tokens come.
    ///
    /// # Errors
    /// As [`TextStream::finish`].
    pub fn finish(mut self) -> Result<FilteredEnd, TextError> {
        let FilteredText { mut parts, stop } = self.watches.push(&self.stream.finish()?);
        let end = self.watches.finish();
        parts.extend(end.parts);
        Ok(FilteredEnd { parts, stop, ..end })
    }

    /// The same, but for a character that is not complete: for a text that may be gone on with.
    #[must_use]
    pub fn pause(self) -> FilteredEnd {
        self.watches.finish()
    }
}

impl Watches {
    fn push(&mut self, piece: &str) -> FilteredText {
        self.counter.piece(piece);
        let watched = self.stops.push(piece);
        let parts = self.hidden.push(&watched.text);
        self.counter.parts(&parts);
        let (parts, seen) = without(self.seen, parts);
        self.seen = seen;
        FilteredText { parts, stop: watched.stop }
    }

    fn finish(self) -> FilteredEnd {
        let Self { stops, mut hidden, mut counter, seen } = self;
        let mut parts = hidden.push(&stops.finish());
        parts.extend(hidden.finish());
        counter.parts(&parts);
        FilteredEnd { parts: without(seen, parts).0, stop: None, hidden_tokens: counter.hidden }
    }
}

/// The parts after those bytes that the reader has seen, and how many of these are still to come.
fn without(mut seen: usize, parts: Vec<Part>) -> (Vec<Part>, usize) {
    let unseen = parts.into_iter().filter_map(|part| {
        let n_seen = seen.min(part.text().len());
        seen -= n_seen;
        part.after(n_seen)
    });
    (unseen.collect(), seen)
}

impl HiddenTokens {
    fn piece(&mut self, piece: &str) {
        if !piece.is_empty() {
            let tokens = std::mem::take(&mut self.silent);
            self.waiting.push_back(Waiting { tokens, bytes: piece.len(), shown: false });
        }
    }

    /// Takes parts in the order of the pieces.
    fn parts(&mut self, parts: &[Part]) {
        for part in parts {
            let mut left = part.text().len();
            while left > 0
                && let Some(first) = self.waiting.front_mut()
            {
                let bytes = left.min(first.bytes);
                left -= bytes;
                first.bytes -= bytes;
                first.shown |= matches!(part, Part::Shown(_));
                if first.bytes == 0 {
                    self.hidden += if first.shown { 0 } else { first.tokens };
                    self.waiting.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TokenizerConfig, TokenizerKind};

    fn tokenizer(kind: TokenizerKind) -> Tokenizer {
        let config = TokenizerConfig { kind, ..TokenizerConfig::default() };
        Tokenizer::build(&config, &["abcdefgh()<>猫狗\n"]).expect("a tokenizer")
    }

    fn filters(stops: &[&str], markers: &[&str]) -> (StopTexts, HiddenParts) {
        let pairs = markers.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        (StopTexts::new(stops.iter().copied()).expect("none empty"), HiddenParts::new(pairs).expect("sound markers"))
    }

    fn shown(parts: &[Part]) -> String {
        parts.iter().filter_map(|part| if let Part::Shown(text) = part { Some(text.as_str()) } else { None }).collect()
    }

    /// What is shown of a text that is made token by token after a prompt, the stop text, and the tokens not shown.
    fn filtered(
        (stops, hidden): &(StopTexts, HiddenParts),
        prompt: &str,
        text: &str,
        kind: TokenizerKind,
    ) -> (String, Option<String>, usize) {
        let tokenizer = tokenizer(kind);
        let mut filter = TextFilter::new(&tokenizer, stops, hidden, prompt);
        let mut seen = hidden.shown(prompt);
        for token in tokenizer.encode(text).expect("known characters") {
            let FilteredText { parts, stop } = filter.push(token).expect("known tokens");
            seen += &shown(&parts);
            if let Some(stop) = stop {
                return (seen + &shown(&filter.pause().parts), Some(stop), 0);
            }
        }
        let rest = filter.finish().expect("known tokens");
        (seen + &shown(&rest.parts), None, rest.hidden_tokens)
    }

    #[test]
    fn tokens_of_hidden_parts_and_of_their_markers_are_counted_as_not_shown() {
        let filters = filters(&[], &["<", ">", "((", "))"]);
        let see = |prompt, text| filtered(&filters, prompt, text, TokenizerKind::Char);
        assert_eq!(see("", "ab<cd>e"), ("abe".into(), None, 4));
        assert_eq!(see("", "ab((c)d))(e"), ("ab(e".into(), None, 7));
        assert_eq!(see("", "ab<cd"), ("ab".into(), None, 3));
        assert_eq!(see("a<b", "c>d"), ("ad".into(), None, 2));
        assert_eq!(see("a(", "(b))c"), ("a(c".into(), None, 4), "that it was a marker was not known before");
        assert_eq!(see("a(", "b"), ("a(b".into(), None, 0));
    }

    #[test]
    fn a_character_in_several_tokens_is_hidden_with_all_of_them() {
        let filters = filters(&[], &["<", ">"]);
        assert_eq!(filtered(&filters, "", "猫<狗>猫", TokenizerKind::Byte), ("猫猫".into(), None, 5));
    }

    #[test]
    fn a_stop_text_stops_where_it_is_hidden_too_and_what_comes_before_it_is_shown() {
        let filters = filters(&["cd", "gh"], &["<", ">"]);
        let see = |text| filtered(&filters, "cd", text, TokenizerKind::Char);
        assert_eq!(see("a<bcd>e"), ("cda".into(), Some("cd".into()), 0));
        assert_eq!(see("a<b>efghe"), ("cdaef".into(), Some("gh".into()), 0));
    }

    #[test]
    fn what_the_reader_has_seen_is_not_shown_again_even_if_it_was_held_back() {
        let (tokenizer, (stops, hidden)) = (tokenizer(TokenizerKind::Char), filters(&[], &["<<", ">"]));
        let mut filter = TextFilter::new(&tokenizer, &stops, &hidden, "ab<");
        let tokens = tokenizer.encode("c<<d").expect("known characters");
        let mut text = String::new();
        for token in tokens {
            text += &shown(&filter.push(token).expect("a known token").parts);
        }
        assert_eq!(text, "c");
        assert_eq!(filter.finish().expect("known tokens").hidden_tokens, 3);
    }

    #[test]
    fn a_pause_leaves_half_a_character_out_and_an_end_does_not() {
        let tokenizer = tokenizer(TokenizerKind::Byte);
        let tokens = tokenizer.encode("猫狗").expect("bytes");
        let begun = || {
            let mut filter = TextFilter::new(&tokenizer, &StopTexts::default(), &HiddenParts::default(), "");
            for token in &tokens[..4] {
                filter.push(*token).expect("a known token");
            }
            filter
        };
        assert_eq!(shown(&begun().pause().parts), "");
        assert_eq!(shown(&begun().finish().expect("known tokens").parts), "\u{FFFD}");
    }
}
