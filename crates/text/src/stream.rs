//! Decoding while ids arrive: text is handed out as soon as it is certain, and never half a UTF-8 character.

use std::borrow::Borrow;

use crate::error::TextError;
use crate::tokenizer::{Tokenizer, after_common};

/// Decodes ids one at a time. All pieces together, and what [`TextStream::finish`] returns, are the text that
/// [`Tokenizer::decode`] gives for all the ids at once.
///
/// The tokenizer may be `&tokenizer` or an `Arc`.
#[derive(Debug, Clone)]
pub struct TextStream<T: Borrow<Tokenizer>> {
    tokenizer: T,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Tokens are bytes: those of a character that is not complete yet.
    Bytes(Vec<u8>),
    /// What a token says depends on its neighbours: the ids since the last piece, preceded by those of that piece.
    Context { ids: Vec<u32>, told: String, n_told: usize },
}

impl<T: Borrow<Tokenizer>> TextStream<T> {
    /// Starts decoding ids that arrive one at a time.
    #[must_use]
    pub fn new(tokenizer: T) -> Self {
        let state = if tokenizer.borrow().concatenates() {
            State::Bytes(Vec::new())
        } else {
            State::Context { ids: Vec::new(), told: String::new(), n_told: 0 }
        };
        Self { tokenizer, state }
    }

    /// Starts decoding ids that follow others, whose text is known: all pieces together are what
    /// [`Tokenizer::decode_after`] gives.
    ///
    /// # Errors
    ///
    /// `UnknownId` for an id beyond the vocabulary; `Library` if a tokenizer from a file cannot decode.
    pub fn after(tokenizer: T, before: &[u32]) -> Result<Self, TextError> {
        let mut stream = Self::new(tokenizer);
        if let State::Context { ids, told, n_told } = &mut stream.state {
            let tokenizer: &Tokenizer = stream.tokenizer.borrow();
            *ids = tokenizer.context(before);
            let text = tokenizer.decode(ids)?;
            // A replacement character at the end may become a character with the next id.
            text.trim_end_matches(char::REPLACEMENT_CHARACTER).clone_into(told);
            *n_told = ids.len();
        }
        Ok(stream)
    }

    /// The tokenizer that it was made with.
    pub(crate) fn into_tokenizer(self) -> T {
        self.tokenizer
    }

    /// Takes the next id and returns the text that is certain now and was not before; never an empty one.
    /// Special tokens give no text.
    ///
    /// # Errors
    ///
    /// `UnknownId` for an id beyond the vocabulary; `Library` if a tokenizer from a file cannot decode.
    pub fn push(&mut self, id: u32) -> Result<Option<String>, TextError> {
        let tokenizer: &Tokenizer = self.tokenizer.borrow();
        let bytes = tokenizer.bytes(id)?;
        let text = match &mut self.state {
            State::Bytes(pending) => {
                pending.extend_from_slice(bytes);
                take_complete(pending)
            }
            State::Context { .. } if tokenizer.is_special(id) => String::new(),
            State::Context { ids, told, n_told } => {
                ids.push(id);
                let all = tokenizer.decode(ids)?;
                // A replacement character at the end may be a character that is still on its way.
                match all.strip_prefix(told.as_str()) {
                    Some(new) if !new.is_empty() && !new.ends_with(char::REPLACEMENT_CHARACTER) => {
                        let new = new.to_string();
                        ids.drain(..*n_told);
                        *told = tokenizer.decode(ids)?;
                        *n_told = ids.len();
                        new
                    }
                    _ => String::new(),
                }
            }
        };
        Ok((!text.is_empty()).then_some(text))
    }

    /// What is left when no more ids come: empty, or U+FFFD for a character that was cut, or text that was held back
    /// because the next id might have changed it.
    ///
    /// # Errors
    ///
    /// `Library` if a tokenizer from a file cannot decode.
    pub fn finish(self) -> Result<String, TextError> {
        match self.state {
            State::Bytes(pending) => Ok(String::from_utf8_lossy(&pending).into_owned()),
            State::Context { ids, told, .. } => {
                let all = self.tokenizer.borrow().decode(&ids)?;
                Ok(after_common(&all, &told).to_string())
            }
        }
    }
}

/// Takes everything from `pending` but the bytes of a last character that is not complete. Bytes that can never be
/// UTF-8 become U+FFFD, as many as `String::from_utf8_lossy` makes of them.
fn take_complete(pending: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut n_taken = 0;
    while let Err(error) = std::str::from_utf8(&pending[n_taken..]) {
        let n_valid = error.valid_up_to();
        text.push_str(&String::from_utf8_lossy(&pending[n_taken..n_taken + n_valid]));
        n_taken += n_valid;
        let Some(n_invalid) = error.error_len() else {
            pending.drain(..n_taken);
            return text;
        };
        text.push(char::REPLACEMENT_CHARACTER);
        n_taken += n_invalid;
    }
    text.push_str(&String::from_utf8_lossy(&pending[n_taken..]));
    pending.clear();
    text
}
