//! Work in pieces, side by side on the CPU's cores. What the pieces are never depends on how many cores there are, so
//! no result does.

use burn::tensor::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tril_kernels::is_cpu;

use crate::TrainError;

/// One single-threaded pool for each core, each taking one of every n pieces.
///
/// Most operations of a small model are too small to be split over threads, so whole pieces are. They do not share one
/// pool, where training hung: a thread that waits in a pool takes up other work, and one that takes up a second backward
/// pass while it holds a lock of the first would wait for itself.
#[derive(Debug)]
pub struct Lanes {
    pools: Vec<ThreadPool>,
}

impl Lanes {
    /// As many lanes as the CPU device may use threads; one for other devices, which order their work themselves.
    ///
    /// # Errors
    /// [`TrainError::Device`] if the system gives no threads.
    pub fn new(device: &Device) -> Result<Self, TrainError> {
        let count = if is_cpu(device) { rayon::current_num_threads() } else { 1 };
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build();
        let pools = (0..count).map(pool).collect::<Result<_, _>>();
        Ok(Self { pools: pools.map_err(|error| TrainError::Device(error.to_string()))? })
    }

    /// The results of all pieces, in their order; at most one a lane is in work at any time.
    pub fn map<T: Send>(&self, pieces: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
        if pieces == 1 || self.pools.len() == 1 {
            return (0..pieces).map(work).collect();
        }
        let mut results: Vec<Option<T>> = (0..pieces).map(|_| None).collect();
        let lanes = self.pools.len();
        // Pieces go to lanes there and back again, so that each lane gets an equal share of pieces that become smaller; it
        // takes the result slots of its own pieces along.
        let mut slots: Vec<Vec<(usize, &mut Option<T>)>> = (0..lanes).map(|_| Vec::new()).collect();
        for (piece, slot) in results.iter_mut().enumerate() {
            let along = piece % lanes;
            let lane = if (piece / lanes).is_multiple_of(2) { along } else { lanes - 1 - along };
            slots[lane].push((piece, slot));
        }
        let work = &work;
        std::thread::scope(|scope| {
            for (pool, slots) in self.pools.iter().zip(slots) {
                scope.spawn(move || {
                    pool.install(|| slots.into_iter().for_each(|(piece, slot)| *slot = Some(work(piece))));
                });
            }
        });
        results.into_iter().flatten().collect()
    }
}
