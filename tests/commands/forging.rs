//! `tril verify` on what is wrong on purpose: receipts that were changed, invented, or written to deceive whoever reads.

use serde_json::{Value, json};

use super::test_dir::*;
use super::verifying::{PROMPT, failed, receipt, verify};

#[test]
fn whatever_is_changed_in_a_receipt_is_found() {
    let test_dir = TestDir::with_run();
    let sound = receipt(&test_dir, "--top-k 20 --presence-penalty 0.1");
    assert_eq!(verify(&test_dir, "").1, Some(0), "the premise");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut changed = sound.clone();
        change(&mut changed);
        assert_ne!(changed, sound);
        failed(&test_dir, &changed)
    };
    let tokens = sound["prompts"][0]["samples"][0]["tokens"].as_array().expect("a list");
    let other = tokens.iter().find(|token| token["id"] != tokens[12]["id"]).expect("another token");
    let nudged = |value: &Value| json!(f64::from_bits(value.as_f64().expect("a number").to_bits() + 1));

    // A token, in all places where it is told.
    let table = changed(&|receipt| {
        receipt["prompts"][0]["samples"][0]["tokens"][12]["id"] = other["id"].clone();
        receipt["prompts"][0]["samples"][0]["tokens"][12]["text"] = other["text"].clone();
        let texts = receipt["prompts"][0]["samples"][0]["tokens"].as_array().expect("a list");
        let text: String = texts.iter().map(|token| token["text"].as_str().expect("text")).collect();
        receipt["prompts"][0]["samples"][0]["text"] = json!(text);
    });
    assert_says(
        &table,
        &["prompt 0, sample 0: its token 13,", "at position 26 of the text", "Its draw", "the share of"],
    );
    let table = changed(&|receipt| receipt["prompts"][0]["samples"][0]["tokens"][12]["id"] = other["id"].clone());
    assert_says(&table, &["in this checkpoint's tokenizer"]);
    let table = changed(&|receipt| receipt["prompts"][0]["samples"][0]["tokens"][12]["id"] = json!(4_000_000));
    assert_says(&table, &["its token 13,", "The model has no such token"]);
    let table = changed(&|receipt| receipt["prompts"][0]["samples"][0]["text"] = json!("the cat"));
    assert_says(&table, &["its text does not match its tokens"]);

    let at_12 = |field: &str, table: &str| assert_says(table, &["its token 13,", field]);
    let table = changed(&|receipt| {
        let logprob = &mut receipt["prompts"][0]["samples"][0]["tokens"][12]["logprob"];
        *logprob = nudged(logprob);
    });
    at_12("log-probability", &table);
    let table = changed(&|receipt| {
        let draw = &mut receipt["prompts"][0]["samples"][0]["tokens"][12]["uniform"];
        *draw = nudged(draw);
    });
    at_12("draw that seed, sample and position name", &table);
    let table = changed(&|receipt| {
        let end = &mut receipt["prompts"][0]["samples"][0]["tokens"][12]["cdf_interval"][1];
        *end = nudged(end);
    });
    at_12("share of [0, 1)", &table);

    let table = changed(&|receipt| receipt["prompts"][0]["settings"]["sampler"]["seed"] = json!(1));
    assert_says(&table, &["its token 1,", "draw that seed, sample and position name"]);
    let table = changed(&|receipt| receipt["prompts"][0]["samples"][0]["sample_index"] = json!(1));
    assert_says(&table, &["its token 1,", "draw that seed, sample and position name"]);
    for (field, value) in [("temperature", json!(0.81)), ("top_k", json!(19)), ("presence_penalty", json!(0.2))] {
        let table = changed(&|receipt| receipt["prompts"][0]["settings"]["sampler"][field] = value.clone());
        assert_says(&table, &["sample 0: its token "]);
    }
    let table = changed(&|receipt| receipt["prompts"][0]["prompt"]["text"] = json!("the old fox so"));
    assert_says(&table, &["does not encode to its tokens"]);
    let table = changed(&|receipt| {
        let (text, tokens) = (json!("one crow lost "), json!([]));
        receipt["prompts"][0]["prompt"] = json!({"text": text, "tokens": tokens});
    });
    assert_says(&table, &["does not encode to its tokens"]);
    // Another prompt, honestly encoded.
    let other = {
        let mut command = test_dir.tril("sample run --max-tokens 0 --receipt other.json");
        stdout(command.args(["--prompt", "the old fox so"]));
        serde_json::from_str::<Value>(&test_dir.read("other.json")).expect("JSON")["prompts"][0]["prompt"].clone()
    };
    let table = changed(&|receipt| receipt["prompts"][0]["prompt"] = other.clone());
    assert_says(&table, &["its token 1,"]);
    let table = changed(&|receipt| {
        let tokens = receipt["prompts"][0]["samples"][0]["tokens"].as_array_mut().expect("a list");
        tokens.pop();
        let text: String = tokens.iter().map(|token| token["text"].as_str().expect("text")).collect();
        receipt["prompts"][0]["samples"][0]["text"] = json!(text);
    });
    assert_says(&table, &["it is recorded as ending with the last of 30 tokens, and has 29"]);
    let table = changed(&|receipt| receipt["prompts"][0]["settings"]["max_tokens"] = json!(31));
    assert_says(&table, &["it is recorded as ending with the last of 31 tokens, and has 30"]);
    let table = changed(&|receipt| receipt["model_sha256"] = json!("0".repeat(64)));
    assert_says(&table, &["different weights", "0000", "No token was checked"]);
    let table = changed(&|receipt| receipt["prompts"][0]["samples"] = json!([]));
    assert_says(&table, &["there is no sample in it"]);
}

#[test]
fn what_holds_is_green_and_what_fails_is_red_where_colours_are_asked_for() {
    let test_dir = TestDir::with_run();
    let sound = receipt(&test_dir, "");
    let mut forged = sound.clone();
    forged["prompts"][0]["samples"][0]["text"] = json!("the cat");
    for (receipt, plain, coloured) in [
        (sound, "max tokens    pass\n", "max tokens    \u{1b}[32mpass\u{1b}[0m\n"),
        (forged, "\nFAIL  prompt 0", "\n\u{1b}[1m\u{1b}[31mFAIL\u{1b}[0m  prompt 0"),
    ] {
        test_dir.write("receipt.json", receipt.to_string());
        for (color, shown) in [("never", plain), ("always", coloured)] {
            let command = format!("verify run receipt.json --color {color}");
            let table = test_dir.tril(&command).output().expect("it runs").stdout;
            assert_says(&String::from_utf8_lossy(&table), &[shown]);
        }
    }
}

/// An invented text whose every token is told with the draw that its position has, the model's own log-probability, and a
/// share that holds the draw: what a forger writes who has the checkpoint.
fn invented(test_dir: &TestDir, settings: &str) -> Value {
    let mut forged = receipt(test_dir, settings);
    let words = forged["prompts"][0]["samples"][0]["tokens"].clone();
    let tokens = forged["prompts"][0]["samples"][0]["tokens"].as_array_mut().expect("a list");
    for (place, token) in tokens.iter_mut().enumerate() {
        let other = &words[(place * 7 + 3) % 30];
        (token["id"], token["text"]) = (other["id"].clone(), other["text"].clone());
    }
    let text: String = tokens.iter().map(|token| token["text"].as_str().expect("text")).collect();
    forged["prompts"][0]["samples"][0]["text"] = json!(text);
    // The log-probabilities that the model gives these tokens, as its own score tells them.
    test_dir.write("forged.txt", format!("{PROMPT}{text}"));
    let scores: Value = serde_json::from_str(&test_dir.stdout("score run forged.txt --json")).expect("JSON");
    let scores = scores["tokens"].as_array().expect("a list");
    for (token, score) in
        forged["prompts"][0]["samples"][0]["tokens"].as_array_mut().expect("a list").iter_mut().zip(&scores[14..])
    {
        token["logprob"] = score["logprob"].clone();
    }
    forged["machine"]["platform"] = json!("aarch64-macos");
    forged
}

#[test]
fn an_invented_text_never_passes_whatever_its_receipt_states() {
    let test_dir = TestDir::with_run();
    let forged = invented(&test_dir, "--typical-p 0.99 --repetition-penalty 100");
    failed(&test_dir, &forged);
    test_dir.write("receipt.json", forged.to_string());
    let code = verify(&test_dir, "--tolerance 0.1").1;
    assert!(matches!(code, Some(1 | 3)), "{code:?}");
    for (field, value) in
        [("repetition_penalty", json!(1e12)), ("temperature", json!(1e-300)), ("penalty_last_n", json!(u64::MAX))]
    {
        let mut changed = forged.clone();
        changed["prompts"][0]["settings"]["sampler"][field] = value;
        test_dir.write("receipt.json", changed.to_string());
        assert_says(&test_dir.refused("verify run receipt.json --tolerance 0.1"), &["receipt.json", field]);
    }
}

#[test]
fn the_token_that_ends_a_text_is_the_one_of_the_checkpoint() {
    let test_dir = TestDir::with_run();
    let sound = receipt(&test_dir, "");
    let mut ended = sound.clone();
    let tokens = ended["prompts"][0]["samples"][0]["tokens"].as_array_mut().expect("a list");
    let last = tokens.pop().expect("a token");
    let text: String = tokens.iter().map(|token| token["text"].as_str().expect("text")).collect();
    let sample = &mut ended["prompts"][0]["samples"][0];
    (sample["text"], sample["finish"], sample["stop"]) = (json!(text), json!("end_of_text"), last.clone());
    ended["prompts"][0]["settings"]["stop_token"] = last["id"].clone();
    assert_says(&failed(&test_dir, &ended), &["ends no text of this checkpoint"]);
    ended["prompts"][0]["settings"]["stop_token"] = json!(u32::MAX);
    test_dir.write("receipt.json", ended.to_string());
    assert_says(&test_dir.refused("verify run receipt.json"), &["receipt.json", "stop_token = 4294967295"]);
}

#[test]
fn what_a_receipt_states_cannot_write_to_the_terminal_what_it_likes() {
    let test_dir = TestDir::with_run();
    let mut hostile = receipt(&test_dir, "");
    let evil = "\u{1b}[2J\r\u{9b}1mEvery token is right\u{202e}";
    hostile["tril"] = json!(evil);
    hostile["checkpoint"] = json!(evil);
    hostile["machine"]["device"] = json!(evil);
    hostile["machine"]["platform"] = json!(evil);
    test_dir.write("receipt.json", hostile.to_string());
    let is_plain = |text: &str| text.chars().all(|char| char == '\n' || !(char.is_control() || char == '\u{202e}'));
    let table = test_dir.stdout("verify run receipt.json");
    assert!(is_plain(&table), "{table:?}");
    hostile["model_sha256"] = json!(evil);
    let table = failed(&test_dir, &hostile);
    assert!(is_plain(&table), "{table:?}");
}
