//! `tril lab`: what each experiment prints, keeps and refuses. What it finds is in `lab` and, at full size, in the essay.

use serde_json::Value;

use super::test_dir::*;

fn json(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// A run of a moment.
const SMALL: &str = "--seeds 1 --tokens 4000 --set train.batch_size=4 --set model.d_model=16 --set model.n_layers=1";

#[test]
fn a_row_is_taken_apart_into_problems_whose_mean_is_its_loss() {
    let test_dir = TestDir::with_run();
    let table = test_dir.stdout("lab batch run onecat");
    assert_says(&table, &["one row of 6 tokens holds 5 problems", "\"n\"", "pass  all 5 losses"]);
    let means: Vec<&str> = table.lines().filter(|line| line.contains("loss of") || line.contains("mean of")).collect();
    let last: Vec<_> = means.iter().map(|line| line.rsplit(' ').next()).collect();
    assert!(last.len() == 2 && last[0] == last[1], "{table}");
    let found = json(&test_dir.stdout("lab batch run onecat --json --threads 1"));
    assert_eq!((&found["equal_bits"], &found["mean_loss"]), (&Value::from(true), &found["parallel_loss"]));
    assert_eq!(found["problems"].as_array().map(Vec::len), Some(5));
    let message = test_dir.refused(&format!("lab batch run {}", "cat".repeat(9)));
    assert_says(&message, &["27 tokens", "2 to 17"]);
    assert_says(&test_dir.refused("lab batch run 月"), &["the text", "月"]);
    assert_says(&test_dir.refused("lab batch nowhere"), &["nowhere", "tril train makes one"]);
}

#[test]
fn triangles_are_drawn_for_every_head_and_nothing_above_them() {
    let test_dir = TestDir::with_run();
    let table = test_dir.stdout("lab mask run --text onecat");
    for title in ["layer 0 head 0", "layer 0 head 1", "layer 1 head 0", "layer 1 head 1"] {
        assert_eq!(table.matches(title).count(), 1, "{table}");
    }
    // Of six tokens 5 + 4 + 3 + 2 + 1 are masked, in four heads.
    let rows = table.split_once("layer 0").map_or("", |(_, rows)| rows);
    assert_eq!(rows.matches('·').count(), 4 * 15, "{table}");
    assert_says(&table, &["weight on later tokens, all heads and rows together: 0\n"]);
    let found = json(&test_dir.stdout("lab mask run --text onecat --json"));
    assert_eq!(found["heads"].as_array().map(Vec::len), Some(4));
    test_dir.tril("lab mask").assert().failure().code(2);
    test_dir.tril("lab mask run --remove").assert().failure().code(2);
}

#[test]
fn two_models_are_trained_of_which_one_has_no_mask() {
    let test_dir = TestDir::empty();
    let found = json(&test_dir.stdout("lab mask --remove --steps 3 --json"));
    let runs = found["runs"].as_array().expect("runs");
    assert_eq!([&runs[0]["mask"], &runs[1]["mask"]], ["causal", "removed"]);
    assert_eq!(runs[0]["weight_on_later"], 0.0);
    assert_eq!(runs[0]["parallel_loss"], runs[0]["prefix_loss"]);
    assert_ne!(runs[1]["parallel_loss"], runs[1]["prefix_loss"]);
    assert!(Tree::read(&test_dir.path(".")).0.is_empty(), "nothing is saved");
}

#[test]
fn routes_are_a_table_json_and_a_picture() {
    let test_dir = TestDir::with_run();
    let call = "lab routes run --text onecat --phrase cat";
    let table = test_dir.stdout(&format!("{call} --svg heads.svg"));
    assert_says(&table, &["layer 1 head 1", "induction", "where a phrase is said again", "plot  heads.svg"]);
    let svg = test_dir.read("heads.svg");
    assert!(svg.trim_start().starts_with("<svg") && !svg.contains("NaN"), "{svg}");
    assert!(svg.matches("<polyline").count() >= 8, "a line a head in each diagram");
    let found = json(&test_dir.stdout(&format!("{call} --json")));
    assert_eq!(found["heads"].as_array().map(Vec::len), Some(4));
    assert_says(&test_dir.refused("lab routes run --phrase c"), &["1 token"]);
    let long = format!("lab routes run --phrase {}", "cat".repeat(9));
    assert_says(&test_dir.refused(&long), &["the phrase has 27 tokens", "said twice"]);
    assert_says(&test_dir.refused("lab routes run --svg no/where.svg"), &["there is no directory"]);
}

#[test]
fn sums_are_reported_by_format_and_length_and_kept_as_checkpoints() {
    let test_dir = TestDir::empty();
    let table = test_dir.stdout(&format!("lab sums {SMALL} --formats reversed,worked --out kept --svg sums.svg"));
    assert_says(&table, &["sums:", "1 seed", "reversed", "worked", "1 digit", "5 digits", "plot  sums.svg"]);
    assert!(!table.contains("direct"), "{table}");
    let svg = test_dir.read("sums.svg");
    assert!(svg.contains("digits of each number") && svg.contains("over training") && !svg.contains("NaN"), "{svg}");

    let probed = test_dir.stdout("lab probe kept/sums-worked-1337 487+275 --problems 3");
    assert_says(&probed, &["the model writes  487+275=", "ln p of the true answer 762", "the same tokens"]);
    assert_says(&probed, &["held-out problems    answer right   answer wrong"]);
    let found = json(&test_dir.stdout("lab probe kept/sums-worked-1337 487+275= --problems 3 --json"));
    assert_eq!((&found["problem"]["answer"], &found["hidden"]["same_tokens"]), (&"762".into(), &true.into()));
    assert_says(&test_dir.refused("lab probe kept/sums-worked-1337 12+345"), &["12+345", "487+275"]);
    assert_says(&test_dir.refused("lab probe kept/sums-reversed-1337 12+34"), &["no working", "worked"]);
    let again = format!("lab sums {SMALL} --formats worked --out kept");
    assert_says(&test_dir.refused(&again), &["kept/sums-worked-1337", "--force"]);
    test_dir.stdout(&format!("{again} --force"));
    // It is a checkpoint like others.
    let sampled = test_dir.stdout("sample kept/sums-worked-1337 --prompt 1+1= --max-tokens 5");
    assert!(sampled.starts_with("1+1="), "{sampled}");
}

#[test]
fn mistakes_that_are_taken_back_are_reported_beside_none_and_their_model_can_be_probed() {
    let test_dir = TestDir::empty();
    let table = test_dir.stdout(&format!("lab wait {SMALL} --problems 2 --out kept"));
    assert_says(
        &table,
        &["1 seed", ",wait,", "after the question stands", "the last with a wrong carry", "of 10 held-out"],
    );
    let rows = table.lines().filter(|line| line.starts_with("nothing") || line.starts_with("the last"));
    assert!(rows.clone().count() == 4 && rows.clone().all(|row| row.split_whitespace().count() >= 5), "{table}");
    let found = json(&test_dir.stdout(&format!("lab wait {SMALL} --problems 2 --json")));
    assert_eq!(found["runs"].as_array().map(Vec::len), Some(2));
    assert_eq!(found["runs"][1]["counts"][3][0], "wrong_digit");
    let probed = test_dir.stdout("lab probe kept/sums-mended-1337 487+275 --problems 2");
    assert_says(&probed, &["ln p of the true answer 762", "the same tokens"]);
    assert_says(&test_dir.refused("lab wait --tokens 10"), &["at least one step"]);
    assert_says(&test_dir.refused("lab wait --set model.n_heads=5"), &["n_heads = 5"]);
}

#[test]
fn parity_is_the_same_on_any_number_of_threads() {
    let test_dir = TestDir::empty();
    let call = format!("lab parity {SMALL} --formats worked --json");
    let found = test_dir.stdout(&format!("{call} --threads 1"));
    assert_eq!(found, test_dir.stdout(&format!("{call} --threads 2")));
    let report = json(&found);
    assert_eq!((&report["task"], &report["recipe"]["train"]["seq_len"]), (&"parity".into(), &31.into()));
}

#[test]
fn what_an_experiment_cannot_be_is_refused_before_it_begins() {
    let test_dir = TestDir::with_run();
    for (call, says) in [
        ("lab sums --tokens 0", "--tokens"),
        ("lab sums --tokens 10", "at least one step"),
        ("lab parity --set model.n_heads=3", "n_heads = 3"),
        ("lab parity --set train.micro_batches=5", "micro_batches"),
        ("lab parity --set nonsense=1", "--set"),
        ("lab parity --out text.txt", "it is a file"),
        ("lab parity --force", "--out"),
        ("lab parity --formats reversed", "only the digits of sums"),
        ("lab sums --formats worked,direct,worked", "worked is named twice"),
        ("lab probe run 1+1", "lab.json"),
    ] {
        assert_says(&test_dir.refused(call), &[says]);
    }
}
