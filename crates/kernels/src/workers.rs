//! Threads that do the same work side by side, again and again: the pieces of a training step.
//!
//! Each is the first thread of a rayon pool of its own, so that operations inside its work are split over that pool's threads
//! alone. It stays awake a while after its work: to start a thread, or to wake a sleeping one, takes as long as a good part of
//! a small model's step.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SendError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rayon::ThreadPoolBuilder;

/// How long a worker looks for its next work before it sleeps: longer than the part of a small model's step that is not
/// shared out.
const LINGER: Duration = Duration::from_micros(300);

/// Looks for work before a waiting thread lets others have its core.
const SPINS_PER_YIELD: usize = 1 << 8;

/// Threads that wait for work.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

/// A thread that sleeps for ever once nobody calls it: a pool that a thread has become part of cannot be given back.
#[derive(Debug)]
struct Worker {
    /// In its pool.
    threads: usize,
    calls: Sender<Call>,
}

/// Those that nobody has at the moment.
static IDLE: Mutex<Vec<Worker>> = Mutex::new(Vec::new());

/// What a worker is called for.
struct Call {
    work: Work<'static>,
    number: usize,
    round: Arc<Round>,
}

type Work<'a> = &'a (dyn Fn(usize) + Sync + 'a);

/// One call of all workers.
struct Round {
    /// Workers that are not done.
    left: AtomicUsize,
    caller: Thread,
    /// What the first of them panicked with.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Workers {
    /// A worker for each number: of threads in its pool, itself included, at least 1.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn new(threads: impl IntoIterator<Item = usize>) -> Result<Self, std::io::Error> {
        // What has been taken goes back if the next one cannot be had.
        let mut taken = Self { workers: Vec::new() };
        for threads in threads {
            let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
            let place = idle.iter().position(|worker| worker.threads == threads);
            let worker = place.map(|place| idle.swap_remove(place));
            drop(idle);
            taken.workers.push(worker.map_or_else(|| Worker::start(threads), Ok)?);
        }
        Ok(taken)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.workers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Has every worker do the same work, each told its number, and waits until all have done it. A panic of one of them is
    /// passed on then.
    pub fn run(&self, work: impl Fn(usize) + Sync) {
        let work: Work<'_> = &work;
        // SAFETY: this function returns, or unwinds, after every worker that was called is done, and what happens before that
        // does not panic. So the work outlives its use.
        let work = unsafe { std::mem::transmute::<Work<'_>, Work<'static>>(work) };
        let (left, caller, panic) = (AtomicUsize::new(self.len()), thread::current(), Mutex::default());
        let round = Arc::new(Round { left, caller, panic });
        for (number, worker) in self.workers.iter().enumerate() {
            let call = Call { work, number, round: Arc::clone(&round) };
            if let Err(SendError(call)) = worker.calls.send(call) {
                // It has ended, which it does not while it can be called; whatever the reason, its work is done here.
                call.answer();
            }
        }
        while round.left.load(Ordering::Acquire) > 0 {
            thread::park();
        }
        let panic = round.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl Worker {
    fn start(threads: usize) -> Result<Self, std::io::Error> {
        let (calls, receiver) = channel::<Call>();
        let (told, started) = channel();
        let serve = move || {
            // The thread itself is one of the pool's, and inside it from now on.
            let pool = ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build();
            let is_built = pool.is_ok();
            let _ = told.send(pool.as_ref().map(|_| ()).map_err(|error| error.to_string()));
            if is_built {
                while let Some(call) = next(&receiver) {
                    call.answer();
                }
            }
        };
        let thread = thread::Builder::new().name("tril-worker".into()).spawn(serve);
        thread.and_then(|_| match started.recv() {
            Ok(Ok(())) => Ok(Self { threads, calls }),
            Ok(Err(reason)) => Err(std::io::Error::other(reason)),
            Err(_) => Err(std::io::Error::other("a worker ended before it began")),
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).append(&mut self.workers);
    }
}

impl Call {
    fn answer(self) {
        let Self { work, number, round } = self;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(number))) {
            round.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        // After this the work may be gone.
        if round.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            round.caller.unpark();
        }
    }
}

/// The next call, looked for without sleeping at first; none once there can be no more.
fn next(calls: &Receiver<Call>) -> Option<Call> {
    let begin = Instant::now();
    for spins in 1_usize.. {
        match calls.try_recv() {
            Ok(call) => return Some(call),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) if spins % SPINS_PER_YIELD == 0 => {
                if begin.elapsed() > LINGER {
                    break;
                }
                thread::yield_now();
            }
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
        }
    }
    calls.recv().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_does_every_work_once_and_is_alone_in_its_pool() {
        for threads in [vec![1], vec![1, 1], vec![2, 1, 3]] {
            let workers = Workers::new(threads.iter().copied()).expect("threads");
            assert_eq!(workers.len(), threads.len());
            for round in 0..300 {
                let done = Mutex::new(Vec::new());
                workers.run(|number| {
                    let ids = rayon::broadcast(|_| thread::current().id());
                    assert_eq!((rayon::current_num_threads(), ids.len()), (threads[number], threads[number]));
                    done.lock().expect("no panic").push((number, ids));
                });
                let mut done = done.into_inner().expect("no panic");
                done.sort_by_key(|(number, _)| *number);
                assert!(done.iter().map(|(number, _)| *number).eq(0..threads.len()), "{round}");
                let mut ids: Vec<_> = done.iter().flat_map(|(_, ids)| ids.iter().map(|id| format!("{id:?}"))).collect();
                ids.sort();
                ids.dedup();
                assert_eq!(ids.len(), threads.iter().sum::<usize>(), "no thread is in two pools");
            }
        }
    }

    #[test]
    fn workers_that_are_given_back_are_taken_again() {
        // A number of threads that no other test asks for.
        let id = || {
            let id = Mutex::new(None);
            Workers::new([5]).expect("threads").run(|_| *id.lock().expect("no panic") = Some(thread::current().id()));
            id.into_inner().expect("no panic").expect("it was called")
        };
        let first = id();
        assert!((0..20).all(|_| id() == first));
        assert!(IDLE.lock().expect("no panic").iter().filter(|worker| worker.threads == 5).count() == 1);
    }

    #[test]
    fn a_worker_that_has_slept_is_woken() {
        let workers = Workers::new([1, 1]).expect("threads");
        for _ in 0..5 {
            let count = AtomicUsize::new(0);
            thread::sleep(20 * LINGER);
            workers.run(|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 2);
        }
    }

    #[test]
    fn a_panic_is_passed_on_once_all_are_done_and_the_next_work_is_done_as_ever() {
        let workers = Workers::new([1, 1, 1]).expect("threads");
        for _ in 0..20 {
            let done = AtomicUsize::new(0);
            let run = AssertUnwindSafe(|| {
                workers.run(|number| {
                    assert!(number != 1, "the second one panics");
                    thread::sleep(Duration::from_millis(2));
                    done.fetch_add(1, Ordering::Relaxed);
                });
            });
            let panic = catch_unwind(run).expect_err("a panic");
            assert!(panic.downcast_ref::<&str>().is_some_and(|text| text.contains("the second one")));
            assert_eq!(done.load(Ordering::Relaxed), 2);
            workers.run(|_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.into_inner(), 5);
        }
    }
}
