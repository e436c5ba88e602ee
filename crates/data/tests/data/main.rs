//! What `tril-data` promises, as sentences:
//!
//! - `corpora`    opening text, and what is said of text that cannot be opened
//! - `splitting`  which text trains and which validates

mod corpora;
#[path = "../../../text/tests/text/shared.rs"]
#[expect(dead_code, reason = "the tests of tril-text use more of it")]
mod shared;
mod splitting;
