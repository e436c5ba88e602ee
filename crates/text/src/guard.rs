//! A wall around libraries that panic where an error was due: the `tokenizers` library at some files, drivers at much.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread is caught here and told as an error, so that a panic hook need not print it.
#[must_use]
pub fn is_guarded() -> bool {
    GUARDED.get()
}

/// What a call returns, or what it says when it panics. Values that it was changing are not to be used after that.
///
/// # Errors
/// The panic's message.
pub fn guard<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(before);
    result.map_err(|payload| told(&*payload))
}

/// What a panic says.
#[must_use]
pub fn told(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message_and_the_guard_ends_with_the_call() {
        assert_eq!(guard(is_guarded), Ok(true));
        let nested = guard(|| (guard(|| panic!("inner {}", 1)).map(|()| 0), is_guarded()));
        let (inner, guarded) = nested.expect("only the inner one panics");
        assert!(inner.is_err_and(|message| message.contains("inner 1")) && guarded && !is_guarded());
    }
}
