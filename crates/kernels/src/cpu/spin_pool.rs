//! Threads that stand by while a pass goes on. To wake a sleeping thread takes longer than many a product of a single
//! row; one that spins takes up work at once.
//!
//! They are not threads of rayon's pool: one of those that waits takes up other work meanwhile, and if that were to stand
//! by for the very pass that waits for it, neither would end.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SendError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use rayon::prelude::*;

use super::operation::is_cpu;

/// Multiply-adds of a pass from which on it pays to have other threads stand by.
const SPIN_POOL_WORK: usize = 1 << 18;

/// How long a helper stays awake after a pass. The next token's pass begins some microseconds later; to wake a sleeping
/// thread takes as long as a small model's pass.
const LINGER: Duration = Duration::from_micros(300);

/// How long the leader waits for a part, its own being done, before it takes it that other programs hold the cores.
const LATE: Duration = Duration::from_millis(2);

/// How long passes do without helpers after that.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks for work before a waiting thread lets others have its core.
const SPINS_PER_YIELD: usize = 1 << 12;

thread_local! {
    /// The pool that this thread leads.
    static CURRENT: Cell<*const SpinPool> = const { Cell::new(std::ptr::null()) };

    /// Whether this thread is in a part of a job.
    static IN_PART: Cell<bool> = const { Cell::new(false) };
}

/// Runs a pass of about so many multiply-adds with as many threads standing by as the current pool has others, if the
/// device is the CPU and the pass long enough for that to pay. It changes the time and nothing else.
pub fn with_spin_pool<R>(device: &Device, multiply_adds: usize, pass: impl FnOnce() -> R) -> R {
    let threads = threads();
    if threads == 1 || !is_cpu(device) || multiply_adds < SPIN_POOL_WORK || is_active() || is_paused() {
        return pass();
    }
    let pool = Arc::new(SpinPool::default());
    for number in 1..threads {
        add_helper(Call { pool: Arc::clone(&pool), number });
    }
    let _current = CurrentPool::new(&pool);
    pass()
}

/// A pass that a helper is to stand by in, and which of its helpers it is.
struct Call {
    pool: Arc<SpinPool>,
    number: usize,
}

/// Helpers without a pass, each with the way to call it.
static IDLE: Mutex<Vec<Sender<Call>>> = Mutex::new(Vec::new());

/// Has one more thread stand by, if the system gives one.
fn add_helper(call: Call) {
    let idle = IDLE.lock().ok().and_then(|mut idle| idle.pop());
    let call = match idle {
        None => call,
        Some(idle) => match idle.send(call) {
            Ok(()) => return,
            Err(SendError(call)) => call,
        },
    };
    // Without it the pass takes longer, and that is all.
    let _ = thread::Builder::new().name("tril-helper".into()).spawn(move || {
        let (caller, calls) = channel();
        let mut next = Some(call);
        while let Some(Call { pool, number }) = next {
            pool.serve(number);
            drop(pool);
            if let Ok(mut idle) = IDLE.lock() {
                idle.push(caller.clone());
            }
            next = linger(&calls);
        }
    });
}

/// The next call, looked for without sleeping at first.
fn linger(calls: &Receiver<Call>) -> Option<Call> {
    let begin = Instant::now();
    let mut spins = 0;
    loop {
        match calls.try_recv() {
            Ok(call) => return Some(call),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => wait(&mut spins),
        }
        if spins % 64 == 0 && begin.elapsed() > LINGER {
            return calls.recv().ok();
        }
    }
}

/// Until when passes do without helpers, in microseconds since [`EPOCH`].
static PAUSED_UNTIL: AtomicU64 = AtomicU64::new(0);

/// When the first pass began.
static EPOCH: OnceLock<Instant> = OnceLock::new();

fn now() -> u64 {
    EPOCH.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// Whether helpers came late a short while ago: other programs hold the cores, and who stands by is put to sleep for
/// having spun when its turn comes to work.
fn is_paused() -> bool {
    now() < PAUSED_UNTIL.load(Ordering::Relaxed)
}

/// Whether this thread has others standing by.
pub fn is_active() -> bool {
    !CURRENT.get().is_null() && !IN_PART.get()
}

/// Threads that work can be shared out to: one in a part of a job, whose pass has others for the other parts.
pub fn threads() -> usize {
    if IN_PART.get() { 1 } else { rayon::current_num_threads() }
}

/// Calls `work` with each item, on the threads that stand by, or else on those of the current pool. In a part of a job
/// it is done by that part's thread alone: a helper is in none of rayon's pools, so rayon would take the global one.
pub fn for_each<T: Send>(items: Vec<T>, work: impl Fn(T) + Send + Sync) {
    if items.len() == 1 || IN_PART.get() {
        return items.into_iter().for_each(work);
    }
    let pool = CURRENT.get();
    if pool.is_null() {
        return items.into_par_iter().for_each(work);
    }
    // SAFETY: `CurrentPool` has put it there and takes it away before the pool ends.
    let pool = unsafe { &*pool };
    let items: Vec<Mutex<Option<T>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    pool.share(items.len(), &|part| {
        if let Some(item) = items[part].lock().ok().and_then(|mut item| item.take()) {
            work(item);
        }
    });
}

/// Calls `work` with each part's number and the number of parts, one part a thread: on the threads that stand by, each of
/// which takes the same part each time if it comes in time, or else all on this one.
pub fn for_each_own(work: impl Fn(usize, usize) + Sync) {
    let pool = CURRENT.get();
    if pool.is_null() || IN_PART.get() {
        return work(0, 1);
    }
    let parts = threads().min(MOST_GROUPS);
    // SAFETY: as in `for_each`.
    unsafe { &*pool }.share(parts, &|part| work(part, parts));
}

/// A job that is shared out in parts.
type Job<'a> = &'a (dyn Fn(usize) + Sync + 'a);

#[derive(Default)]
struct SpinPool {
    /// The number of the job in the upper half, so that no late comer takes a part of the next one for one of the last;
    /// in the lower half, a bit for each group of its parts that nobody has taken.
    ticket: AtomicU64,
    job: UnsafeCell<Option<(Job<'static>, usize)>>,
    /// Groups of parts that are done.
    done: AtomicUsize,
    /// What a part of it panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    over: AtomicBool,
}

// SAFETY: what is shared is atomic or locked, but for `job`: the leader alone writes it, before it gives out tickets and
// after all that were taken are done; others read it while they hold a ticket.
unsafe impl Sync for SpinPool {}

const UNTAKEN: u64 = u32::MAX as u64;

/// Groups that the parts of a job are put into at most.
const MOST_GROUPS: usize = 32;

impl SpinPool {
    /// Does parts of jobs until the pool is over.
    ///
    /// - number: of this thread; the leader's is 0
    fn serve(&self, number: usize) {
        let mut spins = 0;
        while !self.over.load(Ordering::Acquire) {
            if self.take_group(number) {
                spins = 0;
            } else {
                wait(&mut spins);
            }
        }
    }

    /// Takes a group of the job's parts and does it, if there is one left: the thread's own, or the next.
    fn take_group(&self, number: usize) -> bool {
        let ticket = self.ticket.load(Ordering::Acquire);
        let untaken = (ticket & UNTAKEN) as u32;
        if untaken == 0 {
            return false;
        }
        let own = (number % MOST_GROUPS) as u32;
        let group = (untaken.rotate_right(own).trailing_zeros() + own) % u32::BITS;
        let taken = ticket & !(1 << group);
        if self.ticket.compare_exchange(ticket, taken, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // SAFETY: the leader changes the job only after this group is done.
            let job = unsafe { *self.job.get() };
            let part = AssertUnwindSafe(|| {
                if let Some((job, parts)) = job {
                    parts_of(group as usize, parts).for_each(job);
                }
            });
            // What a part shared out itself would take the place of this job.
            IN_PART.set(true);
            let outcome = catch_unwind(part);
            IN_PART.set(false);
            if let Err(panic) = outcome
                && let Ok(mut first) = self.panic.lock()
            {
                first.get_or_insert(panic);
            }
            self.done.fetch_add(1, Ordering::Release);
        }
        true
    }

    /// Has the parts 0 to `parts − 1` of a job done by whoever is there; called by the leader alone.
    fn share(&self, parts: usize, job: Job<'_>) {
        // SAFETY: this returns, or unwinds, after all parts are done, so the job outlives its use.
        let job = unsafe { std::mem::transmute::<Job<'_>, Job<'static>>(job) };
        // SAFETY: no ticket is out, so nobody reads it.
        unsafe { *self.job.get() = Some((job, parts)) };
        self.done.store(0, Ordering::Relaxed);
        let groups = parts.min(MOST_GROUPS);
        let untaken = (1_u64 << groups) - 1;
        let number = (self.ticket.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        self.ticket.store(number << 32 | untaken, Ordering::Release);
        while self.take_group(0) {}
        if self.done.load(Ordering::Acquire) < groups {
            self.wait_for(groups);
        }
        let panic = self.panic.lock().ok().and_then(|mut panic| panic.take());
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Waits for parts that helpers have taken. One that is very late has lost its core to another program.
    fn wait_for(&self, groups: usize) {
        let (mut spins, mut begin) = (0, None);
        while self.done.load(Ordering::Acquire) < groups {
            wait(&mut spins);
            if spins % (1 << 10) == 0 {
                let now = now();
                let begin = *begin.get_or_insert(now);
                if now - begin > LATE.as_micros() as u64 {
                    PAUSED_UNTIL.store(now + PAUSE.as_micros() as u64, Ordering::Relaxed);
                }
            }
        }
    }
}

/// The parts of a group, of parts that are side by side.
fn parts_of(group: usize, parts: usize) -> Range<usize> {
    let groups = parts.min(MOST_GROUPS);
    parts * group / groups..parts * (group + 1) / groups
}

/// While it lives, this thread leads the pool.
struct CurrentPool<'a>(&'a SpinPool);

impl<'a> CurrentPool<'a> {
    fn new(pool: &'a SpinPool) -> Self {
        CURRENT.set(pool);
        Self(pool)
    }
}

impl Drop for CurrentPool<'_> {
    fn drop(&mut self) {
        CURRENT.set(std::ptr::null());
        self.0.over.store(true, Ordering::Release);
    }
}

fn wait(spins: &mut usize) {
    *spins += 1;
    if (*spins).is_multiple_of(SPINS_PER_YIELD) {
        thread::yield_now();
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
                with_spin_pool(&Device::flex(), SPIN_POOL_WORK, || {
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
    fn parts_may_share_work_out_themselves() {
        let sums = Mutex::new(vec![0; 9]);
        pool(3).install(|| {
            with_spin_pool(&Device::flex(), SPIN_POOL_WORK, || {
                for _ in 0..200 {
                    for_each((0..9).collect(), |outer: usize| {
                        for_each((0..5).collect(), |inner| sums.lock().expect("no panic")[outer] += inner);
                    });
                }
            });
        });
        assert_eq!(*sums.lock().expect("no panic"), [2000; 9]);
    }

    #[test]
    fn what_a_part_shares_out_stays_on_its_own_thread() {
        // Where other programs hold the cores no thread stands by, and there are no parts.
        let (begin, mut were_there) = (std::time::Instant::now(), false);
        while !were_there && begin.elapsed().as_secs() < 20 {
            pool(3).install(|| {
                with_spin_pool(&Device::flex(), SPIN_POOL_WORK, || {
                    were_there = is_active();
                    for _ in 0..if were_there { 200 } else { 0 } {
                        for_each((0..9).collect(), |_: usize| {
                            let own = thread::current().id();
                            assert_eq!(threads(), 1);
                            for_each((0..5).collect(), |_: usize| assert_eq!(thread::current().id(), own));
                        });
                        assert_eq!(threads(), 3, "the pass has all of its threads again");
                    }
                });
            });
        }
    }

    #[test]
    fn others_do_parts_too() {
        let threads = Mutex::new(std::collections::HashSet::new());
        pool(3).install(|| {
            with_spin_pool(&Device::flex(), SPIN_POOL_WORK, || {
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
                with_spin_pool(&Device::flex(), SPIN_POOL_WORK, || {
                    for_each((0..8).collect(), |part: i32| assert_ne!(part, bad))
                })
            };
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.install(work)));
            assert!(caught.is_err(), "part {bad}");
            assert!(!pool.install(is_active));
        }
        assert_eq!(pool.install(|| with_spin_pool(&Device::flex(), SPIN_POOL_WORK, || 5)), 5);
    }

    #[test]
    fn a_short_pass_or_a_single_thread_has_nobody_stand_by() {
        assert!(pool(2).install(|| with_spin_pool(&Device::flex(), SPIN_POOL_WORK, is_active)));
        assert!(!pool(2).install(|| with_spin_pool(&Device::flex(), SPIN_POOL_WORK - 1, is_active)));
        assert!(!pool(1).install(|| with_spin_pool(&Device::flex(), SPIN_POOL_WORK, is_active)));
    }
}
