//! Whether a device does what it is for: some steps of training and the proofs, of a model that takes seconds.

use std::time::Instant;

use serde::Serialize;
use tril_data::{Corpus, EncodedCorpus};
use tril_model::{Gpt, GptConfig};
use tril_prove::{Limits, ProofReport, ProveOptions, prove};
use tril_text::Tokenizer;
use tril_train::{Trainer, TrainingText};

use crate::{ComputeDevice, Error, Recipe};

/// How the shipped recipe `smoke` is changed, so that some steps are seen to teach something.
const CHANGES: [&str; 5] = [
    "train.steps=20",
    "train.batch_size=16",
    "train.micro_batches=2",
    "optimizer.learning_rate=1e-2",
    "optimizer.min_learning_rate=1e-3",
];

/// Fewer cases than `tril prove` tries: some seconds on the slowest device.
const LIMITS: Limits =
    Limits { tokens: 48, segment_len: 24, pass_tokens: 400, losses: 2, gradient_len: 24, trained_params: 10_000_000 };

/// Largest difference of a step's loss from the CPU's, in nats.
const LOSS_TOLERANCE: f64 = 1e-3;

/// What was seen of a device.
#[derive(Debug, Clone, Serialize)]
pub struct Checkup {
    /// Loss of each training step, in nats.
    pub losses: Vec<f64>,
    /// The largest difference of one of them from the CPU's.
    pub loss_error: f64,
    /// Seconds that the steps took.
    pub train_seconds: f64,
    /// The proofs.
    pub proofs: ProofReport,
    /// Seconds that they took.
    pub prove_seconds: f64,
}

impl Checkup {
    /// Trains a small model on a device, compares its losses with the CPU's, and proves what can be proved of it there.
    ///
    /// # Errors
    /// [`Error`] where the device gives no result.
    pub fn of(device: &ComputeDevice) -> Result<Self, Error> {
        let begin = Instant::now();
        let (losses, gpt, ids) = train(device)?;
        let train_seconds = begin.elapsed().as_secs_f64();
        let (expected, ..) = train(&ComputeDevice::cpu())?;
        let differences = losses.iter().zip(&expected).map(|(loss, expected)| (loss - expected).abs());
        let begin = Instant::now();
        let options = ProveOptions { limits: LIMITS, ..ProveOptions::for_device(device.inner()) };
        let proofs = prove(&gpt, &ids[..LIMITS.tokens], &options)?;
        let prove_seconds = begin.elapsed().as_secs_f64();
        Ok(Self { loss_error: differences.fold(0.0, f64::max), losses, train_seconds, proofs, prove_seconds })
    }

    /// What is wrong, if anything is.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let (first, last) = (self.losses.first()?, self.losses.last()?);
        let failed = self.proofs.count(tril_prove::ProofOutcome::Fail);
        if self.loss_error > LOSS_TOLERANCE {
            Some(format!("its losses are off by {:.1e} nats, where {LOSS_TOLERANCE:.0e} is allowed", self.loss_error))
        } else if last >= first {
            Some(format!("it learns nothing: its loss went from {first:.4} to {last:.4}"))
        } else if failed > 0 {
            Some(format!("{failed} proofs fail on it"))
        } else {
            None
        }
    }
}

/// Trains; the loss of each step, the model, and ids of the held-out text.
fn train(device: &ComputeDevice) -> Result<(Vec<f64>, Gpt, Vec<u32>), Error> {
    let mut recipe = Recipe::shipped("smoke")?;
    recipe.set_all(&CHANGES)?;
    let corpus = Corpus::open(&recipe.data.source)?;
    let tokenizer = Tokenizer::build(&recipe.tokenizer, &corpus.texts())?;
    let text = EncodedCorpus::new(&corpus, &tokenizer, recipe.data.held_out())?;
    let config = GptConfig { vocab_size: tokenizer.vocab_size(), ..recipe.model }.resolve()?;
    let gpt = Gpt::new(config, recipe.train.seed, device.inner())?;
    let steps = recipe.train.steps;
    let training = TrainingText::new(text.train.ids, recipe.train.seq_len)?;
    let mut trainer = Trainer::new(gpt, Default::default(), 0, recipe.train, recipe.optimizer)?;
    let losses = (0..steps).map(|_| Ok(trainer.step(&training)?.loss)).collect::<Result<_, Error>>()?;
    Ok((losses, trainer.model(), text.validation.ids.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_learns_and_is_proved_and_faults_are_told() {
        let mut seen = Checkup::of(&ComputeDevice::cpu()).expect("a device");
        assert!(seen.fault().is_none() && seen.loss_error == 0.0, "{:?}", seen.fault());
        assert!(seen.losses[0] - seen.losses[19] > 0.3, "{:?}", seen.losses);
        assert!(seen.proofs.count(tril_prove::ProofOutcome::Pass) > 10);
        seen.losses[19] = seen.losses[0];
        assert!(seen.fault().is_some_and(|fault| fault.contains("learns nothing")));
        seen.loss_error = 0.02;
        assert!(seen.fault().is_some_and(|fault| fault.contains("off by 2.0e-2 nats")));
    }
}
