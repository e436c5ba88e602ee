//! `tril verify` without a receipt: how much of a text, or of ids, is what checkpoint, settings and draws give.

use serde_json::{Value, json};

use super::test_dir::*;

const PROMPT: &str = "the old fox sa";

/// Samples; the text as it is printed, and its ids by way of a receipt.
fn made(test_dir: &TestDir, options: &str) -> (String, Vec<u64>) {
    let command = format!("sample run --max-tokens 60 --receipt receipt.json {options}");
    let text = stdout(test_dir.tril(&command).args(["--prompt", PROMPT]));
    let receipt: Value = serde_json::from_str(&test_dir.read("receipt.json")).expect("JSON");
    let tokens = receipt["prompts"][0]["samples"][0]["tokens"].as_array().expect("a list");
    (text, tokens.iter().map(|token| token["id"].as_u64().expect("an id")).collect())
}

/// The report and the exit code.
fn graded(test_dir: &TestDir, what: &str, content: &str, options: &str) -> (Value, Option<i32>) {
    test_dir.write("given", content);
    let command = format!("verify run --{what} given --json {options}");
    let output = test_dir.tril(&command).args(["--prompt", PROMPT]).output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    (report, output.status.code())
}

#[test]
fn an_honest_text_passes_as_text_and_as_ids_however_it_was_made() {
    let test_dir = TestDir::with_run();
    let ways = [
        "",
        "--temperature 0 --frequency-penalty 0.5",
        "--temperature 2 --top-k 9 --top-p 0.9 --min-p 0.01 --ban e",
        "--typical-p 0.8 --repetition-penalty 1.2 --penalty-last-n 7",
        "--sample-index 5 --seed 18446744073709551615",
    ];
    for way in ways {
        let (text, ids) = made(&test_dir, way);
        let lists = [json!(ids).to_string(), ids.iter().map(|id| format!("{id}\n")).collect()];
        for (what, content) in [("text", &text), ("ids", &lists[0]), ("ids", &lists[1])] {
            let (report, code) = graded(&test_dir, what, content, way);
            assert_eq!((code, &report["verdict"]), (Some(0), &json!("pass")), "{way}: {report}");
            assert_eq!((&report["share"], &report["ids"]), (&json!(1.0), &json!(ids)), "{way}");
            assert!(report["first"].is_null(), "{report}");
        }
    }
}

#[test]
fn one_swapped_token_is_found_at_its_place_with_its_odds() {
    let test_dir = TestDir::with_run();
    let (_, mut ids) = made(&test_dir, "");
    ids[31] = (ids[31] + 1) % 3;
    let (report, code) = graded(&test_dir, "ids", &json!(ids).to_string(), "");
    assert_eq!((code, &report["verdict"]), (Some(1), &json!("fail")), "{report}");
    let first = &report["first"];
    assert_eq!((&first["index"], &first["token"]), (&json!(31), &json!(ids[31])), "{report}");
    assert_eq!(first["position"].as_u64(), Some(PROMPT.len() as u64 + 31));
    assert!(first["probability"].as_f64() > Some(0.0) && first["missed_by"].as_f64() > Some(0.0), "{report}");
    assert!(report["share"].as_f64() > Some(0.5), "what comes after it is held to the text as it is: {report}");
    let table = test_dir.tril("verify run --ids given").args(["--prompt", PROMPT]).output().expect("it runs").stdout;
    let table = String::from_utf8(table).expect("UTF-8");
    assert_says(
        &table,
        &["The first other: new token 32,", "The draw 0.", "FAIL  ", "Not checked: whether the text was cut"],
    );
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}

#[test]
fn other_settings_draws_and_weights_fail_and_chance_is_told() {
    let test_dir = TestDir::with_run();
    let (text, _) = made(&test_dir, "");
    for other in ["--seed 1338", "--sample-index 1", "--temperature 2", "--top-k 3", "--ban a", "--logit-bias 5=3"] {
        let (report, code) = graded(&test_dir, "text", &text, other);
        assert_eq!((code, &report["verdict"]), (Some(1), &json!("fail")), "{other}: {report}");
        let (tokens, chance) = (report["tokens"].as_f64(), report["same_by_chance"].as_f64());
        assert!(chance > Some(0.0) && chance < tokens, "{report}");
    }
    test_dir.stdout(&format!("{TRAIN} --force --set train.seed=7"));
    assert_eq!(graded(&test_dir, "text", &text, "").1, Some(1), "another checkpoint");
}

#[test]
fn what_a_tolerance_explains_is_undecided_and_no_pass() {
    let test_dir = TestDir::with_run();
    let (text, _) = made(&test_dir, "");
    let mut undecided = 0;
    for temperature in ["0.85", "0.9", "0.95"] {
        let (strict, code) = graded(&test_dir, "text", &text, &format!("--temperature {temperature}"));
        let differ = strict["other"].as_u64();
        assert_eq!(code, Some(i32::from(differ > Some(0))), "{strict}");
        let (report, code) = graded(&test_dir, "text", &text, &format!("--temperature {temperature} --tolerance 0.1"));
        assert_eq!((&report["other"], report["near"].as_u64()), (&json!(0), differ), "{report}");
        if differ > Some(0) {
            undecided += 1;
            assert_eq!((code, &report["verdict"]), (Some(3), &json!("undecided")), "{report}");
            assert_eq!(report["first"]["is_near"], json!(true), "{report}");
        }
    }
    assert!(undecided > 0, "the premise: some token is another at another temperature");
    assert_eq!(graded(&test_dir, "text", &text, "--tolerance 1e-6").1, Some(0), "what is the same stays so");
}

#[test]
fn byte_pairs_that_a_text_does_not_encode_to_are_found_in_it() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set tokenizer.kind=bpe --set tokenizer.vocab_size=300"));
    // Bytes that are no character by themselves are lost in a printed text.
    let path = checkpoint(&test_dir.path("run"), "best").join("tokenizer.json");
    let tokenizer: Value = serde_json::from_slice(&std::fs::read(path).expect("a tokenizer")).expect("JSON");
    let vocab = tokenizer["model"]["vocab"].as_object().expect("a vocabulary").clone();
    let is_plain = |text: &str| text.chars().all(|letter| letter.is_ascii_graphic() || "ĠĊ".contains(letter));
    let bans = vocab.iter().filter(|(text, _)| !is_plain(text)).map(|(_, id)| format!("--ban-id {id} "));
    let bans = bans.collect::<String>() + "--temperature 1.2";
    let (text, ids) = made(&test_dir, &bans);
    let (report, code) = graded(&test_dir, "text", &text, &bans);
    assert_eq!((code, &report["ids"]), (Some(0), &json!(ids)), "{report}");
    // Cut inside a token, and with a letter changed.
    let cut = graded(&test_dir, "text", &text[..text.len() - 2], &bans);
    assert_eq!(cut.1, Some(0), "{}", cut.0);
    let middle = text.len() / 2;
    let changed = format!("{}#{}", &text[..middle], &text[middle + 1..]);
    let (report, code) = graded(&test_dir, "text", &changed, &bans);
    assert_eq!(code, Some(1), "{report}");
}

#[test]
fn a_token_that_no_text_shows_is_found_between_those_that_it_shows() {
    let test_dir = TestDir::new();
    test_dir.stdout(TRAIN_DOCUMENTS);
    let path = checkpoint(&test_dir.path("run"), "best").join("tokenizer.json");
    let tokenizer: Value = serde_json::from_slice(&std::fs::read(path).expect("a tokenizer")).expect("JSON");
    let end = tokenizer["model"]["vocab"].as_object().expect("a vocabulary").len() as u64;
    let options = format!("--ignore-eos --logit-bias {end}=2");
    let (text, ids) = made(&test_dir, &options);
    let inside = ids.iter().rposition(|id| *id != end).expect("other tokens");
    assert!(ids[..inside].contains(&end) && !text.contains("<|"), "the premise: {text}");
    let (report, code) = graded(&test_dir, "text", &text, &options);
    assert_eq!((code, &report["ids"]), (Some(0), &json!(ids[..=inside])), "{report}");
    // Where that token ends a text, this one goes on past its end.
    let (report, code) = graded(&test_dir, "text", &text, &format!("--logit-bias {end}=2"));
    assert_eq!((code, &report["first"]["expected"]["token"]), (Some(1), &json!(end)), "{report}");
}

#[test]
fn no_token_is_undecided_and_what_cannot_be_graded_is_refused() {
    let test_dir = TestDir::with_run();
    let (report, code) = graded(&test_dir, "text", PROMPT, "");
    assert_eq!((code, &report["verdict"], &report["tokens"]), (Some(3), &json!("undecided"), &json!(0)), "{report}");
    test_dir.write("text.ids", "1 2 three");
    test_dir.write("far.ids", "1 2 4000000000");
    test_dir.write("other.txt", "a cat saw");
    test_dir.write("foreign.txt", "the 猫");
    let refused = |options: &str, words: &[&str]| assert_says(&test_dir.refused(options), words);
    refused("verify run --ids text.ids", &["text.ids", "\"three\"", "whole number"]);
    refused("verify run --ids far.ids", &["far.ids", "4000000000"]);
    refused("verify run --text other.txt --prompt the", &["other.txt", "does not begin with the prompt \"the\""]);
    refused("verify run --text foreign.txt --prompt the", &["foreign.txt", "猫"]);
    refused("verify run --text none.txt", &["none.txt"]);
    refused("verify run --text other.txt --temperature=-1", &["temperature"]);
    refused("verify run", &["RECEIPT"]);
    refused("verify run receipt.json --seed 4", &["RECEIPT", "--seed", "cannot be used"]);
    refused("verify run receipt.json --text other.txt", &["--text", "cannot be used"]);
}
