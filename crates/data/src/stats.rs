//! What a text is made of: bytes, characters, documents, scripts, lines that repeat, odd characters.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

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

/// So many different lines are remembered to tell which repeat: some 300 MB of memory.
const MOST_LINES: usize = 1 << 24;

/// Counts of a text, part by part.
pub(crate) struct StatsCounter {
    bytes: usize,
    /// How often each character stands there, by its code point.
    chars: Vec<usize>,
    documents: usize,
    lines: usize,
    repeated_lines: usize,
    /// Hashes of the lines so far.
    seen: HashSet<u64>,
    /// A line that has begun and may go on.
    line: String,
    odd: Oddities,
}

impl StatsCounter {
    pub fn new() -> Self {
        let chars = vec![0; char::MAX as usize + 1];
        let (seen, line, odd) = (HashSet::new(), String::new(), Oddities::default());
        Self { bytes: 0, chars, documents: 0, lines: 0, repeated_lines: 0, seen, line, odd }
    }

    /// Counts a part of a document, which may end with it.
    pub fn part(&mut self, text: &str, ends: bool) {
        self.bytes += text.len();
        self.odd = self.odd.and(Oddities::of(text));
        text.chars().for_each(|character| self.chars[character as usize] += 1);
        let mut rest = text;
        while let Some(at) = rest.find('\n') {
            let line = std::mem::take(&mut self.line) + &rest[..at];
            self.count_line(&line);
            rest = &rest[at + 1..];
        }
        self.line.push_str(rest);
        if ends {
            self.documents += 1;
            let line = std::mem::take(&mut self.line);
            self.count_line(&line);
        }
    }

    fn count_line(&mut self, line: &str) {
        let line = line.trim();
        if line.is_empty() {
            return;
        }
        self.lines += 1;
        let mut hash = DefaultHasher::new();
        line.hash(&mut hash);
        let hash = hash.finish();
        if self.seen.contains(&hash) {
            self.repeated_lines += 1;
        } else if self.seen.len() < MOST_LINES {
            self.seen.insert(hash);
        }
    }

    /// All of it; a whole file is no document.
    pub fn finish(self, has_documents: bool) -> TextStats {
        let Self { bytes, chars, documents, lines, repeated_lines, odd, .. } = self;
        let mut scripts: BTreeMap<&'static str, usize> = BTreeMap::new();
        let (mut total, mut distinct_chars) = (0, 0);
        for (code, count) in (0..).zip(chars).filter(|(_, count)| *count > 0) {
            (total, distinct_chars) = (total + count, distinct_chars + 1);
            let script = char::from_u32(code).map_or(Script::Unknown, |character| character.script());
            if !matches!(script, Script::Common | Script::Inherited | Script::Unknown) {
                *scripts.entry(script.full_name()).or_default() += count;
            }
        }
        let mut scripts: Vec<ScriptCount> =
            scripts.into_iter().map(|(script, chars)| ScriptCount { script, chars }).collect();
        scripts.sort_by_key(|script| std::cmp::Reverse(script.chars));
        let documents = if has_documents { documents } else { 0 };
        TextStats { bytes, chars: total, distinct_chars, documents, lines, repeated_lines, scripts, odd }
    }
}

impl TextStats {
    /// Counts what a corpus holds.
    #[must_use]
    pub fn of(corpus: &Corpus) -> Self {
        let mut counter = StatsCounter::new();
        corpus.documents.iter().for_each(|document| counter.part(&document.text, true));
        counter.finish(corpus.has_documents)
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
        let mut counter = StatsCounter::new();
        for text in texts {
            let ends: Vec<usize> = text.char_indices().map(|(at, one)| at + one.len_utf8()).collect();
            // Between a carriage return and a newline no part ends.
            let (mut begin, last) = (0, text.len());
            for end in ends.into_iter().filter(|end| !text[..*end].ends_with('\r')) {
                counter.part(&text[begin..end], end == last);
                begin = end;
            }
        }
        assert_eq!(counter.finish(true), stats, "character by character");
        assert_eq!(stats.distinct_chars, texts.concat().chars().collect::<HashSet<char>>().len());
    }
}
