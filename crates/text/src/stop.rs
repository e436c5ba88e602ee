//! Texts at which generation stops: found in text that arrives piece by piece, and never shown, not even in part.

use std::sync::Arc;

use crate::error::TextError;
use crate::search::take;

/// Texts that end what is generated when they appear in it.
///
/// The one that is complete first counts; if several are complete with the same character, the longest of them. So it is
/// decided as soon as one is complete, and what would have come later changes nothing. Texts are compared character by
/// character: é as one character is not e with an accent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StopTexts {
    texts: Arc<[String]>,
}

/// What is known after a piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What may be shown now and was not before; often empty.
    pub text: String,
    /// The stop text that has appeared: nothing that comes later is shown.
    pub stop: Option<String>,
}

/// Watches the pieces of one text for stop texts.
///
/// Everything that is shown, and what [`StopWatch::finish`] returns, is the text before the stop text, or all of it if
/// there is none, however it is cut into pieces.
#[derive(Debug, Clone)]
pub struct StopWatch {
    texts: Arc<[String]>,
    /// The end of the text so far, if a stop text might begin with it.
    held: String,
    /// Which of the texts has appeared.
    stop: Option<usize>,
}

impl StopTexts {
    /// These texts; none never stop.
    ///
    /// # Errors
    /// [`TextError::EmptyStopText`] if one of them is empty.
    pub fn new<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Result<Self, TextError> {
        let texts: Arc<[String]> = texts.into_iter().map(Into::into).collect();
        if texts.iter().any(String::is_empty) { Err(TextError::EmptyStopText) } else { Ok(Self { texts }) }
    }

    /// Begins to watch a text.
    #[must_use]
    pub fn watch(&self) -> StopWatch {
        StopWatch { texts: Arc::clone(&self.texts), held: String::new(), stop: None }
    }

    /// The texts.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

impl StopWatch {
    /// Takes the next piece. What may be the beginning of a stop text is held back until it is known.
    pub fn push(&mut self, piece: &str) -> Watched {
        let mut text = String::new();
        if self.stop.is_none() {
            self.held.push_str(piece);
            let taken = take(&mut self.held, &self.texts);
            (text, self.stop) = (taken.text, taken.found);
            if self.stop.is_some() {
                self.held.clear();
            }
        }
        Watched { text, stop: self.stop().map(str::to_owned) }
    }

    /// The stop text that has appeared.
    #[must_use]
    pub fn stop(&self) -> Option<&str> {
        self.stop.map(|stop| self.texts[stop].as_str())
    }

    /// What is still held back, now that no more text comes.
    #[must_use]
    pub fn finish(self) -> String {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is shown of these pieces, and the stop text that ended it.
    fn shown(stops: &[&str], pieces: &[&str]) -> (String, Option<String>) {
        let stops = StopTexts::new(stops.iter().copied()).expect("none is empty");
        let mut watch = stops.watch();
        let mut text = String::new();
        for piece in pieces {
            text.push_str(&watch.push(piece).text);
        }
        let stop = watch.stop().map(str::to_owned);
        (text + &watch.finish(), stop)
    }

    fn stopped(text: &str, stop: &str) -> (String, Option<String>) {
        (text.into(), Some(stop.into()))
    }

    #[test]
    fn a_stop_text_is_found_over_the_borders_of_pieces_and_ends_what_is_shown() {
        assert_eq!(shown(&["\n\n"], &["one\n", "\ntwo"]), stopped("one", "\n\n"));
        assert_eq!(shown(&["stop"], &["a s", "t", "op and more", " stop"]), stopped("a ", "stop"));
        assert_eq!(shown(&["stop"], &["stop"]), stopped("", "stop"));
        assert_eq!(shown(&["stop"], &["never", " sto"]), ("never sto".into(), None));
        assert_eq!(shown(&[], &["a", "b"]), ("ab".into(), None));
    }

    #[test]
    fn a_beginning_that_repeats_hides_no_stop_text() {
        assert_eq!(shown(&["aab"], &["a", "a", "a", "b"]), stopped("a", "aab"));
        assert_eq!(shown(&["abac"], &["ab", "abac"]), stopped("ab", "abac"));
    }

    #[test]
    fn text_is_shown_as_soon_as_no_stop_text_can_begin_with_it() {
        let stops = StopTexts::new(["User:"]).expect("not empty");
        let mut watch = stops.watch();
        let mut push = |piece| watch.push(piece).text;
        assert_eq!(push("Yes. U"), "Yes. ");
        assert_eq!(push("se"), "");
        assert_eq!(push("less Us"), "Useless ");
        assert_eq!(push("ed"), "Used");
    }

    #[test]
    fn the_text_that_is_complete_first_counts_and_of_several_the_longest() {
        assert_eq!(shown(&["abcd", "bc"], &["abcd"]), stopped("a", "bc"));
        assert_eq!(shown(&["abcd", "bc"], &["a", "b", "c", "d"]), stopped("a", "bc"));
        assert_eq!(shown(&["ab", "abc"], &["xabc"]), stopped("x", "ab"));
        assert_eq!(shown(&["c", "bc", "abc"], &["xabc"]), stopped("x", "abc"));
    }

    #[test]
    fn chinese_is_cut_between_characters() {
        assert_eq!(shown(&["。问"], &["答案是猫", "。", "问：狗"]), stopped("答案是猫", "。问"));
        assert_eq!(shown(&["。问"], &["一。", "二"]), ("一。二".into(), None));
        // 猫 and 狗 begin with the same byte; no character is taken for half of another.
        assert_eq!(shown(&["狗"], &["猫", "独"]), ("猫独".into(), None));
    }

    #[test]
    fn an_empty_stop_text_is_refused() {
        let error = StopTexts::new(["a", ""]).expect_err("it would stop at once");
        assert!(error.to_string().contains("stop text is empty"), "{error}");
    }

    /// The definition, on the whole text.
    fn search(stops: &[String], text: &str) -> (String, Option<String>) {
        for end in text.char_indices().map(|(begin, char)| begin + char.len_utf8()) {
            let complete = stops.iter().filter(|stop| text[..end].ends_with(stop.as_str()));
            if let Some(stop) = complete.max_by_key(|stop| stop.len()) {
                return (text[..end - stop.len()].to_owned(), Some(stop.clone()));
            }
        }
        (text.to_owned(), None)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]

        #[test]
        fn pieces_give_what_a_search_over_the_whole_text_gives(
            pieces in prop::collection::vec("[ab猫狗]{0,5}", 0..12),
            stops in prop::collection::vec("[ab猫狗]{1,5}", 0..4),
        ) {
            let texts = StopTexts::new(stops.clone()).expect("none is empty");
            let mut watch = texts.watch();
            let (mut arrived, mut shown) = (String::new(), String::new());
            for piece in &pieces {
                arrived.push_str(piece);
                let Watched { text, stop } = watch.push(piece);
                shown.push_str(&text);
                prop_assert_eq!(stop.clone(), search(&stops, &arrived).1);
                // No more is held back than must be: it could all become a stop text.
                let held = arrived.strip_prefix(shown.as_str());
                let is_beginning = |held: &str| stops.iter().any(|stop| stop.len() > held.len() && stop.starts_with(held));
                prop_assert!(stop.is_some() || held.is_some_and(|held| held.is_empty() || is_beginning(held)));
            }
            let stop = watch.stop().map(str::to_owned);
            shown.push_str(&watch.finish());
            prop_assert_eq!((shown, stop), search(&stops, &arrived));
        }
    }
}
