//! Recipes that are no recipes, and values that no model and no run can have.

use crate::commands::test_dir::{TRAIN, TestDir, assert_says, text};

/// Asserts that `--set` with each of these is refused and that the message says what is listed.
#[track_caller]
fn assert_refused(settings: &[(&str, &[&str])]) {
    let test_dir = TestDir::new();
    for (setting, expected) in settings {
        let set = setting.split(' ').map(|item| format!(" --set {item}")).collect::<String>();
        assert_says(&test_dir.refused(&format!("{TRAIN}{set}")), expected);
    }
}

/// Asserts that a recipe of this text is refused and that the message says what is listed.
#[track_caller]
fn assert_recipe_refused(recipe: &str, expected: &[&str]) {
    let test_dir = TestDir::new();
    test_dir.write("mine.toml", recipe);
    let message = test_dir.refused("train mine.toml --data text.txt --out run");
    assert_says(&message, &["mine.toml"]);
    assert_says(&message, expected);
}

#[test]
fn a_model_that_cannot_be_is_refused_with_the_field_its_value_and_a_remedy() {
    assert_refused(&[
        ("model.n_heads=3", &["n_heads = 3", "does not divide", "d_model = 16", "change one"]),
        ("model.n_heads=4 model.n_kv_heads=3", &["n_kv_heads = 3", "does not divide", "n_heads = 4"]),
        ("model.d_model=6", &["d_head = 3", "odd", "rotary", "even"]),
        ("model.d_head=5", &["d_head = 5", "odd", "rotary", "even"]),
        ("model.norm_bias=true", &["norm_bias", "rms", "false"]),
        ("model.norm_eps=0", &["norm_eps = 0", "positive"]),
        ("model.rope_theta=-1", &["rope_theta = -1", "positive"]),
        ("model.vocab_size=3", &["vocab_size = 3", "tokenizer", "set it to 0"]),
        ("model.d_model=99999998", &["d_model = 99999998", "at most"]),
        ("model.window=0 train.seq_len=17", &["seq_len = 17", "max_seq_len = 16", "lower"]),
        ("model.positions=learned train.seq_len=17", &["seq_len = 17", "max_seq_len = 16", "lower"]),
    ]);
}

#[test]
fn windows_longer_than_max_seq_len_are_refused_for_endless_models_too() {
    // GptConfig says of max_seq_len: with a window and rotary positions it bounds nothing but training windows.
    assert_refused(&[("model.window=8 train.seq_len=17", &["seq_len = 17", "max_seq_len = 16", "lower"])]);
}

#[test]
fn sizes_of_zero_are_refused() {
    for field in ["max_seq_len", "n_layers", "d_model"] {
        assert_refused(&[(&format!("model.{field}=0"), &[&format!("{field} = 0"), "at least 1"])]);
    }
    for field in ["batch_size", "seq_len", "micro_batches", "eval_interval", "checkpoint_interval"] {
        assert_refused(&[(&format!("train.{field}=0"), &[&format!("train.{field} = 0"), "at least 1"])]);
    }
}

#[test]
fn no_heads_are_refused_as_no_heads_and_not_as_a_division() {
    assert_refused(&[("model.n_heads=0", &["n_heads = 0", "at least 1"])]);
}

#[test]
fn a_run_that_cannot_be_is_refused_with_the_field_its_value_and_its_range() {
    assert_refused(&[
        ("train.micro_batches=3", &["train.micro_batches = 3", "does not divide", "train.batch_size = 4"]),
        ("train.dropout=1.0", &["train.dropout = 1", "less than 1"]),
        ("train.dropout=-0.1", &["train.dropout = -0.1", "at least 0"]),
        ("train.dropout=nan", &["train.dropout = NaN"]),
        ("train.eval_seq_len=17", &["train.eval_seq_len = 17", "max_seq_len = 16"]),
        ("train.ema_decay=1", &["train.ema_decay = 1", "less than 1"]),
        ("train.ema_decay=-0.1", &["train.ema_decay = -0.1", "at least 0"]),
        ("optimizer.learning_rate=-1", &["optimizer.learning_rate = -1", "positive"]),
        ("optimizer.learning_rate=inf", &["optimizer.learning_rate = inf", "positive"]),
        ("optimizer.min_learning_rate=1", &["min_learning_rate = 1", "above", "learning_rate = 0.002"]),
        ("optimizer.beta2=1", &["optimizer.beta2 = 1", "less than 1"]),
        ("optimizer.eps=0", &["optimizer.eps = 0", "positive"]),
        ("optimizer.weight_decay=-1", &["optimizer.weight_decay = -1", "positive"]),
        ("optimizer.kind=sgd", &["optimizer.kind=sgd", "adamw", "muon"]),
        ("optimizer.decay=exponential", &["optimizer.decay=exponential", "cosine", "linear"]),
        ("optimizer.decay_start=1", &["optimizer.decay_start = 1", "warmup_steps = 2"]),
        ("optimizer.muon_learning_rate=-1", &["optimizer.muon_learning_rate = -1", "positive"]),
        ("optimizer.momentum=1", &["optimizer.momentum = 1", "less than 1"]),
        ("optimizer.momentum_start=-1", &["optimizer.momentum_start = -1", "at least 0"]),
        ("optimizer.max_grad_norm=nan", &["optimizer.max_grad_norm = NaN", "positive"]),
        ("data.validation_fraction=1", &["validation_fraction = 1", "less than 1"]),
        ("data.validation_fraction=-0.1", &["validation_fraction = -0.1", "above 0"]),
    ]);
}

#[test]
fn a_tokenizer_that_cannot_be_is_refused() {
    assert_refused(&[
        ("tokenizer.kind=bpe tokenizer.vocab_size=255", &["bpe", "vocab_size = 255", "at least 256"]),
        ("tokenizer.kind=file", &["`path` is empty", "tokenizer.json"]),
        ("tokenizer.kind=file tokenizer.path=none.json", &["none.json", "os error", "check the path"]),
        ("tokenizer.kind=file tokenizer.path=text.txt", &["text.txt", "tokenizer.json", "Hugging Face"]),
    ]);
}

#[test]
fn samples_that_cannot_be_are_refused_before_anything_is_made() {
    assert_refused(&[
        ("sample.temperature=-1", &["[sample]", "temperature = -1", "0 (greedy) or a number from"]),
        ("sample.temperature=nan", &["[sample]", "temperature = NaN"]),
    ]);
}

#[test]
fn a_mistake_in_sample_costs_no_earlier_run_with_force() {
    let test_dir = TestDir::with_run(); // `refused` sees to it that it stays as it is
    assert_says(&test_dir.refused(&format!("{TRAIN} --force --set sample.temperature=-1")), &["temperature = -1"]);
}

#[test]
fn a_mistake_in_the_model_costs_no_earlier_run_with_force() {
    let test_dir = TestDir::with_run();
    for setting in ["model.n_heads=3", "train.dropout=1", "model.vocab_size=3", "data.validation_fraction=0"] {
        test_dir.refused(&format!("{TRAIN} --force --set {setting}"));
    }
    test_dir.refused(&TRAIN.replace("--data text.txt", "--data none.txt --force"));
}

#[test]
fn an_unknown_section_or_field_is_refused_and_the_nearest_named() {
    assert_refused(&[
        ("model.n_layer=3", &["[model]", "`n_layer`", "did you mean `n_layers`?", "max_seq_len"]),
        ("optimiser.eps=1", &["[optimiser]", "did you mean `optimizer`?", "[train]"]),
        ("train.lr=1", &["[train]", "`lr`", "batch_size"]),
    ]);
    assert_recipe_refused("[train]\nstep = 6\n", &["[train]", "`step`", "did you mean `steps`?"]);
    assert_recipe_refused("[trian]\nsteps = 6\n", &["[trian]", "did you mean `train`?", "[optimizer]"]);
    assert_recipe_refused("train = 6\n", &["`train` is a section", "[train]"]);
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_line() {
    assert_recipe_refused("[train]\nseed = 1\nsteps = \"six\"\n", &["line 3", "steps = \"six\"", "invalid type"]);
    assert_recipe_refused("[model]\n\nnorm = \"rsm\"\n", &["line 3", "`rsm`", "`layer` or `rms`"]);
    assert_recipe_refused("[train]\nsteps = -6\n", &["line 2", "-6"]);
    assert_refused(&[
        ("model.n_layers=three", &["--set model.n_layers=three", "three"]),
        ("model.n_layers=1.5", &["--set model.n_layers=1.5", "1.5"]),
        ("train.steps=-1", &["--set train.steps=-1", "-1"]),
        ("model.norm=foo", &["--set model.norm=foo", "`layer` or `rms`"]),
        ("model.norm_gain=1", &["--set model.norm_gain=1", "boolean"]),
    ]);
}

#[test]
fn a_wrong_value_among_several_set_options_is_the_only_one_named() {
    let test_dir = TestDir::new();
    let message = test_dir.refused(&format!("{TRAIN} --set train.steps=3 --set model.n_layers=three"));
    assert_says(&message, &["--set model.n_layers=three"]);
    assert!(!message.contains("train.steps"), "{message}");
}

#[test]
fn messages_are_free_of_rust_types_and_empty_lines() {
    let test_dir = TestDir::new();
    test_dir.write("mine.toml", "[train]\nsteps = \"six\"\n");
    for command in ["train mine.toml --data text.txt --out run", &format!("{TRAIN} --set model.n_layers=three")] {
        let message = test_dir.refused(command);
        assert!(!message.contains("usize") && !message.contains("u64"), "{message}");
        assert!(!message.trim_end_matches('\n').contains("\n\n") && !message.ends_with("\n\n"), "{message:?}");
    }
}

#[test]
fn a_recipe_that_is_no_toml_is_refused_with_its_line() {
    assert_recipe_refused("[train]\nsteps = 6\n[model\n", &["not valid TOML", "line 3", "[model"]);
    assert_recipe_refused("[train]\nsteps = 6\nsteps = 7\n", &["not valid TOML", "line 3", "duplicate"]);
    assert_recipe_refused(&text(), &["not valid TOML", "line 1"]);
}

#[test]
fn a_recipe_that_cannot_be_read_is_named() {
    let test_dir = TestDir::new();
    let expected = ["give the path of a TOML file", "configs/"];
    let message = test_dir.refused("train none.toml --out run");
    assert_says(&message, &["none.toml", "os error"]);
    assert_says(&message, &expected);
    test_dir.write("binary.toml", b"\xff\xff");
    assert_says(&test_dir.refused("train binary.toml --out run"), &["binary.toml", "not UTF-8 text at byte 0"]);
    test_dir.write("binary.toml", b"\xff\xfea");
    assert_says(&test_dir.refused("train binary.toml --out run"), &["binary.toml", "UTF-16 with half a character"]);
}

#[test]
fn a_set_option_that_is_no_assignment_is_refused_with_an_example() {
    let example = "such as model.n_layers=6";
    assert_refused(&[
        ("n_layers=3", &["--set n_layers=3", "section.field=value", example]),
        ("train.steps", &["--set train.steps", "section.field=value", example]),
        ("=3", &["--set =3", "section.field=value", example]),
    ]);
}
