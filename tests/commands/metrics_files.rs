//! `train --log`: the metrics in other forms, which follow `metrics.jsonl` through stops; and `train.patience`, which ends a
//! run that learns no more.

use std::fs;

use super::test_dir::*;

/// Learns at first and then forgets: a rate that grows without end.
const RISING: &str = "--set train.steps=40 --set train.eval_interval=4 --set train.checkpoint_interval=50 \
    --set optimizer.learning_rate=400 --set optimizer.warmup_steps=20000 --set sample.interval=0";

#[test]
fn a_table_has_every_line_of_the_metrics_but_samples_also_after_a_run_was_resumed() {
    let (test_dir, through) = (TestDir::new(), TestDir::new());
    let train = format!("{TRAIN} --log csv --log tensorboard --set optimizer.decay_steps=9");
    test_dir.stdout(&format!("{train} --set train.steps=6"));
    // The files that are there go on without being asked for.
    test_dir.stdout("train --resume run --set train.steps=9");
    through.stdout(&format!("{train} --set train.steps=9"));
    let rows = |test_dir: &TestDir| -> Vec<Vec<String>> {
        let text = test_dir.read("run/metrics.csv");
        text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
    };
    // A text has no place in a table of numbers.
    let is_number = |record: &serde_json::Value| record["kind"] != "sample";
    let records: Vec<_> = metrics(&test_dir.path("run")).into_iter().filter(is_number).collect();
    let table = rows(&test_dir);
    assert_eq!(table.len(), 1 + records.len());
    for (row, record) in table[1..].iter().zip(&records) {
        for (name, cell) in table[0].iter().zip(row) {
            let expected =
                record.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            assert_eq!(*cell, expected.unwrap_or_default(), "{name} of {record}");
        }
    }
    assert_eq!(rows(&through).len(), table.len());
    let [resumed, whole] =
        [&test_dir, &through].map(|test_dir| fs::read(test_dir.path("run/events.out.tfevents.tril")).expect("events"));
    assert_eq!(resumed.len(), whole.len(), "speeds differ, and nothing else");
    let without = TestDir::new();
    without.stdout(TRAIN);
    assert!(!without.path("run/metrics.csv").exists() && !without.path("run/events.out.tfevents.tril").exists());
}

#[test]
fn a_run_that_learns_no_more_ends_early_says_why_and_keeps_its_best() {
    let test_dir = TestDir::new();
    let output = test_dir.stdout(&format!("{TRAIN} {RISING} --set train.patience=2"));
    let run = test_dir.path("run");
    let losses = column(&metrics(&run), "evaluation", "loss");
    let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let best = losses.iter().position(|loss| *loss == least).expect("it is among them");
    assert_eq!(losses.len(), best + 3, "two evaluations after the best: {losses:?}");
    let (best, last) = (4 * (best + 1), 4 * losses.len());
    assert!(last < 40, "{losses:?}");
    let line = format!("stopped          after step {last} of 40: no better in 2 evaluations since step {best}\n");
    assert_says(
        &output,
        &[
            &line,
            &format!("validation loss  {least:.4} nats a token"),
            &format!("best             at step {best}; "),
            "next: tril sample run",
        ],
    );
    assert_eq!(checkpoint(&run, "best"), run.join(format!("step-{best:06}")));
    assert_eq!(checkpoint(&run, "last"), run.join(format!("step-{last:06}")));

    // Resumed as it is, it has nothing to do and says what to type; with more patience it goes on as if never stopped.
    let before = Tree::read(&run);
    let again = test_dir.tril("train --resume run").output().expect("it runs");
    let message = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_says(&message, &["train.patience", "tril train --resume run --set train.patience=0"]);
    assert!(Tree::read(&run).differences(&before).is_empty(), "nothing is changed");
    let through = TestDir::new();
    let expected = super::bits::hashes(&through.stdout(&format!("{TRAIN} {RISING}")));
    let resumed = test_dir.stdout("train --resume run --verbose --set train.patience=0");
    assert_eq!(super::bits::hashes(&resumed), expected);
}

#[test]
fn patience_counts_on_over_a_stop() {
    let (test_dir, through) = (TestDir::new(), TestDir::new());
    let patient = format!("{TRAIN} {RISING} --set train.patience=3");
    through.stdout(&patient);
    let steps = column(&metrics(&through.path("run")), "evaluation", "step");
    // Stopped one evaluation after the best, while it waits.
    let stop = steps[steps.len() - 3];
    let schedule = "--set optimizer.decay_steps=20001";
    through.stdout(&format!("{patient} {schedule} --force"));
    test_dir.stdout(&format!("{patient} {schedule} --set train.steps={stop}"));
    let resumed = test_dir.stdout("train --resume run --set train.steps=40");
    assert_says(&resumed, &["no better in 3 evaluations"]);
    assert_eq!(timeless_metrics(&test_dir.path("run")), timeless_metrics(&through.path("run")));
}

#[test]
fn a_pattern_picks_files_of_a_directory_and_is_kept_for_resuming() {
    let test_dir = TestDir::new();
    let text = text();
    let half = text.char_indices().nth(text.chars().count() / 2).expect("long enough").0;
    fs::create_dir_all(test_dir.path("texts/deep")).expect("a directory");
    test_dir.write("texts/1.md", &text[..half]);
    test_dir.write("texts/deep/2.md", &text[half..]);
    test_dir.write("texts/image.png", [0xff; 100]);
    let train = |data: &str, out: &str| {
        let mut command = test_dir.tril("train smoke.toml --verbose --set data.validation_fraction=0.1 --steps 6");
        command.args(data.split(' ')).args(["--out", out]);
        super::bits::hashes(&stdout(&mut command))
    };
    let expected = train("--data text.txt", "one");
    assert_eq!(train("--data texts --glob *.md", "two"), expected);
    let resumed = test_dir.stdout("train --resume two --verbose");
    assert_eq!(super::bits::hashes(&resumed), expected);
    assert_says(&test_dir.stdout("data stats texts --glob *.md"), &["documents   2\n"]);
    let [whole, picked] =
        ["text.txt", "texts --glob **/*.md"].map(|data| test_dir.stdout(&format!("eval one {data} --json")));
    assert_eq!(whole, picked);
    let refused = |arguments: &str| test_dir.refused(&format!("train smoke.toml {arguments}"));
    assert_says(&refused("--data texts --glob *.txt"), &["texts: none of its 3 files fits `*.txt`"]);
    assert_says(&refused("--data text.txt --glob *.txt"), &["glob `*.txt`", "text.txt is none"]);
    assert_says(&refused("--data texts --glob a["), &["glob `a[`"]);
    assert_says(&test_dir.refused("train --resume two --glob *"), &["--resume", "--glob"]);
}
