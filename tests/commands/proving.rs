//! `tril prove`: a sound checkpoint passes, a damaged one does not, and what does not apply is not called a pass.

use std::fs;
use std::sync::atomic::AtomicBool;

use serde_json::Value;
use tril::{ComputeDevice, KnownHashes, Quiet};

#[cfg(target_os = "linux")]
use super::terminal;
use super::test_dir::*;

const CLAIMS: [&str; 6] = [
    "1 One parallel pass = many steps",
    "2 Batching changes nothing",
    "3 The mask is the graph",
    "4 Gradients flow the same way",
    "5 One row is T problems",
    "6 Training ends in the same weights",
];

fn json(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

fn proofs(report: &Value) -> &Vec<Value> {
    report["proofs"].as_array().unwrap_or_else(|| panic!("proofs: {report}"))
}

fn proof<'a>(report: &'a Value, id: &str) -> &'a Value {
    proofs(report).iter().find(|proof| proof["id"] == id).unwrap_or_else(|| panic!("{id}: {report}"))
}

#[test]
fn a_sound_checkpoint_passes_and_the_table_says_what_was_shown() {
    let test_dir = TestDir::with_run();
    let output = test_dir.stdout("prove run");
    for claim in CLAIMS {
        assert_eq!(output.lines().filter(|line| *line == claim).count(), 1, "{claim}: {output}");
    }
    assert_says(&output, &["a text that the model wrote", "22 pass, 0 fail, 0 n/a", "Shown", "Not shown"]);
    assert!(output.replace('\\', "/").starts_with("run/step-000006 on cpu"), "{output}");
    assert!(!output.contains("FAIL"), "{output}");
    for line in output.lines() {
        assert!(line.chars().count() <= 100 && line == line.trim_end(), "`{line}`");
    }
    assert_says(&output, &["Control: what must differ", "the head's sums cut in two", " differ seen\n"]);
    let rows = output.lines().filter(|line| line.starts_with("  ") && line.ends_with(" pass"));
    let columns: Vec<_> = rows.map(|line| line.chars().count()).collect();
    assert_eq!(columns.len(), 22, "{output}");
    assert!(columns.iter().all(|end| *end == columns[0]), "rows of one width: {output}");
    let coloured = test_dir.stdout("prove run --color always");
    assert_eq!(coloured.lines().filter(|line| line.ends_with(" \u{1b}[32mpass\u{1b}[0m")).count(), 22, "{coloured}");
    let plain = coloured.replace("\u{1b}[32m", "").replace("\u{1b}[0m", "");
    // What comes after it tells times.
    let table = |text: &str| text.split_once("\n\nShown").expect("a table").0.to_owned();
    assert_eq!(table(&plain), table(&output));
}

#[test]
fn the_json_has_the_numbers_of_every_proof() {
    let test_dir = TestDir::with_run();
    let report = json(&test_dir.stdout("prove run --text text.txt --json"));
    assert_eq!(report["pass"], true);
    assert_eq!(report["text"], "text.txt");
    assert_eq!(report["tolerance"], "equal_bits");
    assert_eq!(report["tokens"].as_u64(), Some(text().chars().count() as u64));
    assert!(report["threads"].as_u64() >= Some(1) && report["device"].as_str().is_some(), "{report}");
    assert!(report["checkpoint"].as_str().is_some_and(|path| path.ends_with("step-000006")), "{report}");
    assert_eq!(proofs(&report).len(), 22);
    assert!(report["control"]["positions_that_differ"].as_u64() > Some(0), "{report}");
    for proof in proofs(&report) {
        assert_eq!(proof["outcome"], "pass", "{proof}");
        assert!(proof["positions"].as_u64() > Some(0) && proof["cases"].as_u64() > Some(0), "{proof}");
        assert!(proof["compared"].as_str().is_some_and(|what| !what.is_empty()), "{proof}");
        assert!((1..=6).contains(&proof["claim"].as_u64().expect("a claim")), "{proof}");
        let exact =
            proof["claim"].as_u64() <= Some(3) || ["accumulated", "resumed"].iter().any(|id| proof["id"] == *id);
        assert_eq!(proof["tolerance"].is_null(), exact, "{proof}");
        if exact {
            assert_eq!(proof["max_difference"].as_f64(), Some(0.0), "{proof}");
        }
        assert!(proof["first_difference"].is_null() && proof["reason"].is_null(), "{proof}");
    }
    let cached = proof(&report, "cached");
    assert_eq!(cached["cases"], report["proved_tokens"]);
    assert_eq!(cached["possible_cases"], report["tokens"]);
    let seconds = &proof(&report, "prefix_problems")["seconds"];
    assert!(seconds["together"].as_f64() > Some(0.0) && seconds["apart"].as_f64() > Some(0.0), "{seconds}");
}

#[test]
fn a_proof_that_does_not_apply_says_so_and_why_and_never_that_it_passed() {
    let test_dir = TestDir::with_run(); // a window of 8
    let short = json(&test_dir.stdout("prove run --prompt saw --json"));
    let ring = proof(&short, "ring");
    assert_eq!((&ring["outcome"], ring["positions"].as_u64()), (&Value::from("n/a"), Some(0)));
    assert!(ring["max_difference"].is_null() && ring["max_ulps"].is_null(), "{ring}");
    assert!(ring["reason"].as_str().is_some_and(|reason| reason.contains("beyond the 16 positions")), "{ring}");
    let table = test_dir.stdout("prove run --prompt saw");
    let line = table.lines().find(|line| line.contains("ring cache")).expect("its row");
    assert!(line.ends_with(" n/a") && line.contains("beyond the 16 positions"), "{line}");
    assert_says(&table, &["21 pass, 0 fail, 1 n/a"]);

    test_dir.stdout(&format!("{TRAIN} --force --set model.window=0"));
    let whole = json(&test_dir.stdout("prove run --json"));
    assert_eq!(proof(&whole, "ring")["outcome"], "n/a");
    assert!(proof(&whole, "ring")["reason"].as_str().is_some_and(|reason| reason.contains("no window")), "{whole}");
    assert_eq!(whole["pass"], true);
    let table = one_line(&test_dir.stdout("prove run"));
    let absent = "Not tried, because it does not apply: ring cache past the window (the model has no window: its cache keeps everything).";
    assert_says(&table, &["Shown for this checkpoint", "as in generation", absent]);
    assert!(table.find("as in generation") < table.find(absent), "below what was shown of its claim: {table}");
    assert!(!table.contains("nothing of it applies"), "something of each claim does: {table}");
}

#[test]
fn a_claim_of_which_nothing_was_run_is_not_among_what_is_shown() {
    let test_dir = TestDir::new();
    let one = "--set model.positions=learned --set model.window=0 --set model.max_seq_len=1 --set train.seq_len=1";
    test_dir.stdout(&format!("{TRAIN} {one}"));
    let table = one_line(&test_dir.stdout("prove run --prompt the"));
    let (shown, not_shown) = table.split_once("Not shown, because nothing of it applies:").expect("such claims");
    for claim in &CLAIMS[2..] {
        let title = claim.split_once(' ').expect("a number").1;
        assert_says(not_shown, &[&format!("- {title}: ")]);
    }
    let shown = shown.split_once("Shown for this checkpoint").expect("some are shown").1;
    assert_says(shown, &["Predictions for a whole text", "in a prediction"]);
    for said in ["No position sees", "Learning through the cache", "problems, each a text"] {
        assert!(!table.contains(said), "{said}: {table}");
    }
}

#[test]
fn a_recipe_ends_in_the_bits_that_it_is_known_to_end_in_on_every_instruction_set_and_leaves_nothing_behind() {
    let test_dir = TestDir::empty();
    fs::create_dir(test_dir.path("tmp")).expect("a directory");
    for (set, threads) in [("", "2"), ("avx2", "1"), ("plain", "2")] {
        let mut command = test_dir.tril("prove --recipe smoke --json --threads");
        command.arg(threads).env("TMPDIR", test_dir.path("tmp"));
        if !set.is_empty() {
            command.env("TRIL_SIMD", set);
        }
        let output = command.output().expect("it runs");
        if String::from_utf8_lossy(&output.stderr).contains("TRIL_SIMD=") {
            continue; // This machine has no such instructions.
        }
        let report = json(&String::from_utf8_lossy(&output.stdout));
        assert_eq!((output.status.code(), &report["pass"]), (Some(0), &Value::from(true)), "{set}: {report}");
        for what in ["weights", "optimizer"] {
            assert_eq!(report[what]["known"], report[what]["found"], "{set}: {report}");
            assert_eq!(report[what]["found"].as_str().map(str::len), Some(64), "{report}");
        }
        assert_eq!((&report["recipe"], report["steps"].as_u64()), (&Value::from("smoke"), Some(6)));
    }
    let table = stdout(test_dir.tril("prove --recipe smoke").env("TMPDIR", test_dir.path("tmp")));
    assert_says(&table, &["smoke: 6 steps on cpu", "pass  weights", "pass  optimizer", "Shown: ", "Not shown: "]);
    assert!(fs::read_dir(test_dir.path("tmp")).expect("readable").next().is_none(), "nothing is kept");
}

#[test]
fn the_known_hashes_are_those_of_a_run_that_train_makes() {
    let test_dir = TestDir::empty();
    let known = json(&test_dir.stdout("prove --recipe smoke --json"));
    let trained = test_dir.stdout("train smoke --verbose --out run");
    for what in ["weights", "optimizer"] {
        let hash = known[what]["found"].as_str().expect("a hash");
        assert_says(&trained, &[&format!("{hash} {what}")]);
    }
}

#[test]
fn a_run_that_is_another_in_one_number_does_not_end_in_the_known_bits() {
    let test_dir = TestDir::empty();
    let device = ComputeDevice::cpu();
    let (recipe, known) = KnownHashes::of("smoke", &device).expect("known");
    for (name, change) in [("same", "train.seed=1337"), ("other", "optimizer.eps=1.1e-8")] {
        let mut recipe = recipe.clone();
        recipe.set(change).expect("a setting");
        let check = known.check(recipe, &test_dir.path(name), &device, &mut Quiet, &AtomicBool::new(false));
        let check = check.expect("it trains").expect("to its end");
        let equal = [check.is_equal(), check.weights.is_equal(), check.optimizer.is_equal()];
        assert_eq!(equal, [name == "same"; 3], "{change}: {check:?}");
    }
}

/// The binary with one digit of the weights' known hash changed where it lies in the file, and how that hash then reads.
#[cfg(target_os = "linux")]
fn with_a_wrong_known_hash(test_dir: &TestDir) -> (std::path::PathBuf, String) {
    use std::os::unix::fs::PermissionsExt;
    let (_, known) = KnownHashes::of("smoke", &ComputeDevice::cpu()).expect("known");
    let mut bytes = fs::read(assert_cmd::cargo_bin!("tril")).expect("the binary");
    let hash = known.weights.as_bytes();
    let places: Vec<usize> =
        bytes.windows(hash.len()).enumerate().filter(|(_, part)| *part == hash).map(|(place, _)| place).collect();
    assert!(!places.is_empty(), "the table lies in the binary as text");
    let other = if hash[0] == b'0' { b'1' } else { b'0' };
    places.iter().for_each(|place| bytes[*place] = other);
    let path = test_dir.path("tril");
    fs::write(&path, bytes).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    (path, format!("{}{}", char::from(other), &known.weights[1..]))
}

#[test]
#[cfg(target_os = "linux")]
fn a_known_hash_that_this_machine_does_not_get_fails_with_exit_code_1_and_says_what_to_do() {
    let test_dir = TestDir::empty();
    let (binary, wrong) = with_a_wrong_known_hash(&test_dir);
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&binary);
        command.args(["prove", "--recipe", "smoke"]).args(arguments).current_dir(test_dir.path("."));
        command
    };
    for columns in [100, 80, 40] {
        let screen = terminal::run(run(&[]), columns);
        assert!(screen.broken.is_empty(), "at {columns} columns: {:?}", screen.broken);
        assert_eq!(screen.status.code(), Some(1), "{:?}", screen.lines);
        let shown = one_line(&screen.lines.join(" "));
        assert_says(&shown, &["FAIL weights", "pass optimizer", "TRIL_SIMD=plain", "`cargo test --release`", "report"]);
        assert!(!shown.contains("Shown: "), "{shown}");
        assert!(columns < 100 || shown.contains(&format!("known {wrong}")), "{shown}");
    }
    let output = run(&["--json"]).output().expect("it runs");
    let report = json(&String::from_utf8_lossy(&output.stdout));
    assert_eq!((output.status.code(), &report["pass"]), (Some(1), &Value::from(false)), "{report}");
    assert_eq!(report["weights"]["known"], Value::from(wrong));
    assert_ne!(report["weights"]["known"], report["weights"]["found"]);
    assert_eq!(report["optimizer"]["known"], report["optimizer"]["found"]);
}

#[test]
fn a_recipe_without_known_hashes_is_refused_with_the_reason() {
    let test_dir = TestDir::with_run();
    assert_says(&test_dir.refused("prove --recipe baby"), &["no hashes are known of the recipe baby", "smoke, tales"]);
    assert_says(&test_dir.refused("prove --recipe smoke.toml"), &["`smoke.toml` is not a shipped recipe", "--verbose"]);
    assert_says(&test_dir.refused("prove --recipe 猫"), &["`猫` is not a shipped recipe"]);
    assert_says(&test_dir.refused("prove --recipe smoke --prompt a"), &["--recipe", "--prompt", "cannot be used"]);
    assert_says(&test_dir.refused("prove run --recipe smoke"), &["--recipe", "CHECKPOINT", "cannot be used"]);
    assert_says(&test_dir.refused("prove"), &["CHECKPOINT"]);
}

/// Words with one space between them.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_text_longer_than_the_learned_positions_is_proved_in_pieces() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.positions=learned --set model.window=0"));
    let text = &text()[..300];
    test_dir.write("text.txt", text);
    let report = json(&test_dir.stdout("prove run --text text.txt --json"));
    let tokens = text.chars().count();
    assert_eq!(report["tokens"].as_u64(), Some(tokens as u64));
    assert_eq!(report["segments"].as_u64(), Some(tokens.div_ceil(16) as u64));
    assert_eq!(report["proved_tokens"], report["tokens"]);
    assert_eq!(report["pass"], true, "{report}");
    assert_says(&test_dir.stdout("prove run --text text.txt"), &["pieces, each from position 0 on"]);
}

#[test]
fn one_thread_is_enough_and_more_than_one_is_still_compared() {
    let test_dir = TestDir::with_run();
    let report = json(&test_dir.stdout("prove run --prompt saw --threads 1 --json"));
    assert_eq!((report["threads"].as_u64(), &report["pass"]), (Some(1), &Value::from(true)));
    assert_eq!(report["thread_counts"], serde_json::json!([1, 2]));
    assert_says(&test_dir.stdout("prove run --prompt saw --threads 3"), &["on 1, 2 and 3 threads"]);
}

#[test]
fn a_text_from_standard_input_is_proved_as_from_a_file() {
    let test_dir = TestDir::with_run();
    let text = &text()[..60];
    test_dir.write("text.txt", text);
    let command = |arguments: &str| {
        let mut report = json(&stdout(test_dir.tril(arguments).write_stdin(text)));
        let fields = report.as_object_mut().expect("an object");
        fields.remove("text");
        fields["proofs"].as_array_mut().expect("rows").iter_mut().for_each(|proof| proof["seconds"] = Value::Null);
        report
    };
    assert_eq!(command("prove run --text - --json"), command("prove run --text text.txt --json"));
}

#[test]
fn weights_that_give_no_numbers_fail_with_exit_code_1_and_nothing_passes() {
    let test_dir = TestDir::with_run();
    test_dir.spoil_weights();
    test_dir.write("text.txt", &text()[..60]);
    for text in ["", "--text text.txt"] {
        let output = test_dir.tril(&format!("prove run {text}")).output().expect("it runs");
        let table = String::from_utf8(output.stdout).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{table}");
        assert_says(&table, &["FAIL", "NaN or infinite", "damaged weights", "0 pass, 22 fail"]);
        assert!(!table.lines().any(|line| line.ends_with(" pass")), "{table}");
        let output = test_dir.tril(&format!("prove run {text} --json")).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let report = json(&String::from_utf8(output.stdout).expect("UTF-8"));
        assert_eq!(report["pass"], false);
        for proof in proofs(&report) {
            assert_eq!(proof["outcome"], "fail", "{proof}");
            assert!(proof["not_finite"].as_u64() > Some(0), "{proof}");
        }
    }
}

#[test]
fn what_cannot_be_proved_on_is_refused_with_its_place_and_what_to_do() {
    let test_dir = TestDir::with_run();
    test_dir.write("empty.txt", "");
    test_dir.write("short.txt", "a");
    test_dir.write("more.txt", "a cat\nsaw 猫 Q");
    test_dir.write("latin.txt", b"Zo\xeb saw three birds.\n");
    assert_says(&test_dir.refused("prove run --text none.txt"), &["none.txt", "os error", "check the path"]);
    assert_says(&test_dir.refused("prove run --text empty.txt"), &["empty.txt", "0 tokens", "at least 2", "longer"]);
    assert_says(&test_dir.refused("prove run --text short.txt"), &["short.txt", "1 token:", "at least 2", "longer"]);
    assert_says(&test_dir.refused("prove run --text more.txt"), &["more.txt", "line 2, column 5", "'猫'"]);
    assert_says(&test_dir.refused("prove run --text latin.txt"), &["latin.txt", "not UTF-8", "iconv"]);
    assert_says(&test_dir.refused("prove run --prompt="), &["the prompt", "0 tokens", "longer"]);
    assert_says(&test_dir.refused("prove run --prompt 猫Q"), &["the prompt", "'猫'"]);
    assert_says(&test_dir.refused("prove run --prompt a --text text.txt"), &["--prompt", "--text", "cannot be used"]);
    assert_says(&test_dir.refused("prove none"), &["no checkpoint at none", "tril train"]);
}

#[test]
fn a_model_in_which_nothing_moves_leaves_claims_open_and_fails_none() {
    let test_dir = TestDir::new();
    let still = "--set model.tied_head=false --set model.zero_init_outputs=true --set train.steps=0";
    test_dir.stdout(&format!("{TRAIN} {still}"));
    let output = test_dir.tril("prove run").output().expect("it runs");
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(3), "{table}");
    assert_says(&table, &[" 0 fail, 4 open,", "neither shown nor refuted", "no replaced token moved any logit"]);
    assert_says(&table, &[" 0 differ ", "equal bits show nothing"]);
    assert!(!table.contains("FAIL") && !table.contains("is not true of this checkpoint"), "{table}");
    assert!(!table.contains("No position sees a later token"), "what is open is not among what is shown: {table}");
    let output = test_dir.tril("prove run --json").output().expect("it runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["pass"], output.status.code()), (&Value::from(false), Some(3)));
}
