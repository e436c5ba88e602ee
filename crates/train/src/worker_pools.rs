//! Work in pieces, side by side on the CPU's cores. What the pieces are never depends on how many cores there are, so
//! no result does.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use tril_kernels::profile::note;
use tril_kernels::{Workers, is_cpu};

use crate::TrainError;

/// A pool for each piece, or for each core where there are more pieces, each taking the next piece when it is free. Where
/// there are more cores than pieces, pools share them out, and operations inside a piece are split over its pool's threads.
///
/// Most operations of a small model are too small to be split, so whole pieces go first. They do not share one pool, where
/// training hung: a thread that waits in a pool takes up other work, and one that takes up a second backward pass while it
/// holds a lock of the first would wait for itself.
#[derive(Debug)]
pub struct WorkerPools {
    /// None where one thread does all pieces: whoever asks for them.
    workers: Option<Workers>,
}

impl WorkerPools {
    /// Pools for about so many pieces, with as many threads together as the CPU device may use; one for other devices, which
    /// order their work themselves.
    ///
    /// # Errors
    /// [`TrainError::Threads`] if the system gives no threads.
    pub fn new(device: &Device, pieces: usize) -> Result<Self, TrainError> {
        let threads = if is_cpu(device) { rayon::current_num_threads() } else { 1 };
        let count = threads.min(pieces.max(1));
        let workers = (count > 1).then(|| Workers::new((0..count).map(|index| (threads + index) / count)));
        Ok(Self { workers: workers.transpose().map_err(TrainError::Threads)? })
    }

    /// The results of all pieces, in their order.
    pub fn map<T: Send>(&self, pieces: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        self.fold(pieces, Vec::with_capacity(pieces), work, Vec::push)
    }

    /// Does all pieces, at most one a worker at any time, and adds their results to `total` in their order: each as soon
    /// as those before it are in, so that few wait at a time.
    pub fn fold<T: Send, A: Send>(
        &self,
        pieces: usize,
        total: A,
        work: impl Fn(usize) -> T + Sync,
        add: impl Fn(&mut A, T) + Send,
    ) -> A {
        let mut sum = Sum { total, next: 0, waiting: BTreeMap::new(), add };
        let Some(workers) = self.workers.as_ref().filter(|_| pieces > 1) else {
            (0..pieces).for_each(|piece| sum.take(piece, work(piece)));
            return sum.total;
        };
        let (next, sum) = (AtomicUsize::new(0), Mutex::new(sum));
        // A worker takes the next piece as soon as it is free; what is added in which order does not depend on it.
        let (begin, busy) = (Instant::now(), Mutex::new(Duration::ZERO));
        workers.run(|_| {
            loop {
                let piece = next.fetch_add(1, Ordering::Relaxed);
                if piece >= pieces {
                    return;
                }
                let begin = Instant::now();
                let result = work(piece);
                *busy.lock().unwrap_or_else(PoisonError::into_inner) += begin.elapsed();
                // Poisoned only if another worker panicked, which is passed on.
                sum.lock().unwrap_or_else(PoisonError::into_inner).take(piece, result);
            }
        });
        let all = begin.elapsed() * u32::try_from(workers.len()).unwrap_or(u32::MAX);
        note("waiting for pieces", all.saturating_sub(*busy.lock().unwrap_or_else(PoisonError::into_inner)));
        sum.into_inner().unwrap_or_else(PoisonError::into_inner).total
    }
}

/// A sum in the order of its pieces, whatever the order they come in.
struct Sum<T, A, F> {
    total: A,
    next: usize,
    waiting: BTreeMap<usize, T>,
    add: F,
}

impl<T, A, F: Fn(&mut A, T)> Sum<T, A, F> {
    fn take(&mut self, piece: usize, result: T) {
        self.waiting.insert(piece, result);
        while let Some(result) = self.waiting.remove(&self.next) {
            (self.add)(&mut self.total, result);
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_added_in_their_order_whichever_is_done_first() {
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let pools = pool.install(|| WorkerPools::new(&Device::flex(), 20)).expect("threads");
            for pieces in [0, 1, 2, 7, 20] {
                let work = |piece: usize| {
                    std::thread::sleep(std::time::Duration::from_micros(piece as u64 * 7919 % 500));
                    piece
                };
                let order = pools.fold(pieces, Vec::new(), work, |order, piece| order.push(piece));
                assert_eq!(order, (0..pieces).collect::<Vec<_>>(), "{threads} threads");
            }
        }
    }
}
