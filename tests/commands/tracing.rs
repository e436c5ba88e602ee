//! `tril sample --trace`: the steps of each token are those that made it, and the text is the one without a trace.

use super::test_dir::*;

const PROMPT: &str = "the old fox sa";

fn trace(test_dir: &TestDir, options: &str) -> String {
    stdout(test_dir.tril(&format!("sample run --max-tokens 6 --trace {options}")).args(["--prompt", PROMPT]))
}

fn text(test_dir: &TestDir, options: &str) -> String {
    stdout(test_dir.tril(&format!("sample run --max-tokens 6 {options}")).args(["--prompt", PROMPT]))
}

/// The rows of a trace that have this label, without it.
fn rows<'a>(trace: &'a str, label: &str) -> Vec<&'a str> {
    let rows = trace.lines().filter_map(|line| line.strip_prefix(&format!("  {label:<7}  ")));
    rows.collect()
}

#[test]
fn each_token_has_its_context_its_pass_its_chances_its_draw_and_the_text_after_it() {
    let test_dir = TestDir::with_run();
    let trace = trace(&test_dir, "--seed 3");
    assert!(trace.starts_with("sample 0 of seed 3; probabilities after temperature 0.8\n"), "{trace}");
    assert_eq!(rows(&trace, "prompt"), [format!("14 tokens: {PROMPT}")]);
    let context = rows(&trace, "context");
    assert_eq!(context[0], "14 tokens: all computed, and cached from now on");
    assert_eq!(context[5], "19 tokens: 18 in the cache, 1 computed");
    let forward = rows(&trace, "forward");
    let vocab_size = forward[0].rsplit('[').next().expect("the logits").trim_end_matches(']');
    assert_eq!(forward[0], format!("[1, 14] → [1, 14, 16] → last position → logits [{vocab_size}]"));
    assert!(forward[1..].iter().all(|row| row.starts_with("[1, 1] → [1, 1, 16] → ")), "{trace}");
    assert_eq!([context.len(), forward.len(), rows(&trace, "draw").len()], [6, 6, 6]);
    let appended = rows(&trace, "append");
    assert_eq!(format!("{}\n", appended[5]).replace('↵', "\n"), text(&test_dir, "--seed 3"));
    for (before, after) in appended.iter().zip(&appended[1..]) {
        assert!(after.starts_with(before) && after.chars().count() == before.chars().count() + 1, "{trace}");
    }
    assert!(trace.ends_with("\nend  the maximum number of tokens\n"), "{trace}");
    for line in trace.lines() {
        assert!(line.chars().count() <= 100 && line == line.trim_end(), "`{line}`");
    }
}

#[test]
fn chances_fall_and_add_up_to_one_and_the_draw_lies_in_the_share_of_the_marked_token() {
    let test_dir = TestDir::with_run();
    for options in ["", "--temperature 2 --top-k 9", "--top-p 0.6"] {
        let trace = trace(&test_dir, options);
        for step in trace.split("\ntoken ").skip(1) {
            let percent =
                |line: &str| -> Option<f64> { line.split(" %").next()?.split_whitespace().last()?.parse().ok() };
            let lines: Vec<&str> = step.lines().filter(|line| line.contains(" %  ")).collect();
            let chances: Vec<f64> = lines.iter().map(|line| percent(line).expect("a number")).collect();
            assert!((chances.iter().sum::<f64>() - 100.0).abs() < 0.05, "{step}");
            let marked: Vec<usize> = (0..lines.len()).filter(|place| lines[*place].contains('→')).collect();
            assert_eq!(marked.len(), 1, "{step}");
            assert!(chances[..5.min(chances.len() - 1)].is_sorted_by(|a, b| a >= b), "{step}");
            let draw = rows(step, "draw")[0];
            let numbers: Vec<f64> = draw
                .split([' ', '[', ',', ')'])
                .filter(|word| word.contains('.'))
                .map(|word| word.parse().expect("a number"))
                .collect();
            let [draw, begin, end] = numbers[..] else { panic!("{step}") };
            assert!(begin <= draw && draw <= end, "{step}");
            assert!((100.0 * (end - begin) - chances[marked[0]]).abs() < 0.01, "{step}");
        }
    }
}

#[test]
fn without_a_cache_it_is_the_same_but_for_what_is_computed() {
    let test_dir = TestDir::with_run();
    let (cached, recomputed) = (trace(&test_dir, ""), trace(&test_dir, "--no-cache"));
    assert_eq!(rows(&recomputed, "context")[5], "19 tokens: all computed, as there is no cache");
    assert!(rows(&recomputed, "forward")[5].starts_with("[1, 19] → [1, 19, 16] → "), "{recomputed}");
    let rest = |trace: &str| {
        let same = |line: &&str| !line.starts_with("  context") && !line.starts_with("  forward");
        trace.lines().filter(same).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(rest(&cached), rest(&recomputed));
}

#[test]
fn greedy_draws_nothing_and_a_full_context_says_what_left_it() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.positions=learned --set model.window=0"));
    let output = trace(&test_dir, "--temperature 0 --top-p 0.5");
    assert!(output.starts_with("sample 0 of seed 1337; probabilities after temperature 0\n"), "{output}");
    assert!(
        rows(&output, "draw")
            .iter()
            .all(|row| row.starts_with("none: ") && row.ends_with("whose logit is the largest")),
        "{output}"
    );
    let context = rows(&output, "context");
    assert_eq!(context[3], "9 tokens: all computed, and cached from now on; it was full, so the oldest 8 were dropped");
    assert_eq!(context[4], "10 tokens: 9 in the cache, 1 computed");
}

#[test]
fn several_samples_are_traced_one_after_another() {
    let test_dir = TestDir::with_run();
    let two = trace(&test_dir, "--num-samples 2 --sample-index 4");
    let (first, second) = two.split_once("---------------\n").expect("a rule");
    assert_eq!(first, trace(&test_dir, "--sample-index 4"));
    assert_eq!(second, trace(&test_dir, "--sample-index 5"));
}

#[test]
fn the_token_that_ends_a_text_is_traced_and_not_appended_and_so_is_a_stop_text() {
    let test_dir = TestDir::new();
    test_dir.stdout(TRAIN_DOCUMENTS);
    let id = trained_end_of_text(&test_dir);
    let ended = trace(&test_dir, &format!("--logit-bias {id}=2"));
    assert!(ended.contains("→ \"<|endoftext|>\""), "{ended}");
    assert!(
        ended.ends_with("nothing: this token ends the text and is not part of it\n\nend  end of text\n"),
        "{ended}"
    );
    let stopped = trace(&test_dir, "--stop e --ban-id 0 --temperature 3");
    let all = text(&test_dir, "--ban-id 0 --temperature 3");
    assert_eq!(stopped.contains("end  the stop text \"e\" appeared"), all[PROMPT.len()..].contains('e'), "{all}");
}

#[test]
fn a_terminal_gets_colours_and_a_file_the_same_without() {
    let test_dir = TestDir::with_run();
    let plain = trace(&test_dir, "");
    assert!(!plain.contains('\u{1b}'), "{plain}");
    let mut command = test_dir.tril("sample run --max-tokens 6 --trace");
    let colours = stdout(command.args(["--prompt", PROMPT]).env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR"));
    assert!(colours.contains("\u{1b}["), "{colours}");
    let mut stripped = String::new();
    for (number, part) in colours.split("\u{1b}[").enumerate() {
        stripped.push_str(if number == 0 { part } else { part.split_once('m').expect("an end").1 });
    }
    assert_eq!(stripped, plain);
}

#[test]
fn columns_stay_where_they_are_beside_wide_characters() {
    let test_dir = TestDir::new();
    let poem = "明月幾時有，把酒問青天。不知天上宮闕，今夕是何年。I want to ride the wind.\n".repeat(30);
    test_dir.write("text.txt", poem);
    test_dir.stdout(TRAIN);
    let trace = stdout(test_dir.tril("sample run --max-tokens 5 --trace --temperature 3").args(["--prompt", "明月"]));
    assert_eq!(rows(&trace, "prompt"), ["2 tokens: 明月"]);
    let columns: std::collections::BTreeSet<usize> = trace
        .lines()
        .filter_map(|line| line.split_once(" %  "))
        .map(|(before, _)| before.chars().map(|character| if character >= '\u{3000}' { 2 } else { 1 }).sum())
        .collect();
    assert_eq!(columns.len(), 1, "{trace}");
}

/// The id of `<|endoftext|>` in the run's vocabulary.
fn trained_end_of_text(test_dir: &TestDir) -> u64 {
    let tokenizer: serde_json::Value =
        serde_json::from_str(&test_dir.read("run/step-000006/tokenizer.json")).expect("JSON");
    let added = tokenizer["added_tokens"].as_array().expect("a list");
    let token = added.iter().find(|token| token["content"] == "<|endoftext|>").expect("end of text");
    token["id"].as_u64().expect("an id")
}
