//! A large text as parts, read one after another: never more of it is in memory than a part, or a document.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use tril_text::{TextError, word_border};

use crate::error::DataError;
use crate::format::{DocumentFormat, json_text};

/// Bytes that are read at a time, and about what a part of a document has at most.
const PART_BYTES: usize = 512 * 1024;
/// A part ends in about so many bytes of what has been read, where words border on each other.
const TAIL_BYTES: usize = 4096;
/// Parts that are worked on side by side have so many bytes together.
const BATCH_BYTES: usize = 8 << 20;
const UTF8_MARK: &str = "\u{feff}";

/// A document, or part of one that ends where two words border on each other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TextPart {
    /// Where the document comes from.
    pub origin: String,
    /// Its number among the parts of its document, from 0.
    pub index: usize,
    /// Whether its document ends with it.
    pub ends: bool,
    pub text: String,
}

/// The parts of files, in order.
pub(super) struct Parts<'a> {
    files: std::slice::Iter<'a, PathBuf>,
    format: &'a DocumentFormat,
    part_bytes: usize,
    open: Option<OpenFile>,
}

impl<'a> Parts<'a> {
    pub fn new(files: &'a [PathBuf], format: &'a DocumentFormat) -> Self {
        Self { files: files.iter(), format, part_bytes: PART_BYTES, open: None }
    }

    /// Several parts together, in order.
    pub fn batch(&mut self) -> Option<Result<Vec<TextPart>, DataError>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES {
            match self.next() {
                None => break,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(part)) => {
                    bytes += part.text.len();
                    batch.push(part);
                }
            }
        }
        (!batch.is_empty()).then_some(Ok(batch))
    }
}

impl Iterator for Parts<'_> {
    type Item = Result<TextPart, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.open.is_none() {
                match OpenFile::new(self.files.next()?, self.part_bytes) {
                    Ok(file) => self.open = Some(file),
                    Err(error) => return Some(Err(error)),
                }
            }
            let file = self.open.as_mut()?;
            match file.part(self.format) {
                Ok(Some(part)) => return Some(Ok(part)),
                Ok(None) => self.open = None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// A file that is being read.
struct OpenFile {
    path: PathBuf,
    file: File,
    part_bytes: usize,
    /// Bytes read so far, those of half a character at the end left out.
    offset: usize,
    /// Half a character at the end of what was read.
    rest: Vec<u8>,
    text: String,
    /// Of `text`, what has been given out.
    begin: usize,
    is_read: bool,
    /// Parts, or documents or lines, so far; empty ones too.
    number: usize,
}

impl OpenFile {
    fn new(path: &Path, part_bytes: usize) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| TextError::Unreadable { path: path.to_owned(), source })?;
        let (rest, text) = (Vec::new(), String::new());
        let path = path.to_owned();
        let mut opened = Self { path, file, part_bytes, offset: 0, rest, text, begin: 0, is_read: false, number: 0 };
        while opened.text.is_empty() && !opened.is_read {
            opened.read_more()?;
        }
        if opened.text.starts_with(UTF8_MARK) {
            opened.begin = UTF8_MARK.len();
        }
        Ok(opened)
    }

    /// Adds to what is in memory, and takes away what has been given out.
    fn read_more(&mut self) -> Result<(), DataError> {
        self.text.drain(..self.begin);
        self.begin = 0;
        let kept = self.rest.len();
        let mut bytes = std::mem::take(&mut self.rest);
        let read = (&mut self.file).take(self.part_bytes as u64).read_to_end(&mut bytes);
        let read = read.map_err(|source| TextError::Unreadable { path: self.path.clone(), source })?;
        self.is_read = read == 0;
        let not_utf8 = |at: usize| TextError::NotUtf8 { path: self.path.clone(), offset: self.offset + at };
        match std::str::from_utf8(&bytes) {
            Ok(text) => self.text.push_str(text),
            // Half a character, of which the other half comes next.
            Err(error) if error.error_len().is_none() && !self.is_read => {
                let (whole, rest) = bytes.split_at(error.valid_up_to());
                self.text.push_str(std::str::from_utf8(whole).map_err(|error| not_utf8(error.valid_up_to()))?);
                self.rest = rest.to_vec();
            }
            Err(error) if error.error_len().is_none() => {
                return Err(
                    TextError::CutOff { path: self.path.clone(), offset: self.offset + error.valid_up_to() }.into()
                );
            }
            Err(error) => return Err(not_utf8(error.valid_up_to()).into()),
        }
        self.offset += kept + read - self.rest.len();
        Ok(())
    }

    /// The next part, if there is one.
    fn part(&mut self, format: &DocumentFormat) -> Result<Option<TextPart>, DataError> {
        match format {
            DocumentFormat::Files => self.part_of_file(),
            DocumentFormat::Separated { separator } => loop {
                let Some((number, text)) = self.between(separator)? else { return Ok(None) };
                if !text.is_empty() {
                    return Ok(Some(self.document(format!(", document {number}"), text)));
                }
            },
            DocumentFormat::JsonLines { field } => loop {
                let Some((number, line)) = self.between("\n")? else { return Ok(None) };
                if line.trim().is_empty() {
                    continue;
                }
                let origin = format!("{}:{number}", self.path.display());
                let text = json_text(&line, field).map_err(|reason| DataError::JsonLine { origin, reason })?;
                if !text.is_empty() {
                    return Ok(Some(self.document(format!(":{number}"), text)));
                }
            },
        }
    }

    fn document(&self, place: String, text: String) -> TextPart {
        TextPart { origin: format!("{}{place}", self.path.display()), index: 0, ends: true, text }
    }

    fn part_of_file(&mut self) -> Result<Option<TextPart>, DataError> {
        loop {
            let left = self.text.len() - self.begin;
            // The last part is not given out before it is known to be the last, so there is always one.
            let cut = if self.is_read {
                (left > 0).then_some(self.text.len())
            } else if left < self.part_bytes {
                None
            } else {
                let from = self.text.ceil_char_boundary(self.begin + left - TAIL_BYTES.min(left / 2));
                word_border(&self.text, from)
            };
            if let Some(cut) = cut {
                let (index, ends) = (self.number, self.is_read);
                self.number += 1;
                let text = self.text[self.begin..cut].to_owned();
                self.begin = cut;
                return Ok(Some(TextPart { origin: self.path.display().to_string(), index, ends, text }));
            }
            if self.is_read {
                return Ok(None);
            }
            self.read_more()?;
        }
    }

    /// What stands before the next separator, or at the end, with its number, which counts from 1.
    fn between(&mut self, separator: &str) -> Result<Option<(usize, String)>, DataError> {
        let mut searched = self.begin;
        loop {
            if let Some(at) = self.text[searched..].find(separator) {
                let text = self.text[self.begin..searched + at].to_owned();
                self.begin = searched + at + separator.len();
                self.number += 1;
                return Ok(Some((self.number, text)));
            }
            if self.is_read {
                let left = &self.text[self.begin..];
                if left.is_empty() {
                    return Ok(None);
                }
                let text = left.to_owned();
                self.begin = self.text.len();
                self.number += 1;
                return Ok(Some((self.number, text)));
            }
            // A separator may begin in the end of what is here.
            let may_begin = self.text.len().saturating_sub(separator.len() - 1).max(searched);
            searched = self.text.floor_char_boundary(may_begin) - self.begin;
            self.read_more()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Corpus;

    /// Texts with characters of several bytes, separators of which parts repeat, lines of all ends.
    fn texts() -> Vec<String> {
        let mixed: String = (0..300).map(|i| format!("line {i} 猫é🦀\r\n--\n-\n\n \n{}", " x".repeat(i % 7))).collect();
        vec![mixed.clone(), format!("\u{feff}{mixed}\n"), "--".repeat(50), "明月幾時有，把酒問青天。".repeat(40)]
    }

    fn documents(
        files: &[PathBuf],
        format: &DocumentFormat,
        part_bytes: usize,
    ) -> Result<Vec<(String, String)>, DataError> {
        let mut documents: Vec<(String, String)> = Vec::new();
        let mut was_end = true;
        for part in (Parts { part_bytes, ..Parts::new(files, format) }) {
            let TextPart { origin, index, ends, text } = part?;
            assert_eq!(index == 0, was_end, "a document begins where one has ended");
            assert!(!text.is_empty());
            was_end = ends;
            match documents.last_mut().filter(|_| index > 0) {
                Some((_, before)) => before.push_str(&text),
                None => documents.push((origin, text)),
            }
        }
        assert!(was_end);
        Ok(documents)
    }

    #[test]
    fn parts_of_any_size_are_the_documents_that_a_corpus_in_memory_has() {
        let dir = tempfile::tempdir().expect("a directory");
        let objects: String = (0..90)
            .map(|i| format!("{{\"text\": \"{}猫\\n{i}\"}}\r\n{}", "ab ".repeat(i), "\n".repeat(i % 3)))
            .collect();
        for (number, text) in texts().into_iter().chain([objects]).enumerate() {
            let path = dir.path().join(format!("{number}.txt"));
            std::fs::write(&path, &text).expect("written");
            let mut formats: Vec<DocumentFormat> = ["\n", "--", "\n--\n", "é🦀", "\r"]
                .map(|separator| DocumentFormat::new("", separator).expect("one"))
                .into();
            formats.push(DocumentFormat::Files);
            if text.starts_with('{') {
                formats = vec![DocumentFormat::new("text", "").expect("one")];
            }
            for format in formats {
                let whole = Corpus::open_path(&path, &format, None);
                for part_bytes in [1, 2, 3, 7, 64, 1000, 1 << 20] {
                    let found = documents(std::slice::from_ref(&path), &format, part_bytes).expect("sound");
                    let expected = whole.as_ref().map(|corpus| corpus.documents.clone()).unwrap_or_default();
                    let expected: Vec<(String, String)> =
                        expected.into_iter().map(|one| (one.origin, one.text)).collect();
                    assert!(found == expected, "{number} {format:?} by {part_bytes}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_utf8_is_told_by_its_place_wherever_parts_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.txt");
        for (bytes, expected) in [
            (&b"ab \xe7\x8c\xab c\xff d"[..], "not UTF-8 text at byte 8;"),
            (b"ab \xe7\x8c", "ends within a character, at byte 3:"),
            (b"\xef\xbb\xbfa\xc3(", "not UTF-8 text at byte 4;"),
        ] {
            std::fs::write(&path, bytes).expect("written");
            for part_bytes in 1..12 {
                let error =
                    documents(std::slice::from_ref(&path), &DocumentFormat::Files, part_bytes).expect_err("not UTF-8");
                assert!(error.to_string().contains(expected), "{part_bytes}: {error}");
            }
        }
    }
}
