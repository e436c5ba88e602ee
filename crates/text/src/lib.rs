//! Text to token ids and back: tokenizers, text that is certain while ids arrive, stop texts and hidden parts.
//! Nothing here knows a tensor or where text comes from; corpora are in `tril-data`.
//!
//! ```
//! use tril_text::{TextStream, Tokenizer, TokenizerConfig};
//!
//! # fn main() -> Result<(), tril_text::TextError> {
//! let tokenizer = Tokenizer::build(&TokenizerConfig::default(), &["To be, or not to be."])?;
//! let ids = tokenizer.encode("not to be")?;
//! let mut stream = TextStream::new(&tokenizer);
//! let mut text = String::new();
//! for id in ids {
//!     text += &stream.push(id)?.unwrap_or_default();
//! }
//! assert_eq!(text + &stream.finish()?, "not to be");
//! # Ok(())
//! # }
//! ```

mod error;
mod filter;
mod guard;
mod hide;
mod plain;
mod search;
mod stop;
mod stream;
mod tokenizer;

pub use error::{Position, TextError};
pub use filter::{FilteredEnd, FilteredText, TextFilter};
pub use guard::{guard, is_guarded, told};
pub use hide::{HiddenParts, HideWatch, Part};
pub use plain::text_from_bytes;
pub use stop::{StopTexts, StopWatch, Watched};
pub use stream::TextStream;
pub use tokenizer::{
    TextBounds, Tokenizer, TokenizerConfig, TokenizerKind, UnknownCharacters, byte_alphabet, word_border,
};
