//! What a document is, from the command line: whatever the text is given as, training and `eval` measure the same, and the
//! token that ends a document is there only where it was learnt.

use std::fs;

use serde_json::Value;

use super::test_dir::*;

/// How a text is given to `train`, the text that it holds out, and the flags that both commands take.
struct Given {
    data: &'static str,
    held_out: &'static str,
    flags: &'static str,
    has_documents: bool,
}

const GIVEN: [Given; 4] = [
    Given { data: "whole.txt", held_out: "whole-held.txt", flags: "", has_documents: false },
    Given { data: "files", held_out: "files-held", flags: "", has_documents: true },
    Given { data: "lines.jsonl", held_out: "lines-held.jsonl", flags: "--field body", has_documents: true },
    Given { data: "parts.txt", held_out: "parts-held.txt", flags: "--separator \\n--\\n", has_documents: true },
];

/// Fifty documents of the same length, of which the last ten are held out.
fn documents() -> Vec<String> {
    (0..50).map(|i| format!("{:02} a cat saw {} birds\nand a \"fox\"", i, i * 7 % 10)).collect()
}

/// The same text in each form, all of it and the part held out.
fn write_texts(test_dir: &TestDir) {
    let all = documents();
    for (documents, suffix) in [(&all[..], ""), (&all[40..], "-held")] {
        test_dir.write(&format!("whole{suffix}.txt"), documents.concat());
        test_dir.write(&format!("parts{suffix}.txt"), documents.join("\n--\n"));
        let line = |text: &String| serde_json::json!({ "id": 1, "body": text }).to_string() + "\n";
        test_dir.write(&format!("lines{suffix}.jsonl"), documents.iter().map(line).collect::<String>());
        let directory = format!("files{suffix}");
        fs::create_dir(test_dir.path(&directory)).expect("a directory");
        for text in documents {
            test_dir.write(&format!("{directory}/{}.txt", &text[..2]), text);
        }
    }
}

/// The ids that a run's last checkpoint says texts begin and end with.
fn bounds(test_dir: &TestDir, run: &str) -> (Option<u64>, Option<u64>) {
    let path = checkpoint(&test_dir.path(run), "last").join("generation_config.json");
    let json: Value = serde_json::from_slice(&fs::read(path).expect("bounds")).expect("JSON");
    (json["bos_token_id"].as_u64(), json["eos_token_id"].as_u64())
}

#[test]
fn training_and_evaluation_measure_the_same_for_every_tokenizer_and_kind_of_document() {
    let test_dir = TestDir::new();
    write_texts(&test_dir);
    let base = "--set data.validation_fraction=0.2 --set tokenizer.vocab_size=280 --set sample.max_tokens=1";
    test_dir.stdout(&format!(
        "train smoke.toml --data parts.txt --out bpe {base} --set tokenizer.kind=bpe --set tokenizer.end_of_text=true"
    ));
    fs::copy(checkpoint(&test_dir.path("bpe"), "last").join("tokenizer.json"), test_dir.path("bpe.json"))
        .expect("copied");
    for end_of_text in [false, true] {
        for tokenizer in ["char", "byte", "bpe", "file --set tokenizer.path=bpe.json"] {
            for Given { data, held_out, flags, has_documents } in GIVEN {
                let what = format!("{tokenizer}, end_of_text = {end_of_text}, {data}");
                test_dir.stdout(&format!(
                    "train smoke.toml --data {data} --out run --force {base} {flags} --set tokenizer.kind={tokenizer} --set tokenizer.end_of_text={end_of_text}"
                ));
                let records = metrics(&test_dir.path("run"));
                let last = checkpoint(&test_dir.path("run"), "last");
                let last = last.file_name().expect("a name").to_string_lossy();
                let measured: Value =
                    serde_json::from_str(&test_dir.stdout(&format!("eval run/{last} {held_out} --json {flags}")))
                        .expect("JSON");
                for field in ["loss", "perplexity", "bits_per_byte", "tokens", "bytes"] {
                    let expected = *column(&records, "evaluation", field).last().expect("an evaluation");
                    let found = measured[field].as_f64().expect("a number");
                    assert!((found / expected - 1.0).abs() < 1e-6, "{what}: {field}: {found}, training: {expected}");
                }
                let learns_ends = has_documents && (end_of_text || tokenizer.starts_with("file"));
                assert_eq!(bounds(&test_dir, "run").1.is_some(), learns_ends, "{what}");
            }
        }
    }
}

#[test]
fn an_empty_prompt_begins_with_what_training_has_seen() {
    let test_dir = TestDir::new();
    let train = |text: &str, more: &str| {
        test_dir.write("notes.txt", text);
        test_dir.stdout(&format!(
            "train smoke.toml --data notes.txt --out run --force --set data.validation_fraction=0.2 --set sample.max_tokens=1 --set tokenizer.end_of_text=true {more}"
        ));
        test_dir.stdout("sample run --max-tokens 1 --receipt receipt.json");
        let receipt: Value = serde_json::from_str(&test_dir.read("receipt.json")).expect("JSON");
        test_dir.stdout("verify run receipt.json");
        receipt["prompts"][0]["prompt"]["tokens"][0]["text"].as_str().map_or_else(|| panic!("{receipt}"), str::to_owned)
    };
    let lines = "b cat saw a bird\n".repeat(30);
    let line = lines.replace('\n', " ");
    for kind in ["char", "byte", "bpe"] {
        let kind = format!("--set tokenizer.kind={kind} --set tokenizer.vocab_size=258");
        assert_eq!(train(&lines, &kind), "\n", "{kind}: no end of a document, so a newline");
        // A vocabulary of characters has no newline then, and begins after its first character.
        let first = if kind.contains("char") { " " } else { "b" };
        assert_eq!(train(&line, &kind)[..1], *first, "{kind}: no newline either, so the text's first token");
        assert_eq!(train(&lines, &format!("{kind} --separator \\n")), "<|endoftext|>", "{kind}");
    }
}

#[test]
fn documents_without_a_token_that_ends_them_are_worth_a_word() {
    let test_dir = TestDir::new();
    write_texts(&test_dir);
    let note = |arguments: &str| {
        let train = format!("train smoke.toml --out run --force --set data.validation_fraction=0.2 {arguments}");
        String::from_utf8(test_dir.tril(&train).output().expect("it runs").stderr).expect("UTF-8")
    };
    assert_says(&note("--data parts.txt --separator \\n--\\n"), &["50 documents", "tokenizer.end_of_text=true"]);
    assert_says(&note("--data lines.jsonl"), &["lines.jsonl is read as plain text", "data.field=text"]);
    let quiet = note("--data lines.jsonl --field body --set tokenizer.end_of_text=true");
    assert!(!quiet.contains("\nnote "), "{quiet}");
}

#[test]
fn a_run_keeps_its_documents_when_it_is_resumed() {
    let test_dir = TestDir::new();
    write_texts(&test_dir);
    let train = "train smoke.toml --data lines.jsonl --field body --set data.validation_fraction=0.2 --set tokenizer.end_of_text=true";
    let whole = super::bits::hashes(&test_dir.stdout(&format!("{train} --out whole --verbose")));
    test_dir.stdout(&format!("{train} --out run --set train.steps=3"));
    let resumed = test_dir.stdout("train --resume run --set train.steps=6 --verbose");
    assert_ne!(super::bits::hashes(&resumed), whole, "the schedule of six steps is another than that of three");
    test_dir.stdout("train --resume whole/step-000006 --out branch");
    assert_eq!(bounds(&test_dir, "branch"), bounds(&test_dir, "whole"));
    assert_says(&test_dir.refused("train --resume run --field text"), &["--resume", "keeps its documents"]);
    for (flags, noted) in [("", true), ("--field body", false)] {
        let output = test_dir.tril(&format!("eval run lines-held.jsonl {flags}")).output().expect("it runs");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(stderr.contains("as training did, add --field=body"), noted, "{stderr}");
    }
}

#[test]
fn what_holds_no_documents_is_refused_with_the_line_and_what_to_do() {
    let test_dir = TestDir::with_run();
    write_texts(&test_dir);
    test_dir.write("bad.jsonl", "{\"body\": \"a\"}\n\n{\"body\": 3}\n");
    test_dir.write("none.txt", "----");
    for (arguments, expected) in [
        ("--data lines.jsonl --field text", ["lines.jsonl:1", "no field \"text\"", "it has \"body\""]),
        ("--data bad.jsonl --field body", ["bad.jsonl:3", "is not a text", "write an object such as"]),
        ("--data text.txt --field text", ["text.txt:1", "expected value", "write an object such as"]),
        ("--data none.txt --separator --", ["none.txt", "no document", "check the field or separator"]),
        ("--data tales --separator a", ["tales", "documents already", "leave out"]),
        ("--data text.txt --set data.separator=a --set data.field=b", ["field", "separator", "one of the two"]),
        ("--data text.txt --separator a --field b", ["--field", "--separator", "cannot be used with"]),
    ] {
        assert_says(&test_dir.refused(&format!("train smoke.toml --out new {arguments}")), &expected);
    }
    assert_says(&test_dir.refused("eval run lines.jsonl --field text"), &["lines.jsonl:1", "no field"]);
}

#[test]
fn bounds_that_are_damaged_are_refused_by_the_name_of_their_file_and_may_be_absent() {
    let test_dir = TestDir::with_run();
    let expected = test_dir.stdout("sample run --max-tokens 5");
    let path = checkpoint(&test_dir.path("run"), "best").join("generation_config.json");
    for damaged in ["", "[1]", "{\"bos_token_id\": \"a\"}", "{\"eos_token_id\": 4000}"] {
        fs::write(&path, damaged).expect("written");
        assert_says(&test_dir.refused("sample run --max-tokens 5"), &["generation_config.json", "or remove it"]);
    }
    fs::remove_file(&path).expect("removed");
    assert_eq!(test_dir.stdout("sample run --max-tokens 5"), expected, "earlier releases wrote none");
}
