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

/// Does some work. Where a device that is not the CPU makes it panic, that is an error.
pub fn of_devices_are_errors<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| match (open::foreign_device(), FIRST.get()) {
        (Some(device), Some(message)) => {
            Err(DeviceError::Lost { device: device.title(), message: message.clone() }.into())
        }
        _ => resume_unwind(payload),
    })
}
