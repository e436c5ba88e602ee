//! `tril sample --receipt` and `tril verify`: what was sampled holds, and a receipt is read or refused. What is forged is in
//! `forging`.

use serde_json::{Value, json};

use super::test_dir::*;

pub const PROMPT: &str = "the old fox sa";

/// Samples into `receipt.json` and returns it.
pub fn receipt(test_dir: &TestDir, options: &str) -> Value {
    let command = format!("sample run --max-tokens 30 --receipt receipt.json {options}");
    stdout(test_dir.tril(&command).args(["--prompt", PROMPT]));
    serde_json::from_str(&test_dir.read("receipt.json")).expect("JSON")
}

/// The report on `receipt.json` as JSON, and the exit code.
pub fn verify(test_dir: &TestDir, options: &str) -> (Value, Option<i32>) {
    let output = test_dir.tril(&format!("verify run receipt.json --json {options}")).output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
    (report, output.status.code())
}

/// What `verify` prints of a receipt that must fail.
pub fn failed(test_dir: &TestDir, receipt: &Value) -> String {
    test_dir.write("receipt.json", receipt.to_string());
    let (report, code) = verify(test_dir, "");
    assert_eq!((code, &report["verdict"]), (Some(1), &json!("fail")), "{report}");
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
        assert_eq!((code, &report["verdict"]), (Some(0), &json!("pass")), "{way}: {report}");
        assert_eq!(report["tolerance"], "equal_bits", "{way}");
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
fn a_receipt_without_a_token_is_undecided_and_says_so() {
    let test_dir = TestDir::with_run();
    stdout(test_dir.tril("sample run --max-tokens 0 --receipt receipt.json").args(["--prompt", PROMPT]));
    let (report, code) = verify(&test_dir, "");
    assert_eq!((code, &report["verdict"]), (Some(3), &json!("undecided")), "{report}");
    assert_eq!(report["samples"][0]["checked"], json!(0), "{report}");
    let table = test_dir.tril("verify run receipt.json").output().expect("it runs").stdout;
    assert_says(
        &String::from_utf8_lossy(&table),
        &["without a token to check", "Nothing is wrong, and not everything"],
    );
}

#[test]
fn a_text_past_the_end_of_its_context_takes_several_passes() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.positions=learned --set model.window=0"));
    receipt(&test_dir, "");
    let (report, code) = verify(&test_dir, "");
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("pass")), "{report}");
    // 16 fit: three tokens after the prompt of 14, and then 8 a context.
    assert_eq!(report["samples"][0]["contexts"], json!(5), "{report}");
}

#[test]
fn end_of_text_and_stop_texts_are_checked_as_ends() {
    let test_dir = TestDir::new();
    test_dir.stdout(TRAIN_DOCUMENTS);
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
fn whoever_verifies_decides_how_far_numbers_may_be_apart_and_the_receipt_does_not() {
    let test_dir = TestDir::with_run();
    let sound = receipt(&test_dir, "--top-p 0.9");
    let machines = [
        json!({"device": "cuda:7", "platform": "x86_64-linux", "instruction_set": null}),
        json!({"device": "cpu", "platform": "aarch64-macos", "instruction_set": "neon"}),
    ];
    for machine in machines {
        let mut honest = sound.clone();
        honest["machine"] = machine;
        test_dir.write("receipt.json", honest.to_string());
        let (report, code) = verify(&test_dir, "");
        assert_eq!((code, &report["tolerance"]), (Some(0), &json!("equal_bits")), "{report}");

        let mut other = honest;
        let logprob = &mut other["prompts"][0]["samples"][0]["tokens"][12]["logprob"];
        *logprob = json!(logprob.as_f64().expect("a number") + 1e-4);
        assert_says(&failed(&test_dir, &other), &["its token 13,", "log-probability", "--tolerance 1e-3"]);
        let (report, code) = verify(&test_dir, "--tolerance 1e-3");
        assert_eq!((code, &report["tolerance"]["within"]), (Some(0), &json!(0.001)), "{report}");
        assert!(report["samples"][0]["max_logprob_difference"].as_f64() > Some(9e-5), "{report}");
        let table = test_dir.stdout("verify run receipt.json --tolerance 1e-3");
        assert_says(&table, &["equal draws, and logits within 0.001 of the largest"]);
        for (field, value) in [("logprob", json!(-0.001)), ("uniform", json!(0.123))] {
            let mut changed = other.clone();
            changed["prompts"][0]["samples"][0]["tokens"][12][field] = value;
            test_dir.write("receipt.json", changed.to_string());
            assert_eq!(verify(&test_dir, "--tolerance 1e-3").1, Some(1), "{field}");
        }
    }
    for tolerance in ["0", "-1", "nan", "1", "much"] {
        let message = test_dir.refused(&format!("verify run receipt.json --tolerance={tolerance}"));
        assert_says(&message, &["--tolerance", "such as 1e-3"]);
    }
}

#[test]
fn a_text_that_was_cut_is_called_so() {
    let test_dir = TestDir::with_run();
    let mut cut = receipt(&test_dir, "");
    let sample = &mut cut["prompts"][0]["samples"][0];
    sample["tokens"].as_array_mut().expect("a list").truncate(10);
    let texts = sample["tokens"].as_array().expect("a list").iter().map(|token| token["text"].as_str().expect("text"));
    let text: String = texts.collect();
    (sample["text"], sample["finish"]) = (json!(text), json!("interrupted"));
    test_dir.write("receipt.json", cut.to_string());
    let table = test_dir.stdout("verify run receipt.json");
    assert_says(&table, &["ended by an interrupt is stated, not checked", "Every token is the one"]);
}

#[test]
fn a_sample_is_in_a_receipt_once() {
    let test_dir = TestDir::with_run();
    let mut twice = receipt(&test_dir, "");
    test_dir.write("prompts.txt", "a cat\none crow\na cat\n");
    test_dir.stdout("sample run --max-tokens 5 --prompts prompts.txt --receipt prompts.json");
    test_dir.stdout("verify run prompts.json");
    let sample = twice["prompts"][0]["samples"][0].clone();
    twice["prompts"][0]["samples"].as_array_mut().expect("a list").push(sample);
    test_dir.write("receipt.json", twice.to_string());
    assert_says(&test_dir.refused("verify run receipt.json"), &["receipt.json", "its sample 0 twice"]);
}

#[test]
fn a_receipt_states_every_setting_once() {
    let test_dir = TestDir::with_run();
    let sound = receipt(&test_dir, "--logit-bias 3=-1.25");
    let mut lacking = sound.clone();
    lacking["prompts"][0]["settings"]["sampler"].as_object_mut().expect("settings").remove("top_p");
    test_dir.write("receipt.json", lacking.to_string());
    assert_says(&test_dir.refused("verify run receipt.json"), &["receipt.json", "missing field `top_p`"]);
    let text = sound.to_string();
    for (once, twice, field) in
        [("\"3\":-1.25", "\"3\":-1.25,\"3\":7", "3"), ("\"seed\":1337", "\"seed\":1,\"seed\":1337", "seed")]
    {
        assert!(text.contains(once), "{text}");
        test_dir.write("receipt.json", text.replace(once, twice));
        assert_says(
            &test_dir.refused("verify run receipt.json"),
            &["receipt.json", &format!("duplicate field `{field}`")],
        );
    }
}

#[test]
fn the_table_fits_the_screen_and_standard_input_is_as_good_as_a_file() {
    let test_dir = TestDir::with_run();
    receipt(&test_dir, "--num-samples 2");
    let table = test_dir.stdout("verify run receipt.json");
    let (head, rest) = table.split_once("\nreceipt.json: 2 samples\nstated, not checked: tril ").expect("the receipt");
    assert!(head.replace('\\', "/").starts_with("run/step-000006 on cpu, "), "{table}");
    assert_says(rest, &["demanded: the same bits", "undecided", "max tokens    pass", "Every token is the one that"]);
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
    let (report, code) = verify(&test_dir, "--tolerance 1e-3");
    assert_eq!((code, &report["verdict"]), (Some(0), &json!("pass")), "{report}");
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
    assert_says(&refused(b"\xff\xff"), &["bad.json", "not UTF-8"]);
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
    assert_says(&changed(&|receipt| receipt["tril_receipt"] = json!(4)), &["bad.json", "version 4", "up to 3"]);
    assert_says(&changed(&|receipt| receipt["tril_receipt"] = json!(3)), &["bad.json", "damaged", "version 3"]);
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
