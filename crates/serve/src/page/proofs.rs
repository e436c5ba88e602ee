//! The proofs of `tril prove`, run from the page.

use serde::Serialize;
use tril::Model;
use tril::prove::{OwnText, ProofOutcome, ProofReport, ProveOptions, TextOrigin, prove};

use super::PageError;

/// What the proofs found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proofs {
    /// Where the text comes from.
    pub origin: Origin,
    /// No proof failed, and none was left open.
    pub pass: bool,
    /// The rows.
    #[serde(flatten)]
    pub report: ProofReport,
}

/// Where a text to prove on comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The reader gave it.
    Given,
    /// The model wrote it.
    Model,
    /// All tokens in turn, for a model that cannot write.
    AllTokens,
}

/// Proves on a text, or on one that the model writes: the same as `tril prove`.
///
/// # Errors
/// [`PageError::Tril`] for a text that the tokenizer cannot write or that has fewer than two tokens.
pub fn proofs(model: &Model, text: Option<&str>) -> Result<Proofs, PageError> {
    let (origin, ids) = match text {
        Some(text) => (Origin::Given, model.tokenizer().encode(text).map_err(|error| error.in_text("the text"))?),
        None => {
            let own = OwnText::write(&**model.gpt(), &model.tokenizer().encode_prompt("")?)?;
            let origin = match own.origin {
                TextOrigin::Model => Origin::Model,
                TextOrigin::AllTokens => Origin::AllTokens,
            };
            (origin, own.ids)
        }
    };
    let report = prove(&**model.gpt(), &ids, &ProveOptions::for_device(&model.gpt().device()))?;
    let pass = report.count(ProofOutcome::Fail) == 0 && report.count(ProofOutcome::Open) == 0;
    Ok(Proofs { origin, pass, report })
}
