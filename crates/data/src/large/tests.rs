//! A text in parts is the text in memory: the same tokenizer, the same tokens, the same counts.

use std::fs;
use std::path::Path;

use tril_text::{TokenizerConfig, TokenizerKind};

use super::*;
use crate::Split;
use crate::split::encode_side;

/// Two and a half parts, with words, Chinese, blank lines and a long line.
fn long_text() -> String {
    let line = |i: usize| match i % 5 {
        0 => format!("line {i}, and some more words\r\n\n"),
        1 => "明月幾時有，把酒問青天。不知天上宮闕，今夕是何年。\n".to_owned(),
        2 => format!("  indented {}\t\n", "x ".repeat(i % 90)),
        3 => format!("it's {i} o'clock; é🦀 --\n"),
        _ => "a line without end, ".repeat(i % 40),
    };
    (0..9000).map(line).collect()
}

fn open(path: &Path, format: &DocumentFormat, cache: &Path, held_out: impl Into<HeldOut>) -> LargeText {
    let files = LargeFiles {
        name: "text".into(),
        files: vec![path.to_owned()],
        format: format.clone(),
        has_documents: *format != DocumentFormat::Files,
        skipped: Vec::new(),
    };
    LargeText::open(files, held_out.into(), CacheDir::at(cache), &mut |_| ()).expect("sound")
}

#[test]
fn a_text_in_parts_has_the_tokens_of_the_text_in_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, cache) = (dir.path().join("text.txt"), dir.path().join("cache"));
    let text = long_text();
    assert!(text.len() > 1_200_000, "{}", text.len());
    fs::write(&path, &text).expect("written");
    let separated = |separator: &str| DocumentFormat::new("", separator).expect("one");
    for format in [DocumentFormat::Files, separated("\n\n"), separated("--")] {
        let corpus = Corpus { name: "text".into(), ..Corpus::open_path(&path, &format, None).expect("sound") };
        let with_test = HeldOut { validation: 0.07, test: 0.03 };
        let kinds = [
            (TokenizerKind::Char, 0.1.into()),
            (TokenizerKind::Char, with_test),
            (TokenizerKind::Byte, 0.5.into()),
            (TokenizerKind::Byte, HeldOut { validation: 0.0, test: 0.4 }),
            (TokenizerKind::Bpe, 0.013.into()),
        ];
        for (kind, fraction) in kinds {
            let config = TokenizerConfig { kind, vocab_size: 600, end_of_text: true, ..TokenizerConfig::default() };
            let expected = Tokenizer::build(&config, &corpus.texts()).expect("built");
            let large = open(&path, &format, &cache, fraction);
            let tokenizer = large.tokenizer(&config, &mut |_| ()).expect("built");
            assert_eq!(tokenizer.to_json().expect("JSON"), expected.to_json().expect("JSON"), "{format:?} {kind:?}");
            let in_memory = EncodedCorpus::new(&corpus, &tokenizer, fraction).expect("encoded");
            for _ in 0..2 {
                let found = large.encode(&tokenizer, &mut |_| ()).expect("encoded");
                assert!(found.train.ids == in_memory.train.ids, "{format:?} {kind:?}");
                assert!(found.validation.ids == in_memory.validation.ids, "{format:?} {kind:?}");
                assert_eq!(found, in_memory, "{format:?} {kind:?}");
            }
        }
    }
}

#[test]
fn a_sample_of_a_text_in_parts_teaches_what_the_same_sample_in_memory_does() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("text.txt");
    let text = long_text();
    fs::write(&path, &text).expect("written");
    let mut large = open(&path, &DocumentFormat::Files, dir.path(), 0.1);
    large.pair_sample = 200_000;
    let config = TokenizerConfig { kind: TokenizerKind::Bpe, vocab_size: 500, ..TokenizerConfig::default() };
    let sample = within(&text, 0, &stripes(text.len(), 200_000));
    let expected = Tokenizer::build(&config, &sample).expect("built").to_json().expect("JSON");
    for _ in 0..2 {
        let found = large.tokenizer(&config, &mut |_| ()).expect("built");
        assert_eq!(found.to_json().expect("JSON"), expected);
    }
}

#[test]
fn a_cache_that_is_damaged_is_made_anew_with_a_word_and_one_of_a_changed_text_is_not_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("text.txt");
    fs::write(&path, long_text()).expect("written");
    let config = TokenizerConfig { kind: TokenizerKind::Byte, ..TokenizerConfig::default() };
    let encoded = || {
        let large = open(&path, &DocumentFormat::Files, dir.path(), 0.1);
        let tokenizer = large.tokenizer(&config, &mut |_| ()).expect("built");
        let (mut notes, mut encoded) = (Vec::new(), 0);
        let corpus = large.encode(&tokenizer, &mut |event| match event {
            TextEvent::Note(note) => notes.push(note),
            TextEvent::Progress { .. } => encoded += 1,
        });
        (corpus.expect("encoded"), notes, encoded > 0)
    };
    let tokens = || {
        let cached = CacheDir::at(dir.path()).files().expect("listed");
        cached.into_iter().filter(|file| file.tokens.is_some()).map(|file| file.path).collect::<Vec<_>>()
    };
    let (first, _, was_encoded) = encoded();
    assert!(was_encoded);
    let (again, notes, was_encoded) = encoded();
    assert!(again == first && notes.is_empty() && !was_encoded, "{notes:?}");
    let [file] = &tokens()[..] else { panic!("one file of tokens") };
    let mut bytes = fs::read(file).expect("bytes");
    bytes[100_000] ^= 1;
    fs::remove_file(file).expect("removed");
    fs::write(file, bytes).expect("written");
    let (mended, notes, was_encoded) = encoded();
    assert!(mended == first && was_encoded);
    assert!(notes.len() == 1 && notes[0].contains("is damaged, and is made anew"), "{notes:?}");
    // As long as it was, and another; a clock that stands still is no reason to take the one for the other.
    let changed = long_text().replace("words", "swrod");
    fs::write(&path, &changed).expect("written");
    let (other, _, was_encoded) = encoded();
    assert!(was_encoded && other != first);
    assert_eq!(tokens().len(), 2);
}

#[test]
fn what_a_tokenizer_refuses_is_told_by_its_place_in_the_document() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("text.txt");
    let text = long_text() + "and a snowman: ☃\n" + &long_text();
    fs::write(&path, &text).expect("written");
    let corpus = Corpus::open_path(&path, &DocumentFormat::Files, None).expect("sound");
    let config = TokenizerConfig::default();
    let tokenizer = Tokenizer::build(&config, &[&long_text()]).expect("built");
    let large = open(&path, &DocumentFormat::Files, dir.path(), 0.1);
    let split = Split::new(&corpus, 0.1).expect("long enough");
    let expected = encode_side(&tokenizer, &split.train).expect_err("a snowman").to_string();
    let found = large.encode(&tokenizer, &mut |_| ()).expect_err("a snowman").to_string();
    assert_eq!(found, expected);
    assert!(found.contains("'☃' (U+2603)"), "{found}");
}
