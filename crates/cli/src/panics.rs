//! What becomes of panics: those of this program are printed, as they are faults of ours; those of what drives a GPU are
//! errors, as it panics where memory runs out or a card is lost.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, resume_unwind};
use std::sync::OnceLock;

use anyhow::Result;
use tril::DeviceError;

use crate::open;

/// What the first panic said that was a device's: one on another thread often makes others.
static FIRST: OnceLock<String> = OnceLock::new();

/// Has panics printed, but for those that become errors and are told as such.
pub fn tell_those_that_are_ours() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if open::foreign_device().is_some() && !is_ours(panic) {
            let _ = FIRST.set(tril_text::told(panic.payload()));
        } else if !tril_text::is_guarded() {
            print(panic);
        }
    }));
}

/// Code of this workspace is compiled by its path within it.
fn is_ours(panic: &PanicHookInfo) -> bool {
    panic.location().is_some_and(|location| location.file().starts_with("crates/"))
}

/// Does some work. Where a device that is not the CPU fails, by a panic or by an error in its driver's words, that is an
/// error that names the device.
pub fn of_devices_are_errors<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = catch_unwind(AssertUnwindSafe(work));
    let Some(device) = open::foreign_device() else { return done.unwrap_or_else(|payload| resume_unwind(payload)) };
    let lost = |report: &str| DeviceError::lost(device, report).into();
    match (done, FIRST.get()) {
        (Ok(Err(error)), _) if error.chain().any(tril::is_device_failure) => Err(lost(&format!("{error:#}"))),
        (Ok(done), _) => done,
        (Err(_), Some(report)) => Err(lost(report)),
        (Err(payload), None) => resume_unwind(payload),
    }
}
