//! `--weights bf16|int8`: a rounded model is one model whichever way it is asked, what it was rounded to is said wherever it
//! matters, and what cannot be had with it is refused by name.

use serde_json::{Value, json};
use tril::{
    ComputeDevice, DataType, ExistingFiles, ExportFormat, ExportOptions, FineTuning, Gelu, Model, Receipt, Tolerance,
    Verdict, WeightFormat,
};

use super::test_dir::*;

const FORMATS: [&str; 2] = ["bf16", "int8"];

fn json(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// The receipt that `sample` writes.
fn receipt(test_dir: &TestDir, options: &str) -> Value {
    stdout(&mut test_dir.tril(&format!("sample run -n 40 --seed 3 --num-samples 2 --receipt receipt.json {options}")));
    json(&test_dir.read("receipt.json"))
}

fn verdict(test_dir: &TestDir, options: &str) -> (Value, Option<i32>) {
    let output = test_dir.tril(&format!("verify run --json {options}")).output().expect("it runs");
    let report = json(&String::from_utf8_lossy(&output.stdout));
    (report["verdict"].clone(), output.status.code())
}

#[test]
fn a_text_by_rounded_weights_is_one_text_by_every_route() {
    let test_dir = TestDir::with_run();
    let plain = receipt(&test_dir, "")["prompts"].clone();
    for format in FORMATS {
        let expected = receipt(&test_dir, &format!("--weights {format}"))["prompts"][0]["samples"].clone();
        assert_ne!(expected, plain[0]["samples"], "{format}: nothing was rounded");
        for way in ["--no-cache", "--batch-size 1", "--threads 1"] {
            let found = receipt(&test_dir, &format!("--weights {format} {way}"))["prompts"][0]["samples"].clone();
            assert_eq!(found, expected, "{format}, {way}");
        }
        for set in ["plain", "avx2"] {
            let command =
                format!("sample run -n 40 --seed 3 --num-samples 2 --receipt receipt.json --weights {format}");
            stdout(test_dir.tril(&command).env("TRIL_SIMD", set));
            assert_eq!(json(&test_dir.read("receipt.json"))["prompts"][0]["samples"], expected, "{format}, {set}");
        }
    }
    let spelt_out = receipt(&test_dir, "--weights f32");
    assert_eq!(spelt_out["prompts"], plain, "f32 is what weights are");
    assert!(spelt_out.get("weights").is_none() && spelt_out["tril_receipt"] == 2, "and needs no new version");
}

#[test]
fn a_receipt_says_what_weights_were_rounded_to_and_is_verified_so() {
    let test_dir = TestDir::with_run();
    for format in FORMATS {
        let honest = receipt(&test_dir, &format!("--weights {format}"));
        assert_eq!((&honest["weights"], &honest["tril_receipt"]), (&json!(format), &json!(3)));
        assert_eq!(verdict(&test_dir, "receipt.json"), (json!("pass"), Some(0)), "{format}");
        let table = test_dir.stdout("verify run receipt.json");
        assert_says(&table, &[&format!(", weights rounded to {format}\n")]);

        let mut other = honest.clone();
        other["weights"] = if format == "int8" { "bf16" } else { "int8" }.into();
        test_dir.write("receipt.json", other.to_string());
        assert_eq!(verdict(&test_dir, "receipt.json"), (json!("fail"), Some(1)), "{format}: another format");
        other.as_object_mut().expect("an object").remove("weights");
        other["tril_receipt"] = 2.into();
        test_dir.write("receipt.json", other.to_string());
        assert_eq!(verdict(&test_dir, "receipt.json"), (json!("fail"), Some(1)), "{format}: passed off as f32");

        let mut old = honest.clone();
        old["tril_receipt"] = 2.into();
        test_dir.write("receipt.json", old.to_string());
        assert_says(&test_dir.refused("verify run receipt.json"), &["damaged receipt", "weights", "version 2"]);
    }
    let mut unknown = receipt(&test_dir, "--weights int8");
    unknown["weights"] = "int4".into();
    test_dir.write("receipt.json", unknown.to_string());
    assert_says(&test_dir.refused("verify run receipt.json"), &["damaged receipt", "int4"]);
    let message = test_dir.refused("verify run receipt.json --weights int8");
    assert_says(&message, &["--weights"]);
}

#[test]
fn a_bare_text_is_graded_with_the_weights_that_it_is_said_to_be_made_with() {
    let test_dir = TestDir::with_run();
    let text = test_dir.stdout("sample run -n 60 --seed 5 --temperature 1 --weights int8 --ignore-eos");
    test_dir.write("said.txt", text.trim_end_matches('\n'));
    let settings = "--text said.txt --seed 5 --temperature 1 --ignore-eos";
    assert_eq!(verdict(&test_dir, &format!("{settings} --weights int8")).0, json!("pass"));
    let output = test_dir.tril(&format!("verify run --json {settings}")).output().expect("it runs");
    assert_eq!(json(&String::from_utf8_lossy(&output.stdout))["weights"], "f32");
}

#[test]
fn what_rounding_costs_is_measured_and_said() {
    let test_dir = TestDir::with_run();
    let loss = |options: &str| {
        let measured = json(&test_dir.stdout(&format!("eval run text.txt --json {options}")));
        (measured["loss"].as_f64().expect("a number"), measured["weights"].clone())
    };
    let (exact, weights) = loss("");
    assert_eq!(weights, "f32");
    for format in FORMATS {
        let (rounded, weights) = loss(&format!("--weights {format}"));
        assert_eq!(weights, format);
        let difference = (rounded - exact).abs();
        assert!(difference > 0.0 && difference < 0.01 * exact, "{format}: {rounded} for {exact}");
        assert_says(&test_dir.stdout(&format!("eval run text.txt --weights {format}")), &[", weights rounded to"]);
        let scored = json(&test_dir.stdout(&format!("score run text.txt --json --weights {format}")));
        assert_eq!(scored["weights"], format);
        let found = scored["summary"]["loss"].as_f64().expect("a number");
        assert!((found - rounded).abs() < 1e-6, "{format}: {found}, but eval says {rounded}");
    }
}

#[test]
fn every_proof_holds_of_rounded_weights_and_a_row_is_theirs() {
    let test_dir = TestDir::with_run();
    for format in FORMATS {
        let output = test_dir.stdout(&format!("prove run --weights {format}"));
        assert_says(&output, &["20 pass, 0 fail, 3 n/a", "weights in fewer bytes", ", weights rounded to"]);
        let report = json(&test_dir.stdout(&format!("prove run --json --weights {format}")));
        assert_eq!(report["weights"], format);
        let row = report["proofs"].as_array().expect("a list").iter().find(|proof| proof["id"] == "packed");
        let row = row.unwrap_or_else(|| panic!("{report}"));
        assert_eq!((&row["outcome"], &row["claim"], &row["max_ulps"]), (&json!("pass"), &json!(1), &json!(0)), "{row}");
    }
    let report = json(&test_dir.stdout("prove run --json"));
    assert!(report["proofs"].as_array().expect("a list").iter().all(|proof| proof["id"] != "packed"));
}

#[test]
fn a_chat_and_a_benchmark_take_rounded_weights() {
    let test_dir = TestDir::with_run();
    let answer = |options: &str| {
        stdout(test_dir.tril(&format!("chat run -n 30 --seed 2 {options}")).write_stdin("the old fox\n"))
    };
    assert_eq!(answer("--weights bf16"), answer("--weights bf16 --threads 1"));
    for (format, rows) in [("f32", 1), ("bf16", 1), ("int8", 1), ("int8", 8)] {
        let options = format!("--config smoke.toml --seconds 0.001 --batch-size {rows} --weights {format}");
        let measured = json(&test_dir.stdout(&format!("bench decode --json {options}")));
        assert_eq!(measured["weights"], format);
        assert!(measured["decode_tok_s"].as_f64().is_some_and(|rate| rate > 0.0), "{measured}");
    }
}

#[test]
fn what_cannot_be_had_with_rounded_weights_is_refused_by_name() {
    let test_dir = TestDir::with_run();
    for (command, parts) in [
        ("bench train --weights int8", &["--weights int8", "training takes weights as they are"][..]),
        ("bench prefill --weights bf16", &["--weights bf16", "as f32"]),
        ("train --weights int8", &["--weights"]),
        ("export run there --format hf --weights int8", &["--weights"]),
        ("prove --recipe smoke --weights int8", &["--weights"]),
        ("sample run --weights int4", &["int4", "f32, bf16, int8"]),
    ] {
        assert_says(&test_dir.refused(command), parts);
    }
}

#[test]
fn the_library_saves_exports_and_trains_no_rounded_weights_and_rounds_for_a_receipt() {
    let test_dir = TestDir::with_run();
    let device = ComputeDevice::cpu();
    let exact = Model::open(test_dir.path("run"), &device).expect("opened");
    let rounded = exact.clone().with_weights(WeightFormat::Int8).expect("rounded");
    assert_eq!([exact.weights(), rounded.weights()], [WeightFormat::F32, WeightFormat::Int8]);
    let options = ExportOptions { format: ExportFormat::Hf, data_type: DataType::F32, gelu: Gelu::AsItIs };
    let place = test_dir.path("place");
    let refused = [
        rounded.save(&place, ExistingFiles::Keep),
        rounded.export(options, &place, ExistingFiles::Keep),
        FineTuning::of(&rounded).recipe(1000).map(|_| ()),
        rounded.clone().with_weights(WeightFormat::Bf16).map(|_| ()),
    ];
    for refused in refused {
        let error = refused.expect_err("refused");
        assert!(error.is_user_error());
        assert_says(&error.to_string(), &["rounded to int8", "open it with f32"]);
    }
    assert!(!place.exists());
    let again = rounded.clone().with_weights(WeightFormat::Int8).expect("they are already");
    assert_eq!(again.weights(), WeightFormat::Int8);

    receipt(&test_dir, "--weights int8");
    let receipt = Receipt::read(test_dir.path("receipt.json")).expect("sound");
    for model in [&exact, &rounded] {
        let check = receipt.check(model, &device, Tolerance::EqualBits).expect("the CPU");
        assert_eq!((check.verdict, check.weights), (Verdict::Pass, WeightFormat::Int8));
    }
    let other = exact.clone().with_weights(WeightFormat::Bf16).expect("rounded");
    assert!(receipt.check(&other, &device, Tolerance::EqualBits).is_err(), "nothing is rounded twice");
}
