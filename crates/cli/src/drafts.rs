//! What guesses tokens for a command, and what is said of it.

use anyhow::{Context, Result};
use tril::{ComputeDevice, Draft, DraftTally, Model};
use tril_model::memory;

use crate::args::{DraftArgs, DraftSource};
use crate::runs;

/// What the command line asks for, if it does.
///
/// - texts: how many go together
pub fn open(args: &DraftArgs, model: &Model, texts: usize, device: &ComputeDevice) -> Result<Option<Draft>> {
    let draft = match &args.draft {
        None => return Ok(None),
        Some(DraftSource::Lookup) => Draft::lookup(model),
        Some(DraftSource::Checkpoint(path)) => {
            let draft = runs::model(path, device).context("--draft")?;
            let caches = memory::cache_bytes(model.config()) + memory::cache_bytes(draft.config());
            memory::check(&format!("--draft: the caches of {texts} texts"), caches * texts as u128)?;
            Draft::model(model, draft)
        }
    };
    Ok(Some(draft.map_err(tril::Error::from).context("--draft")?.with_most(args.most())))
}

/// How guesses fared, such as `; 120 of 160 guesses kept`; nothing where none were asked for.
pub fn told(draft: Option<&Draft>, tally: DraftTally) -> String {
    match draft {
        None => String::new(),
        Some(_) if tally.guesses == 0 => "; no token guessed".to_owned(),
        Some(_) => format!("; {} of {} guesses kept", tally.kept, tally.guesses),
    }
}
