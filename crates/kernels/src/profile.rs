//! Where the time of a pass goes, operation by operation. Off, it costs one look at a flag for each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static IS_ON: AtomicBool = AtomicBool::new(false);

static TIMES: Mutex<BTreeMap<&'static str, (u64, Duration)>> = Mutex::new(BTreeMap::new());

/// The time that one kind of work has taken, on all threads together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProfileEntry {
    /// What was done.
    pub name: &'static str,
    /// How often.
    pub calls: u64,
    /// Seconds of the threads that began it; others may have helped them meanwhile.
    pub seconds: f64,
}

/// Does some work and says where its time went, the longest first. The profile is the process's: one at a time.
pub fn profiled<R>(work: impl FnOnce() -> R) -> (R, Vec<ProfileEntry>) {
    times().clear();
    IS_ON.store(true, Ordering::Relaxed);
    let result = work();
    IS_ON.store(false, Ordering::Relaxed);
    let entry = |(name, (calls, time)): (&&'static str, &(u64, Duration))| ProfileEntry {
        name,
        calls: *calls,
        seconds: time.as_secs_f64(),
    };
    let mut entries: Vec<ProfileEntry> = times().iter().map(entry).collect();
    entries.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    (result, entries)
}

/// Forgets what was noted so far, such as that of a warm-up.
pub fn restart() {
    times().clear();
}

/// Does some work whose time is noted under a name while a profile is made. What is timed must not be timed inside again,
/// or it counts twice.
pub fn timed<R>(name: &'static str, work: impl FnOnce() -> R) -> R {
    if !IS_ON.load(Ordering::Relaxed) {
        return work();
    }
    let begin = Instant::now();
    let result = work();
    note(name, begin.elapsed());
    result
}

/// Notes time that was measured already.
pub fn note(name: &'static str, time: Duration) {
    if IS_ON.load(Ordering::Relaxed) {
        let mut times = times();
        let (calls, total) = times.entry(name).or_default();
        *calls += 1;
        *total += time;
    }
}

fn times() -> std::sync::MutexGuard<'static, BTreeMap<&'static str, (u64, Duration)>> {
    // A panic between the two lines that change it leaves it whole.
    TIMES.lock().unwrap_or_else(PoisonError::into_inner)
}
