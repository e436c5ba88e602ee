//! Ctrl-C, SIGTERM and SIGHUP ask the work at hand to stop; while that is under way, or where nothing is at hand, they
//! end the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// Sets `stop` at one of these signals, with a word on stderr if there is one to say; ends the program if it is set already.
pub fn listen(stop: &Arc<AtomicBool>, notice: Option<&'static str>) -> Result<()> {
    let stop = Arc::clone(stop);
    ctrlc::set_handler(move || {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        if let Some(notice) = notice {
            note!("\n{notice}");
        }
    })
    .context("cannot listen for Ctrl-C")
}
