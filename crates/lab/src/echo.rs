//! A model that has to find what was said before: random phrases, said again and again. What it needs for that is an
//! induction head, which a model of stories may have no use for.

use std::sync::Arc;

use rand::RngExt;
use tril::{ComputeDevice, Tokenizer};
use tril_model::random::{self, Purpose};
use tril_model::{Gpt, GptConfig, MlpKind, NormKind, Positions};
use tril_text::{TokenizerConfig, TokenizerKind};
use tril_train::{StepReport, Trainer, TrainingText};

use crate::LabError;
use crate::recipes::short_training;

/// Tokens of a row.
const SEQ_LEN: usize = 64;
/// Letters of a phrase, at least and at most.
const PHRASE: std::ops::RangeInclusive<usize> = 4..=24;
/// How often a phrase is said.
const TIMES: usize = 3;

/// Trains a model of two layers on random letters that come again.
///
/// - observe: sees each step
///
/// # Errors
/// [`LabError::Setting`] for no steps; [`LabError::Tril`].
pub fn echo_model(
    steps: u64,
    device: &ComputeDevice,
    observe: &mut dyn FnMut(&StepReport),
) -> Result<(Gpt, Arc<Tokenizer>), LabError> {
    if steps == 0 {
        return Err(LabError::Setting("no steps: train for one at least".into()));
    }
    let config = TokenizerConfig { kind: TokenizerKind::Char, end_of_text: true, ..TokenizerConfig::default() };
    let tokenizer = Arc::new(Tokenizer::build(&config, &["abcdefghijklmnopqrstuvwxyz"])?);
    let config = GptConfig {
        vocab_size: tokenizer.vocab_size(),
        max_seq_len: SEQ_LEN,
        n_layers: 2,
        n_heads: 4,
        d_model: 64,
        positions: Positions::Rotary,
        // Near places are told apart more sharply than with Llama's base.
        rope_theta: 100.0,
        qk_norm: true,
        norm: NormKind::Rms,
        mlp: MlpKind::Relu2,
        ..GptConfig::default()
    };
    let (train, optimizer) = short_training(steps, SEQ_LEN);
    let text = TrainingText::new(echoes(&tokenizer, steps as usize * 16 * SEQ_LEN + 2 * SEQ_LEN), SEQ_LEN)?;
    let gpt = Gpt::new(config, train.seed, device.inner())?;
    let mut trainer = Trainer::new(gpt, Default::default(), 0, train, optimizer)?;
    for _ in 0..steps {
        observe(&trainer.step(&text)?);
    }
    Ok((trainer.model(), tokenizer))
}

/// Documents that say one random phrase several times, one after another.
fn echoes(tokenizer: &Tokenizer, tokens: usize) -> Vec<u32> {
    let (end, letters) = (tokenizer.end_of_text(), tokenizer.vocab_size() as u32 - 1);
    let mut ids = Vec::with_capacity(tokens + TIMES * PHRASE.end());
    for number in 0.. {
        if ids.len() >= tokens {
            break;
        }
        let mut rng = random::generator(0, Purpose::Problem, u64::MAX - 4, number, 0);
        let phrase: Vec<u32> = (0..rng.random_range(PHRASE)).map(|_| rng.random_range(0..letters)).collect();
        (0..TIMES).for_each(|_| ids.extend(&phrase));
        ids.extend(end);
    }
    ids
}
