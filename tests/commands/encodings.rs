//! Texts as files hold them: byte-order marks, UTF-16, packed files, pipes, links and standard input give the same run, and
//! what cannot be read is named for what it is.

use std::fs;
use std::io::Write;

use super::bits::hashes;
use super::test_dir::*;

const MARK: &str = "\u{feff}";

/// UTF-16 with its mark.
fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    MARK.encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("packed");
    encoder.finish().expect("packed")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn the_same_text_in_any_form_trains_to_the_same_bits_and_is_measured_alike() {
    let test_dir = TestDir::with_run();
    let text = text();
    let (expected, measured) =
        (hashes(&test_dir.stdout("train --resume run --verbose")), test_dir.stdout("eval run text.txt --json"));
    let marked = (MARK.to_owned() + &text).into_bytes();
    for (name, bytes) in [
        ("marked.txt", marked.clone()),
        ("little.txt", utf16(&text, u16::to_le_bytes)),
        ("big.txt", utf16(&text, u16::to_be_bytes)),
        ("text.txt.gz", gzip(text.as_bytes())),
        ("text.txt.zst", zstd(text.as_bytes())),
        ("little.gz", gzip(&utf16(&text, u16::to_le_bytes))),
    ] {
        test_dir.write(name, &bytes);
        let train = TRAIN.replace("text.txt", name).replace("--out run", "--out other --force");
        assert_eq!(hashes(&test_dir.stdout(&train)), expected, "{name}");
        assert_eq!(test_dir.stdout(&format!("eval run {name} --json")), measured, "{name}");
        let train = train.replace(name, "-");
        assert_eq!(hashes(&stdout(test_dir.tril(&train).write_stdin(bytes))), expected, "{name} from standard input");
        assert!(test_dir.stdout(&format!("score run {name}")).contains(&format!("{name} under run")), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn links_and_pipes_are_read_as_what_they_lead_to() {
    let test_dir = TestDir::with_run();
    let expected = hashes(&test_dir.stdout("train --resume run --verbose"));
    let train = |data: &str| TRAIN.replace("text.txt", data).replace("--out run", "--out other --force");
    std::os::unix::fs::symlink("text.txt", test_dir.path("link")).expect("a link");
    assert_eq!(hashes(&test_dir.stdout(&train("link"))), expected);
    fs::create_dir(test_dir.path("links")).expect("a directory");
    std::os::unix::fs::symlink("../text.txt", test_dir.path("links/1")).expect("a link");
    std::os::unix::fs::symlink("links", test_dir.path("other-links")).expect("a link");
    std::os::unix::fs::symlink("..", test_dir.path("links/circle")).expect("a link");
    assert_eq!(hashes(&test_dir.stdout(&train("links"))), expected);
    let output = test_dir.tril(&train("other-links")).output().expect("it runs");
    assert_eq!(hashes(&String::from_utf8_lossy(&output.stdout)), expected);
    assert_says(&String::from_utf8_lossy(&output.stderr), &["other-links/circle", "a link to a directory"]);
    let made = std::process::Command::new("mkfifo").arg(test_dir.path("pipe")).status().expect("mkfifo");
    assert!(made.success());
    let (pipe, text) = (test_dir.path("pipe"), text());
    let writer = std::thread::spawn(move || fs::write(pipe, text));
    assert_eq!(hashes(&test_dir.stdout(&train("pipe"))), expected);
    writer.join().expect("no panic").expect("written");
}

#[test]
fn a_byte_order_mark_is_no_text_wherever_one_is_read() {
    let test_dir = TestDir::with_run();
    let plain = |arguments: &str| test_dir.stdout(arguments);
    let texts = [
        ("prompt.txt", "a cat saw", "sample run --max-tokens 9 --prompt-file prompt.txt"),
        ("prompts.txt", "a cat\na crow\n", "sample run --max-tokens 9 --prompts prompts.txt --jsonl-not"),
        (
            "prompts.jsonl",
            "{\"prompt\": \"a\"}\n\n{\"prompt\": \"b\"}\n",
            "sample run --max-tokens 9 --jsonl --prompts prompts.jsonl",
        ),
        (
            "smoke.toml",
            &test_dir.read("smoke.toml"),
            "train smoke.toml --data text.txt --out other --force --set data.validation_fraction=0.1",
        ),
    ];
    for (name, text, command) in texts {
        let command = command.replace(" --jsonl-not", "");
        test_dir.write(name, text);
        let expected = plain(&command);
        test_dir.write(name, MARK.to_owned() + text);
        assert_eq!(plain(&command), expected, "{name}");
        assert!(name != "prompts.jsonl" || expected.lines().count() == 2, "an empty line is no prompt: {expected}");
    }
    test_dir.write("prompts.jsonl", "\n \n");
    assert_says(&test_dir.refused("sample run --jsonl --prompts prompts.jsonl"), &["prompts.jsonl", "lines are empty"]);
    let chat = |input: String| stdout(test_dir.tril("chat run --max-tokens 5 --seed 3").write_stdin(input));
    assert_eq!(chat(format!("{MARK}a cat\na crow\n")), chat("a cat\na crow\n".to_owned()));
    let tokenizer = checkpoint(&test_dir.path("run"), "best").join("tokenizer.json");
    let expected = plain("eval run text.txt --json");
    let json = fs::read_to_string(&tokenizer).expect("a tokenizer");
    fs::write(&tokenizer, MARK.to_owned() + &json).expect("written");
    assert_eq!(plain("eval run text.txt --json"), expected);
}

#[test]
fn what_is_not_utf_8_is_named_and_damaged_packing_is_told() {
    let test_dir = TestDir::with_run();
    let text = text();
    let unmarked: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let packed = gzip(text.as_bytes());
    for (name, bytes, expected) in [
        ("unmarked.txt", unmarked, ["UTF-16 without a byte-order mark", "iconv -f UTF-16LE"]),
        ("utf32.txt", b"\xFF\xFE\0\0a\0\0\0".to_vec(), ["UTF-32", "iconv -f UTF-32"]),
        ("cut.gz", packed[..packed.len() / 2].to_vec(), ["cannot be unpacked as gzip", "get the file anew"]),
    ] {
        test_dir.write(name, bytes);
        for command in ["eval run", "score run", "train smoke.toml --out new --data", "sample run --prompt-file"] {
            let message = test_dir.refused(&format!("{command} {name}"));
            assert_says(&message, &expected);
            assert_says(&message, &[name]);
        }
    }
}

#[test]
fn mixed_line_ends_and_odd_characters_are_worth_a_word_and_stay() {
    let test_dir = TestDir::new();
    test_dir.write("text.txt", text().replacen('\n', "\r\n", 7) + "\u{1b}[2J\u{fffd}\u{fffd}");
    let output = test_dir.tril(TRAIN).output().expect("it runs");
    let stderr = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(output.status.success(), "{stderr}");
    assert_says(&stderr, &["mixes line ends: 113 LF, 7 CR LF", "1 control characters", "2 replacement characters"]);
    let tokenizer = fs::read_to_string(checkpoint(&test_dir.path("run"), "last").join("tokenizer.json")).expect("JSON");
    assert!(tokenizer.contains("\"\\r\""), "the model learns them as they are");
    test_dir.write("text.txt", text().replace('\n', "\r\n"));
    let output = test_dir.tril(&format!("{TRAIN} --force")).output().expect("it runs");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("line ends"));
}
