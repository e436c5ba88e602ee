//! Everything that a user can cause to go wrong with text: what, where, and what to do, in one line each.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a text could not be read, encoded or decoded, or a tokenizer not be had.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A file or directory is absent or unreadable.
    #[error("{}: cannot be read: {source}; check the path", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A text or tokenizer file is not UTF-8.
    #[error(
        "{}: not UTF-8 text at byte {offset}; convert it (`iconv -f LATIN1 -t UTF-8`) or leave it out",
        path.display()
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Offset of the first byte that is not UTF-8, counted from 0.
        offset: usize,
    },
    /// A text in UTF-8 ends within a character, as a file does that was cut by its bytes.
    #[error(
        "{}: ends within a character, at byte {offset}: is it whole? `iconv -c -f UTF-8 -t UTF-8` leaves out what is left \
         of the character",
        path.display()
    )]
    CutOff {
        /// The file.
        path: PathBuf,
        /// Offset of the first byte of that character, counted from 0.
        offset: usize,
    },
    /// A text is not in UTF-8, and what it is in is known.
    #[error("{}: {what}; convert it (`iconv -f {from} -t UTF-8`) or leave it out", path.display())]
    OtherEncoding {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What `iconv` calls that.
        from: &'static str,
    },
    /// Text has characters that a tokenizer cannot write.
    #[error(
        "{origin}: {at}: the vocabulary lacks {characters}; remove what it lacks, or train with tokenizer kind `byte` \
         or `bpe`, which can write any text"
    )]
    UnknownCharacters {
        /// Which text: a path, or "the text".
        origin: String,
        /// Where the first unknown character stands.
        at: Position,
        /// The unknown characters in order of appearance, each once and readable, at most eight, and how many more.
        characters: String,
    },
    /// A tokenizer of kind `char` was asked for without any text to learn from.
    #[error("tokenizer kind `char`: there is no text to take the characters from; give a corpus that is not empty")]
    NoCharacters,
    /// A byte-level vocabulary cannot be smaller than the bytes.
    #[error("tokenizer kind `bpe`: vocab_size = {vocab_size} is too small; give at least {minimum} ({why})")]
    VocabSizeTooSmall {
        /// The size asked for.
        vocab_size: usize,
        /// The least size.
        minimum: usize,
        /// What the least size is made of.
        why: &'static str,
    },
    /// A vocabulary is larger than any that a text gives.
    #[error("tokenizer kind `bpe`: vocab_size = {vocab_size} is too large; give at most {maximum}")]
    VocabSizeTooLarge {
        /// The size asked for.
        vocab_size: usize,
        /// The largest size.
        maximum: usize,
    },
    /// Kind `file` needs a path.
    #[error("tokenizer kind `file`: `path` is empty; set it to a tokenizer.json")]
    NoTokenizerPath,
    /// Kind `file` with `end_of_text = true`, and the file has no such token.
    #[error("{}: has no end-of-text token ({known}); set end_of_text = false or give another file", path.display())]
    NoEndOfText {
        /// The tokenizer file.
        path: PathBuf,
        /// The names that were looked for.
        known: String,
    },
    /// A tokenizer file is not what the `tokenizers` library reads.
    #[error("{}: not a usable tokenizer.json: {reason}; give one in the Hugging Face format", path.display())]
    InvalidTokenizer {
        /// The file, or where the text came from.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A generation_config.json does not say what texts begin and end with.
    #[error("{}: not a usable generation_config.json: {reason}; restore it from a copy, or remove it", path.display())]
    InvalidBounds {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A stop text without a character in it.
    #[error("a stop text is empty, so everything would stop before it begins; give at least one character")]
    EmptyStopText,
    /// A marker of a hidden part without a character in it.
    #[error("a marker is empty; give both the start and the end of what is hidden at least one character")]
    EmptyMarker,
    /// Two pairs of markers that begin alike.
    #[error("two pairs begin with {start:?}, so it is not clear which end is meant; leave one of them out")]
    RepeatedMarker {
        /// The start that both have.
        start: String,
    },
    /// A token id that the vocabulary does not have.
    #[error("token id {id}: the vocabulary ends at id {}; use the tokenizer that the model was trained with", vocab_size.saturating_sub(1))]
    UnknownId {
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// The `tokenizers` library failed at something that it should be able to do.
    #[error("tokenizer: cannot {action}: {reason}; the tokenizer file may not suit this text")]
    Library {
        /// What was tried: build, encode, decode, save.
        action: &'static str,
        /// What the library says.
        reason: String,
    },
}

impl TextError {
    /// The same error, about the text of this name.
    #[must_use]
    pub fn in_text(self, name: &str) -> Self {
        match self {
            Self::UnknownCharacters { at, characters, .. } => {
                Self::UnknownCharacters { origin: name.to_owned(), at, characters }
            }
            other => other,
        }
    }

    /// What is wrong with the encoding of a file, without its name: for a message that names it.
    #[must_use]
    pub fn encoding_fault(&self) -> String {
        match self {
            Self::NotUtf8 { offset, .. } => format!("not UTF-8 text at byte {offset}"),
            Self::CutOff { offset, .. } => format!("ends within a character, at byte {offset}"),
            Self::OtherEncoding { what, .. } => what.clone(),
            other => other.to_string(),
        }
    }

    /// The library's own error, as a value for `map_err`.
    pub(crate) fn library<E: fmt::Display>(action: &'static str) -> impl Fn(E) -> Self {
        move |error| Self::Library { action, reason: error.to_string() }
    }
}

/// A place in a text, both numbers counted from 1 as editors do; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Position {
    /// The beginning of a text.
    pub const START: Self = Self { line: 1, column: 1 };

    /// Where one stands after reading `text` from here.
    #[must_use]
    pub fn after(self, text: &str) -> Self {
        match text.rfind('\n') {
            None => Self { line: self.line, column: self.column + text.chars().count() },
            Some(newline) => {
                Self { line: self.line + text.matches('\n').count(), column: 1 + text[newline + 1..].chars().count() }
            }
        }
    }

    /// A position counted from the beginning of a piece, counted from the beginning of the text where the piece
    /// starts at `self`.
    #[must_use]
    pub fn then(self, inside: Self) -> Self {
        if inside.line == 1 {
            Self { line: self.line, column: self.column + inside.column - 1 }
        } else {
            Self { line: self.line + inside.line - 1, column: inside.column }
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}
