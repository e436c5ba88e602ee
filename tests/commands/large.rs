//! Texts that are read in parts and kept as tokens: the same bits as in memory, with what is kept and without it. What a large
//! text is, `TRIL_LARGE_TEXT` says here.

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::Value;

use super::test_dir::*;

/// The binary, for which a text of so many bytes is large.
fn tril(test_dir: &TestDir, arguments: &str, large: usize) -> Command {
    let mut command = test_dir.tril(arguments);
    command.env("TRIL_LARGE_TEXT", large.to_string());
    command
}

/// What a run prints from its losses on: hashes of weights and of the optimizer's state above all.
fn trained(test_dir: &TestDir, arguments: &str, large: usize) -> String {
    let output = stdout(&mut tril(test_dir, &format!("{arguments} --verbose"), large));
    let losses = output.find("validation loss").unwrap_or_else(|| panic!("a loss: {output}"));
    output[losses..].to_owned()
}

/// The files that are kept of texts, with the names of their texts where they are tokens.
fn kept(test_dir: &TestDir) -> Vec<Value> {
    let listed: Value = serde_json::from_str(&test_dir.stdout("data cache --json")).expect("JSON");
    listed["files"].as_array().expect("a list").clone()
}

fn tokens(test_dir: &TestDir) -> Vec<PathBuf> {
    let is_tokens = |file: &&Value| file["kind"] == "tokens";
    let name = |file: &Value| file["name"].as_str().expect("a name").to_owned();
    kept(test_dir).iter().filter(is_tokens).map(|file| test_dir.path("cache/tokens").join(name(file))).collect()
}

#[test]
fn a_run_on_a_text_in_parts_ends_in_the_bits_of_one_in_memory_with_the_cache_and_without() {
    let test_dir = TestDir::new();
    fs::create_dir(test_dir.path("files")).expect("a directory");
    let part = |from: usize, length: usize| text().chars().skip(from).take(length).collect::<String>();
    for i in 0..40 {
        test_dir.write(&format!("files/{i}.txt"), format!("{i}: {}", part(i * 7, 400 + i * 9)));
    }
    let object = |i: usize| serde_json::json!({"body": part(i, 150 + 3 * i)}).to_string() + "\n";
    test_dir.write("lines.jsonl", (0..60).map(object).collect::<String>());
    let given = [
        ("text.txt", "--set tokenizer.kind=char"),
        ("text.txt", "--separator (0).\\n --set tokenizer.kind=bpe --set tokenizer.vocab_size=300"),
        ("files", "--set tokenizer.kind=byte"),
        ("lines.jsonl", "--field body --set tokenizer.kind=bpe --set tokenizer.vocab_size=300"),
    ];
    for (data, flags) in given {
        let train = format!(
            "train smoke.toml --data {data} --out run --force --set data.validation_fraction=0.13 \
             --set tokenizer.end_of_text=true {flags}"
        );
        let in_memory = trained(&test_dir, &train, usize::MAX);
        assert_eq!(kept(&test_dir), Vec::<Value>::new(), "a small text is not kept");
        assert_eq!(trained(&test_dir, &train, 1000), in_memory, "{data} {flags}");
        assert_eq!(tokens(&test_dir).len(), 1, "{data} {flags}");
        assert_eq!(trained(&test_dir, &train, 1000), in_memory, "from the cache: {data} {flags}");
        let evaluation = |large| {
            let flags: Vec<&str> = flags.split(" --set").take(1).filter(|flag| !flag.contains("kind")).collect();
            stdout(&mut tril(&test_dir, &format!("eval run {data} {} --json", flags.concat()), large))
        };
        assert_eq!(evaluation(1000), evaluation(usize::MAX), "{data} {flags}");
        // Stopped, its cache cleared, and resumed.
        let first = format!("{train} --steps 3").replace("--out run", "--out half");
        stdout(&mut tril(&test_dir, &first, 1000));
        assert_says(&test_dir.stdout("data cache"), &["tokens of", "MB in"]);
        assert_says(&test_dir.stdout("data cache --clear"), &["removed these"]);
        assert_says(&test_dir.stdout("data cache"), &["nothing is kept in"]);
        let whole = trained(&test_dir, &format!("{train} --steps 5"), usize::MAX);
        let resumed = trained(&test_dir, "train --resume half --steps 5 --set optimizer.decay_steps=0", 1000);
        assert_eq!(hashes(&resumed).len(), hashes(&whole).len());
        test_dir.stdout("data cache --clear");
        fs::remove_dir_all(test_dir.path("half")).expect("removed");
    }
}

/// The SHA-256 that a run prints.
fn hashes(output: &str) -> Vec<&str> {
    output.split_whitespace().filter(|word| word.len() == 64).collect()
}

#[test]
fn a_run_that_is_resumed_without_its_cache_ends_in_the_same_bits() {
    let test_dir = TestDir::new();
    let train = |out: &str, steps: usize| format!("train smoke.toml --data text.txt --out {out} --steps {steps}");
    let schedule = "--set optimizer.decay_steps=6 --set optimizer.warmup_steps=2";
    let whole = trained(&test_dir, &format!("{} {schedule}", train("whole", 6)), usize::MAX);
    stdout(&mut tril(&test_dir, &format!("{} {schedule}", train("half", 3)), 1000));
    test_dir.stdout("data cache --clear");
    let resumed = trained(&test_dir, "train --resume half --steps 6", 1000);
    assert!(!hashes(&whole).is_empty());
    assert_eq!(hashes(&resumed), hashes(&whole));
}

#[test]
fn what_is_kept_is_used_only_if_it_is_whole_and_of_this_text() {
    let test_dir = TestDir::new();
    let train = "train smoke.toml --data text.txt --out run --force";
    let expected = trained(&test_dir, train, 1000);
    let [file] = &tokens(&test_dir)[..] else { panic!("one file of tokens") };
    let sound = fs::read(file).expect("bytes");
    for damaged in [&sound[..sound.len() / 2], b"", &[&sound[..200], &[0; 9][..], &sound[209..]].concat()] {
        fs::remove_file(file).expect("removed");
        fs::write(file, damaged).expect("written");
        let output = tril(&test_dir, &format!("{train} --verbose"), 1000).output().expect("it runs");
        let (said, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_says(&told, &["is damaged, and is made anew"]);
        assert!(said.contains(&expected), "{said}\n{told}");
        assert_eq!(fs::read(file).expect("bytes"), sound);
    }
    // Every other file of the cache.
    for entry in fs::read_dir(test_dir.path("cache/tokens")).expect("a cache") {
        fs::write(entry.expect("an entry").path(), "{").expect("written");
    }
    assert_eq!(trained(&test_dir, train, 1000), expected);
    let changed = text().replace("crow", "worc");
    test_dir.write("text.txt", &changed);
    let other = trained(&test_dir, train, 1000);
    assert_ne!(hashes(&other), hashes(&expected));
    assert_eq!(trained(&test_dir, train, usize::MAX), other);
}

#[test]
fn a_limited_evaluation_measures_the_beginning_of_the_held_out_text() {
    let test_dir = TestDir::new();
    let train = "train smoke.toml --data text.txt --out run --force --set data.validation_fraction=0.5";
    let whole = trained(&test_dir, train, usize::MAX);
    assert_eq!(trained(&test_dir, &format!("{train} --set train.eval_tokens=0"), usize::MAX), whole);
    assert_eq!(trained(&test_dir, &format!("{train} --set train.eval_tokens=4000000"), usize::MAX), whole);
    for kind in ["char", "byte", "bpe --set tokenizer.vocab_size=300"] {
        let limited = format!("{train} --set train.eval_tokens=100 --set tokenizer.kind={kind}");
        let in_memory = trained(&test_dir, &limited, usize::MAX);
        assert_eq!(trained(&test_dir, &limited, 1000), in_memory);
        let output = tril(&test_dir, &limited, 1000).output().expect("it runs");
        assert_says(&String::from_utf8_lossy(&output.stderr), &["(the first 100 are measured)"]);
        let records = metrics(&test_dir.path("run"));
        assert_eq!(column(&records, "evaluation", "tokens").last(), Some(&100.0));
        // The same tokens as a text of their own, where the tokenizer lets a text be cut anywhere.
        if !kind.starts_with("bpe") {
            let half: String = text().chars().skip(text().chars().count() / 2).collect();
            let end = if kind == "char" { half.char_indices().nth(101).expect("long").0 } else { 101 };
            test_dir.write("half.txt", &half.as_bytes()[..end]);
            if std::str::from_utf8(&half.as_bytes()[..end]).is_ok() {
                let found: Value =
                    serde_json::from_str(&test_dir.stdout("eval run/step-000006 half.txt --json")).expect("JSON");
                let bytes = column(&records, "evaluation", "bytes");
                assert_eq!(found["bytes"].as_f64(), bytes.last().copied(), "{kind}");
            }
        }
    }
    let refused = test_dir.refused(&train.replace("--force", "--force --set train.eval_tokens=4000001"));
    assert_says(&refused, &["train.eval_tokens = 4000001", "at most 4000000", "0 for the whole"]);
}

#[test]
fn a_cache_that_cannot_be_written_ends_the_run_before_it_begins() {
    let test_dir = TestDir::new();
    test_dir.write("cache", "a file");
    let mut command = tril(&test_dir, "train smoke.toml --data text.txt --out run", 1000);
    let output = command.output().expect("it runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_says(&message, &["cache/tokens", "cannot be written", "set TRIL_CACHE to a directory with room"]);
    assert!(!test_dir.path("run").exists());
}

#[test]
fn a_directory_leaves_out_pictures_and_keeps_texts_in_utf_16_however_large_it_is() {
    let test_dir = TestDir::new();
    fs::create_dir(test_dir.path("files")).expect("a directory");
    test_dir.write("files/1.txt", text());
    test_dir.write("files/2.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    let train = "train smoke.toml --data files --out run --force --set tokenizer.kind=byte";
    let output = |large| {
        let output = tril(&test_dir, &format!("{train} --verbose"), large).output().expect("a run");
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert!(output.status.success(), "{said}");
        assert_says(&said, &["note     files: 2.png is no text, and left out\n"]);
        let result = String::from_utf8(output.stdout).expect("UTF-8");
        result[result.find("sha256").expect("hashes")..].to_owned()
    };
    assert_eq!(output(usize::MAX), output(1000));
    assert_eq!(tokens(&test_dir).len(), 1, "the second was read in parts");
    let eval = test_dir.tril("eval run files").output().expect("a result");
    assert_says(&String::from_utf8_lossy(&eval.stderr), &["[files: 2.png is no text, and left out]"]);

    // Bytes of these characters in UTF-16 are those of control characters.
    let marked: Vec<u8> = "\u{feff}丁丂七".encode_utf16().flat_map(u16::to_le_bytes).collect();
    test_dir.write("files/3.txt", marked);
    for large in [usize::MAX, 1000] {
        let stats = stdout(&mut tril(&test_dir, "data stats files --json", large));
        let stats: Value = serde_json::from_str(&stats).expect("JSON");
        assert_eq!(stats["documents"], 2, "{stats}");
    }
    // A text in another encoding is one that somebody may miss.
    test_dir.write("files/4.txt", b"caf\xE9s");
    assert_says(&test_dir.refused(&train.replace(" --force", "2")), &["4.txt", "not UTF-8 text at byte 3", "iconv"]);
}
