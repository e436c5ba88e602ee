//! What a reader sees of a text while its tokens come: whole characters, nothing from a stop text on, no hidden parts.

use std::collections::VecDeque;
use std::io::Write;

use anyhow::{Context, Result};
use tril_text::{HiddenParts, HideWatch, Part, StopTexts, StopWatch, TextError, TextStream, Tokenizer};

/// What is left out of a text that is shown. It changes no token.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    pub stops: StopTexts,
    pub hidden: HiddenParts,
}

/// One text on its way to the reader.
pub struct View<'a> {
    text: TextStream<'a>,
    filtered: Filtered<'a>,
}

/// What is certain after a token.
pub struct Certain<'a> {
    pub parts: Vec<Part>,
    /// The stop text that has ended the text.
    pub stop: Option<&'a str>,
}

/// What is certain in the end.
pub struct Rest<'a> {
    pub parts: Vec<Part>,
    /// The stop text that has ended the text, if it came with what was held back.
    pub stop: Option<&'a str>,
    /// How many tokens were hidden, with all that they say.
    pub not_shown: usize,
}

struct Filtered<'a> {
    stops: StopWatch<'a>,
    hidden: HideWatch<'a>,
    tally: Tally,
    /// Bytes that are held back and that the reader knows.
    seen: usize,
}

/// Counts the tokens that are hidden.
#[derive(Default)]
struct Tally {
    /// Tokens that have said nothing yet: each is part of a character that is not complete.
    silent: usize,
    waiting: VecDeque<Waiting>,
    hidden: usize,
}

/// Tokens that say something together of which some is held back.
struct Waiting {
    tokens: usize,
    bytes: usize,
    shown: bool,
}

impl Filters {
    /// These stop texts, and these markers of hidden parts, a start and an end in turn.
    pub fn new(stops: &[String], markers: &[String]) -> Result<Self> {
        let pairs = markers.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
        let hidden = HiddenParts::new(pairs).context("--hide")?;
        Ok(Self { stops: StopTexts::new(stops).context("--stop")?, hidden })
    }

    /// What is shown of the text that stands before the tokens.
    pub fn opening(&self, text: &str) -> String {
        let mut hidden = self.hidden.watch();
        let mut parts = hidden.push(text);
        parts.extend(hidden.finish());
        parts.iter().filter_map(|part| if let Part::Shown(text) = part { Some(text.as_str()) } else { None }).collect()
    }
}

impl<'a> View<'a> {
    /// Of tokens that follow this text, which the reader knows: a hidden part may begin or end in it, a stop text in it
    /// stops nothing, and none of it is shown again.
    pub fn new(tokenizer: &'a Tokenizer, filters: &'a Filters, before: &str) -> Self {
        let (stops, mut hidden, mut tally) = (filters.stops.watch(), filters.hidden.watch(), Tally::default());
        tally.piece(before);
        let parts = hidden.push(before);
        tally.parts(&parts);
        let seen = before.len() - parts.iter().map(|part| part.text().len()).sum::<usize>();
        Self { text: TextStream::new(tokenizer), filtered: Filtered { stops, hidden, tally, seen } }
    }

    /// Takes the next token.
    pub fn push(&mut self, token: u32) -> Result<Certain<'a>, TextError> {
        self.filtered.tally.silent += 1;
        let piece = self.text.push(token)?;
        Ok(self.filtered.push(&piece.unwrap_or_default()))
    }

    /// What is still held back, now that no more tokens come.
    pub fn finish(mut self) -> Result<Rest<'a>, TextError> {
        let Certain { mut parts, stop } = self.filtered.push(&self.text.finish()?);
        let rest = self.filtered.finish();
        parts.extend(rest.parts);
        Ok(Rest { parts, stop, ..rest })
    }

    /// The same, but for a character that is not complete: for a text that may be gone on with.
    pub fn pause(self) -> Rest<'a> {
        self.filtered.finish()
    }
}

/// Writes those parts that are shown.
pub fn show(parts: &[Part], out: &mut impl Write) -> std::io::Result<()> {
    for part in parts {
        if let Part::Shown(text) = part {
            write!(out, "{text}")?;
            out.flush()?;
        }
    }
    Ok(())
}

impl<'a> Filtered<'a> {
    fn push(&mut self, piece: &str) -> Certain<'a> {
        self.tally.piece(piece);
        let watched = self.stops.push(piece);
        let parts = self.hidden.push(&watched.text);
        self.tally.parts(&parts);
        let (parts, seen) = without(self.seen, parts);
        self.seen = seen;
        Certain { parts, stop: watched.stop }
    }

    fn finish(self) -> Rest<'a> {
        let Self { stops, mut hidden, mut tally, seen } = self;
        let mut parts = hidden.push(&stops.finish());
        parts.extend(hidden.finish());
        tally.parts(&parts);
        Rest { parts: without(seen, parts).0, stop: None, not_shown: tally.hidden }
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

impl Tally {
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
    use tril_text::{TokenizerConfig, TokenizerKind};

    use super::*;

    fn tokenizer(kind: TokenizerKind) -> Tokenizer {
        let config = TokenizerConfig { kind, ..TokenizerConfig::default() };
        Tokenizer::build(&config, &["abcdefgh()<>猫狗\n"]).expect("a tokenizer")
    }

    fn filters(stops: &[&str], markers: &[&str]) -> Filters {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Filters::new(&owned(stops), &owned(markers)).expect("sound filters")
    }

    fn shown(parts: &[Part]) -> String {
        let mut out = Vec::new();
        show(parts, &mut out).expect("a vector");
        String::from_utf8(out).expect("UTF-8")
    }

    /// What is shown of a text that is made token by token after a prompt, the stop text, and the tokens not shown.
    fn view(filters: &Filters, prompt: &str, text: &str, kind: TokenizerKind) -> (String, Option<String>, usize) {
        let tokenizer = tokenizer(kind);
        let mut view = View::new(&tokenizer, filters, prompt);
        let mut seen = filters.opening(prompt);
        for token in tokenizer.encode(text).expect("known characters") {
            let Certain { parts, stop } = view.push(token).expect("known tokens");
            seen += &shown(&parts);
            if let Some(stop) = stop {
                return (seen + &shown(&view.pause().parts), Some(stop.to_owned()), 0);
            }
        }
        let rest = view.finish().expect("known tokens");
        (seen + &shown(&rest.parts), None, rest.not_shown)
    }

    #[test]
    fn tokens_of_hidden_parts_and_of_their_markers_are_counted_as_not_shown() {
        let filters = filters(&[], &["<", ">", "((", "))"]);
        let see = |prompt, text| view(&filters, prompt, text, TokenizerKind::Char);
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
        assert_eq!(view(&filters, "", "猫<狗>猫", TokenizerKind::Byte), ("猫猫".into(), None, 5));
    }

    #[test]
    fn a_stop_text_stops_where_it_is_hidden_too_and_what_comes_before_it_is_shown() {
        let filters = filters(&["cd", "gh"], &["<", ">"]);
        let see = |text| view(&filters, "cd", text, TokenizerKind::Char);
        assert_eq!(see("a<bcd>e"), ("cda".into(), Some("cd".into()), 0));
        assert_eq!(see("a<b>efghe"), ("cdaef".into(), Some("gh".into()), 0));
    }

    #[test]
    fn what_the_reader_has_seen_is_not_shown_again_even_if_it_was_held_back() {
        let (tokenizer, filters) = (tokenizer(TokenizerKind::Char), filters(&[], &["<<", ">"]));
        let mut view = View::new(&tokenizer, &filters, "ab<");
        let tokens = tokenizer.encode("c<<d").expect("known characters");
        let mut text = String::new();
        for token in tokens {
            text += &shown(&view.push(token).expect("a known token").parts);
        }
        assert_eq!(text, "c");
        assert_eq!(view.finish().expect("known tokens").not_shown, 3);
    }

    #[test]
    fn a_pause_leaves_half_a_character_out_and_an_end_does_not() {
        let (tokenizer, filters) = (tokenizer(TokenizerKind::Byte), Filters::default());
        let tokens = tokenizer.encode("猫狗").expect("bytes");
        let begun = || {
            let mut view = View::new(&tokenizer, &filters, "");
            for token in &tokens[..4] {
                view.push(*token).expect("a known token");
            }
            view
        };
        assert_eq!(shown(&begun().pause().parts), "");
        assert_eq!(shown(&begun().finish().expect("known tokens").parts), "\u{FFFD}");
    }
}
