//! What makes a GPU slow however fast it is: many small kernels, and kernels compiled in the middle of a run. Counted, as
//! counts are the same on any device.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::cubecl::launched::LaunchedKernels;
use burn::cubecl::logging::{LaunchObservation, LaunchObserver};
use tril::Recipe;
use tril_infer::{GenerateOptions, Generator, SamplerConfig};
use tril_model::{Gpt, GptConfig};
use tril_train::{Trainer, TrainingText};

use super::device_alone;

#[derive(Default)]
struct Counter(AtomicUsize);

impl LaunchObserver for Counter {
    fn launched(&self, _kernel: &'static str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Kernels launched while something is done.
fn launches(work: impl FnOnce()) -> usize {
    let counter = Arc::new(Counter::default());
    let observation = LaunchObservation::new(counter.clone());
    work();
    drop(observation);
    counter.0.load(Ordering::Relaxed)
}

#[test]
fn a_training_step_launches_so_many_kernels_and_compiles_none_after_the_first() {
    let Some(device) = device_alone("launches of training on wgpu") else { return };
    let mut recipe = Recipe::shipped("smoke").expect("a recipe");
    recipe.set_all(&["model.vocab_size=65"]).expect("a field");
    let gpt = Gpt::new(recipe.model.resolve().expect("a config"), 1, device.inner()).expect("a model");
    let ids: Vec<u32> = (0..4000).map(|i| (i * i * 7 + i) % 65).collect();
    let text = TrainingText::new(ids, recipe.train.seq_len).expect("long enough");
    let mut trainer = Trainer::new(gpt, Default::default(), 0, recipe.train, recipe.optimizer).expect("sound");
    let first = LaunchedKernels::new();
    trainer.step(&text).expect("a step");
    let first = first.finish();
    let others = LaunchedKernels::new();
    let counts = [0, 1, 2].map(|_| launches(|| _ = trainer.step(&text).expect("a step")));
    let others = others.finish();
    assert!(
        others.is_subset(&first),
        "{} kernels are compiled after the first step",
        others.difference(&first).count()
    );
    println!("kernels launched in training steps of 2 layers: {counts:?}, {} different", first.len());
    let unread = LaunchedKernels::new();
    let late = launches(|| (0..10).for_each(|_| trainer.advance(&text).expect("a step")));
    let reading = launches(|| assert_eq!(trainer.take_reports().expect("sound").len(), 10));
    let unread = unread.finish();
    println!("kernels launched in ten steps that are read at once: {late}, and {reading} to read them");
    // One more is compiled: what joins the numbers of ten steps.
    assert!(late <= 10 * MOST_IN_A_STEP && reading <= 20, "{late}, {reading}");
    assert!(unread.difference(&first).count() <= 3, "{} kernels are compiled", unread.difference(&first).count());
    // Fewer where the gradient is not clipped.
    assert!(counts.iter().all(|count| *count <= MOST_IN_A_STEP), "{counts:?}");
}

/// Of a training step of `smoke`: 2 layers, one micro-batch.
const MOST_IN_A_STEP: usize = 700;

#[test]
fn a_generated_token_launches_so_many_kernels_and_compiles_none_after_the_first() {
    let Some(device) = device_alone("launches of generation on wgpu") else { return };
    let config = GptConfig { window: 0, max_seq_len: 256, ..Recipe::shipped("smoke").expect("a recipe").model };
    let config = GptConfig { vocab_size: 65, ..config }.resolve().expect("a config");
    let gpt = Gpt::new(config, 1, device.inner()).expect("a model");
    let sampler = SamplerConfig { temperature: 0.0, ..SamplerConfig::default() };
    let options = GenerateOptions { sampler, max_tokens: MAX_TOKENS, ..GenerateOptions::default() };
    let mut generator = Generator::new(&gpt, &[1, 2, 3], options).expect("a generator");
    let mut token = || drop(generator.next().expect("a token").expect("sound"));
    // Lengths that a vector of four divides, of two and of one have kernels of their own, and so has each doubling.
    let first = LaunchedKernels::new();
    (0..ALL_LENGTHS).for_each(|_| token());
    let first = first.finish();
    let others = LaunchedKernels::new();
    let counts: Vec<usize> = (ALL_LENGTHS..MAX_TOKENS).map(|_| launches(&mut token)).collect();
    let others = others.finish();
    let most = counts.iter().copied().max().expect("some");
    println!("kernels launched for a token of 2 layers: {most} at most, {} different", first.len());
    assert!(others.is_subset(&first), "{} kernels are compiled later", others.difference(&first).count());
    assert!(most <= MOST_FOR_A_TOKEN, "{counts:?}");
}

/// Tokens after which every kernel has been seen that contexts up to 128 need.
const ALL_LENGTHS: usize = 64;
const MAX_TOKENS: usize = 120;

/// Of a token of `smoke` with a cache: 2 layers.
const MOST_FOR_A_TOKEN: usize = 150;
