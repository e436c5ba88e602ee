//! Corpora by name: what `data fetch` does where a source, a network or a disk fails, and that a name is a text like any other.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::file_server::*;
use super::test_dir::*;

/// Some 300 kB that repeat nowhere.
fn body() -> Vec<u8> {
    (0..30_000).map(|i| format!("line {i}\n")).collect::<String>().into_bytes()
}

/// A directory with a table in which the corpus `lines` is had from an address.
fn with_table(url: &str, extra: &str) -> TestDir {
    let test_dir = TestDir::new();
    write_table(&test_dir, url, extra);
    test_dir
}

fn write_table(test_dir: &TestDir, url: &str, extra: &str) {
    let body = body();
    let sha256: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let head = "about = \"lines\\u001b[31m\"\nlicense = \"none\"\nsource = \"a test\"";
    let file = format!("name = \"lines.txt\"\nurl = \"{url}\"\nbytes = {}\nsha256 = \"{sha256}\"", body.len());
    test_dir.write("table.toml", format!("[lines]\n{head}\n{extra}\n[[lines.files]]\n{file}\n"));
}

/// The binary, with the table and without what the environment says of proxies.
fn tril(test_dir: &TestDir, arguments: &str) -> Command {
    let mut command = test_dir.tril(arguments);
    command.env("TRIL_CORPORA", "table.toml");
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

/// Runs what must succeed; what it says on both outputs.
fn fetched(test_dir: &TestDir, arguments: &str) -> String {
    let output = tril(test_dir, arguments).output().expect("it runs");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("UTF-8");
    assert!(output.status.success(), "{said}");
    assert_eq!(std::fs::read(corpus(test_dir)).expect("the corpus"), body());
    assert!(!partial(test_dir).exists(), "nothing is left beside it");
    said
}

/// Runs what must fail through no fault of the command line: exit code 1, one message.
fn failed(command: &mut Command) -> String {
    let output = command.output().expect("it runs");
    let message = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(message.matches("error: ").count(), 1, "{message}");
    assert_eq!(output.stdout, b"", "{message}");
    message
}

fn corpus(test_dir: &TestDir) -> PathBuf {
    test_dir.path("cache/corpora/lines/lines.txt")
}

fn partial(test_dir: &TestDir) -> PathBuf {
    test_dir.path("cache/corpora/lines/.lines.txt.partial")
}

/// From which bytes on a server was asked.
fn asked_from(server: &FileServer) -> Vec<Option<usize>> {
    server.requests().iter().map(|request| request.from).collect()
}

#[test]
fn a_corpus_is_fetched_once_and_its_name_is_a_text_everywhere() {
    let server = FileServer::start(|request| Answer::asked(&body(), request));
    let test_dir = with_table(&server.url("lines"), "separator = \"\\n\"");
    let listed = |test_dir: &TestDir| stdout(&mut tril(test_dir, "data list"));
    assert_says(&listed(&test_dir), &["lines", "0.32 MB  not fetched", "tinyshakespeare"]);
    assert!(!listed(&test_dir).contains('\u{1b}'), "what a table says has no power over a terminal");
    assert_says(&fetched(&test_dir, "data fetch lines"), &["fetching lines, 318,890 bytes", "train --data lines"]);
    assert_says(&listed(&test_dir), &["0.32 MB  fetched"]);
    fetched(&test_dir, "data fetch lines");
    assert_eq!(asked_from(&server), [None], "what is there is not fetched again");

    let stats = |source: &str| -> Value {
        serde_json::from_str(&stdout(&mut tril(&test_dir, &format!("data stats {source} --json")))).expect("JSON")
    };
    let by_name = stats("lines");
    assert_eq!((&by_name["documents"], &by_name["name"]), (&Value::from(30_000), &Value::from("lines")));
    let path = "cache/corpora/lines/lines.txt";
    assert_eq!(by_name["chars"], stats(&format!("{path} --separator \\n"))["chars"]);
    assert_eq!(stats("lines --separator 7")["documents"], stats(&format!("{path} --separator 7"))["documents"]);

    stdout(&mut tril(&test_dir, "train smoke.toml --data lines --out run --steps 2 --set tokenizer.kind=char"));
    let evaluated = stdout(&mut tril(&test_dir, "eval run lines --json"));
    let of_path = stdout(&mut tril(&test_dir, &format!("eval run {path} --separator \\n --json")));
    assert_eq!(evaluated, of_path);
    stdout(&mut tril(&test_dir, "train --resume run --steps 3"));

    assert_says(&fetched(&test_dir, "data cache --clear"), &["corpora that were fetched stay", "--clear --corpora"]);
    let cleared = stdout(&mut tril(&test_dir, "data cache --clear --corpora"));
    assert!(cleared.contains("the corpus lines") && !cleared.contains("stay"), "{cleared}");
    assert!(!corpus(&test_dir).exists());
}

#[test]
fn what_is_not_here_is_not_fetched_unasked_and_the_message_says_how() {
    let server = FileServer::start(|request| Answer::asked(&body(), request));
    let test_dir = TestDir::with_run();
    write_table(&test_dir, &server.url("lines"), "");
    for command in [
        "train --data lines",
        "train lines",
        "train --data lines --dry-run",
        "data stats lines",
        "eval run lines",
        "score run lines",
        "prove run --text lines",
    ] {
        let message = test_dir.refused_command(&mut tril(&test_dir, command));
        assert_says(&message, &["corpus `lines`", "`tril data fetch lines` downloads its 0.32 MB"]);
    }
    assert_eq!(server.requests().len(), 0);
    assert_says(
        &test_dir.refused_command(&mut tril(&test_dir, "data fetch lins")),
        &["lins", "there are lines, names"],
    );
    assert_says(&test_dir.refused_command(&mut tril(&test_dir, "data fetch lines tales")), &["embedded"]);
    assert_says(&test_dir.refused_command(&mut tril(&test_dir, "train --data lins")), &["tales, lines, names"]);
}

#[test]
fn a_file_by_the_name_of_a_corpus_is_read_with_a_word() {
    let server = FileServer::start(|request| Answer::asked(&body(), request));
    let test_dir = with_table(&server.url("lines"), "");
    fetched(&test_dir, "data fetch lines");
    test_dir.write("lines", "another text");
    let output = tril(&test_dir, "data stats lines --json").output().expect("it runs");
    assert_says(&String::from_utf8_lossy(&output.stderr), &["lines is here as a file"]);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["bytes"], 12);
    std::fs::remove_file(test_dir.path("lines")).expect("removed");
    std::fs::write(corpus(&test_dir), vec![b'x'; body().len()]).expect("written");
    let message = test_dir.refused_command(&mut tril(&test_dir, "data stats lines"));
    assert_says(&message, &["has changed since it was fetched", "`tril data fetch lines` gets it anew"]);
    fetched(&test_dir, "data fetch lines");
}

#[test]
fn a_source_that_ends_early_is_asked_for_the_rest() {
    let server = FileServer::start(|request| match request.number {
        0 => Answer::asked(&body(), request).cut_off(100_000),
        1 => Answer::status("503 Service Unavailable"),
        2 => Answer::asked(&body(), request).cut_off(1000),
        _ => Answer::asked(&body(), request),
    });
    let test_dir = with_table(&server.url("lines"), "");
    assert_says(&fetched(&test_dir, "data fetch lines"), &["asking again", "503"]);
    assert_eq!(asked_from(&server), [None, Some(100_000), Some(100_000), Some(101_000)]);
}

#[test]
fn a_source_that_never_gives_more_is_given_up_and_the_next_try_goes_on() {
    let server = FileServer::start(|request| match request.number {
        0 => Answer::asked(&body(), request).cut_off(5000),
        1..=4 => Answer::status("502 Bad Gateway"),
        _ => Answer::asked(&body(), request),
    });
    let test_dir = with_table(&server.url("lines"), "");
    let message = failed(&mut tril(&test_dir, "data fetch lines"));
    assert_says(&message, &[&server.url("lines"), "it answers 502", "5000 of 318890 bytes are kept"]);
    fetched(&test_dir, "data fetch lines");
    assert_eq!(server.requests().last().and_then(|request| request.from), Some(5000));
}

#[test]
fn a_server_that_ignores_ranges_gives_the_whole_file_again() {
    let server = FileServer::start(|request| match request.number {
        0 => Answer::whole(&body()).cut_off(70_000),
        _ => Answer::whole(&body()),
    });
    let test_dir = with_table(&server.url("lines"), "");
    fetched(&test_dir, "data fetch lines");
    assert_eq!(asked_from(&server), [None, Some(70_000)]);
}

#[test]
fn what_was_kept_of_another_file_is_thrown_away() {
    let server = FileServer::start(|request| match request.from {
        Some(200_001) => Answer::status("416 Range Not Satisfiable"),
        _ => Answer::asked(&body(), request),
    });
    let test_dir = with_table(&server.url("lines"), "");
    for kept in [1000, 200_001, 318_890, 300_000] {
        std::fs::create_dir_all(test_dir.path("cache/corpora/lines")).expect("a directory");
        std::fs::write(partial(&test_dir), vec![b'?'; kept]).expect("written");
        fetched(&test_dir, "data fetch lines");
        std::fs::remove_file(corpus(&test_dir)).expect("removed");
    }
}

#[test]
fn what_is_not_the_file_is_refused_and_nothing_of_it_is_kept() {
    let mut other = body();
    other[77] ^= 1;
    let longer = [body(), b"more".to_vec()].concat();
    let unsaid = Answer { length: None, ..Answer::whole(&longer) };
    for (answer, expected) in [
        (Answer::whole(&other), "was expected"),
        (Answer::whole(&longer), "it has 318894 bytes, and 318890 were expected"),
        (unsaid, "it has more than the 318890 bytes that were expected"),
        (Answer::status("404 Not Found"), "it answers 404"),
        (Answer::status("403 Forbidden"), "it answers 403"),
    ] {
        let server = FileServer::start(move |_| answer.clone());
        let test_dir = with_table(&server.url("lines"), "");
        assert_says(&failed(&mut tril(&test_dir, "data fetch lines")), &[&server.url("lines"), expected]);
        assert_eq!(server.requests().len(), 1, "{expected}: asking again would not help");
        assert!(!corpus(&test_dir).exists(), "{expected}");
        assert!(!std::fs::metadata(partial(&test_dir)).is_ok_and(|kept| kept.len() > 0), "{expected}");
    }
}

#[test]
fn redirects_are_followed_and_one_that_leads_in_a_circle_ends() {
    let server = FileServer::start(|request| match request.target.as_str() {
        "/lines" => Answer::status("302 Found\r\nLocation: /moved"),
        "/moved" => Answer::status("307 Temporary Redirect\r\nLocation: /here"),
        "/circle" => Answer::status("301 Moved Permanently\r\nLocation: /circle"),
        _ => Answer::asked(&body(), request),
    });
    fetched(&with_table(&server.url("lines"), ""), "data fetch lines");
    let message = failed(&mut tril(&with_table(&server.url("circle"), ""), "data fetch lines"));
    assert_says(&message, &["it leads from one address to the next more than 10 times"]);
}

#[test]
fn a_source_that_keeps_silent_is_asked_again_and_then_given_up() {
    let server = FileServer::start(|request| Answer::asked(&body(), request).cut_off(100_000).silent());
    let test_dir = with_table(&server.url("lines"), "");
    let begin = Instant::now();
    let mut command = tril(&test_dir, "data fetch lines --timeout 0.3");
    // It gives something each time, so it is asked until it has given all.
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(begin.elapsed() < Duration::from_secs(60));
    let silent = FileServer::start(|_| Answer::whole(&body()).cut_off(0).silent());
    let nothing = FileServer::start(|_| {
        std::thread::sleep(Duration::from_secs(60));
        Answer::whole(b"")
    });
    for server in [silent, nothing] {
        let test_dir = with_table(&server.url("lines"), "");
        let begin = Instant::now();
        let message = failed(&mut tril(&test_dir, "data fetch lines --timeout 0.3"));
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
        assert_says(&message, &["kept silent for 0.3 s", "try again later"]);
    }
}

#[test]
fn without_a_network_the_message_says_so() {
    // Port 1 is drawn by no server of another test.
    let message = failed(&mut tril(&with_table("http://127.0.0.1:1/lines", ""), "data fetch lines"));
    assert_says(&message, &["refused", "try again later"]);
    let nowhere = "http://no-such-host.invalid/lines";
    let message = failed(&mut tril(&with_table(nowhere, ""), "data fetch lines --timeout 5"));
    assert_says(&message, &[nowhere]);
}

#[cfg(unix)]
#[test]
fn a_full_disk_ends_it_and_leaves_nothing_half_written() {
    let server = FileServer::start(|request| Answer::asked(&body(), request));
    let test_dir = with_table(&server.url("lines"), "");
    // No file may be longer than 64 or 128 blocks.
    let mut command = test_dir.shell("trap '' XFSZ; ulimit -f 128; exec tril data fetch lines");
    command.env("TRIL_CORPORA", "table.toml").env("NO_PROXY", "127.0.0.1");
    assert_says(&failed(&mut command), &[".lines.txt.partial: cannot write to it"]);
    assert!(!partial(&test_dir).exists() && !corpus(&test_dir).exists());
    fetched(&test_dir, "data fetch lines");
}

#[test]
fn of_two_fetches_at_once_one_waits_and_both_end_well() {
    let server = FileServer::start(|request| Answer::asked(&body(), request).slow(2000));
    let test_dir = with_table(&server.url("lines"), "");
    let processes: Vec<_> = (0..3)
        .map(|_| {
            let mut process = test_dir.process("data fetch lines");
            process.env("TRIL_CORPORA", "table.toml").env("NO_PROXY", "127.0.0.1");
            process.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it runs")
        })
        .collect();
    let said: Vec<String> = processes
        .into_iter()
        .map(|process| {
            let output = wait(process);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}");
            said
        })
        .collect();
    assert_eq!(server.requests().len(), 1, "one fetches: {said:?}");
    assert!(said.iter().any(|said| said.contains("another process fetches")), "{said:?}");
    assert_eq!(std::fs::read(corpus(&test_dir)).expect("the corpus"), body());
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_has_come_and_the_next_fetch_goes_on() {
    let server = FileServer::start(|request| {
        Answer::asked(&body(), request).slow(if request.number == 0 { 1000 } else { 100_000 })
    });
    let test_dir = with_table(&server.url("lines"), "");
    let mut process = test_dir.process("data fetch lines");
    process.env("TRIL_CORPORA", "table.toml").env("NO_PROXY", "127.0.0.1");
    let child = process.stderr(std::process::Stdio::piped()).spawn().expect("it runs");
    while !std::fs::metadata(partial(&test_dir)).is_ok_and(|kept| kept.len() > 20_000) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let output = wait(child);
    assert_eq!(output.status.code(), Some(130));
    assert_says(&String::from_utf8_lossy(&output.stderr), &["what has come is kept", "tril data fetch lines"]);
    let kept = std::fs::metadata(partial(&test_dir)).expect("kept").len() as usize;
    assert!((20_000..318_890).contains(&kept), "{kept}");
    fetched(&test_dir, "data fetch lines");
    assert_eq!(asked_from(&server), [None, Some(kept)]);
}

#[test]
fn a_proxy_of_the_environment_is_used_and_one_that_is_ruled_out_is_not() {
    let server = FileServer::start(|request| Answer::asked(&body(), request));
    let proxy = FileServer::start(|request| Answer::asked(&body(), request));
    let url = "http://corpora.invalid/lines";
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let test_dir = with_table(url, "");
        let output = tril(&test_dir, "data fetch lines").env(variable, proxy.url("")).output().expect("it runs");
        assert!(output.status.success(), "{variable}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(std::fs::read(corpus(&test_dir)).expect("the corpus"), body());
    }
    let asked = proxy.requests();
    assert!(asked.iter().any(|request| request.target.contains("corpora.invalid")), "{asked:?}");
    let test_dir = with_table(&server.url("lines"), "");
    let mut command = tril(&test_dir, "data fetch lines");
    command.env("ALL_PROXY", proxy.url("")).env("NO_PROXY", "127.0.0.1").assert().success();
    assert_eq!((server.requests().len(), proxy.requests().len()), (1, asked.len()));
}

#[test]
fn a_corpus_of_several_files_is_a_directory_and_a_table_that_is_not_sound_is_told() {
    let poems =
        |i: usize| serde_json::json!([{"lines": [format!("春{i}"), "花"]}, {"lines": [format!("秋{i}")]}]).to_string();
    let server = FileServer::start(move |request| {
        let number: usize = request.target[1..].parse().expect("a number");
        Answer::asked(poems(number).as_bytes(), request)
    });
    let test_dir = TestDir::new();
    let files: String = (0..3)
        .map(|i| {
            let (text, url) = (poems(i), server.url(&i.to_string()));
            let sha256: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
            format!(
                "[[poems.files]]\nname = \"{i}.json\"\nurl = \"{url}\"\nbytes = {}\nsha256 = \"{sha256}\"\n",
                text.len()
            )
        })
        .collect();
    let head = "[poems]\nabout = \"\"\nlicense = \"\"\nsource = \"\"\nfield = \"lines\"\n";
    test_dir.write("table.toml", format!("{head}{files}"));
    stdout(&mut tril(&test_dir, "data fetch poems"));
    let found: Value = serde_json::from_str(&stdout(&mut tril(&test_dir, "data stats poems --json"))).expect("JSON");
    assert_eq!((&found["documents"], &found["chars"]), (&Value::from(6), &Value::from(3 * 6)));
    test_dir.write("table.toml", format!("{head}{}", files.replace("http:", "ftp:")));
    let message = test_dir.refused_command(&mut tril(&test_dir, "data list"));
    assert_says(&message, &["table.toml: no sound table of corpora: [poems]", "is no address"]);
}
