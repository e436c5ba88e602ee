//! Ctrl-C, SIGTERM and SIGHUP ask the work at hand to stop; while that is under way, or where nothing is at hand, they
//! end the program. A terminal writes no `^C` into what stands there meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// Sets `stop` at one of these signals, with a word on stderr if there is one to say; ends the program if it is set already.
/// The terminal is as it was again once what this returns is gone.
pub fn listen(stop: &Arc<AtomicBool>, notice: Option<&'static str>) -> Result<Listening> {
    let stop = Arc::clone(stop);
    let handler = move || {
        if stop.swap(true, Ordering::Relaxed) {
            echo::restore();
            std::process::exit(130);
        }
        if let Some(notice) = notice {
            note!("\n{notice}");
        }
    };
    ctrlc::set_handler(handler).context("cannot listen for Ctrl-C")?;
    echo::hide_control_characters();
    Ok(Listening)
}

/// While it is there, Ctrl-C is not written.
#[must_use]
pub struct Listening;

impl Drop for Listening {
    fn drop(&mut self) {
        echo::restore();
    }
}

#[cfg(unix)]
mod echo {
    use std::sync::{Mutex, PoisonError};

    use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
    use nix::unistd::{getpgrp, tcgetpgrp};

    /// How the terminal was, while it is otherwise.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    /// Whether the terminal is ours: a process in the background that changes it is stopped.
    fn is_in_foreground() -> bool {
        tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == getpgrp())
    }

    /// Has the terminal not write control characters as `^C`; where there is none, nothing.
    pub fn hide_control_characters() {
        if !is_in_foreground() {
            return;
        }
        let Ok(before) = tcgetattr(std::io::stdin()) else { return };
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHOCTL);
        if quiet != before && tcsetattr(std::io::stdin(), SetArg::TCSANOW, &quiet).is_ok() {
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        }
    }

    pub fn restore() {
        if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take()
            && is_in_foreground()
        {
            // A terminal that has gone needs nothing.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, &before);
        }
    }
}

#[cfg(not(unix))]
mod echo {
    pub fn hide_control_characters() {}

    pub fn restore() {}
}
