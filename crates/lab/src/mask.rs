//! Two models that differ in the mask alone, trained on the same text: what their losses promise, and what they generate.

use std::sync::Arc;

use serde::Serialize;
use tril::data::EncodedCorpus;
use tril::{ComputeDevice, Corpus, GenerateOptions, GenerateRequest, SamplerConfig, TextGenerator, Tokenizer};
use tril_model::{Gpt, GptConfig, MlpKind, NormKind, Positions};
use tril_text::{TokenizerConfig, TokenizerKind};
use tril_train::{StepReport, Trainer, TrainingText};

use crate::LabError;
use crate::attention::attention;
use crate::prefixes::prefix_problems;
use crate::recipes::short_training;

/// Tokens of a row.
const SEQ_LEN: usize = 64;
/// Held-out rows that are measured both ways.
const ROWS: usize = 8;
/// Points of the loss over training.
const POINTS: u64 = 8;
/// Tokens of a sample.
const SAMPLE_TOKENS: usize = 120;

/// Whether a model has its mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// As every model of this toolkit.
    Causal,
    /// Every position sees every other.
    Removed,
}

/// What became of one of the two.
#[derive(Debug, Clone, Serialize)]
pub struct MaskRun {
    /// Which.
    pub mask: Mask,
    /// Steps taken, and the training loss then, in nats a token.
    pub curve: Vec<(u64, f64)>,
    /// Share of all attention that went to later tokens on a held-out row; exactly 0 with the mask.
    pub weight_on_later: f64,
    /// Loss on held-out rows by one parallel pass each, which is what training measures.
    pub parallel_loss: f64,
    /// Loss on the same rows where each token is predicted from its prefix alone, which is what generation has.
    pub prefix_loss: f64,
    /// What it wrote.
    pub sample: String,
}

/// What came of removing the mask.
#[derive(Debug, Clone, Serialize)]
pub struct MaskReport {
    /// Steps that each was trained.
    pub steps: u64,
    /// Tokens of the vocabulary; ln of it is the loss of knowing nothing.
    pub vocab_size: usize,
    /// How each sample begins.
    pub prompt: String,
    /// With the mask, and without.
    pub runs: [MaskRun; 2],
}

/// Trains a small model on a text by characters, with the mask and without, the first weights and batches the same.
///
/// - prompt: what both continue afterwards
/// - observe: sees each step
///
/// # Errors
/// [`LabError::Tril`] for a text that is too short, and what ends a run; [`LabError::Setting`] for no steps.
pub fn remove_mask(
    corpus: &Corpus,
    prompt: &str,
    steps: u64,
    device: &ComputeDevice,
    observe: &mut dyn FnMut(Mask, &StepReport),
) -> Result<MaskReport, LabError> {
    if steps == 0 {
        return Err(LabError::Setting("no steps: train for one at least".into()));
    }
    let config = TokenizerConfig { kind: TokenizerKind::Char, end_of_text: true, ..TokenizerConfig::default() };
    let tokenizer = Arc::new(Tokenizer::build(&config, &corpus.texts())?);
    let text = EncodedCorpus::new(corpus, &tokenizer, 0.1).map_err(tril::Error::from)?;
    let rows: Vec<&[u32]> = text.validation.ids.chunks_exact(SEQ_LEN + 1).take(ROWS).collect();
    if rows.is_empty() {
        let tokens = text.validation.ids.len();
        return Err(LabError::Setting(format!("the held-out text has {tokens} tokens: {} are needed", SEQ_LEN + 1)));
    }
    let training = TrainingText::new(text.train.ids.clone(), SEQ_LEN)?;
    let mut run = |mask: Mask| -> Result<MaskRun, LabError> {
        let (gpt, curve) = train(mask, &tokenizer, &training, steps, device, observe)?;
        let (mut parallel_loss, mut prefix_loss) = (0.0, 0.0);
        for row in &rows {
            let found = prefix_problems(&gpt, row)?;
            parallel_loss += found.parallel_loss / rows.len() as f64;
            prefix_loss += found.mean_loss / rows.len() as f64;
        }
        let heads = attention(&gpt, &rows[0][..SEQ_LEN])?;
        let later: f64 = heads.iter().map(|head| head.weight_on_later()).sum();
        let weight_on_later = later / (heads.len() * SEQ_LEN) as f64;
        let sample = sample(gpt, &tokenizer, prompt)?;
        Ok(MaskRun { mask, curve, weight_on_later, parallel_loss, prefix_loss, sample })
    };
    let runs = [run(Mask::Causal)?, run(Mask::Removed)?];
    Ok(MaskReport { steps, vocab_size: tokenizer.vocab_size(), prompt: prompt.to_owned(), runs })
}

/// One model, and its loss over the steps.
fn train(
    mask: Mask,
    tokenizer: &Tokenizer,
    text: &TrainingText,
    steps: u64,
    device: &ComputeDevice,
    observe: &mut dyn FnMut(Mask, &StepReport),
) -> Result<(Gpt, Vec<(u64, f64)>), LabError> {
    let config = GptConfig {
        vocab_size: tokenizer.vocab_size(),
        max_seq_len: SEQ_LEN + SAMPLE_TOKENS,
        n_layers: 2,
        n_heads: 4,
        d_model: 64,
        positions: Positions::Rotary,
        norm: NormKind::Rms,
        mlp: MlpKind::Relu2,
        ..GptConfig::default()
    };
    let (train, optimizer) = short_training(steps, SEQ_LEN);
    let gpt = Gpt::new(config, train.seed, device.inner())?;
    let gpt = match mask {
        Mask::Causal => gpt,
        Mask::Removed => gpt.without_mask(),
    };
    let mut trainer = Trainer::new(gpt, Default::default(), 0, train, optimizer)?;
    let mut curve = Vec::new();
    for step in 1..=steps {
        let report = trainer.step(text)?;
        observe(mask, &report);
        if step == 1 || step * POINTS / steps > (step - 1) * POINTS / steps {
            curve.push((step, report.loss));
        }
    }
    Ok((trainer.model(), curve))
}

/// What a model writes after a prompt, by the one loop that makes text.
fn sample(gpt: Gpt, tokenizer: &Arc<Tokenizer>, prompt: &str) -> Result<String, LabError> {
    let mut request = GenerateRequest::new(prompt, tokenizer)?;
    let sampler = SamplerConfig { temperature: 0.8, seed: 1337, ..SamplerConfig::default() };
    request.options = GenerateOptions { sampler, max_tokens: SAMPLE_TOKENS, stop_token: None, ..request.options };
    Ok(TextGenerator::new(Arc::new(gpt), Arc::clone(tokenizer)).complete(request)?.text)
}
