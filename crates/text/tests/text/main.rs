//! What `tril-text` promises, as sentences:
//!
//! - `kinds`      each kind of tokenizer: its ids, its round trips, its limits
//! - `foreign`    any tokenizer.json, written by others or saved by us
//! - `streaming`  decoding while ids arrive
//! - `corpora`    opening text, and what is said of text that cannot be opened
//! - `splitting`  which text trains and which validates

mod corpora;
mod foreign;
mod kinds;
mod shared;
mod splitting;
mod streaming;
