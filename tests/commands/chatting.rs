//! `tril chat` with lines from a pipe: what it answers, what commands change, what it says about mistakes.

use super::test_dir::*;

/// Ends within a word of the training text, so that there is something to go on with.
const LINE: &str = "the old fox sa";

/// What a chat prints to stdout and stderr.
fn chat(test_dir: &TestDir, options: &str, lines: &[&str]) -> (String, String) {
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let max_tokens = if options.contains("--max-tokens") { "" } else { "--max-tokens 20" };
    let mut command = test_dir.tril(&format!("chat run {max_tokens} {options}"));
    let output = command.write_stdin(input).output().expect("it runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{stderr}");
    (String::from_utf8(output.stdout).expect("UTF-8"), stderr)
}

fn answers(test_dir: &TestDir, options: &str, lines: &[&str]) -> String {
    chat(test_dir, options, lines).0
}

#[test]
fn an_answer_is_what_sample_writes_after_the_line() {
    let test_dir = TestDir::with_run();
    for index in [0, 1] {
        let mut sample = test_dir.tril(&format!("sample run --max-tokens 20 --sample-index {index}"));
        let sample = stdout(sample.args(["--prompt", LINE]));
        let options = format!("--sample-index {index}");
        assert_eq!(format!("{LINE}{}", answers(&test_dir, &options, &[LINE])), sample);
    }
    assert_eq!(answers(&test_dir, "", &[""]), test_dir.stdout("sample run --max-tokens 20"));
    assert_eq!(answers(&test_dir, "", &[]), "");
}

#[test]
fn commands_go_back_and_change_what_comes() {
    let test_dir = TestDir::with_run();
    let get = |lines: &[&str]| answers(&test_dir, "", lines);
    let (first, other) = (get(&[LINE]), answers(&test_dir, "--sample-index 1", &[LINE]));
    assert_eq!(get(&[LINE, "/regen"]), format!("{first}{other}"));
    assert_eq!(get(&[LINE, "/undo", LINE]), first.repeat(2));
    assert_eq!(get(&["a cat", &format!("/edit {LINE}")]), format!("{}{first}", get(&["a cat"])));
    let cold = answers(&test_dir, "--temperature 0", &[LINE]);
    assert_eq!(get(&["/set temperature 0", LINE, "/set temperature", "/undo", LINE]), format!("{cold}{first}"));
    assert_eq!(get(&[LINE, "/quit", LINE]), first);
    let long = answers(&test_dir, "--max-tokens 60", &[LINE]);
    assert_eq!(get(&[LINE, "", ""]).replace('\n', ""), long.replace('\n', ""));
}

#[test]
fn mistakes_are_told_one_by_one_and_the_chat_goes_on() {
    let test_dir = TestDir::with_run();
    let answer = answers(&test_dir, "", &[LINE]);
    for (line, told) in [
        ("/udno", "/udno is not a command"),
        ("/undo", "there is no line to go back to"),
        ("/regen", "there is no line to go back to"),
        ("/edit", "there is no line to go back to"),
        ("/set temperature hot", "hot"),
        ("/set heat 1", "no setting heat"),
        ("/save", "name the file"),
        ("/save .", "is a directory"),
        ("/save text.txt", "already exists"),
        ("/save no/such/place.txt", "no directory no/such"),
        ("a 猫", "the vocabulary lacks"),
    ] {
        let (stdout, stderr) = chat(&test_dir, "", &[line, LINE]);
        assert_eq!(stdout, answer, "{line}");
        assert!(stderr.starts_with("error: ") && stderr.contains(told), "{line}: {stderr}");
        assert_eq!(stderr.matches("error").count(), 1, "{line}: {stderr}");
        assert_eq!(stderr.lines().count(), 2, "{line}: {stderr}");
    }
    let (stdout, stderr) = chat(&test_dir, "", &[LINE, "/edit"]);
    assert_eq!(stdout, answer);
    assert_says(&stderr, &["after /edit"]);
    let mut command = test_dir.tril("chat run --max-tokens 20");
    let output = command.write_stdin([b"\xff\xfe\n", LINE.as_bytes(), b"\r\n"].concat()).output().expect("it runs");
    assert_eq!(String::from_utf8(output.stdout).expect("UTF-8"), answer);
    assert_says(&String::from_utf8_lossy(&output.stderr), &["error: line 1 of standard input is not UTF-8"]);
}

#[test]
fn help_and_settings_are_printed_beside_the_text() {
    let (stdout, stderr) = chat(&TestDir::with_run(), "--top-k 3", &["/help", "/set", "/set seed 8", "/set seed"]);
    assert_eq!(stdout, "");
    for command in ["/undo", "/regen", "/edit", "/set NAME VALUE", "/save FILE", "/quit"] {
        assert!(stderr.contains(command), "{stderr}");
    }
    assert_says(
        &stderr,
        &["max-tokens         20\n", "top-k              3\n", "seed               8\nseed               1337\n"],
    );
}

#[test]
fn the_text_is_saved_whole_and_another_file_is_never_lost() {
    let test_dir = TestDir::with_run();
    let lines = [LINE, " and then", "/save story.txt", "/undo", "/save story.txt", "/save copy of it.txt"];
    let (text, stderr) = chat(&test_dir, "", &lines);
    let first = answers(&test_dir, "", &[LINE]);
    let second = text.strip_prefix(&first).expect("the first answer");
    let whole = format!("{LINE}{} and then{second}", &first[..first.len() - 1]);
    assert_eq!(test_dir.read("story.txt"), format!("{LINE}{first}"));
    assert_eq!(test_dir.read("copy of it.txt"), test_dir.read("story.txt"));
    assert_says(&stderr, &[&format!("[{} characters in story.txt]", whole.chars().count())]);
    assert!(chat(&test_dir, "", &["/save story.txt"]).1.contains("already exists"));
    let files = std::fs::read_dir(test_dir.path(".")).expect("a directory").count();
    assert_eq!(files, 5, "run, recipe, text and two stories");
}

#[test]
fn a_full_context_is_told_once() {
    let test_dir = TestDir::new();
    test_dir.stdout(&format!("{TRAIN} --set model.positions=learned --set model.window=0"));
    let (_, stderr) = chat(&test_dir, "", &["a cat", "saw", "the old fox"]);
    assert_eq!(stderr.matches("the context of 16 tokens is full").count(), 1, "{stderr}");
    assert_eq!(stderr.matches("[20 tokens, as many as were asked for; press Enter").count(), 3, "{stderr}");
}

#[test]
fn chinese_goes_in_and_comes_out_in_whole_characters() {
    let test_dir = TestDir::new();
    let who = ["小猫", "老狐狸", "我的外甥女", "一只乌鸦"];
    let text: String = (0..200).map(|i| format!("{}看见了{}。\n", who[i * 3 % 4], who[(i + i / 7) % 4])).collect();
    test_dir.write("text.txt", text);
    let rates = "--set train.steps=120 --set train.eval_interval=120 --set optimizer.learning_rate=2e-2";
    test_dir.stdout(&format!("{TRAIN} --set tokenizer.kind=byte --set model.d_model=32 {rates}"));
    // Tokens are bytes, so most answers of this length end within a character.
    let lines: Vec<&str> = std::iter::once("小猫看见").chain([""; 12]).collect();
    let (text, _) = chat(&test_dir, "--max-tokens 5 --temperature 0.1", &lines);
    let whole = answers(&test_dir, "--max-tokens 36 --temperature 0.1", &["小猫看见"]);
    let (text, whole) = (text.replace('\n', ""), whole.replace('\n', ""));
    assert!(!whole.contains(char::REPLACEMENT_CHARACTER) && whole.chars().count() > 8, "the premise: {whole}");
    assert!(text.starts_with(&whole), "{text}\n{whole}");
}

#[test]
fn a_template_and_sound_markers_are_asked_for() {
    let test_dir = TestDir::with_run();
    assert_says(
        &test_dir.refused_command(test_dir.tril("chat run").args(["--format", "Q:"])),
        &["--format", "{} once"],
    );
    assert_says(
        &test_dir.refused_command(test_dir.tril("chat run").args(["--hide", "", ")"])),
        &["--hide", "marker is empty"],
    );
    assert_says(&test_dir.refused("chat run --max-tokens 2.5"), &["--max-tokens", "inf for no end"]);
    assert_says(&test_dir.refused("chat nowhere"), &["nowhere"]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_an_answer_and_not_the_chat() {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    let test_dir = TestDir::with_run();
    let mut process = test_dir.process("chat run --max-tokens inf");
    let piped = process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("it starts");
    let (mut stdin, mut stdout) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    writeln!(stdin, "{LINE}").expect("a reader");
    let mut first = [0; 500];
    stdout.read_exact(&mut first).expect("an answer");
    let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(signalled.success());
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        stdout.read_to_end(&mut rest).map(|_| rest)
    });
    write!(stdin, "/set max-tokens 7\n\n/quit\n").expect("a reader");
    let output = wait(child);
    let report = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_says(
        &report,
        &[
            ", then stopped; press Enter to go on, or type what comes next]",
            "[7 tokens, as many as were asked for; press",
        ],
    );
    let text = String::from_utf8([&first[..], &reader.join().expect("no panic").expect("a pipe")].concat());
    let whole = test_dir.tril("sample run --max-tokens 600").args(["--prompt", LINE]).output().expect("it runs").stdout;
    assert!(text.expect("UTF-8").starts_with(&String::from_utf8_lossy(&whole)[LINE.len()..LINE.len() + 500]));
}
