//! Threads that stand by while a pass goes on. To wake a sleeping thread takes longer than many a product of a single
//! row; one that spins takes up work within a fraction of a microsecond.

use std::cell::{Cell, UnsafeCell};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use burn::tensor::Device;
use rayon::prelude::*;

use super::operation::is_cpu;

/// Multiply-adds of a pass from which on it pays to have the other threads stand by.
const TEAM_WORK: usize = 1 << 22;

/// Looks for work before a waiting thread lets others have its core.
const PATIENCE: usize = 1 << 12;

thread_local! {
    /// The team that this thread leads.
    static LED: Cell<*const Team> = const { Cell::new(std::ptr::null()) };
}

/// Runs a pass of about so many multiply-adds with the other threads of the current pool standing by, if the device is
/// the CPU and the pass long enough for that to pay. It changes the time and nothing else.
pub fn together<R>(device: &Device, multiply_adds: usize, pass: impl FnOnce() -> R) -> R {
    let threads = rayon::current_num_threads();
    if threads == 1 || !is_cpu(device) || multiply_adds < TEAM_WORK || is_led() {
        return pass();
    }
    let team = Team::default();
    rayon::in_place_scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|_| team.serve());
        }
        let _lead = Lead::new(&team);
        pass()
    })
}

/// Whether this thread has others standing by.
pub fn is_led() -> bool {
    !LED.get().is_null()
}

/// Calls `work` with each item, on the threads that stand by, or else on those of the current pool.
pub fn for_each<T: Send>(items: Vec<T>, work: impl Fn(T) + Send + Sync) {
    let team = LED.get();
    if team.is_null() {
        return items.into_par_iter().for_each(work);
    }
    // SAFETY: `Lead` has put it there and takes it away before the team ends.
    let team = unsafe { &*team };
    let items: Vec<Mutex<Option<T>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    team.share(items.len(), &|part| {
        if let Some(item) = items[part].lock().ok().and_then(|mut item| item.take()) {
            work(item);
        }
    });
}

/// A job that is shared out in parts.
type Job<'a> = &'a (dyn Fn(usize) + Sync + 'a);

#[derive(Default)]
struct Team {
    /// The number of the job in the upper half, so that no late comer takes a part of the next one for one of the last;
    /// in the lower half, how many of its parts nobody has taken.
    ticket: AtomicU64,
    job: UnsafeCell<Option<Job<'static>>>,
    /// Parts of the job that are done.
    done: AtomicUsize,
    over: AtomicBool,
}

// SAFETY: the leader alone writes `job`, before it gives out tickets and after all that were taken are done; others read
// it while they hold a ticket.
unsafe impl Sync for Team {}

const UNTAKEN: u64 = u32::MAX as u64;

impl Team {
    /// Does parts of jobs until the team is over.
    fn serve(&self) {
        let mut looks = 0;
        while !self.over.load(Ordering::Acquire) {
            if self.take_part() {
                looks = 0;
            } else {
                wait(&mut looks);
            }
        }
    }

    /// Takes a part of the job and does it, if there is one left.
    fn take_part(&self) -> bool {
        let ticket = self.ticket.load(Ordering::Acquire);
        let untaken = ticket & UNTAKEN;
        if untaken == 0 {
            return false;
        }
        if self.ticket.compare_exchange(ticket, ticket - 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            let _done = Done(&self.done);
            // SAFETY: the leader changes the job only after this part is done.
            if let Some(job) = unsafe { *self.job.get() } {
                job(untaken as usize - 1);
            }
        }
        true
    }

    /// Has the parts 0 to `parts − 1` of a job done by whoever is there; called by the leader alone.
    fn share(&self, parts: usize, job: Job<'_>) {
        assert!(u32::try_from(parts).is_ok(), "{parts} parts are more than a ticket counts");
        // SAFETY: `Shared` waits for all parts that were taken, also when this unwinds, so the job outlives its use.
        let job = unsafe { std::mem::transmute::<Job<'_>, Job<'static>>(job) };
        // SAFETY: no ticket is out, so nobody reads it.
        unsafe { *self.job.get() = Some(job) };
        self.done.store(0, Ordering::Relaxed);
        let number = (self.ticket.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        self.ticket.store(number << 32 | parts as u64, Ordering::Release);
        let _shared = Shared { team: self, parts };
        while self.take_part() {}
    }
}

/// Ends the sharing of a job: nobody takes another part, and those that were taken are done.
struct Shared<'a> {
    team: &'a Team,
    parts: usize,
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        let ticket = self.team.ticket.fetch_and(!UNTAKEN, Ordering::AcqRel);
        let taken = self.parts - (ticket & UNTAKEN) as usize;
        let mut looks = 0;
        while self.team.done.load(Ordering::Acquire) < taken {
            wait(&mut looks);
        }
    }
}

/// Counts a part as done, also when it panics: the pool's scope carries the panic on.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// While it lives, this thread leads the team.
struct Lead<'a>(&'a Team);

impl<'a> Lead<'a> {
    fn new(team: &'a Team) -> Self {
        LED.set(team);
        Self(team)
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        LED.set(std::ptr::null());
        self.0.over.store(true, Ordering::Release);
    }
}

fn wait(looks: &mut usize) {
    *looks += 1;
    if (*looks).is_multiple_of(PATIENCE) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
    }

    #[test]
    fn every_part_of_every_job_is_done_once() {
        for threads in [1, 2, 3, 7] {
            pool(threads).install(|| {
                together(&Device::flex(), TEAM_WORK, || {
                    for job in 0..2000 {
                        let mut out = vec![0; job % 11];
                        for_each(out.iter_mut().enumerate().collect(), |(part, out)| *out += part + job + 1);
                        assert!(out.iter().enumerate().all(|(part, out)| *out == part + job + 1), "{job}: {out:?}");
                    }
                });
            });
        }
    }

    #[test]
    fn others_do_parts_too() {
        let threads = Mutex::new(std::collections::HashSet::new());
        pool(3).install(|| {
            together(&Device::flex(), TEAM_WORK, || {
                let begin = std::time::Instant::now();
                while threads.lock().expect("no panic").len() < 2 && begin.elapsed().as_secs() < 20 {
                    for_each((0..6).collect(), |_: i32| {
                        threads.lock().expect("no panic").insert(std::thread::current().id());
                        std::thread::yield_now();
                    });
                }
            });
        });
        assert!(threads.lock().expect("no panic").len() > 1);
    }

    #[test]
    fn a_panic_in_a_part_comes_out_and_leaves_the_pool_usable() {
        let pool = pool(2);
        for bad in 0..8 {
            let work = || {
                together(&Device::flex(), TEAM_WORK, || for_each((0..8).collect(), |part: i32| assert_ne!(part, bad)))
            };
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.install(work)));
            assert!(caught.is_err(), "part {bad}");
            assert!(!pool.install(is_led));
        }
        assert_eq!(pool.install(|| together(&Device::flex(), TEAM_WORK, || 5)), 5);
    }

    #[test]
    fn a_short_pass_or_a_single_thread_has_nobody_stand_by() {
        assert!(pool(2).install(|| together(&Device::flex(), TEAM_WORK, is_led)));
        assert!(!pool(2).install(|| together(&Device::flex(), TEAM_WORK - 1, is_led)));
        assert!(!pool(1).install(|| together(&Device::flex(), TEAM_WORK, is_led)));
    }
}
