//! What `tril-text` promises, as sentences:
//!
//! - `kinds`      each kind of tokenizer: its ids, its round trips, its limits
//! - `foreign`    any tokenizer.json, written by others or saved by us
//! - `streaming`  decoding while ids arrive

mod foreign;
mod kinds;
mod shared;
mod streaming;
