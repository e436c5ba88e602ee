//! `tril sample`: the same seed gives the same text, however it is computed, and stdout holds text alone.

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;

use super::test_dir::*;

/// Ends within a word of the training text, so that there is something to go on with.
const PROMPT: &str = "the old fox sa";

/// What stands between two samples.
const RULE: &str = "\n---------------\n";

fn sample(test_dir: &TestDir, options: &str) -> String {
    stdout(test_dir.tril(&format!("sample run --max-tokens 60 {options}")).args(["--prompt", PROMPT]))
}

/// The text after the prompt and before the last newline.
fn continuation(text: &str) -> &str {
    text.strip_prefix(PROMPT).and_then(|text| text.strip_suffix('\n')).unwrap_or_else(|| panic!("{text:?}"))
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_seed_another() {
    let test_dir = TestDir::with_run();
    let text = sample(&test_dir, "--seed 3");
    assert_eq!(sample(&test_dir, "--seed 3"), text);
    assert_ne!(sample(&test_dir, "--seed 4"), text);
}

#[test]
fn stdout_is_the_prompt_one_character_a_token_and_a_newline() {
    let test_dir = TestDir::with_run();
    let text = sample(&test_dir, "");
    assert_eq!(continuation(&text).chars().count(), 60, "{text:?}");
    let known = super::test_dir::text();
    assert!(text.chars().all(|char| known.contains(char)), "{text:?}");
}

#[test]
fn with_the_cache_and_without_it_the_text_is_the_same() {
    let test_dir = TestDir::with_run();
    let run = |option: &str| {
        let mut command = test_dir.tril(&format!("sample run --max-tokens 60 {option}"));
        let output = command.args(["--prompt", PROMPT]).output().expect("it runs");
        (output.stdout, String::from_utf8(output.stderr).expect("UTF-8"))
    };
    let ((cached, with), (recomputed, without)) = (run(""), run("--no-cache"));
    assert_eq!(cached, recomputed);
    assert!(with.contains("with the KV cache") && without.contains("without a cache"), "{with}{without}");
}

#[test]
fn a_full_context_is_told_once_on_stderr_and_changes_nothing_about_the_cache() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.positions=learned --set model.window=0"));
    let run = |option: &str| test_dir.tril(&format!("sample run --max-tokens 60 {option}")).output().expect("it runs");
    let (cached, recomputed) = (run(""), run("--no-cache"));
    assert_eq!(String::from_utf8_lossy(&cached.stderr).matches("the context of 16 tokens is full").count(), 1);
    assert_eq!(cached.stdout, recomputed.stdout);
    assert_eq!(String::from_utf8(cached.stdout).expect("UTF-8").chars().count(), 61);
}

#[test]
fn a_prompt_is_the_same_as_an_argument_from_a_file_and_from_standard_input() {
    let test_dir = TestDir::with_run();
    let text = sample(&test_dir, "");
    test_dir.write("prompt.txt", PROMPT);
    assert_eq!(test_dir.stdout("sample run --max-tokens 60 --prompt-file prompt.txt"), text);
    assert_eq!(stdout(test_dir.tril("sample run --max-tokens 60 --prompt -").write_stdin(PROMPT)), text);
    assert_ne!(test_dir.stdout("sample run --max-tokens 60"), text);
}

#[test]
fn two_samples_differ_and_the_first_is_the_single_one() {
    let test_dir = TestDir::with_run();
    let single = sample(&test_dir, "");
    let two = sample(&test_dir, "--num-samples 2");
    let (first, second) = two.split_once(RULE).expect("a rule between samples");
    assert_eq!(first, single.trim_end_matches('\n'));
    assert_ne!(continuation(&format!("{first}\n")), continuation(second));
}

#[test]
fn one_sample_of_many_can_be_made_alone_and_so_can_the_last_few() {
    let test_dir = TestDir::with_run();
    let three = sample(&test_dir, "--num-samples 3");
    let all: Vec<&str> = three.trim_end_matches('\n').split(RULE).collect();
    assert_eq!(all.len(), 3);
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2], "{three}");
    for (index, text) in all.iter().enumerate() {
        assert_eq!(sample(&test_dir, &format!("--sample-index {index}")), format!("{text}\n"));
    }
    assert_eq!(sample(&test_dir, "--sample-index 1 --num-samples 2"), format!("{}{RULE}{}\n", all[1], all[2]));
}

#[test]
fn a_sample_is_the_same_with_the_cache_and_without_on_any_number_of_threads() {
    // The second one is past the end of its context, where the oldest tokens leave it.
    for model in ["", "--set model.positions=learned --set model.window=0 --set model.norm=layer"] {
        let test_dir = TestDir::new();
        test_dir.stdout(&format!("{TRAIN} --set model.d_model=32 {model}"));
        let text = sample(&test_dir, "--sample-index 4 --threads 1");
        for threads in [1, 2, 3] {
            for cache in ["", "--no-cache"] {
                let options = format!("--sample-index 4 --threads {threads} {cache}");
                assert_eq!(sample(&test_dir, &options), text, "{options} of {model:?}");
            }
        }
    }
}

#[test]
fn no_tokens_print_the_prompt_alone() {
    let test_dir = TestDir::with_run();
    assert_eq!(stdout(test_dir.tril("sample run --max-tokens 0").args(["--prompt", PROMPT])), format!("{PROMPT}\n"));
    assert_eq!(test_dir.stdout("sample run --max-tokens 0"), "\n");
}

#[test]
fn temperature_0_ignores_the_seed_and_is_what_top_k_1_draws() {
    let test_dir = TestDir::with_run();
    let greedy = sample(&test_dir, "--temperature 0 --seed 1");
    assert_eq!(sample(&test_dir, "--temperature 0 --seed 2"), greedy);
    assert_eq!(sample(&test_dir, "--temperature 1.5 --top-k 1"), greedy);
    assert_ne!(sample(&test_dir, "--temperature 1.5"), greedy);
}

#[test]
fn filters_that_leave_one_token_are_greedy() {
    let test_dir = TestDir::with_run();
    let greedy = sample(&test_dir, "--temperature 0");
    for filters in ["--top-p 0 --temperature 1.5", "--min-p 1 --temperature 1.5", "--temperature 1e-9"] {
        assert_eq!(sample(&test_dir, filters), greedy, "{filters}");
    }
    assert_eq!(sample(&test_dir, "--temperature 0 --typical-p 0 --top-p 0 --min-p 1"), greedy);
}

#[test]
fn what_is_banned_never_comes_and_what_is_favoured_always_does() {
    let test_dir = TestDir::with_run();
    let hot = continuation(&sample(&test_dir, "--temperature 3")).to_owned();
    assert!(hot.contains('e') && hot.contains('o'), "the premise: {hot:?}");
    let without = sample(&test_dir, "--temperature 3 --ban e --ban o");
    assert!(!continuation(&without).contains(['e', 'o']), "{without:?}");
    let id = |token: char| {
        let tokenizer: serde_json::Value =
            serde_json::from_str(&test_dir.read("run/step-000006/tokenizer.json")).expect("JSON");
        tokenizer["model"]["vocab"][token.to_string()].as_u64().expect("an id")
    };
    let by_id = format!("--temperature 3 --ban-id {} --logit-bias {}=-inf", id('e'), id('o'));
    assert_eq!(sample(&test_dir, &by_id), without);
    let favoured = sample(&test_dir, &format!("--logit-bias {}=100", id('x')));
    assert_eq!(continuation(&favoured), "x".repeat(60));
}

#[test]
fn penalties_keep_a_text_from_repeating_itself() {
    let test_dir = TestDir::with_run();
    let kinds = |options: &str| {
        let text = sample(&test_dir, &format!("--temperature 0 {options}"));
        let kinds: std::collections::BTreeSet<char> = continuation(&text).chars().collect();
        kinds.len()
    };
    let plain = kinds("");
    for penalty in ["--repetition-penalty 50", "--presence-penalty 100", "--frequency-penalty 100"] {
        assert!(kinds(penalty) > plain, "{penalty}: {} and {plain} kinds", kinds(penalty));
    }
    assert_eq!(kinds("--presence-penalty -100"), 1, "a reward for what was said");
    assert!(kinds("--presence-penalty 100 --penalty-last-n 1") < kinds("--presence-penalty 100"));
}

/// What `sample run` prints to stdout and stderr.
fn sample_and_report(test_dir: &TestDir, options: &str, stops: &[&str]) -> (String, String) {
    let mut command = test_dir.tril(&format!("sample run --max-tokens 60 {options}"));
    command.args(["--prompt", PROMPT]).args(stops.iter().flat_map(|stop| ["--stop", stop]));
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    let utf8 = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (utf8(output.stdout), utf8(output.stderr))
}

#[test]
fn nothing_is_shown_from_a_stop_text_on_and_the_last_line_names_it() {
    let test_dir = TestDir::with_run();
    let whole = sample(&test_dir, "");
    let whole = continuation(&whole);
    for (begin, len) in [(0, 1), (7, 3), (30, 12), (59, 1), (40, 20)] {
        let stop: String = whole.chars().skip(begin).take(len).collect();
        let (text, report) = sample_and_report(&test_dir, "", &["never", &stop, "…"]);
        assert_eq!(continuation(&text), &whole[..whole.find(&stop).expect("it is there")], "{stop:?}");
        assert!(report.contains(&format!("; stopped by: stop text {stop:?}]")), "{report}");
    }
}

#[test]
fn a_stop_text_that_only_begins_is_shown_in_the_end() {
    let test_dir = TestDir::with_run();
    let whole = sample(&test_dir, "");
    let stop = format!("{}and more", &continuation(&whole)[50..]);
    let (text, report) = sample_and_report(&test_dir, "", &[&stop]);
    assert_eq!(text, whole);
    assert!(report.contains("[60 tokens") && report.contains("; stopped by: max tokens]"), "{report}");
}

#[test]
fn a_stop_text_in_the_prompt_or_begun_by_it_stops_nothing() {
    let test_dir = TestDir::with_run();
    let whole = sample(&test_dir, "");
    let begun = format!("sa{}", &continuation(&whole)[..1]);
    assert!(!continuation(&whole).contains(PROMPT) && !continuation(&whole).contains(&begun), "the premise: {whole:?}");
    assert_eq!(sample_and_report(&test_dir, "", &[PROMPT, &begun]).0, whole);
}

#[test]
fn no_tokens_are_as_many_as_were_asked_for() {
    let output = TestDir::with_run().tril("sample run --max-tokens 0 --stop a").output().expect("it runs");
    let report = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(report.contains("[0 tokens") && report.contains("; stopped by: max tokens]"), "{report}");
}

#[test]
fn the_last_line_tells_of_several_samples_which_were_stopped_by_what() {
    let test_dir = TestDir::new();
    test_dir.stdout(TRAIN_DOCUMENTS);
    let tokenizer: Value = serde_json::from_str(&test_dir.read("run/step-000006/tokenizer.json")).expect("JSON");
    let end_of_text = tokenizer["added_tokens"][0]["id"].as_u64().expect("an id");
    // So that a text of 60 tokens ends or meets an e or neither.
    let options = format!("--temperature 3 --num-samples 12 --logit-bias {end_of_text}=1");
    let (text, report) = sample_and_report(&test_dir, &options, &["e"]);
    let report = report.trim_end().rsplit_once("; stopped by: ").expect("reasons").1;
    for reason in ["end of text (sample", "stop text \"e\" (sample"] {
        assert!(report.contains(reason), "{report}");
    }
    assert_eq!(text.split(RULE).count(), 12);
    assert!(text.split(RULE).all(|text| !text[PROMPT.len()..].contains('e')), "{text}");
    let (text, report) = sample_and_report(&test_dir, &format!("--logit-bias {end_of_text}=100"), &["e"]);
    assert_eq!(continuation(&text), "");
    assert!(report.contains("[0 tokens") && report.contains("; stopped by: end of text]"), "{report}");
    let (_, report) = sample_and_report(&test_dir, "--ban <|endoftext|> --num-samples 2", &[]);
    assert!(report.contains("[120 tokens") && report.contains("; stopped by: max tokens (samples 1-2)]"), "{report}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let test_dir = TestDir::with_run();
    // So many that it does not end before the reader does.
    let mut command = test_dir.process("sample run --max-tokens 100000000");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut first = [0; 10];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("ten bytes"); // and the pipe is closed
    let output = wait(child);
    assert!(output.status.success(), "{:?}", output.status);
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(!stderr.contains("error") && !stderr.contains("panicked"), "{stderr}");
}

/// Chinese sentences that repeat with variations; more characters than the vocabulary has room for.
fn chinese() -> String {
    let who = ["小猫", "老狐狸", "我的外甥女", "一只乌鸦", "邻居的狗"];
    let what = ["看见了", "丢了", "画出", "卖掉", "找到", "想念"];
    let which = ["三只麻雀", "红风筝", "咖啡馆", "细雨", "谁也没有"];
    let sentence = |i: usize| format!("{}{}{}。\n", who[i * 3 % 5], what[i * i % 6], which[(i + i / 7) % 5]);
    (0..150).map(sentence).collect()
}

#[test]
fn chinese_in_byte_pairs_comes_out_in_whole_characters() {
    let test_dir = TestDir::new();
    test_dir.write("text.txt", chinese());
    let tokens = "--set tokenizer.kind=bpe --set tokenizer.vocab_size=290 --set model.d_model=32";
    let rates = "--set train.steps=200 --set train.eval_interval=200 --set train.checkpoint_interval=200 \
        --set optimizer.learning_rate=2e-2 --set sample.temperature=0";
    test_dir.stdout(&format!("{TRAIN} {tokens} {rates}"));
    let mut cut = 0;
    for max_tokens in 20..40 {
        let text = test_dir.stdout(&format!("sample run --temperature 0 --prompt 小猫 --max-tokens {max_tokens}"));
        let text = text.strip_suffix('\n').expect("a newline at the end");
        // The last character may be cut in the middle, and is then one replacement character.
        let whole = text.strip_suffix(char::REPLACEMENT_CHARACTER).unwrap_or(text);
        cut += usize::from(whole != text);
        assert!(!whole.contains(char::REPLACEMENT_CHARACTER), "{text:?}");
        assert!(whole.chars().all(|char| chinese().contains(char)), "{text:?}");
        assert!(whole.starts_with("小猫") && whole.chars().count() > 5, "{text:?}");
    }
    assert!(cut > 0, "no character was longer than a token, so this shows nothing: make the vocabulary smaller");
}
