//! Text to learn from: corpora, by path or by name, their documents, and the split into training and validation text as token ids.
//! Nothing here knows a tensor; tokenizers are in `tril-text`.
//!
//! ```
//! use tril_data::{Corpus, Document, Split, encode_side};
//! use tril_text::{Tokenizer, TokenizerConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let corpus = Corpus::new("example", vec![Document::new("one file", "To be, or not to be.")]);
//! let tokenizer = Tokenizer::build(&TokenizerConfig::default(), &corpus.texts())?;
//! let split = Split::new(&corpus, 0.1)?;
//! let train = encode_side(&tokenizer, &split.train)?;
//! assert_eq!(tokenizer.decode(&train.ids)?, "To be, or not to b");
//! # Ok(())
//! # }
//! ```

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit"))]

mod cache_dir;
mod corpus;
mod encoded_corpus;
mod error;
mod fetch;
mod file_glob;
mod format;
mod known;
mod large;
mod oddities;
mod read;
mod sample;
mod split;
mod stats;
pub mod tales;
mod tally;
mod text_source;
mod token_cache;
mod token_ids;

pub use cache_dir::{CACHE_VARIABLE, CacheDir};
pub use corpus::{Corpus, Document};
pub use encoded_corpus::{EncodedCorpus, LossFloor};
pub use error::DataError;
pub use fetch::{FetchError, FetchEvent, FetchOptions, fetch};
pub use file_glob::FileGlob;
pub use format::DocumentFormat;
pub use known::{KnownCorpus, KnownFile, TABLE_VARIABLE, find_text};
pub use large::{LargeText, TextEvent, TextStage};
pub use oddities::Oddities;
pub use read::read_text;
pub use sample::{PAIR_SAMPLE_BYTES, pair_sample};
pub use split::{Encoded, HeldOut, Piece, Split, encode_side};
pub use stats::{ScriptCount, TextStats};
pub use tally::SPELT_KEPT;
pub use text_source::{LARGE_BYTES, LARGE_VARIABLE, TextSource};
pub use token_cache::CachedFile;
pub use token_ids::TokenIds;
