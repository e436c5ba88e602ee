//! Text on its way to token ids and back: corpora, the split into training and validation text, tokenizers.
//! Nothing here knows a tensor; ids go to `tril-train` and `tril-infer`, text comes back at the edge.
//!
//! ```
//! use tril_text::{Corpus, Document, Tokenizer, TokenizerConfig, encode_side};
//!
//! # fn main() -> Result<(), tril_text::TextError> {
//! let corpus = Corpus {
//!     name: "example".to_string(),
//!     documents: vec![Document::new("one file", "To be, or not to be.")],
//! };
//! let tokenizer = Tokenizer::build(&TokenizerConfig::default(), &corpus.texts())?;
//! let split = corpus.split(0.1)?;
//! let train = encode_side(&tokenizer, &split.train)?;
//! assert_eq!(tokenizer.decode(&train.ids)?, "To be, or not to b");
//! # Ok(())
//! # }
//! ```

mod corpus;
mod error;
mod hide;
mod search;
mod split;
mod stop;
mod stream;
pub mod tales;
mod tokenizer;

pub use corpus::{Corpus, Document};
pub use error::{Position, TextError};
pub use hide::{HiddenParts, HideWatch, Part};
pub use split::{Encoded, Piece, Split, encode_side};
pub use stop::{StopTexts, StopWatch, Watched};
pub use stream::TextStream;
pub use tokenizer::{Tokenizer, TokenizerConfig, TokenizerKind};
