//! Characters that are seldom meant: control characters, replacement characters, marks, line ends of several kinds.

use serde::{Deserialize, Serialize};

/// How many of each a text has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Oddities {
    /// Line ends as Unix writes them.
    pub lf: usize,
    /// Line ends as Windows writes them, carriage return and line feed.
    pub crlf: usize,
    /// Carriage returns that no line feed follows.
    pub cr: usize,
    /// U+0000 to U+001F and U+007F to U+009F, but for tabs and line ends.
    pub control: usize,
    /// U+FFFD, which stands for what could not be read.
    pub replacement: usize,
    /// U+FEFF, the byte-order mark, within the text.
    pub marks: usize,
}

impl Oddities {
    /// Counts those of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut found = Self::default();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\n' => found.lf += 1,
                '\r' if characters.next_if_eq(&'\n').is_some() => found.crlf += 1,
                '\r' => found.cr += 1,
                '\t' => {}
                '\u{fffd}' => found.replacement += 1,
                '\u{feff}' => found.marks += 1,
                character if character.is_control() => found.control += 1,
                _ => {}
            }
        }
        found
    }

    /// With those of another text.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            lf: self.lf + other.lf,
            crlf: self.crlf + other.crlf,
            cr: self.cr + other.cr,
            control: self.control + other.control,
            replacement: self.replacement + other.replacement,
            marks: self.marks + other.marks,
        }
    }

    /// What to say of them, a sentence each.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let kinds = [(self.lf, "LF"), (self.crlf, "CR LF"), (self.cr, "CR")];
        let ends: Vec<String> =
            kinds.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
        if ends.len() > 1 {
            doubts.push(format!("the text mixes line ends: {}; the model learns them all", ends.join(", ")));
        }
        let characters = [
            (self.control, "control characters"),
            (self.replacement, "replacement characters (U+FFFD), where something could not be read"),
            (self.marks, "byte-order marks (U+FEFF) within it"),
        ];
        doubts.extend(
            characters
                .iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!("the text has {count} {what}")),
        );
        doubts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_characters_are_counted_by_kind_and_only_mixed_line_ends_are_worth_a_word() {
        let odd = Oddities::of("a\r\nb\nc\rd\r\r\n\te\0\u{1b}\u{85}\u{fffd}\u{feff}é");
        assert_eq!(odd, Oddities { lf: 1, crlf: 2, cr: 2, control: 3, replacement: 1, marks: 1 });
        assert_eq!(odd.and(odd).crlf, 4);
        let doubts = odd.doubts();
        assert_eq!(doubts.len(), 4);
        assert!(doubts[0].contains("1 LF, 2 CR LF, 2 CR"), "{doubts:?}");
        for text in ["a\nb\n", "a\r\nb\r\n", "\ta 猫\u{301}", ""] {
            assert_eq!(Oddities::of(text).doubts(), Vec::<String>::new(), "{text:?}");
        }
    }
}
