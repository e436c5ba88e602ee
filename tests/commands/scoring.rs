//! `tril score`: its numbers are those of `eval`, every token is there in each form, and no text breaks one.

use serde_json::Value;

use super::test_dir::*;

/// Trains on bytes, so that letters beyond ASCII are several tokens.
const BYTES: &str = "--force --set tokenizer.kind=byte";

/// Text that would act on a terminal or on a page.
const HOSTILE: &str = "a\u{1b}[31m<script>alert(\"x\")</script> &amp; 明月幾時有\t'\u{202e}\r\nZoë\u{0}";

fn json(output: &str) -> Value {
    serde_json::from_str(output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

fn tokens(scored: &Value) -> &Vec<Value> {
    scored["tokens"].as_array().unwrap_or_else(|| panic!("tokens: {scored}"))
}

fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or_else(|| panic!("no number `{field}` in {value}"))
}

/// A run on bytes, and a file with a text that no other form of a tokenizer would take.
fn with_bytes(text: &str) -> TestDir {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} {BYTES}"));
    test_dir.write("odd.txt", text);
    test_dir
}

/// What a terminal would show: the output without its colours.
fn without_colours(output: &str) -> String {
    let mut shown = String::new();
    for (index, part) in output.split("\u{1b}[").enumerate() {
        shown.push_str(if index == 0 { part } else { part.split_once('m').expect("a colour and nothing else").1 });
    }
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    shown
}

#[test]
fn the_summary_is_what_eval_measures_and_the_mean_of_the_tokens() {
    let test_dir = TestDir::with_run();
    let scored = json(&test_dir.stdout("score run text.txt --json"));
    let measured = json(&test_dir.stdout("eval run text.txt --json"));
    for field in ["loss", "perplexity", "bits_per_byte", "tokens", "bytes"] {
        let (found, expected) = (number(&scored["summary"], field), number(&measured, field));
        assert!((found / expected - 1.0).abs() < 1e-10, "{field}: {found}, but eval says {expected}");
    }
    let tokens = &tokens(&scored)[1..];
    let mean = |field: &str| tokens.iter().map(|token| number(token, field)).sum::<f64>() / tokens.len() as f64;
    assert!((mean("logprob") + number(&measured, "loss")).abs() < 1e-10);
    assert!((mean("entropy") - number(&scored["summary"], "entropy")).abs() < 1e-10);
    let first = tokens.iter().filter(|token| token["rank"] == 1).count() as f64 / tokens.len() as f64;
    assert!((first - number(&scored["summary"], "first_choice")).abs() < 1e-10);
    assert!(first < number(&scored["summary"], "first_five"));
}

#[test]
fn every_token_of_the_file_is_there_with_its_place_and_the_first_is_predicted_by_nothing() {
    let test_dir = TestDir::with_run(); // contexts of 16 characters
    let scored = json(&test_dir.stdout("score run text.txt --json"));
    let text = text();
    let tokens = tokens(&scored);
    assert_eq!(tokens.len(), text.chars().count());
    for (index, (token, (at, character))) in tokens.iter().zip(text.char_indices()).enumerate() {
        assert_eq!(token["bytes"], serde_json::json!([at, at + character.len_utf8()]), "{token}");
        assert_eq!(token["text"], Value::from(character.to_string()));
        let expected = if index == 0 { 0 } else { (index - 1) % 16 + 1 };
        assert_eq!(token["context"], Value::from(expected), "token {index}: {token}");
        for field in ["logprob", "rank", "entropy"] {
            assert_eq!(token[field].is_null(), index == 0, "token {index}: {token}");
        }
    }
    assert_eq!(scored["summary"]["windows"], Value::from((tokens.len() - 1).div_ceil(16)));
}

#[test]
fn columns_have_a_row_a_token_with_the_numbers_of_the_json() {
    let test_dir = TestDir::with_run();
    test_dir.write("short.txt", "a cat saw some rain (3).\nthe");
    let (plain, json) = (test_dir.stdout("score run short.txt"), json(&test_dir.stdout("score run short.txt --json")));
    let mut rows = plain.lines().skip_while(|line| !line.contains("logprob")).skip(1);
    for token in tokens(&json) {
        let row = rows.next().unwrap_or_else(|| panic!("a row for {token}: {plain}"));
        let fields: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(fields[..2], [token["bytes"][0].to_string(), token["context"].to_string()], "{row}");
        let expected = match token["logprob"].as_f64() {
            Some(logprob) => {
                [format!("{logprob:.4}"), token["rank"].to_string(), format!("{:.4}", number(token, "entropy"))]
            }
            None => ["-", "-", "-"].map(str::to_owned),
        };
        assert_eq!(fields[2..5], expected, "{row}");
    }
    assert_eq!(rows.next(), Some(""), "no more rows than tokens: {plain}");
    assert_says(&plain, &["nothing predicts it", "most surprising", "2 windows, each from an empty context", "\"↵\""]);
    assert_says(&plain, &["short.txt under run", &format!("{:.4} nats a token", number(&json["summary"], "loss"))]);
    assert!(!plain.contains('\u{1b}'), "no colours where there is no terminal");
}

#[test]
fn colours_change_nothing_in_the_text_and_obey_the_usual_rules() {
    let test_dir = TestDir::with_run();
    test_dir.write("short.txt", "a cat saw some rain (3).\nthe");
    let coloured = test_dir.stdout("score run short.txt --color always");
    assert!(coloured.contains("\u{1b}[48;5;"), "256 colours unless the terminal promises more: {coloured:?}");
    let shown = without_colours(&coloured);
    assert_says(
        &shown,
        &["\na cat saw some ra│in (3).↵\nthe\n", "a window of 16 tokens begins", "nothing predicts it"],
    );
    assert!(coloured.contains("\u{1b}[4ma\u{1b}[0m"), "the first is marked: {coloured:?}");

    let command = |variables: &[(&str, &str)]| {
        let mut command = test_dir.tril("score run short.txt");
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM"] {
            command.env_remove(name);
        }
        stdout(command.env("TERM", "xterm").envs(variables.iter().copied()))
    };
    assert!(!command(&[]).contains('\u{1b}'), "a pipe is no terminal");
    assert!(command(&[("CLICOLOR_FORCE", "1"), ("COLORTERM", "truecolor")]).contains("\u{1b}[48;2;"));
    let mut command = test_dir.tril("score run short.txt --color never");
    assert!(!stdout(command.env("CLICOLOR_FORCE", "1")).contains('\u{1b}'));
}

#[test]
fn characters_of_several_tokens_are_whole_and_control_characters_are_shown_as_what_they_are() {
    let test_dir = with_bytes(HOSTILE);
    let scored = json(&test_dir.stdout("score run odd.txt --json"));
    let tokens = tokens(&scored);
    assert_eq!(tokens.len(), HOSTILE.len(), "a token a byte");
    let moon = HOSTILE.find('明').expect("in the text");
    assert_eq!(tokens[moon]["text"], "<0xE6>");
    assert_eq!(tokens[moon + 2]["bytes"], serde_json::json!([moon + 2, moon + 3]));

    let shown = without_colours(&test_dir.stdout("score run odd.txt --color always")).replace('│', "");
    assert_says(&shown, &["a␛[31m<script>", "明月幾時有⇥   '\\u{202e}␍↵\nZoë␀"]);
    let plain = test_dir.stdout("score run odd.txt");
    assert_says(&plain, &["\"<0xE6>\"", "\"␛\"", "\"␀\""]);
    for output in [shown, plain] {
        assert!(!output.contains(['\u{1b}', '\u{0}', '\r', '\t', '\u{202e}', '\u{fffd}']), "{output:?}");
    }
}

#[test]
fn the_page_needs_nothing_else_and_holds_the_text_escaped() {
    let test_dir = with_bytes(HOSTILE);
    let said = test_dir.stdout("score run odd.txt --html page.html");
    assert_says(&said, &["odd.txt under run", "nats a token", "page.html"]);
    let page = test_dir.read("page.html");
    for outside in ["://", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(outside), "`{outside}` in the page");
    }
    assert_eq!(page.matches("<script").count(), 1, "that of the page alone");
    assert!(!page.contains(['\u{1b}', '\u{0}', '\u{202e}', '\u{fffd}']));
    let body =
        page.split_once("<div id=\"text\">").and_then(|(_, rest)| rest.split_once("</div>")).expect("the text").0;
    let (mut text, mut told) = (String::new(), Vec::new());
    for part in body.split('<').filter(|part| !part.is_empty()) {
        let (tag, shown) = part.split_once('>').unwrap_or_else(|| panic!("a whole tag: {part}"));
        text.push_str(shown);
        told.extend(tag.split_once("data-t=\"").map(|(_, told)| told.trim_end_matches('"')));
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    assert_says(
        &text.replace("&amp;", "&"),
        &["a␛[31m<script>alert(\"x\")</script> &amp; 明月幾時有⇥   '\\u{202e}␍\nZoë␀"],
    );
    assert_eq!(told.len(), HOSTILE.chars().count(), "one cell a character");
    let moon = told.iter().find(|told| told.starts_with("&quot;&lt;0xE6")).expect("a cell for 明");
    assert_says(moon, &["0x98", "0x8E"]);
    for (index, told) in told.iter().enumerate().skip(1) {
        assert_says(told, &["log p -", "rank ", "entropy ", "context ", "\n5. "]);
        assert!(index == 0 || !told.contains("nothing predicts"), "{told}");
    }
    assert_says(told[0], &["nothing predicts it"]);
    assert_says(&page, &["prefers-color-scheme: dark", "class=\"legend\"", "Content-Security-Policy"]);
    assert_eq!(
        std::fs::read_dir(test_dir.path(".")).expect("a directory").count(),
        5,
        "nothing is left beside the page"
    );
}

#[test]
fn a_text_from_standard_input_is_scored_as_from_a_file() {
    let test_dir = TestDir::with_run();
    let from_stdin = json(&stdout(test_dir.tril("score run - --json").write_stdin(text())));
    let from_file = json(&test_dir.stdout("score run text.txt --json"));
    assert_eq!((&from_stdin["tokens"], &from_stdin["summary"]), (&from_file["tokens"], &from_file["summary"]));
    assert_eq!(from_stdin["file"], "standard input");
}

#[test]
fn weights_that_give_no_number_are_no_success() {
    let test_dir = TestDir::with_run();
    test_dir.spoil_weights();
    assert_says(&test_dir.refused("score run text.txt --html page.html"), &["NaN", "damaged"]);
}
