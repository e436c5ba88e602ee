//! Which windows of the text a step learns from: named by seed, step and row, so that a resumed run sees exactly what
//! it would have seen.
//!
//! An epoch cuts the text into windows that do not overlap, from a random offset, and visits them in a random order:
//! after one epoch every token but a few at the ends has been learnt from once, where as many independent draws would
//! leave out 1/e of them.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use burn::tensor::{Device, Int, Tensor};
use rand::RngExt;
use rand::seq::SliceRandom;
use tril_model::ids_to_tensor;
use tril_model::random::{self, Purpose};

use crate::TrainError;

/// The training side of a text, as token ids.
#[derive(Debug)]
pub struct TrainingText {
    ids: Ids,
    seq_len: usize,
    /// A hash of the ids, once it is known.
    key: OnceLock<u64>,
    /// Epochs lately asked for. A memo: each is a function of its key alone.
    epochs: Mutex<Vec<Arc<Epoch>>>,
}

/// Ids wherever they lie: in memory, or in a file that is mapped.
struct Ids(Box<dyn AsRef<[u32]> + Send + Sync>);

impl Deref for Ids {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        (*self.0).as_ref()
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ids", self.len())
    }
}

/// One visit of the whole text.
#[derive(Debug)]
struct Epoch {
    seed: u64,
    number: u64,
    /// Where each window begins, in the order of the visits.
    starts: Vec<usize>,
}

/// Inputs and the tokens that follow each of them.
#[derive(Debug, Clone)]
pub struct TrainBatch {
    /// `[rows, seq_len]`
    pub inputs: Tensor<2, Int>,
    /// `[rows, seq_len]`: the inputs shifted by one.
    pub targets: Tensor<2, Int>,
}

impl TrainingText {
    /// # Errors
    /// [`TrainError::TooShort`] if there is not one window in it.
    pub fn new(ids: impl AsRef<[u32]> + Send + Sync + 'static, seq_len: usize) -> Result<Self, TrainError> {
        let ids = Ids(Box::new(ids));
        if ids.len() < seq_len + 1 {
            return Err(TrainError::TooShort { tokens: ids.len(), needed: seq_len + 1 });
        }
        Ok(Self { ids, seq_len, key: OnceLock::new(), epochs: Mutex::default() })
    }

    /// The same, with its [`TrainingText::key`] where that is known without reading all of it.
    #[must_use]
    pub fn with_key(self, key: u64) -> Self {
        Self { key: OnceLock::from(key), ..self }
    }

    /// A hash of the ids (FNV-1a), to tell whether a resumed run has the text that it began with.
    pub fn key(&self) -> u64 {
        *self.key.get_or_init(|| random::hash(self.ids.iter().map(|id| u64::from(*id))))
    }

    /// Number of windows of an epoch: as many as fit after any offset below `seq_len`, and at least one.
    fn windows(&self) -> usize {
        ((self.ids.len() - self.seq_len) / self.seq_len).max(1)
    }

    /// Where the window of a row begins; steps count from 1, rows are those of an effective batch of `batch_size`.
    pub fn window_start(&self, seed: u64, step: u64, row: usize, batch_size: usize) -> usize {
        let visit = (step - 1) * batch_size as u64 + row as u64;
        let windows = self.windows() as u64;
        self.epoch(seed, visit / windows).starts[(visit % windows) as usize]
    }

    fn epoch(&self, seed: u64, number: u64) -> Arc<Epoch> {
        let mut epochs = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(epoch) = epochs.iter().find(|epoch| (epoch.seed, epoch.number) == (seed, number)) {
            return Arc::clone(epoch);
        }
        let mut rng = random::generator(seed, Purpose::Batch, number, 0, 0);
        let windows = self.windows();
        let slack = self.ids.len() - 1 - windows * self.seq_len;
        let offset = rng.random_range(0..=slack.min(self.seq_len - 1));
        let mut starts: Vec<usize> = (0..windows).map(|window| offset + window * self.seq_len).collect();
        starts.shuffle(&mut rng);
        let epoch = Arc::new(Epoch { seed, number, starts });
        // A batch touches two epochs at most, unless the text is shorter than the batch.
        epochs.truncate(1);
        epochs.insert(0, Arc::clone(&epoch));
        epoch
    }

    /// Some rows of a step's effective batch of `batch_size`.
    pub fn batch(&self, seed: u64, step: u64, rows: Range<usize>, batch_size: usize, device: &Device) -> TrainBatch {
        let starts: Vec<usize> = rows.map(|row| self.window_start(seed, step, row, batch_size)).collect();
        let tensor = |offset: usize| {
            let windows = starts.iter().flat_map(|start| &self.ids[start + offset..start + offset + self.seq_len]);
            ids_to_tensor(windows, [starts.len(), self.seq_len], device)
        };
        TrainBatch { inputs: tensor(0), targets: tensor(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(len: u32) -> TrainingText {
        TrainingText::new((0..len).collect::<Vec<u32>>(), 7).expect("long enough")
    }

    #[test]
    fn targets_are_the_inputs_shifted_by_one() {
        let batch = text(100).batch(1, 2, 0..5, 5, &Device::flex());
        let read = |t: Tensor<2, Int>| t.try_into_vec_as::<i32>().expect("ids");
        let (inputs, targets) = (read(batch.inputs), read(batch.targets));
        assert!(inputs.iter().zip(&targets).all(|(input, target)| input + 1 == *target));
        assert_eq!(inputs.len(), 35);
    }

    #[test]
    fn a_row_depends_on_seed_step_and_row_alone() {
        let text = text(10_000);
        let all: Vec<usize> = (0..8).map(|row| text.window_start(1, 2, row, 8)).collect();
        let read = |batch: TrainBatch| batch.inputs.try_into_vec_as::<i32>().expect("ids");
        // Whatever was asked before, and in whatever pieces.
        text.window_start(9, 900, 0, 8);
        let later = read(text.batch(1, 2, 5..8, 8, &Device::flex()));
        assert_eq!(later[0] as usize, all[5], "rows of a micro-batch are the rows of the whole batch");
        assert_ne!(text.window_start(1, 3, 0, 8), all[0]);
        assert_ne!(text.window_start(2, 2, 0, 8), all[0]);
    }

    #[test]
    fn an_epoch_visits_every_window_once_and_the_next_one_begins_elsewhere() {
        let text = text(1003);
        let windows = text.windows();
        assert_eq!(windows, 142);
        let epoch = |number: usize| -> Vec<usize> {
            // Batches of 5 do not divide an epoch: the visits go on across its end.
            let visits = number * windows..(number + 1) * windows;
            visits.map(|visit| text.window_start(3, 1 + visit as u64 / 5, visit % 5, 5)).collect()
        };
        let sorted = |mut starts: Vec<usize>| {
            starts.sort_unstable();
            starts
        };
        let (first, second) = (epoch(0), epoch(1));
        assert_ne!(first, sorted(first.clone()), "in a random order");
        for starts in [sorted(first.clone()), sorted(second.clone())] {
            assert!(starts.windows(2).all(|pair| pair[1] - pair[0] == 7), "side by side");
            assert!(starts[0] < 7 && starts[141] + 7 < 1003, "within the text");
        }
        let offsets: std::collections::BTreeSet<usize> = (0..50).map(|number| sorted(epoch(number))[0]).collect();
        assert_eq!(offsets.len(), 7, "every offset comes up");
    }

    #[test]
    fn a_text_of_barely_one_window_is_enough_and_a_shorter_one_is_not() {
        for len in 8..30 {
            let text = text(len);
            for step in 1..40 {
                assert!(text.window_start(1, step, 0, 1) + 7 < len as usize, "a text of {len}");
            }
        }
        assert!(TrainingText::new((0..7).collect::<Vec<u32>>(), 7).is_err());
    }
}
