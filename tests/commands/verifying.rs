//! `tril sample --receipt` and `tril verify`: what was sampled holds, and what was changed in a receipt is found.

use serde_json::{Value, json};

use super::test_dir::*;

const PROMPT: &str = "the old fox sa";

/// Samples into `receipt.json` and returns it.
fn receipt(test_dir: &TestDir, options: &str) -> Value {
    let command = format!("sample run --max-tokens 30 --receipt receipt.json {options}");
    stdout(test_dir.tril(&command).args(["--prompt", PROMPT]));
    serde_json::from_str(&test_dir.read("receipt.json")).expect("JSON")
}

/// The report on `receipt.json` as JSON, and the exit code.
fn verify(test_dir: &TestDir, options: &str) -> (Value, Option<i32>) {
    let output = test_dir.tril(&format!("verify run receipt.json --json {options}")).output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    (report, output.status.code())
}

/// What `verify` prints of a receipt that must fail.
fn failed(test_dir: &TestDir, receipt: &Value) -> String {
    test_dir.write("receipt.json", receipt.to_string());
    let (report, code) = verify(test_dir, "");
    assert_eq!((code, &report["pass"]), (Some(1), &json!(false)), "{report}");
    let output = test_dir.tril("verify run receipt.json").output().expect("it runs");
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{table}");
    assert!(table.contains("FAIL"), "{table}");
    assert!(!table.contains("the one that this checkpoint"), "{table}");
    table
}

#[test]
fn a_receipt_holds_however_the_text_was_made() {
    let test_dir = TestDir::with_run();
    let ways = [
        "",
        "--no-cache",
        "--temperature 0 --frequency-penalty 0.5",
        "--temperature 2 --top-k 9 --top-p 0.9 --min-p 0.01 --ban e --logit-bias 3=-1.25",
        "--typical-p 0.8 --repetition-penalty 1.2 --penalty-span 7 --threads 1",
        "--num-samples 3 --sample-index 5 --seed 18446744073709551615",
    ];
    for way in ways {
        let receipt = receipt(&test_dir, way);
        let (report, code) = verify(&test_dir, "");
        assert_eq!((code, &report["pass"]), (Some(0), &json!(true)), "{way}: {report}");
        assert_eq!(report["demand"], "equal_bits", "{way}");
        let (samples, checked) =
            (receipt["prompts"][0]["samples"].as_array().expect("a list"), report["samples"].as_array());
        for (sample, checked) in samples.iter().zip(checked.expect("a list")) {
            assert_eq!(
                checked["checked"].as_u64(),
                sample["tokens"].as_array().map(|tokens| tokens.len() as u64),
                "{way}"
            );
            assert_eq!((&checked["failed"], &checked["max_logprob_difference"]), (&json!(0), &json!(0.0)), "{way}");
        }
    }
}

#[test]
fn a_receipt_without_a_token_holds_and_says_so() {
    let test_dir = TestDir::with_run();
    stdout(test_dir.tril("sample run --max-tokens 0 --receipt receipt.json").args(["--prompt", PROMPT]));
    let (report, code) = verify(&test_dir, "");
    assert_eq!((code, &report["samples"][0]["checked"]), (Some(0), &json!(0)), "{report}");
    assert_says(&test_dir.stdout("verify run receipt.json"), &["There is no token to check."]);
}

#[test]
fn a_text_past_the_end_of_its_context_takes_several_passes() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.positions=learned --set model.window=0"));
    receipt(&test_dir, "");
    let (report, code) = verify(&test_dir, "");
    assert_eq!((code, &report["pass"]), (Some(0), &json!(true)), "{report}");
    // 16 fit: three tokens after the prompt of 14, and then 8 a context.
    assert_eq!(report["samples"][0]["contexts"], json!(5), "{report}");
}

#[test]
fn end_of_text_and_stop_texts_are_checked_as_ends() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set tokenizer.end_of_text=true"));
    let vocab_size = tokenizer(&test_dir)["model"]["vocab"].as_object().expect("a vocabulary").len();
    let ended = receipt(&test_dir, &format!("--logit-bias {vocab_size}=2"));
    assert_eq!(ended["prompts"][0]["samples"][0]["finish"], "end_of_text", "{ended}");
    assert_eq!(ended["prompts"][0]["samples"][0]["stop"]["text"], "<|endoftext|>");
    assert_eq!(verify(&test_dir, "").1, Some(0));
    let mut changed = ended.clone();
    changed["prompts"][0]["samples"][0]["stop"] = Value::Null;
    assert_says(&failed(&test_dir, &changed), &["a last draw"]);
    let mut changed = ended;
    changed["prompts"][0]["samples"][0]["finish"] = json!("max_tokens");
    changed["prompts"][0]["samples"][0]["stop"] = Value::Null;
    assert_says(&failed(&test_dir, &changed), &["it is recorded as ending with the last of 30 tokens"]);

    let stopped = receipt(&test_dir, "--stop e --stop o --temperature 3");
    assert_eq!(stopped["prompts"][0]["samples"][0]["finish"], "stop_text", "{stopped}");
    assert_eq!(verify(&test_dir, "").1, Some(0));
    let mut changed = stopped.clone();
    changed["prompts"][0]["samples"][0]["stop_text"] = json!("t");
    assert_says(&failed(&test_dir, &changed), &["stopped at \"t\", which is not"]);
    let mut changed = stopped.clone();
    changed["stop_texts"] = json!(["zz"]);
    assert_says(&failed(&test_dir, &changed), &["which is not the stop text in it"]);
    let mut changed = stopped;
    let tokens = changed["prompts"][0]["samples"][0]["tokens"].as_array_mut().expect("a list");
    tokens.pop();
    let text: String = tokens.iter().map(|token| token["text"].as_str().expect("text")).collect();
    changed["prompts"][0]["samples"][0]["text"] = json!(text);
    assert_says(&failed(&test_dir, &changed), &["which is not the stop text in it"]);
}

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
fn many_prompts_and_samples_with_settings_of_their_own_are_one_receipt() {
    let test_dir = TestDir::with_run();
    let lines = [
        json!({"prompt": "a cat ", "seed": 3, "max_tokens": 9}),
        json!({"prompt": "", "temperature": 0.0}),
        json!({"prompt": "one crow", "top_k": 4, "sample": 7}),
    ];
    test_dir.write("prompts.jsonl", lines.map(|line| line.to_string() + "\n").concat());
    let printed = test_dir
        .stdout("sample run --max-tokens 20 --num-samples 2 --prompts prompts.jsonl --jsonl --receipt receipt.json");
    let receipt: Value = serde_json::from_str(&test_dir.read("receipt.json")).expect("JSON");
    let prompts = receipt["prompts"].as_array().expect("a list");
    assert_eq!(prompts.len(), 3, "{receipt}");
    assert_eq!(prompts[0]["settings"]["sampler"]["seed"], 3);
    assert_eq!(
        (&prompts[1]["prompt"]["text"], &prompts[1]["settings"]["sampler"]["temperature"]),
        (&json!(""), &json!(0.0))
    );
    let indices = prompts[2]["samples"].as_array().expect("a list").iter().map(|sample| &sample["sample_index"]);
    assert_eq!(indices.collect::<Vec<_>>(), [&json!(7), &json!(8)]);
    let texts = prompts.iter().flat_map(|prompt| prompt["samples"].as_array().expect("a list"));
    let printed: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let printed_texts = printed.iter().map(|text| &text["text"]);
    assert_eq!(texts.map(|sample| &sample["text"]).collect::<Vec<_>>(), printed_texts.collect::<Vec<_>>());
    let (report, code) = verify(&test_dir, "");
    assert_eq!((code, report["samples"].as_array().map(Vec::len)), (Some(0), Some(6)), "{report}");
    let mut changed = receipt;
    changed["prompts"][2]["samples"][1]["tokens"][4]["uniform"] = json!(0.5);
    assert_says(&failed(&test_dir, &changed), &["prompt 2, sample 8: its token 5,", "1 of 6 failed"]);
}

#[test]
fn other_weights_are_told_and_no_token_is_looked_at() {
    let test_dir = TestDir::with_run();
    let receipt = receipt(&test_dir, "");
    test_dir.stdout(&format!("{TRAIN} --force --set train.seed=7"));
    assert_says(&failed(&test_dir, &receipt), &["FAIL  different weights", "No token was checked"]);
}

#[test]
fn a_receipt_of_another_device_is_held_to_a_tolerance_that_is_printed() {
    let test_dir = TestDir::with_run();
    let mut receipt = receipt(&test_dir, "--top-p 0.9");
    receipt["machine"] = json!({"device": "cuda", "platform": "x86_64-linux", "instruction_set": null});
    let logprob = &mut receipt["prompts"][0]["samples"][0]["tokens"][12]["logprob"];
    *logprob = json!(logprob.as_f64().expect("a number") + 1e-4);
    test_dir.write("receipt.json", receipt.to_string());
    let (report, code) = verify(&test_dir, "");
    assert_eq!((code, &report["demand"]["within"]), (Some(0), &json!(0.001)), "{report}");
    assert!(report["samples"][0]["max_logprob_difference"].as_f64() > Some(9e-5), "{report}");
    assert_says(&test_dir.stdout("verify run receipt.json"), &["logits within 0.001 of the largest", "draws equal"]);
    let mut changed = receipt.clone();
    changed["prompts"][0]["samples"][0]["tokens"][12]["logprob"] = json!(-0.001);
    assert_says(&failed(&test_dir, &changed), &["its token 13,", "log-probability"]);
    let draw = &mut receipt["prompts"][0]["samples"][0]["tokens"][12]["uniform"];
    *draw = json!(draw.as_f64().expect("a number") * (1.0 + 1e-12));
    assert_says(&failed(&test_dir, &receipt), &["its token 13,", "draw that seed"]);
}

#[test]
fn the_table_fits_the_screen_and_standard_input_is_as_good_as_a_file() {
    let test_dir = TestDir::with_run();
    receipt(&test_dir, "--num-samples 2");
    let table = test_dir.stdout("verify run receipt.json");
    let (head, rest) = table.split_once("\nreceipt.json: 2 samples, made by tril ").expect("the receipt");
    assert!(head.replace('\\', "/").starts_with("run/step-000006 on cpu, "), "{table}");
    assert_says(rest, &["demand: the same bits", "undecided", "max tokens    pass", "Every token is the one that"]);
    assert!(table.lines().all(|line| line.chars().count() <= 100 && line == line.trim_end()), "{table}");
    let by_pipe = stdout(test_dir.tril("verify run -").write_stdin(test_dir.read("receipt.json")));
    assert_eq!(by_pipe, table.replace("receipt.json:", "standard input:"));
}

#[test]
fn a_receipt_is_the_same_bytes_each_time_and_says_how_each_token_came_about() {
    let test_dir = TestDir::with_run();
    let first = receipt(&test_dir, "--threads 1");
    let bytes = test_dir.read("receipt.json");
    receipt(&test_dir, "--threads 2");
    assert_eq!(test_dir.read("receipt.json"), bytes);
    assert_eq!((&first["tril_receipt"], &first["machine"]["device"]), (&json!(2), &json!("cpu")));
    let sample = &first["prompts"][0]["samples"][0];
    let printed = stdout(test_dir.tril("sample run --max-tokens 30").args(["--prompt", PROMPT]));
    assert_eq!(format!("{PROMPT}{}\n", sample["text"].as_str().expect("text")), printed);
    let tokens = sample["tokens"].as_array().expect("a list");
    assert_eq!(tokens.len(), 30);
    for token in tokens {
        let (begin, end) = (token["cdf_interval"][0].as_f64(), token["cdf_interval"][1].as_f64());
        assert!(begin <= token["uniform"].as_f64() && token["uniform"].as_f64() < end, "{token}");
        assert!(token["logprob"].as_f64() < Some(0.0), "{token}");
    }
    let lines = bytes.lines().filter(|line| line.trim_start().starts_with("{\"id\": ")).count();
    assert_eq!(lines, 14 + 30, "a line a token");
}

#[test]
fn a_receipt_replaces_the_file_and_what_cannot_be_written_is_refused_at_once() {
    let test_dir = TestDir::with_run();
    test_dir.write("receipt.json", "something else");
    receipt(&test_dir, "");
    assert!(!test_dir.path(".receipt.json.partial").exists());
    assert_says(&test_dir.refused("sample run --receipt run"), &["--receipt", "directory"]);
    assert_says(&test_dir.refused("sample run --receipt none/r.json"), &["--receipt", "none", "no directory"]);
}

#[test]
fn a_receipt_of_an_earlier_release_is_read_by_the_names_of_its_day() {
    let test_dir = TestDir::empty();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/old_run");
    Tree::read(std::path::Path::new(fixture)).write(&test_dir.path(""));
    let mut old: Value = serde_json::from_str(&test_dir.read("receipt.json")).expect("JSON");
    assert!(old["prompts"][0]["settings"]["sampler"]["penalty_span"] == json!(6), "the premise");
    assert!(old["prompts"][0]["samples"][0]["tokens"][0]["share"].is_array(), "the premise");
    // Bits may differ from release to release; what was drawn does not.
    old["machine"]["platform"] = json!("another");
    test_dir.write("receipt.json", old.to_string());
    let (report, code) = verify(&test_dir, "");
    assert_eq!((code, &report["pass"]), (Some(0), &json!(true)), "{report}");
    old["prompts"][0]["settings"]["sampler"]["penalty_span"] = json!(0);
    failed(&test_dir, &old);
}

#[test]
fn what_is_no_receipt_is_refused_with_what_to_do() {
    let test_dir = TestDir::with_run();
    let sound = receipt(&test_dir, "");
    assert_says(&test_dir.refused("verify run none.json"), &["none.json", "os error"]);
    assert_says(&test_dir.refused("verify none receipt.json"), &["no checkpoint at none"]);
    let refused = |bytes: &[u8]| {
        test_dir.write("bad.json", bytes);
        test_dir.refused("verify run bad.json")
    };
    assert_says(&refused(b""), &["bad.json", "not a receipt", "tril sample --receipt"]);
    assert_says(&refused(b"\xff\xfe"), &["bad.json", "not UTF-8"]);
    assert_says(&refused(b"a story"), &["bad.json", "not a receipt", "line 1"]);
    assert_says(&refused(b"[1, 2]"), &["bad.json", "not a receipt", "tril_receipt"]);
    assert_says(&refused(b"{\"id\": 1}"), &["bad.json", "not a receipt", "tril_receipt"]);
    let text = test_dir.read("receipt.json");
    assert_says(&refused(&text.as_bytes()[..text.len() / 2]), &["bad.json", "not a receipt", "EOF"]);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut changed = sound.clone();
        change(&mut changed);
        refused(changed.to_string().as_bytes())
    };
    let without = |pointer: &str, field: &str| {
        changed(&|receipt| {
            let object = receipt.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object");
            assert!(object.remove(field).is_some(), "{field}");
        })
    };
    assert_says(&changed(&|receipt| receipt["tril_receipt"] = json!(3)), &["bad.json", "version 3", "up to 2"]);
    assert_says(&without("/prompts/0", "settings"), &["bad.json", "damaged receipt", "missing field `settings`"]);
    assert_says(&without("/prompts/0/samples/0/tokens/3", "logprob"), &["bad.json", "missing field `logprob`"]);
    assert_says(
        &changed(&|receipt| receipt["prompts"][0]["samples"][0]["finish"] = json!("why not")),
        &["bad.json", "why not"],
    );
    assert_says(
        &changed(&|receipt| receipt["prompts"][0]["settings"]["sampler"]["top_p"] = json!(7)),
        &["bad.json", "top_p = 7"],
    );
    assert_says(&changed(&|receipt| receipt["more"] = json!(7)), &["bad.json", "unknown field `more`"]);
    assert_says(&changed(&|receipt| receipt["stop_texts"] = json!([""])), &["bad.json", "stop text"]);
}

fn tokenizer(test_dir: &TestDir) -> Value {
    serde_json::from_str(&test_dir.read("run/step-000006/tokenizer.json")).expect("JSON")
}
