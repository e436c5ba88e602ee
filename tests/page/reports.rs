//! What `tril report` and `tril plot` write, whatever stands in a text.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tril::ComputeDevice;
use tril_lab::{Experiment, Format, TaskKind};

use crate::commands::test_dir::*;

/// Text that would act on a page.
pub const HOSTILE: &str =
    "</script><script>window.stolen=1</script><!-- <img src=x onerror=alert(1)> & \u{2028}\u{202e}月 \u{1b}[31m";

/// The recorded data of a report.
pub fn data(html: &str) -> Value {
    let (_, rest) = html.split_once("<script type=\"application/json\" id=\"data\">").expect("data");
    let (json, _) = rest.split_once("</script>").expect("its end");
    serde_json::from_str(json).expect("JSON")
}

/// A run on bytes, so that any text is a text of its model.
pub fn with_bytes() -> TestDir {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!(
        "{TRAIN} --force --set tokenizer.kind=byte --set model.max_seq_len=128 --set train.seq_len=16"
    ));
    test_dir
}

/// A model of a moment that writes its working, or what it takes for one.
pub fn working_model(out: &Path) -> PathBuf {
    let mut experiment = Experiment {
        formats: vec![Format::Worked],
        tokens: 60_000,
        held_out: 3,
        scorings: 1,
        ..Experiment::quick(TaskKind::Parity)
    };
    experiment.recipe.set_all(&["model.d_model=32"]).expect("a field");
    struct Nobody;
    impl tril_lab::LabObserver for Nobody {
        fn begin(&mut self, _: Format, _: u64, _: u64) {}
        fn step(&mut self, _: &tril::StepReport) {}
        fn scored(&mut self, _: &tril_lab::CurvePoint) {}
    }
    let kept = tril_lab::KeptModels { dir: out, existing: tril::ExistingFiles::Keep };
    experiment.run(Some(kept), &ComputeDevice::cpu(), &mut Nobody).expect("a model");
    out.join("parity-worked-1337")
}

#[test]
fn a_report_is_one_file_with_all_views_and_nothing_from_elsewhere() {
    let test_dir = TestDir::with_run();
    let said = test_dir.stdout("report run out.html --prompt onecat");
    assert_says(&said, &["report  out.html", "text    6 tokens", "kB of it the page itself"]);
    let html = test_dir.read("out.html");
    for outside in ["src=", "@import", "url(", "https:"] {
        assert!(!html.contains(outside), "`{outside}` in the file");
    }
    assert_says(&html, &["Content-Security-Policy", "default-src 'none'", "script-src 'sha256-", "style-src 'sha256-"]);
    let data = data(&html);
    assert_eq!((&data["schema"], &data["text"]), (&1.into(), &"onecat".into()));
    assert_eq!(data["pass"]["attention"].as_array().map(Vec::len), Some(4));
    assert_eq!(data["steps"]["rows"].as_array().map(Vec::len), Some(6));
    assert_eq!(data["changes"].as_array().map(Vec::len), Some(5));
    assert_eq!(data["heads"]["heads"].as_array().map(Vec::len), Some(4));
    assert_eq!(data["training"][0]["name"], "run");
    assert_eq!(data["proofs"]["proofs"].as_array().map(Vec::len), Some(22));
    assert_eq!(data["working"], Value::Null);
    // The same again, but for nothing: no clock is in it.
    let mut again = test_dir.read("out.html");
    test_dir.stdout("report run out.html --prompt onecat");
    let mut other = test_dir.read("out.html");
    for html in [&mut again, &mut other] {
        // One proof measures seconds.
        let (before, after) = html
            .split_once("\"seconds\":{")
            .map(|(a, b)| (a.to_owned(), b.split_once('}').expect("an end").1.to_owned()))
            .expect("seconds");
        *html = before + &after;
    }
    assert_eq!(again, other);
}

#[test]
fn nothing_in_a_text_breaks_out_of_a_report() {
    let test_dir = with_bytes();
    test_dir.write("odd.txt", HOSTILE);
    test_dir.stdout("report run out.html --text odd.txt");
    let html = test_dir.read("out.html");
    assert_eq!((html.matches("<script").count(), html.matches("</script>").count()), (2, 2), "the page's own");
    assert!(!html.contains("<!-- <img") && !html.contains('\u{2028}') && !html.contains('\u{1b}'));
    let data = data(&html);
    let ids: Vec<u8> = data["pass"]["tokens"]
        .as_array()
        .expect("tokens")
        .iter()
        .map(|token| token["id"].as_u64().expect("an id") as u8)
        .collect();
    assert_eq!(data["text"].as_str(), Some(HOSTILE));
    assert_eq!(ids[..], HOSTILE.as_bytes()[..ids.len()], "a token a byte");
}

#[test]
fn a_report_that_cannot_be_is_refused_before_anything_is_computed() {
    let test_dir = TestDir::with_run();
    for (call, says) in [
        ("report nowhere out.html", "nowhere"),
        ("report run no/where.html", "there is no directory"),
        ("report run out.html --prompt a", "two tokens"),
        ("report run out.html --prompt 月", "月"),
        ("report run out.html --text nowhere.txt", "nowhere.txt"),
        ("report run out.html --run text.txt", "text.txt"),
        ("report run out.html --working run", "lab.json"),
        ("plot nowhere", "nowhere"),
        ("plot run --svg no/where.svg", "there is no directory"),
    ] {
        assert_says(&test_dir.refused(call), &[says]);
    }
    assert_eq!(test_dir.tril("plot").output().expect("it runs").status.code(), Some(2));
}

#[test]
fn runs_are_drawn_in_a_terminal_as_a_picture_and_as_numbers() {
    let test_dir = TestDir::with_run();
    test_dir
        .stdout("train smoke.toml --data text.txt --out other --set data.validation_fraction=0.1 --set train.seed=7");
    let plot = test_dir.stdout("plot run other");
    assert_says(&plot, &["loss, nats a token", "step 6", "◆: held out", "\nrun\n", "\nother\n", "gradient norm", "▁"]);
    assert!(plot.lines().all(|line| line.chars().count() <= 80), "{plot}");
    let records = metrics(&test_dir.path("run"));
    let last = column(&records, "evaluation", "loss").pop().expect("an evaluation");
    assert_says(&plot, &[&format!("{last:.4}")]);
    let found: Value = serde_json::from_str(&test_dir.stdout("plot run other --json")).expect("JSON");
    assert_eq!(found["runs"].as_array().map(Vec::len), Some(2));
    assert_eq!(found["runs"][0]["loss"], serde_json::json!(column(&records, "step", "loss")));
    test_dir.stdout("plot run other --svg runs.svg");
    let svg = test_dir.read("runs.svg");
    assert!(svg.trim_start().starts_with("<svg") && !svg.contains("NaN"), "{svg}");
    assert_says(&svg, &["learning rate", "gradient norm", "tokens a second", "other, held out"]);
    assert_eq!(svg.matches("<circle").count(), 4, "an evaluation each");
    // A checkpoint is drawn as the run that it lies in.
    assert_eq!(test_dir.stdout("plot run/step-000006"), test_dir.stdout("plot run"));
}

#[test]
fn a_long_text_is_cut_and_the_report_says_so() {
    let test_dir = TestDir::with_run();
    let output = test_dir.tril("report run out.html --text text.txt").output().expect("it runs");
    assert!(output.status.success());
    assert_says(&String::from_utf8_lossy(&output.stderr), &["the first 16 tokens of the text are shown"]);
    let data = data(&test_dir.read("out.html"));
    assert_eq!(data["text"].as_str(), Some(&text()[..16]), "a token a character");
    assert_eq!(data["pass"]["left_out"], text().chars().count() - 16);
}
