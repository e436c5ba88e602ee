//! A run that begins from a model keeps its shape and tokenizer, and refuses what contradicts them.

use std::sync::atomic::AtomicBool;

use super::*;
use crate::{ComputeDevice, Document, Quiet};

fn corpus(text: &str) -> Corpus {
    Corpus::new("x", vec![Document::new("x", text)])
}

/// A model that has seen six steps.
fn model(dir: &Path) -> Model {
    let mut recipe = Recipe::shipped("smoke").expect("shipped");
    recipe.set_all(&["data.validation_fraction=0.1", "tokenizer.end_of_text=true"]).expect("sound");
    let text = "some words, and others. ".repeat(40);
    let documents = (0..4).map(|i| Document::new(format!("{i}"), text.clone())).collect();
    let corpus = Corpus::new("x", documents);
    let device = ComputeDevice::cpu();
    let mut training = Training::begin_on(&corpus, recipe, dir, ExistingRun::Keep, &device).expect("begun");
    training.train(&mut Quiet, &AtomicBool::new(false)).expect("trained");
    Model::open(dir, &device).expect("opened")
}

#[test]
fn the_models_shape_and_tokenizer_are_kept_and_what_contradicts_them_is_refused_by_field() {
    let dir = tempfile::tempdir().expect("a directory");
    let model = model(&dir.path().join("base"));
    let recipe = FineTuning::of(&model).recipe(10_000).expect("sound");
    assert_eq!(recipe.model, *model.config());
    assert_eq!(recipe.tokenizer.kind, TokenizerKind::File);
    assert_eq!((recipe.train.batch_size, recipe.train.seq_len), (32, 16));
    assert_eq!(recipe.train.steps, 59, "three passes over 10,000 tokens, 512 a step");

    let error = FineTuning::of(&model).with_recipe("smoke").expect("sound").recipe(10_000);
    let error = error.expect_err("no end of text there").to_string();
    assert!(error.starts_with("tokenizer.end_of_text = false, but the tokenizer of "), "{error}");
    let mut same = FineTuning::of(&model).with_recipe("smoke").expect("sound");
    same.set_all(&["tokenizer.end_of_text=true", "train.steps=7"]).expect("sound");
    let recipe = same.recipe(10_000).expect("the recipe of the model itself");
    assert_eq!((recipe.train.steps, recipe.train.eval_interval, recipe.optimizer.learning_rate), (7, 3, 2e-3));
    let mut few = FineTuning::of(&model);
    few.set("train.steps=7").expect("sound");
    let recipe = few.recipe(10_000).expect("sound");
    assert_eq!((recipe.train.eval_interval, recipe.optimizer.warmup_steps), (1, 0), "by the steps that are given");
    few.set("train.batch_size=6").expect("sound");
    assert_eq!(few.recipe(10_000).expect("sound").train.micro_batches, 2, "what divides the batch");
    few.set("train.micro_batches=4").expect("sound");
    few.recipe(10_000).expect_err("what is given is kept, and divides nothing");

    for (item, expected) in [
        ("model.n_layers=3", "model.n_layers = 3, but "),
        ("model.norm_eps=1e-6", "model.norm_eps = 0.000001, but "),
        ("tokenizer.kind=byte", "tokenizer.kind = \"byte\", but "),
        ("train.seq_len=17", "train.seq_len = 17 is longer than the 16 positions"),
        ("lora.alpha=3", "lora.alpha = 3 without a lora.rank"),
    ] {
        let mut tuning = FineTuning::of(&model);
        tuning.set(item).expect("a field");
        let error = tuning.recipe(10_000).expect_err(item).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let error = FineTuning::of(&model).set("train.step=1").expect_err("no such field").to_string();
    assert!(error.contains("did you mean `steps`?"), "{error}");
}

#[test]
fn an_end_that_was_learnt_before_is_kept_where_the_new_text_has_none_and_a_prompt_begins_as_the_new_text() {
    let dir = tempfile::tempdir().expect("a directory");
    let model = model(&dir.path().join("base"));
    let end = model.tokenizer().end_of_text().expect("an end");
    assert_eq!(model.tokenizer().encode_prompt("").expect("ids"), [end]);
    let whole = Corpus { has_documents: false, ..corpus(&"other words and some. ".repeat(40)) };
    let mut tuning = FineTuning::of(&model);
    tuning.set("train.steps=2").expect("sound");
    let mut training = tuning.begin_on(&whole, dir.path().join("new"), ExistingRun::Keep).expect("begun");
    training.train(&mut Quiet, &AtomicBool::new(false)).expect("trained");
    let tuned = Model::open(dir.path().join("new"), &ComputeDevice::cpu()).expect("opened");
    assert_eq!(tuned.tokenizer().end_of_text(), Some(end));
    assert_ne!(tuned.tokenizer().encode_prompt("").expect("ids"), [end]);
    assert_eq!(tuned.tokenizer().to_json().expect("JSON"), model.tokenizer().to_json().expect("JSON"));
}

#[test]
fn low_rank_factors_need_a_model_to_be_added_to() {
    let mut recipe = Recipe::shipped("smoke").expect("shipped");
    recipe.set("lora.rank=2").expect("a field");
    let begun = Training::begin(recipe, "nowhere", ExistingRun::Keep, &ComputeDevice::cpu());
    let error = begun.err().expect("refused").to_string();
    assert!(error.contains("lora.rank = 2") && error.contains("checkpoint"), "{error}");
}
