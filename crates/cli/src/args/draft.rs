//! The flags about guesses, the same for every command that generates.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use tril_infer::MAX_GUESSES;

use super::values::whole;

/// The word that names no checkpoint.
const LOOKUP: &str = "lookup";

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Guesses, which change the speed and no token")]
pub struct DraftArgs {
    /// Guess the next tokens and check several in one pass: lookup guesses from what stands earlier in the text, a
    /// smaller CHECKPOINT with the same vocabulary as it would go on itself
    #[arg(long, value_name = "lookup|CHECKPOINT", value_parser = parse)]
    pub draft: Option<DraftSource>,
    /// Guess at most N tokens at a time; fewer are guessed where few turn out right
    #[arg(long, value_name = "N", default_value_t = MAX_GUESSES as u16, value_parser = whole::<u16>(1..=MAX_GUESSES as u64), requires = "draft")]
    pub draft_tokens: u16,
}

/// What guesses.
#[derive(Debug, Clone)]
pub enum DraftSource {
    Lookup,
    Checkpoint(PathBuf),
}

impl DraftArgs {
    /// Most tokens to guess at a time.
    pub fn most(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.draft_tokens.into()).unwrap_or(NonZeroUsize::MIN)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "clap asks for a result")]
fn parse(text: &str) -> Result<DraftSource, String> {
    Ok(if text == LOOKUP { DraftSource::Lookup } else { DraftSource::Checkpoint(PathBuf::from(text)) })
}
