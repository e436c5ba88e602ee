//! `tril train`: what it prints, what it leaves behind, and that its options do what they say.

use std::fs;

use predicates::prelude::*;
use serde_json::Value;
use toml::Table;

use super::test_dir::*;

/// What follows a word at the beginning of a line.
fn after<'a>(output: &'a str, word: &str) -> &'a str {
    let line = output.lines().find_map(|line| line.strip_prefix(word));
    line.unwrap_or_else(|| panic!("no line that begins with {word:?} in:\n{output}")).trim()
}

#[cfg(unix)]
#[test]
fn training_on_the_tales_ends_with_a_sample_the_loss_the_floor_and_a_command_that_works() {
    let test_dir = TestDir::new();
    let output = test_dir.stdout("train smoke.toml --out run --set sample.max_tokens=33");
    let (sample, rest) = output.split_once("\n---\n").expect("a sample between two rules");
    let sample = sample.split_once("--- a sample of the trained model\n").expect("a heading").1;
    assert_eq!(sample.chars().count(), 33, "a char for each token: {sample:?}");

    let records = metrics(&test_dir.path("run"));
    let loss = *column(&records, "evaluation", "loss").last().expect("an evaluation");
    assert!(after(rest, "validation loss").starts_with(&format!("{loss:.4} nats a token")), "{rest}");
    let floor: f64 = after(rest, "floor").split(' ').next().expect("a number").parse().expect("a number");
    assert!(0.0 < floor && floor < loss, "{floor} is below what six steps reach");

    let next = after(rest, "next:");
    assert_eq!(next, "tril sample run");
    let text = stdout(&mut test_dir.shell(next));
    assert_eq!(text.chars().count(), 501, "500 tokens and a newline: {text:?}");
}

#[cfg(unix)]
#[test]
fn the_next_command_works_for_a_directory_with_a_space_and_a_quote_in_its_name() {
    let test_dir = TestDir::new();
    let mut train = test_dir.tril("train smoke.toml --data text.txt --set data.validation_fraction=0.1 --out");
    let output = stdout(train.arg("Zoë's first run"));
    test_dir.shell(after(&output, "next:")).assert().success().stdout(predicate::str::is_empty().not());
}

#[test]
fn within_cargo_the_next_command_goes_through_cargo() {
    let test_dir = TestDir::new();
    let output = stdout(test_dir.tril(TRAIN).env("CARGO", "cargo"));
    assert_eq!(after(&output, "next:"), "cargo run --release -- sample run");
}

#[test]
fn a_text_of_ones_own_has_no_floor() {
    let test_dir = TestDir::new();
    assert!(!test_dir.stdout(TRAIN).contains("floor"));
}

#[test]
fn a_text_without_a_newline_can_be_trained_on_and_sampled_from() {
    let test_dir = TestDir::new();
    test_dir.write("text.txt", text().replace('\n', " "));
    test_dir.stdout(TRAIN);
    assert_eq!(test_dir.stdout("sample run --max-tokens 5").trim_end_matches('\n').chars().count(), 5);
}

#[test]
fn the_recipe_in_the_run_directory_has_every_field_resolved_and_trains_the_same_model() {
    let test_dir = TestDir::with_run();
    let written: Table = test_dir.read("run/config.toml").parse().expect("TOML");
    let recipe: Table = test_dir.read("smoke.toml").parse().expect("TOML");
    for (section, fields) in &recipe {
        for (field, value) in fields.as_table().expect("a section") {
            let found = written[section].get(field).unwrap_or_else(|| panic!("no [{section}] {field}"));
            let derived = ["n_kv_heads", "d_head", "d_ff"].contains(&field.as_str());
            let set = ["source", "validation_fraction"].contains(&field.as_str());
            let learnt = section == "model" && field == "vocab_size";
            assert_eq!(found == value, !(derived || set || learnt), "[{section}] {field} = {found}");
        }
    }
    let mut chars: Vec<char> = text().chars().collect();
    chars.sort_unstable();
    chars.dedup();
    let model = &written["model"];
    let size = |field: &str| model[field].as_integer().expect("a number");
    assert_eq!(size("vocab_size"), chars.len() as i64);
    assert_eq!([size("n_kv_heads"), size("d_head"), size("d_ff")], [2, 8, 64]);

    test_dir.stdout("train run/config.toml --out again");
    assert_eq!(
        Tree::read(&test_dir.path("again"))
            .without("metrics.jsonl")
            .differences(&Tree::read(&test_dir.path("run")).without("metrics.jsonl")),
        Vec::<String>::new()
    );
}

#[test]
fn the_metrics_hold_every_step_evaluation_and_sample_in_order_with_their_numbers() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set train.steps=8"));
    let records = metrics(&test_dir.path("run"));
    let order: Vec<(&str, u64)> = records
        .iter()
        .map(|record| (record["kind"].as_str().expect("a kind"), record["step"].as_u64().expect("a step")))
        .collect();
    let mut expected: Vec<(&str, u64)> = (1..=8).map(|step| ("step", step)).collect();
    // A sample is kept at each evaluation.
    for (place, step) in [(3, 3), (8, 6), (12, 8)] {
        expected.insert(place, ("evaluation", step));
        expected.insert(place + 1, ("sample", step));
    }
    assert_eq!(order, expected);
    let samples = records.iter().filter(|record| record["kind"] == "sample");
    assert!(samples.clone().all(|sample| sample["text"].as_str().is_some_and(|text| text.chars().count() == 20)));

    let rates = column(&records, "step", "learning_rate");
    assert_eq!(rates[..2], [1e-3, 2e-3], "a warm-up of two steps");
    assert!(rates[1..].windows(2).all(|pair| pair[0] > pair[1]), "then it decays: {rates:?}");
    assert!((rates[7] - 1e-4).abs() < 1e-12, "to its floor at the last step: {rates:?}");
    for field in ["loss", "grad_norm", "tokens_per_second"] {
        assert!(column(&records, "step", field).iter().all(|value| *value > 0.0), "{field}");
    }

    let chars = text().chars().count();
    let held_out = chars - chars * 9 / 10;
    let bits = column(&records, "evaluation", "bits_per_byte");
    let bytes = column(&records, "evaluation", "bytes");
    for (i, loss) in column(&records, "evaluation", "loss").into_iter().enumerate() {
        assert_eq!(column(&records, "evaluation", "tokens")[i], (held_out - 1) as f64);
        assert!((column(&records, "evaluation", "perplexity")[i] - loss.exp()).abs() < 1e-9);
        let total_bits = loss * (held_out - 1) as f64 / std::f64::consts::LN_2;
        assert!((bits[i] - total_bits / bytes[i]).abs() < 1e-9);
    }
}

#[test]
fn the_run_keeps_its_best_and_its_last_checkpoint_and_nothing_else() {
    let test_dir = TestDir::new();
    // A rate that grows without end: it learns at first and then forgets.
    let rising = "--set train.steps=40 --set train.eval_interval=4 --set train.checkpoint_interval=50";
    let rates = "--set optimizer.learning_rate=400 --set optimizer.warmup_steps=20000";
    let output = test_dir.stdout(&format!("{TRAIN} {rising} {rates}"));
    let run = test_dir.path("run");
    let records = metrics(&run);
    let losses = column(&records, "evaluation", "loss");
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let at = losses.iter().position(|loss| *loss == least).expect("it is among them");
    assert!(0 < at && at + 1 < losses.len(), "these settings do not rise in the end: {losses:?}");
    let step = (at + 1) * 4;
    let end = losses.last().expect("an evaluation");
    assert_eq!(after(&output, "best"), format!("at step {step}; {end:.4} at step 40, the last"));
    assert!(after(&output, "validation loss").starts_with(&format!("{least:.4} nats a token")), "{output}");

    let (best, last) = (checkpoint(&run, "best"), checkpoint(&run, "last"));
    assert_eq!(best, run.join(format!("step-{step:06}")));
    assert_eq!(last, run.join("step-000040"));
    let mut names: Vec<_> = fs::read_dir(&run).expect("a run").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    let files = ["checkpoints.json", "config.toml", "metrics.jsonl"].map(|name| run.join(name));
    assert_eq!(names, [&files[..], &[best.clone(), last.clone()]].concat());

    let sha256 = |path: &std::path::Path| super::bits::sha256(&path.join("model.safetensors"));
    assert_says(
        &output,
        &[
            &format!("sha256 of step-000040, the last:\n  {} weights\n", sha256(&last)),
            &format!(
                "sha256 of step-{step:06}, the best, which sample, eval and prove read:\n  {} weights\n",
                sha256(&best)
            ),
        ],
    );
    let sample = |name: &str| test_dir.stdout(&format!("sample {name} --max-tokens 40"));
    let [of_best, of_last] = [best, last].map(|path| sample(path.to_str().expect("UTF-8")));
    assert_eq!(sample("run"), of_best, "a run stands for its best checkpoint");
    assert_ne!(of_best, of_last);
}

#[test]
fn a_checkpoint_moved_alone_elsewhere_still_samples_and_evaluates() {
    let test_dir = TestDir::with_run();
    let (text, losses) = (test_dir.stdout("sample run --max-tokens 40"), test_dir.stdout("eval run text.txt --json"));
    let elsewhere = TestDir::empty();
    Tree::read(&checkpoint(&test_dir.path("run"), "best")).write(&elsewhere.path("moved"));
    drop(test_dir); // the run, the recipe and the text are gone
    assert_eq!(elsewhere.stdout("sample moved --max-tokens 40"), text);
    elsewhere.write("other.txt", super::test_dir::text());
    assert_eq!(elsewhere.stdout("eval moved other.txt --json"), losses);
}

#[test]
fn set_overrides_the_recipe_and_the_last_one_wins() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.n_layers=3 --set model.norm=layer --set model.n_layers=1"));
    let config = fs::read_to_string(checkpoint(&test_dir.path("run"), "last").join("config.json")).expect("a config");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    assert_eq!((config["n_layers"].as_u64(), config["norm"].as_str()), (Some(1), Some("layer")));
}

#[test]
fn a_directory_of_two_files_trains_as_the_two_files_joined_do() {
    let test_dir = TestDir::new();
    let text = text();
    let half = text.char_indices().nth(text.chars().count() / 2).expect("long enough").0;
    fs::create_dir(test_dir.path("texts")).expect("a directory");
    test_dir.write("texts/1.txt", &text[..half]);
    test_dir.write("texts/2.txt", &text[half..]);
    test_dir.write("texts/.hidden", "猫");
    for (data, out) in [("text.txt", "one"), ("texts", "two")] {
        test_dir.stdout(&format!("train smoke.toml --data {data} --out {out} --set data.validation_fraction=0.1"));
    }
    for file in ["model.safetensors", "optimizer.safetensors", "tokenizer.json", "train.json"] {
        let [one, two] = ["one", "two"].map(|out| fs::read(checkpoint(&test_dir.path(out), "last").join(file)));
        assert!(one.expect("a file") == two.expect("a file"), "{file}");
    }
}

#[test]
fn force_replaces_a_run_by_what_a_fresh_directory_would_hold_and_leaves_other_files_alone() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set train.steps=9 --set model.n_layers=1"));
    test_dir.write("run/notes.txt", "mine");
    test_dir.stdout(&format!("{TRAIN} --force"));
    assert_eq!(test_dir.read("run/notes.txt"), "mine");
    let replaced = Tree::read(&test_dir.path("run")).without("metrics.jsonl").without("notes.txt");
    let fresh = TestDir::with_run();
    let differences = replaced.differences(&Tree::read(&fresh.path("run")).without("metrics.jsonl"));
    assert!(differences.is_empty(), "{differences:?}");
    assert_eq!(timeless_metrics(&test_dir.path("run")), timeless_metrics(&fresh.path("run")));
}

#[test]
fn without_out_a_run_is_named_after_its_recipe() {
    let test_dir = TestDir::new();
    test_dir.write("tiny.toml", test_dir.read("smoke.toml"));
    let output = test_dir.stdout("train tiny.toml --data text.txt --set data.validation_fraction=0.1");
    assert_eq!(after(&output, "next:").replace('\\', "/"), "tril sample runs/tiny");
    assert!(test_dir.path("runs/tiny/checkpoints.json").exists());
}

#[test]
fn the_same_seed_trains_the_same_model_and_another_seed_another() {
    let weights = |seed: u64| {
        let test_dir = TestDir::new();
        test_dir.stdout(&format!("{TRAIN} --set train.seed={seed}"));
        fs::read(checkpoint(&test_dir.path("run"), "last").join("model.safetensors")).expect("weights")
    };
    let first = weights(7);
    assert!(first == weights(7));
    assert!(first != weights(8));
}

#[test]
fn progress_goes_to_stderr_with_samples_at_their_interval() {
    let test_dir = TestDir::new();
    let output = test_dir.tril(&format!("{TRAIN} --set sample.interval=2")).output().expect("it runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    for line in ["step 2, a sample:", "step 4, a sample:", "step 3: validation loss", "step 6: validation loss"] {
        assert!(stderr.contains(line), "{line}: {stderr}");
    }
    assert!(!stderr.contains("step 3, a sample:") && !stderr.contains("step 6, a sample:"), "{stderr}");
    let stdout = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(!stdout.contains("step 2"), "{stdout}");
}

#[test]
fn a_shipped_recipe_is_found_by_its_name_and_printed_as_its_file_is() {
    let test_dir = TestDir::new();
    let list = test_dir.stdout("recipes");
    let configs = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../tril/configs")).expect("configs");
    for path in configs.map(|entry| entry.expect("an entry").path()) {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(list.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {list}");
        assert_eq!(test_dir.stdout(&format!("recipes {name}")), fs::read_to_string(&path).expect("text"));
    }
    test_dir.stdout("train smoke --data text.txt --set train.steps=1 --set train.micro_batches=1");
    assert!(test_dir.path("runs/smoke/checkpoints.json").exists());
    assert_says(&test_dir.refused("train smoek --data text.txt"), &["smoek", "smoke", "tales"]);
    assert_says(&test_dir.refused("recipes nothing"), &["nothing", "smoke", "tales"]);
}

#[test]
fn what_people_type_first_is_understood() {
    let test_dir = TestDir::new();
    // A text in the place of the recipe; a run named by it; fewer steps in a word.
    let small = "--set tokenizer.vocab_size=300 --set model.max_seq_len=16 --set train.seq_len=16 --set sample.max_tokens=5 \
                 --set data.validation_fraction=0.1";
    let train = format!("train text.txt --steps 3 {small}");
    let output = test_dir.stdout(&train);
    assert_says(&output, &["run              runs/text\n", "next: tril sample runs/text"]);
    let again = test_dir.tril(&train).output().expect("it runs");
    let message = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_says(&message, &["runs/text is taken", "goes to runs/text-2", "tril train --resume runs/text]"]);
    assert!(again.status.success() && test_dir.path("runs/text-2").is_dir());

    // A run by its name, a prompt without a flag, flags of one letter, and the word that others use.
    let expected = test_dir.stdout("sample runs/text --prompt the --max-tokens 6 --temperature 0");
    for same in ["sample text the -n 6 -t 0", "generate runs/text -p the -n 6 -t 0"] {
        assert_eq!(test_dir.stdout(same), expected, "{same}");
    }
    assert_says(&test_dir.refused("sample runs"), &["runs holds runs", "name one of them: runs/text, runs/text-2"]);
    assert_says(&test_dir.refused("eval nothing text.txt"), &["no checkpoint at nothing", "hint: there are runs/text"]);
    assert_says(&test_dir.refused("chat"), &["<CHECKPOINT>", "hint: there are runs/text"]);
    assert_says(&test_dir.refused("verify runs/text"), &["<RECEIPT>", "hint: tril sample --receipt FILE writes one"]);
    assert_says(
        &test_dir.refused("export runs/text out"),
        &["--format <FORMAT>", "--format gguf writes a file for llama.cpp"],
    );
    let one = test_dir.tril("sample runs/text the -n 1").output().expect("it runs");
    assert_says(&String::from_utf8_lossy(&one.stderr), &["[1 token with the KV cache"]);
    let several_words = test_dir.refused("sample runs/text Once upon a time");
    assert_says(&several_words, &["unexpected argument 'upon'", "in quotes, as in \"Once upon\""]);

    // Commands by the names of other tools, of which some are spelt like ones that do something else.
    for (typed, meant) in [("resume", "'train --resume'"), ("version", "'--version'"), ("trace", "'sample --trace'")] {
        assert_says(&test_dir.refused(typed), &["exist", meant]);
    }
    assert_says(&test_dir.refused("--color never resume"), &["'train --resume'"]);
    for typed in ["runs", "ls"] {
        assert_says(&test_dir.refused(typed), &["unrecognized subcommand", "hint: there are runs/"]);
    }
    assert!(!test_dir.refused("lab run").contains("sample"), "only commands have such names");

    // Nothing left to do is said, and what to type to do more.
    let done = test_dir.tril("train --resume runs/text").output().expect("it runs");
    let message = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_says(&message, &["taken all its 3 steps", "tril train --resume runs/text --steps 6"]);
    assert!(!String::from_utf8_lossy(&done.stdout).contains("a sample"), "it does not end as if it had trained");
    test_dir.tril("train --resume runs/text --steps 4").assert().success();
}

#[test]
fn a_dry_run_says_what_a_run_would_be_and_writes_nothing() {
    let test_dir = TestDir::new();
    let before = Tree::read(&test_dir.path("."));
    let dry = "train smoke.toml --data text.txt --set data.validation_fraction=0.1 --steps 500 --dry-run";
    let output = test_dir.stdout(dry);
    assert_says(&output, &["500 steps of 4 × 16 tokens: ", " passes over the text", "time     about ", "memory   "]);
    assert_says(&output, &["run      runs/smoke (nothing is written there yet)"]);
    assert!(Tree::read(&test_dir.path(".")) == before, "nothing is written");
    assert_says(&test_dir.refused("train smoke.toml --data none.txt --dry-run"), &["none.txt"]);
}

#[cfg(unix)]
#[test]
fn the_end_says_the_loss_and_what_it_means_the_time_the_place_and_what_to_type_in_this_order() {
    let test_dir = TestDir::new();
    let train = "train smoke.toml --data text.txt --out run --set data.validation_fraction=0.1 --verbose";
    let said = stdout(&mut test_dir.shell(&format!("tril {train} 2>&1")));
    let (_, end) = said.split_once("\n---\n").expect("a sample between two rules");
    let labels = [
        "validation loss ",
        "that is          as if guessing among ",
        "time  ",
        "run  ",
        "sha256 of step-000006",
        "next: tril sample run",
    ];
    let places: Vec<usize> =
        labels.iter().map(|label| end.find(label).unwrap_or_else(|| panic!("{label}: {end}"))).collect();
    assert!(places.is_sorted(), "{places:?}: {end}");
    let again = test_dir.stdout(&format!("{train} --force"));
    assert!(!again.contains("time  "), "a result tells no time: {again}");
    assert_eq!(test_dir.stdout(&format!("{train} --force")), again);
}

#[test]
fn colours_say_what_was_given_and_what_is_best_and_no_more_where_none_are_wanted() {
    const CYAN: &str = "\u{1b}[36m";
    const GREEN: &str = "\u{1b}[1m\u{1b}[32m";
    let test_dir = TestDir::new();
    let train = "train smoke.toml --data text.txt --out run --force --set data.validation_fraction=0.1 \
        --set sample.prompt=th --set sample.interval=3";
    let output = |flags: &str, variable: Option<&str>| {
        let mut command = test_dir.tril(&format!("{train} {flags}"));
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE").env("TERM", "xterm");
        let output = command.envs(variable.map(|name| (name, "1"))).output().expect("a run");
        assert!(output.status.success());
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
    };
    let [result, notes] = output("--color always", None);
    assert_says(&result, &[&format!("\n{CYAN}th\u{1b}[0m"), &format!("validation loss  {GREEN}")]);
    assert_says(&notes, &[&format!("{GREEN}step 3: validation loss"), &format!("  │ {CYAN}th\u{1b}[0m")]);
    let plain = output("--color never", None);
    for [result, notes] in
        [&plain, &output("", None), &output("", Some("NO_COLOR")), &output("--color never", Some("CLICOLOR_FORCE"))]
    {
        assert!(!result.contains('\u{1b}') && !notes.contains('\u{1b}'), "{result}{notes}");
        assert_eq!(*result, plain[0]);
    }
    let sample = "sample run -p th -n 5";
    let coloured = test_dir.stdout(&format!("{sample} --color always"));
    assert!(coloured.starts_with(&format!("{CYAN}th\u{1b}[0m")), "{coloured:?}");
    assert_eq!(coloured.replace(CYAN, "").replace("\u{1b}[0m", ""), test_dir.stdout(sample));
    assert_eq!(test_dir.stdout(&format!("--color always {sample}")), coloured, "the flag may come first");
    for (flags, begin) in [("--color always", "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m no "), ("", "error: no ")] {
        let output = test_dir.tril(&format!("sample none {flags}")).output().expect("it runs");
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(message.starts_with(begin), "{message:?}");
    }
    test_dir.write("prompts.txt", "th\na\n");
    let lines = test_dir.stdout("sample run --prompts prompts.txt -n 3 --jsonl --color always");
    assert!(!lines.contains('\u{1b}'), "no colours in JSON: {lines}");
}
