//! Claims 4 and 5: the loss of a row goes back the same way through the cache, and is the mean of its prefixes' losses.

use std::time::Instant;

use burn::tensor::Tensor;
use tril_kernels::cross_entropy;
use tril_model::parameters::NamedGradients;

use super::compare::Comparison;
use super::model_runner::{ModelRunner, values};
use super::text::Segment;
use super::{Limits, ModelUnderTest, Seconds};
use tril_infer::InferError;

/// Positions of the loss of claim 4 where no window asks for more.
const STEPS: usize = 24;

/// A parameter whose largest gradient is below this share of all parameters' largest is measured by that share: what is
/// zero but for rounding, such as the gradient of a key's bias, has no size of its own.
const FLOOR: f64 = 1e-3;

/// Compares every parameter's gradient by the parallel pass with that of the same loss summed over steps with a cache.
/// The model has gradients.
///
/// What is recorded is a difference as a share of the parameter's largest gradient.
pub(super) fn cache_gradients<S: ModelUnderTest>(
    runner: &ModelRunner<'_, S>,
    segment: Segment<'_>,
    limits: &Limits,
    comparison: &mut Comparison,
) -> Result<(), InferError> {
    // Two windows and a little more, if there is time for them, so that gradients also flow through a cache that has
    // given something up.
    let wanted = STEPS.max(2 * runner.model.config().window + 2).min(limits.gradient_len.max(1));
    let steps = wanted.min(segment.ids.len() - 1);
    let (inputs, targets) = (&segment.ids[..steps], &segment.ids[1..=steps]);

    let logits = runner.pass(&[inputs]).reshape([steps as i32, -1]);
    let parallel = gradients(runner.model, cross_entropy(logits, runner.targets(targets)).sum());

    let mut cache = runner.model.new_cache();
    let mut losses = Vec::new();
    for (input, target) in inputs.iter().zip(targets) {
        let logits = runner.pass_cached(&[&[*input]], &mut cache).squeeze_dim(1); // [1, vocab_size]
        losses.push(cross_entropy(logits, runner.targets(&[*target])));
        comparison.case();
    }
    let cached = gradients(runner.model, Tensor::cat(losses, 0).sum());
    compare_gradients(&parallel, &cached, steps, comparison)?;
    positions(runner, segment, steps, comparison)
}

fn gradients<S: ModelUnderTest>(model: &S, loss: Tensor<1>) -> NamedGradients {
    model.take_gradients(&mut loss.backward())
}

/// Compares every parameter's gradient by two routes, over `steps` positions.
///
/// What is recorded is a difference as a share of the parameter's largest gradient.
pub(super) fn compare_gradients<'a>(
    parallel: &'a NamedGradients,
    cached: &NamedGradients,
    steps: usize,
    comparison: &mut Comparison,
) -> Result<(), InferError> {
    if let Some(path) =
        parallel.keys().chain(cached.keys()).find(|path| !(parallel.contains_key(*path) && cached.contains_key(*path)))
    {
        comparison.fail(format!("only one of the two gives `{path}` a gradient"));
    }
    let mut sides = Vec::new();
    for (path, parallel) in parallel {
        if let Some(cached) = cached.get(path) {
            sides.push((path, values(parallel.clone())?, values(cached.clone())?));
        }
    }
    let largest = |side: &[f32]| side.iter().fold(0.0, |max: f64, value| max.max(f64::from(value.abs())));
    let floor = sides.iter().map(|(_, parallel, _)| largest(parallel)).fold(0.0, f64::max) * FLOOR;
    if floor == 0.0 {
        comparison.fail("every gradient is zero, so there is nothing to compare");
    }
    let share = |(path, parallel, cached): &(&'a String, Vec<f32>, Vec<f32>)| {
        let scale = largest(parallel).max(floor).max(f64::MIN_POSITIVE);
        let apart = parallel.iter().zip(cached).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs() / scale);
        (apart.max_by(f64::total_cmp).unwrap_or(0.0), *path) // NaN is above all
    };
    let Some((worst, path)) = sides.iter().map(share).max_by(|a, b| a.0.total_cmp(&b.0)) else {
        comparison.fail("no parameter has a gradient by both routes");
        return Ok(());
    };
    comparison.record(steps, worst);
    if !comparison.allows(worst) {
        comparison.fail(format!("the gradient of `{path}` differs by {worst:.1e} of its largest"));
    }
    Ok(())
}

/// Compares the gradients at what enters block 0, which say at which position the routes part.
///
/// What is recorded is a difference as a share of the largest gradient.
fn positions<S: ModelUnderTest>(
    runner: &ModelRunner<'_, S>,
    segment: Segment<'_>,
    steps: usize,
    comparison: &mut Comparison,
) -> Result<(), InferError> {
    let targets = runner.targets(&segment.ids[1..=steps]);
    let embedded = runner.model.embed(runner.input(&[&segment.ids[..steps]]), 0).detach(); // [1, steps, d_model]
    let arriving = |logits: &dyn Fn(Tensor<3>) -> Tensor<3>| {
        let embedded = embedded.clone().require_grad();
        let logits = logits(embedded.clone()).reshape([steps as i32, -1]); // [steps, vocab_size]
        let gradients = cross_entropy(logits, targets.clone()).sum().backward();
        // No gradient at all is one of zero everywhere.
        embedded.grad(&gradients).map_or_else(|| Ok(vec![0.0; embedded.dims().iter().product()]), values)
    };
    let parallel = arriving(&|embedded| runner.model.logits(embedded, None))?;
    let cached = arriving(&|embedded| {
        let mut cache = runner.model.new_cache();
        let step = |step| runner.model.logits(embedded.clone().narrow(1, step, 1), Some(&mut cache));
        Tensor::cat((0..steps).map(step).collect(), 1)
    })?;
    let largest = parallel.iter().fold(f64::MIN_POSITIVE, |max, value| max.max(f64::from(value.abs())));
    let d_model = parallel.len() / steps;
    for (position, (parallel, cached)) in parallel.chunks(d_model).zip(cached.chunks(d_model)).enumerate() {
        let apart = parallel.iter().zip(cached).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs() / largest);
        let apart = apart.max_by(f64::total_cmp).unwrap_or(0.0); // NaN is above all
        comparison.record(0, apart);
        if !comparison.allows(apart) {
            comparison.differs_at(segment.start + position);
        }
    }
    Ok(())
}

/// Compares the loss of each position of one row, and their mean, with the last loss of each of its prefixes.
pub(super) fn prefix_problems<S: ModelUnderTest>(
    runner: &ModelRunner<'_, S>,
    segment: Segment<'_>,
    limits: &Limits,
    comparison: &mut Comparison,
) -> Result<(), InferError> {
    let problems = limits.losses.max(1).min(segment.ids.len() - 1);
    let (inputs, targets) = (&segment.ids[..problems], &segment.ids[1..=problems]);
    let together = || {
        let logits = runner.pass(&[inputs]).reshape([problems as i32, -1]); // [problems, vocab_size]
        values(cross_entropy(logits, runner.targets(targets)))
    };
    together()?; // the first pass of a shape pays for what later ones reuse
    let begin = Instant::now();
    let row = together()?;
    let seconds_together = begin.elapsed().as_secs_f64();

    let begin = Instant::now();
    let mut alone = Vec::new();
    for len in 1..=problems {
        let logits = runner.pass(&[&inputs[..len]]).narrow(1, len - 1, 1).squeeze_dim(1); // [1, vocab_size]
        alone.extend(values(cross_entropy(logits, runner.targets(&targets[len - 1..len])))?);
        comparison.case();
    }
    comparison.took(Seconds { together: seconds_together, apart: begin.elapsed().as_secs_f64() });

    for (position, (row, alone)) in row.iter().zip(&alone).enumerate() {
        comparison.compare(segment.start + position, &[*row], &[*alone]);
    }
    let mean = |losses: &[f32]| losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / problems as f64;
    comparison.record(0, (mean(&row) - mean(&alone)).abs());
    Ok(())
}
