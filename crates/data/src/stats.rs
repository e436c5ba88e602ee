//! What a text is made of: bytes, characters, documents, scripts, lines that repeat, odd characters.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use unicode_script::{Script, UnicodeScript};

use crate::corpus::Corpus;
use crate::oddities::Oddities;

/// A text in numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextStats {
    /// Length in bytes of UTF-8.
    pub bytes: usize,
    /// Length in characters.
    pub chars: usize,
    /// How many different characters there are.
    pub distinct_chars: usize,
    /// Texts with an end of their own; none in a whole file.
    pub documents: usize,
    /// Lines that are not blank.
    pub lines: usize,
    /// Those of them that stood there before, white space at their ends aside.
    pub repeated_lines: usize,
    /// Letters and other characters of a script by its name, the most frequent first. Digits, punctuation and white space are
    /// of none.
    pub scripts: Vec<ScriptCount>,
    /// Characters that are seldom meant.
    pub odd: Oddities,
}

/// How many characters of a text are of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScriptCount {
    /// Its name in Unicode.
    pub script: &'static str,
    /// How many.
    pub chars: usize,
}

impl TextStats {
    /// Counts what a corpus holds.
    #[must_use]
    pub fn of(corpus: &Corpus) -> Self {
        let mut scripts: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut distinct: BTreeMap<char, usize> = BTreeMap::new();
        let (mut seen, mut lines, mut odd) = (HashSet::new(), 0, Oddities::default());
        for document in &corpus.documents {
            for character in document.text.chars() {
                *distinct.entry(character).or_default() += 1;
            }
            for line in document.text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                lines += 1;
                seen.insert(line);
            }
            odd = odd.and(Oddities::of(&document.text));
        }
        for (character, count) in &distinct {
            let script = character.script();
            if !matches!(script, Script::Common | Script::Inherited | Script::Unknown) {
                *scripts.entry(script.full_name()).or_default() += count;
            }
        }
        let mut scripts: Vec<ScriptCount> =
            scripts.into_iter().map(|(script, chars)| ScriptCount { script, chars }).collect();
        scripts.sort_by_key(|script| std::cmp::Reverse(script.chars));
        Self {
            bytes: corpus.text_len(),
            chars: distinct.values().sum(),
            distinct_chars: distinct.len(),
            documents: if corpus.has_documents { corpus.documents.len() } else { 0 },
            lines,
            repeated_lines: lines - seen.len(),
            scripts,
            odd,
        }
    }

    /// The share of a script among all characters of scripts, from 0 to 1.
    #[must_use]
    pub fn share(&self, script: &ScriptCount) -> f64 {
        let all: usize = self.scripts.iter().map(|script| script.chars).sum();
        script.chars as f64 / all as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    #[test]
    fn characters_scripts_and_repeated_lines_are_counted_over_all_documents() {
        let texts = ["Ab, 12\n\n  Ab, 12\né", "Ab, 12\nжук 猫\r\n猫ー"];
        let corpus = Corpus::new("two", texts.map(|text| Document::new("x", text)).to_vec());
        let stats = TextStats::of(&corpus);
        assert_eq!((stats.bytes, stats.chars), (texts.concat().len(), texts.concat().chars().count()));
        assert_eq!((stats.documents, stats.lines, stats.repeated_lines), (2, 6, 2));
        let scripts: Vec<(&str, usize)> = stats.scripts.iter().map(|one| (one.script, one.chars)).collect();
        assert_eq!(scripts, [("Latin", 7), ("Cyrillic", 3), ("Han", 2)]);
        assert!((stats.share(&stats.scripts[1]) - 0.25).abs() < 1e-12);
        assert_eq!((stats.odd.lf, stats.odd.crlf), (4, 1));
        assert_eq!(stats.distinct_chars, texts.concat().chars().collect::<HashSet<char>>().len());
    }
}
