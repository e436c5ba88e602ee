//! Every reader of what comes from elsewhere, on files, command lines and texts that were mutated: whatever they hold, a
//! reader returns a value or an error, and a command ends with an exit code and at most one message. A panic, an abort, ten
//! seconds or a gigabyte fail it.
//!
//! `TRIL_FUZZ=1000000 cargo test --release --test fuzz -- --test-threads 1` tries so many inputs a reader; without it
//! some hundreds or thousands. `TRIL_FUZZ_SEED` begins elsewhere. An input that fails is named by its number.

#![allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit")]

mod commands;
mod foreign;
mod mutation;
mod readers;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mutation::Draws;

/// No input takes longer.
const MOST_TIME: Duration = Duration::from_secs(10);
/// A process takes no more memory, in bytes.
const MOST_MEMORY: u64 = 1 << 30;

/// Tries a reader on inputs 0, 1, 2, …, `usual` of them unless the environment says how many.
fn fuzz(reader: &str, usual: u64, mut read: impl FnMut(&mut Draws)) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let (count, first) = (number("TRIL_FUZZ").unwrap_or(usual), number("TRIL_FUZZ_SEED").unwrap_or(0));
    for input in first..first + count {
        let begun = Instant::now();
        let draws = &mut Draws::of(input);
        let result = catch_unwind(AssertUnwindSafe(|| read(draws)));
        assert!(result.is_ok(), "{reader}: input {input} panics");
        assert!(begun.elapsed() < MOST_TIME, "{reader}: input {input} takes {:?}", begun.elapsed());
    }
    let peak = peak_memory("self").unwrap_or(0);
    assert!(peak < MOST_MEMORY, "{reader}: {peak} bytes of memory");
}

/// Most memory that a process has had, in bytes, where the system tells it.
fn peak_memory(process: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?;
    Some(kilobytes.trim().parse::<u64>().ok()? << 10)
}
