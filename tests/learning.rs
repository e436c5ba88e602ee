//! Training learns, the same way however it is cut into pieces.

use burn::tensor::Device;
use tril_model::{Gpt, GptConfig, parameters};
use tril_train::optimizer::Optimizer;
use tril_train::{OptimizerConfig, OptimizerKind, TrainConfig, Trainer, TrainingText, WorkerPools, evaluate};

use crate::support::*;

fn train_config() -> TrainConfig {
    TrainConfig { steps: 60, batch_size: 6, seq_len: 9, ..TrainConfig::default() }
}

fn text(vocab_size: usize) -> TrainingText {
    let ids: Vec<u32> = some_ids(1, 400, vocab_size).iter().map(|id| *id as u32).collect();
    TrainingText::new(ids, train_config().seq_len).expect("long enough")
}

fn trainer(config: GptConfig, train: TrainConfig, device: &Device) -> Trainer {
    let gpt = Gpt::new(config, train.seed, device).expect("a sound config");
    Trainer::new(gpt, Default::default(), 0, train, OptimizerConfig { warmup_steps: 5, ..Default::default() })
        .expect("sound settings")
}

fn weights(gpt: &Gpt) -> Vec<(String, Vec<f32>)> {
    let named = parameters::list(gpt).into_iter();
    named.map(|(path, data)| (path, data.try_into_vec::<f32>().expect("f32"))).collect()
}

fn max_weight_difference(a: &Gpt, b: &Gpt) -> f32 {
    let pairs = weights(a).into_iter().zip(weights(b));
    pairs.map(|((_, a), (_, b))| max_difference(&a, &b)).fold(0.0, f32::max)
}

#[test]
fn a_fresh_model_is_as_surprised_as_one_that_knows_nothing() {
    for (device_name, device) in devices() {
        for (name, config) in [("gpt2", gpt2_config()), ("llama", llama_config())] {
            let vocab_size = config.vocab_size;
            let gpt = Gpt::new(config, 3, &device).expect("a sound config");
            let ids: Vec<u32> = some_ids(1, 200, vocab_size).iter().map(|id| *id as u32).collect();
            let loss = evaluate(&gpt, &ids, 200, 9, 4).expect("a loss").loss;
            let expected = (vocab_size as f64).ln();
            assert!((loss - expected).abs() < 0.05, "{device_name}, {name}: {loss}, not near {expected}");
        }
    }
}

#[test]
fn a_model_whose_outputs_begin_at_zero_finds_every_token_equally_probable_and_learns() {
    for (device_name, device) in devices() {
        let config = GptConfig { zero_init_outputs: true, ..llama_config() };
        let gpt = Gpt::new(config.clone(), 3, &device).expect("a sound config");
        let zero: Vec<String> = weights(&gpt)
            .into_iter()
            .filter(|(_, values)| values.iter().all(|value| *value == 0.0))
            .map(|(path, _)| path)
            .collect();
        let outputs = ["attention.output", "mlp.down"];
        let expected = (0..config.n_layers)
            .flat_map(|layer| outputs.map(|name| format!("blocks.{layer}.{name}.weight")))
            .chain(["head.weight".to_owned()]);
        assert_eq!(zero, expected.collect::<Vec<_>>(), "{device_name}");
        let ids: Vec<u32> = some_ids(1, 200, config.vocab_size).iter().map(|id| *id as u32).collect();
        let loss = evaluate(&gpt, &ids, 200, 9, 4).expect("a loss").loss;
        assert!((loss - (config.vocab_size as f64).ln()).abs() < 1e-6, "{device_name}: {loss}");
        let mut trainer = trainer(config, TrainConfig { seed: 3, ..train_config() }, &device);
        let text = text(gpt.config().vocab_size);
        let losses: Vec<f64> = (0..60).map(|_| trainer.step(&text).expect("finite").loss).collect();
        assert!(losses[59] < losses[0] - 0.5, "{device_name}: {losses:?}");
        assert!(weights(&trainer.model()).iter().all(|(_, values)| values.iter().any(|value| *value != 0.0)));
    }
}

#[test]
fn one_batch_can_be_learnt_by_heart_by_both_families() {
    for (device_name, device) in devices() {
        for (name, config) in [("gpt2", gpt2_config()), ("llama", llama_config())] {
            // A text of one window: every row of every batch is the same.
            let ids: Vec<u32> = some_ids(1, 10, config.vocab_size).iter().map(|id| *id as u32).collect();
            let text = TrainingText::new(ids, 9).expect("one window");
            let train = TrainConfig { steps: 250, batch_size: 2, ..train_config() };
            let gpt = Gpt::new(config, 1, &device).expect("a sound config");
            let optimizer =
                OptimizerConfig { learning_rate: 1e-2, min_learning_rate: 1e-3, warmup_steps: 5, ..Default::default() };
            let mut trainer = Trainer::new(gpt, Default::default(), 0, train, optimizer).expect("sound settings");
            let mut loss = f64::INFINITY;
            for _ in 0..250 {
                loss = trainer.step(&text).expect("finite").loss;
            }
            assert!(loss < 0.02, "{device_name}, {name}: {loss} after 250 steps");
        }
    }
}

#[test]
fn micro_batches_take_the_step_of_the_large_batch_within_rounding_dropout_included() {
    for (device_name, device) in devices() {
        for dropout in [0.0, 0.2] {
            let with = |micro_batches| {
                let train = TrainConfig { micro_batches, dropout, ..train_config() };
                let mut trainer = trainer(llama_config(), train, &device);
                let text = text(llama_config().vocab_size);
                let reports: Vec<_> = (0..4).map(|_| trainer.step(&text).expect("finite")).collect();
                (reports, trainer.model())
            };
            let (whole, whole_model) = with(1);
            for micro_batches in [2, 3, 6] {
                let (pieces, model) = with(micro_batches);
                for (a, b) in whole.iter().zip(&pieces) {
                    assert!((a.loss - b.loss).abs() < 1e-5, "{device_name}: loss {} and {}", a.loss, b.loss);
                    assert!((a.grad_norm / b.grad_norm - 1.0).abs() < 1e-4, "{device_name}: {a:?} and {b:?}");
                }
                let difference = max_weight_difference(&whole_model, &model);
                assert!(difference < 1e-4, "{device_name}, {micro_batches} pieces: weights differ by {difference}");
            }
        }
    }
}

/// A micro-batch's share of the gradient is rounded before it is added: the largest difference over the largest
/// element of a parameter's gradient.
const ACCUMULATION: f64 = 5e-6;

#[test]
fn the_gradient_of_every_parameter_is_that_of_the_large_batch_within_rounding_in_one_piece_and_in_many() {
    for (device_name, device) in devices() {
        for (name, config) in all_configs() {
            let text = text(config.vocab_size);
            for dropout in [0.0, 0.2] {
                let gradients = |batch_size, micro_batches| {
                    let train = TrainConfig { batch_size, micro_batches, dropout, ..train_config() };
                    let gpt = model(config.clone(), &device);
                    let trainer = Trainer::new(gpt, Default::default(), 0, train, OptimizerConfig::default());
                    trainer.expect("sound settings").gradients(&text).expect("finite")
                };
                let (whole_loss, whole) = gradients(6, 1);
                for micro_batches in [1, 2, 3, 6] {
                    let (loss, pieces) = gradients(6, micro_batches);
                    assert!((loss - whole_loss).abs() < 1e-6, "{device_name}, {name}: {loss} and {whole_loss}");
                    assert!(pieces.keys().eq(whole.keys()), "{name}: all parameters");
                    for (path, gradient) in pieces {
                        let off = relative_difference(&values(gradient), &values(whole[&path].clone()));
                        println!("{off:.1e} {device_name}, {name}, {micro_batches} pieces, dropout {dropout}: {path}");
                        assert!(off < ACCUMULATION, "{device_name}, {name}, {micro_batches}: {path} is off by {off}");
                    }
                }
                // A batch of other rows is noticed.
                let (_, other) = gradients(5, 1);
                let [other, whole] = [other, whole].map(|found| values(found["token_embedding.weight"].clone()));
                let off = relative_difference(&other, &whole);
                assert!(off > 1e3 * ACCUMULATION, "{device_name}, {name}: a row less is off by only {off}");
            }
        }
    }
}

#[test]
fn resuming_from_saved_state_continues_as_if_nothing_had_happened() {
    for (device_name, device) in devices() {
        for kind in [OptimizerKind::Adamw, OptimizerKind::Muon] {
            let train = TrainConfig { dropout: 0.1, ..train_config() };
            let config = OptimizerConfig { kind, warmup_steps: 5, momentum_warmup_steps: 9, ..Default::default() };
            let begin = |gpt, optimizer, step| {
                Trainer::new(gpt, optimizer, step, train.clone(), config.clone()).expect("sound settings")
            };
            let fresh = || begin(Gpt::new(gpt2_config(), 1, &device).expect("sound"), Optimizer::default(), 0);
            let text = text(gpt2_config().vocab_size);
            let (mut through, mut first) = (fresh(), fresh());
            for _ in 0..7 {
                through.step(&text).expect("finite");
                first.step(&text).expect("finite");
            }
            // Through the same bytes as a checkpoint, into a new model and optimizer.
            let dir = tempfile::tempdir().expect("a directory");
            let mut files = tril_model::checkpoint::model_files(&first.model()).expect("files");
            let state = tril_model::tensor_file::tensors_to_bytes(&first.optimizer().tensors()).expect("bytes");
            files.extend([("optimizer.safetensors", state), ("tokenizer.json", b"{}".to_vec())]);
            let path = dir.path().join("step-7");
            tril_model::files::write_dir(&path, &files).expect("written");
            let gpt = tril_model::checkpoint::load_model(&path, &device).expect("read");
            let tensors = || tril_model::tensor_file::read_tensors(&path.join("optimizer.safetensors")).expect("read");
            let optimizer = Optimizer::from_tensors(tensors(), &gpt, kind, &device).expect("complete");
            let other = if kind == OptimizerKind::Muon { OptimizerKind::Adamw } else { OptimizerKind::Muon };
            let error = Optimizer::from_tensors(tensors(), &gpt, other, &device).expect_err("another's state");
            assert!(error.to_string().contains("it lacks `blocks."), "{error}");
            let mut resumed = begin(gpt, optimizer, 7);
            for _ in 0..5 {
                let (a, b) = (through.step(&text).expect("finite"), resumed.step(&text).expect("finite"));
                assert_eq!(a, b, "{device_name}");
            }
            assert_eq!(max_weight_difference(&through.model(), &resumed.model()), 0.0, "{device_name}, {kind:?}");
        }
    }
}

#[test]
fn dropout_changes_training_and_never_evaluation() {
    let (_, device) = devices().remove(0);
    let text = text(gpt2_config().vocab_size);
    let losses = |dropout| {
        let mut trainer = trainer(gpt2_config(), TrainConfig { dropout, ..train_config() }, &device);
        (0..3).map(|_| trainer.step(&text).expect("finite").loss).collect::<Vec<_>>()
    };
    assert_ne!(losses(0.0), losses(0.3));
    assert_eq!(losses(0.3), losses(0.3));
    // A model that is trained with dropout, and one of the same weights that never heard of it.
    let dropping = trainer(gpt2_config(), TrainConfig { dropout: 0.9, ..train_config() }, &device).model();
    let plain = Gpt::new(gpt2_config(), train_config().seed, &device).expect("a sound config");
    assert_eq!(weights(&dropping), weights(&plain));
    let ids = some_ids(2, 9, 17);
    let logits = |gpt: &Gpt| values(gpt.forward(input(&ids, 2, &device)));
    assert_eq!(logits(&dropping), logits(&plain));
    let ids: Vec<u32> = ids.iter().map(|id| *id as u32).collect();
    let loss = |gpt: &Gpt| evaluate(gpt, &ids, ids.len(), 9, 2).expect("finite").loss;
    assert_eq!(loss(&dropping), loss(&plain));
}

#[test]
fn decay_shrinks_matrices_and_leaves_gains_and_biases_alone() {
    use burn::module::Module;
    let (_, device) = devices().remove(0);
    let gpt = model(gpt2_config(), &device);
    let pools = WorkerPools::new(&device, 8).expect("threads");
    for kind in [OptimizerKind::Adamw, OptimizerKind::Muon] {
        let optimizer = OptimizerConfig {
            kind,
            learning_rate: 0.1,
            min_learning_rate: 0.1,
            muon_learning_rate: 0.3,
            warmup_steps: 0,
            weight_decay: 0.5,
            ..Default::default()
        };
        let zero_gradients = parameters::list(&gpt)
            .into_iter()
            .map(|(path, data)| (path, burn::tensor::Tensor::zeros([data.shape().iter().product::<usize>()], &device)))
            .collect();
        let after = Optimizer::default().step(gpt.clone().train(), zero_gradients, [1, 1], &optimizer, &pools);
        for ((path, before), (_, after)) in weights(&gpt).iter().zip(weights(&after.valid())) {
            let factor = match (path.ends_with("weight"), path.starts_with("blocks"), kind) {
                (false, ..) => 1.0,
                (true, true, OptimizerKind::Muon) => 0.85,
                _ => 0.95,
            };
            let expected: Vec<f32> = before.iter().map(|value| value * factor).collect();
            assert!(max_difference(&expected, &after) < 1e-6, "{kind:?}: {path}");
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_stops_before_the_update() {
    let (_, device) = devices().remove(0);
    let text = text(17);
    let optimizer = OptimizerConfig {
        learning_rate: 1e30,
        min_learning_rate: 1e30,
        warmup_steps: 0,
        max_grad_norm: 0.0,
        ..Default::default()
    };
    let gpt = Gpt::new(gpt2_config(), 1, &device).expect("a sound config");
    let mut trainer = Trainer::new(gpt, Default::default(), 0, train_config(), optimizer).expect("sound settings");
    let error = (0..20).find_map(|_| trainer.step(&text).err()).expect("it diverges");
    assert!(error.to_string().contains("step "), "{error}");
    let taken = trainer.step_count();
    assert!(trainer.step(&text).is_err(), "the step that failed was not taken");
    assert_eq!(trainer.step_count(), taken);
}

#[test]
fn evaluation_counts_every_target_once_whatever_the_batch() {
    let (_, device) = devices().remove(0);
    let gpt = model(llama_config(), &device);
    let ids: Vec<u32> = some_ids(1, 58, 19).iter().map(|id| *id as u32).collect();
    // By hand: windows of 9 tokens, the last of 3, each token after the first predicted once.
    let mut nats = 0.0;
    for start in (0..57).step_by(9) {
        let len = 9.min(57 - start);
        let window: Vec<i32> = ids[start..start + len].iter().map(|id| *id as i32).collect();
        let logits = values(gpt.forward(input(&window, 1, &device)));
        for (i, row) in logits.chunks(19).enumerate() {
            let total: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
            nats += total.ln() - f64::from(row[ids[start + i + 1] as usize]);
        }
    }
    for batch_size in [1, 4, 100] {
        let evaluation = evaluate(&gpt, &ids, 114, 9, batch_size).expect("a loss");
        assert_eq!((evaluation.tokens, evaluation.bytes), (57, 114));
        assert!((evaluation.loss - nats / 57.0).abs() < 1e-5, "{} not {}", evaluation.loss, nats / 57.0);
        assert!((evaluation.perplexity.ln() - evaluation.loss).abs() < 1e-9);
        assert!((evaluation.bits_per_byte - nats / 2f64.ln() / 114.0).abs() < 1e-5);
    }
}
