//! `tril sample --hide`: some of the text is not shown, and nothing else changes.

use super::test_dir::*;

/// What `sample run` prints to stdout and stderr.
fn sample(test_dir: &TestDir, options: &[&str]) -> (String, String) {
    let output = test_dir.tril("sample run --max-tokens 60").args(options).output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    assert!(output.status.success(), "{stderr:?}");
    (stdout.expect("UTF-8"), stderr.expect("UTF-8"))
}

/// `n` characters from character `begin` on.
fn part(text: &str, begin: usize, n: usize) -> String {
    text.chars().skip(begin).take(n).collect()
}

#[test]
fn what_stands_between_markers_is_not_shown_and_counted() {
    let test_dir = TestDir::with_run();
    let (whole, report) = sample(&test_dir, &[]);
    assert!(!report.contains("not shown"), "{report}");
    for (begin, end, len) in [(3, 20, 3), (10, 50, 4), (0, 30, 2)] {
        let (start_marker, end_marker) = (part(&whole, begin, len), part(&whole, end, len));
        // Both may stand there earlier too; what is expected is found by a search.
        let (before, rest) = whole.split_once(&start_marker).expect("it is there");
        let shown = match rest.split_once(&end_marker) {
            Some((_, after)) => format!("{before}{}", after.split(&start_marker).next().expect("one part")),
            None => before.to_owned(),
        };
        let (text, report) = sample(&test_dir, &["--hide", &start_marker, &end_marker]);
        assert!(text.starts_with(shown.trim_end_matches('\n')), "{text:?} is not {shown:?}");
        assert!(text.len() < whole.len());
        let hidden = whole.chars().count() - text.chars().count();
        assert!(report.contains("[60 tokens") && report.contains(&format!("; {hidden} tokens not shown;")), "{report}");
    }
}

#[test]
fn a_part_without_an_end_is_hidden_to_the_end_and_a_marker_that_only_begins_is_shown() {
    let test_dir = TestDir::with_run();
    let (whole, _) = sample(&test_dir, &[]);
    let marker = part(&whole, 20, 5);
    let (text, report) = sample(&test_dir, &["--hide", &marker, "no such text"]);
    assert_eq!(text, format!("{}\n", whole.split(&marker).next().expect("one part")));
    assert!(report.contains("[60 tokens") && report.contains("tokens not shown; stopped by: max tokens]"), "{report}");
    let last = format!("{}…", part(&whole, 55, 5));
    let (text, report) = sample(&test_dir, &["--hide", &last, "x", "--hide", "never", "ever"]);
    assert_eq!(text, whole);
    assert!(report.contains("; 0 tokens not shown;"), "{report}");
}

#[test]
fn a_prompt_may_begin_what_is_hidden() {
    let test_dir = TestDir::with_run();
    let (whole, _) = sample(&test_dir, &["--prompt", "a cat (1"]);
    let (text, report) = sample(&test_dir, &["--prompt", "a cat (1", "--hide", "(", "no such text"]);
    assert!(whole.starts_with("a cat (1"));
    assert_eq!(text, "a cat \n");
    assert!(report.contains("; 60 tokens not shown;"), "{report}");
}

#[test]
fn an_object_has_the_text_that_is_shown_and_how_many_tokens_are_not() {
    let test_dir = TestDir::with_run();
    let (whole, _) = sample(&test_dir, &[]);
    let marker = part(&whole, 20, 5);
    let shown = whole.split(&marker).next().expect("one part");
    let object = |options: &[&str]| -> serde_json::Value {
        serde_json::from_str(&sample(&test_dir, &[&["--jsonl"], options].concat()).0).expect("an object")
    };
    let hiding = object(&["--hide", &marker, "no such text"]);
    assert_eq!(hiding["text"], shown);
    assert_eq!(hiding["not_shown"], 60 - shown.chars().count());
    let plain = object(&[]);
    assert_eq!(plain["text"], whole.strip_suffix('\n').expect("a newline"));
    assert_eq!((plain.get("not_shown"), &plain["logprob"]), (None, &hiding["logprob"]));
}

#[test]
fn a_stop_text_stops_where_it_is_hidden_too() {
    let test_dir = TestDir::with_run();
    let (whole, _) = sample(&test_dir, &[]);
    let (start, stop) = (part(&whole, 2, 4), part(&whole, 30, 4));
    let report = sample(&test_dir, &["--hide", &start, "no such text", "--stop", &stop]).1;
    assert!(report.contains(&format!("stopped by: stop text {stop:?}")), "{report}");
}

#[test]
fn markers_come_in_pairs_and_are_not_empty() {
    let test_dir = TestDir::with_run();
    let refused = |options: &[&str]| test_dir.refused_command(test_dir.tril("sample run").args(options));
    assert_says(&refused(&["--hide", "("]), &["--hide", "2 values"]);
    assert_says(&refused(&["--hide", "(", ""]), &["--hide", "marker is empty"]);
    assert_says(&refused(&["--hide", "(", ")", "--hide", "(", "]"]), &["--hide", "\"(\"", "which end"]);
}
