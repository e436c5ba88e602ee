//! Parts of a text that are not shown: what stands between two markers, found in text that arrives piece by piece.

use std::sync::Arc;

use crate::error::TextError;
use crate::search::{Taken, take};

/// Pairs of markers, a start and an end; what stands between them is hidden, and so are they.
///
/// A part is hidden from the start marker that is complete first (of several that are complete with the same character,
/// the longest) to the next end marker of the same pair, or to the end of the text if there is none. Inside, nothing else
/// is looked for: parts do not nest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HiddenParts {
    starts: Arc<[String]>,
    ends: Arc<[String]>,
}

/// Text that is certain to be shown or hidden; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// To be shown.
    Shown(String),
    /// Not to be shown.
    Hidden(String),
}

/// Divides the pieces of one text into parts.
///
/// All parts together, and those of [`HideWatch::finish`], are the text, and which of it is hidden does not depend on how
/// it is cut into pieces.
#[derive(Debug, Clone)]
pub struct HideWatch {
    pairs: HiddenParts,
    /// The end of the text so far, if the marker that is looked for might begin with it.
    held: String,
    /// The pair between whose markers the text is.
    within: Option<usize>,
}

impl Part {
    /// What it says, shown or not.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Shown(text) | Self::Hidden(text) => text,
        }
    }

    /// The part without its first `n` bytes, if anything is left.
    ///
    /// # Panics
    /// If that would cut a character.
    #[must_use]
    pub fn after(self, n: usize) -> Option<Self> {
        let rest = self.text()[n..].to_owned();
        match self {
            _ if rest.is_empty() => None,
            Self::Shown(_) => Some(Self::Shown(rest)),
            Self::Hidden(_) => Some(Self::Hidden(rest)),
        }
    }
}

impl HiddenParts {
    /// These pairs of a start and an end; without any, everything is shown.
    ///
    /// # Errors
    /// [`TextError::EmptyMarker`] if one of them is empty, [`TextError::RepeatedMarker`] if two pairs have one start.
    pub fn new<T: Into<String>>(pairs: impl IntoIterator<Item = (T, T)>) -> Result<Self, TextError> {
        let pairs = pairs.into_iter().map(|(start, end)| (start.into(), end.into()));
        let (starts, ends): (Vec<String>, Vec<String>) = pairs.unzip();
        if starts.iter().chain(&ends).any(String::is_empty) {
            return Err(TextError::EmptyMarker);
        }
        match starts.iter().enumerate().find(|(number, start)| starts[..*number].contains(start)) {
            Some((_, start)) => Err(TextError::RepeatedMarker { start: start.clone() }),
            None => Ok(Self { starts: starts.into(), ends: ends.into() }),
        }
    }

    /// Begins to divide a text.
    #[must_use]
    pub fn watch(&self) -> HideWatch {
        HideWatch { pairs: self.clone(), held: String::new(), within: None }
    }

    /// What is shown of a whole text.
    #[must_use]
    pub fn shown(&self, text: &str) -> String {
        let mut watch = self.watch();
        let parts = watch.push(text).into_iter().chain(watch.finish());
        parts.filter_map(|part| if let Part::Shown(text) = part { Some(text) } else { None }).collect()
    }
}

impl HideWatch {
    /// Takes the next piece; returns what is certain now and was not before.
    pub fn push(&mut self, piece: &str) -> Vec<Part> {
        self.held.push_str(piece);
        let HiddenParts { starts, ends } = &self.pairs;
        let mut parts = Vec::new();
        loop {
            let searched = self.within.map_or(&starts[..], |pair| &ends[pair..=pair]);
            let Taken { text, found } = take(&mut self.held, searched);
            add(&mut parts, text, self.within);
            let Some(found) = found else { return parts };
            add(&mut parts, searched[found].clone(), Some(found));
            self.within = if self.within.is_some() { None } else { Some(found) };
        }
    }

    /// What is still held back, now that no more text comes.
    #[must_use]
    pub fn finish(self) -> Option<Part> {
        let mut parts = Vec::new();
        add(&mut parts, self.held, self.within);
        parts.pop()
    }
}

/// Adds text to the parts, in one with what is before it where both are shown or both hidden.
fn add(parts: &mut Vec<Part>, text: String, within: Option<usize>) {
    match (parts.last_mut(), within) {
        _ if text.is_empty() => {}
        (Some(Part::Shown(before)), None) | (Some(Part::Hidden(before)), Some(_)) => before.push_str(&text),
        (_, None) => parts.push(Part::Shown(text)),
        (_, Some(_)) => parts.push(Part::Hidden(text)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Part::{Hidden, Shown};
    use super::*;

    fn hidden_parts(pairs: &[(&str, &str)]) -> HiddenParts {
        HiddenParts::new(pairs.iter().copied()).expect("sound markers")
    }

    /// What is shown of these pieces.
    fn shown(pairs: &[(&str, &str)], pieces: &[&str]) -> String {
        let pairs = hidden_parts(pairs);
        let mut watch = pairs.watch();
        let mut parts: Vec<Part> = pieces.iter().flat_map(|piece| watch.push(piece)).collect();
        parts.extend(watch.finish());
        let shown = parts.iter().filter_map(|part| if let Shown(text) = part { Some(text.as_str()) } else { None });
        shown.collect()
    }

    #[test]
    fn what_stands_between_markers_is_hidden_with_them_over_the_borders_of_pieces() {
        let work = [("<work>", "</work>")];
        assert_eq!(shown(&work, &["12+34=<work>2+4</work>46"]), "12+34=46");
        assert_eq!(shown(&work, &["1", "2=<wo", "rk", ">a<", "/w", "ork", ">46"]), "12=46");
        assert_eq!(shown(&work, &["a<work></work><work>b</work>c"]), "ac");
        assert_eq!(shown(&work, &["a<wo", "nder>"]), "a<wonder>");
        assert_eq!(shown(&work, &["a<wor"]), "a<wor");
        assert_eq!(shown(&work, &["</work>a"]), "</work>a");
        assert_eq!(shown(&[("（", "）")], &["猫（一", "只）来", "了（"]), "猫来了");
        assert_eq!(shown(&[], &["a", "b"]), "ab");
    }

    #[test]
    fn a_start_without_an_end_hides_the_rest() {
        assert_eq!(shown(&[("(", ")")], &["a(b", "c", "d"]), "a");
        assert_eq!(shown(&[("(", "))")], &["a(b)"]), "a");
    }

    #[test]
    fn an_end_ends_only_its_own_pair_and_parts_do_not_nest() {
        let pairs = [("(", ")"), ("[", "]")];
        assert_eq!(shown(&pairs, &["a(b]c[d)e]f"]), "ae]f");
        assert_eq!(shown(&pairs, &["a[(]b)c"]), "ab)c");
        assert_eq!(shown(&[("|", "|")], &["a|b|c|d|e"]), "ace");
        assert_eq!(shown(&[("(", ")")], &["a((b)c)d"]), "ac)d");
    }

    #[test]
    fn an_end_marker_does_not_begin_in_its_start_marker() {
        assert_eq!(shown(&[("aa", "a")], &["xaab", "ac"]), "xc");
    }

    #[test]
    fn text_is_shown_as_soon_as_no_marker_can_begin_with_it_and_the_parts_are_the_text() {
        let pairs = hidden_parts(&[("<work>", "</work>")]);
        let mut watch = pairs.watch();
        assert_eq!(watch.push("so <"), [Shown("so ".into())]);
        assert_eq!(watch.push("wo"), []);
        assert_eq!(watch.push("w> <work>2</"), [Shown("<wow> ".into()), Hidden("<work>2".into())]);
        assert_eq!(watch.push("work> 4<"), [Hidden("</work>".into()), Shown(" 4".into())]);
        assert_eq!(watch.finish(), Some(Shown("<".into())));
    }

    #[test]
    fn empty_markers_and_two_pairs_with_one_start_are_refused() {
        let refused =
            |pairs: &[(&str, &str)]| HiddenParts::new(pairs.iter().copied()).expect_err("no sense").to_string();
        assert!(refused(&[("(", "")]).contains("marker is empty"));
        assert!(refused(&[("", ")")]).contains("marker is empty"));
        assert!(refused(&[("(", ")"), ("(", "]")]).contains("\"(\""));
    }

    /// The definition, on the whole text: which of its bytes are hidden.
    fn search(pairs: &[(String, String)], text: &str) -> Vec<bool> {
        let mut hidden = vec![false; text.len()];
        let mut at = 0;
        let complete = |from: usize, end: usize| {
            let complete = pairs.iter().filter(move |(start, _)| text[from..end].ends_with(start.as_str()));
            complete.max_by_key(|(start, _)| start.len())
        };
        let ends = text.char_indices().map(|(begin, char)| begin + char.len_utf8());
        for start_end in ends {
            if start_end <= at {
                continue;
            }
            let Some((start, end)) = complete(at, start_end) else { continue };
            at = text[start_end..].find(end.as_str()).map_or(text.len(), |begin| start_end + begin + end.len());
            hidden[start_end - start.len()..at].fill(true);
        }
        hidden
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn pieces_give_what_a_search_over_the_whole_text_gives(
            pieces in prop::collection::vec("[ab猫狗]{0,6}", 0..16),
            pairs in prop::collection::btree_map("[ab猫狗]{1,3}", "[ab猫狗]{1,3}", 0..4),
        ) {
            let pairs: Vec<(String, String)> = pairs.into_iter().collect();
            let hidden_parts = HiddenParts::new(pairs.clone()).expect("sound markers");
            let mut watch = hidden_parts.watch();
            let (mut text, mut hidden) = (String::new(), Vec::new());
            let mut take = |part: Part| {
                let (piece, is_hidden) = match part {
                    Shown(piece) => (piece, false),
                    Hidden(piece) => (piece, true),
                };
                assert!(!piece.is_empty());
                text.push_str(&piece);
                hidden.resize(text.len(), is_hidden);
            };
            for piece in &pieces {
                watch.push(piece).into_iter().for_each(&mut take);
                // No more is held back than must be: it could all become a marker.
                let markers = pairs.iter().flat_map(|(start, end)| [start, end]);
                let held = watch.held.as_str();
                prop_assert!(held.is_empty() || markers.into_iter().any(|m| m.len() > held.len() && m.starts_with(held)));
            }
            watch.finish().into_iter().for_each(&mut take);
            prop_assert_eq!(&text, &pieces.concat());
            prop_assert_eq!(hidden, search(&pairs, &text));
        }
    }
}
