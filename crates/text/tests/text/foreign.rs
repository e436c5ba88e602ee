//! Any tokenizer.json, written by others or saved by us.

use std::fs;
use std::path::Path;

use crate::shared::{MADE, ODD_TEXTS, build, config};
use serde_json::{Value, json};
use tril_text::{TextError, TextStream, Tokenizer, TokenizerConfig, TokenizerKind};

/// A tokenizer.json around `model`.
pub fn pipeline(model: Value, pre_tokenizer: Value, decoder: Value, special: &[(u32, &str)]) -> String {
    let added: Vec<Value> = special
        .iter()
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
        .collect();
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
           "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": decoder, "model": model})
    .to_string()
}

/// A small relative of Llama 2's: words begin with `▁`, bytes for what is not in the vocabulary.
pub fn sentence_pieces() -> Tokenizer {
    let mut vocab = json!({"<unk>": 0, "<s>": 1, "</s>": 2});
    for byte in 0..256 {
        vocab[format!("<0x{byte:02X}>")] = json!(3 + byte);
    }
    for (id, token) in (259..).zip(["▁", "t", "h", "e", "▁t", "he", "▁the", "a"]) {
        vocab[token] = json!(id);
    }
    let model = json!({"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                       "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
                       "merges": ["▁ t", "h e", "▁t he"]});
    let decoder = json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]});
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    read(&pipeline(model, metaspace, decoder, &[(0, "<unk>"), (1, "<s>"), (2, "</s>")])).expect("a sound tokenizer")
}

fn read(json: &str) -> Result<Tokenizer, TextError> {
    Tokenizer::from_json(json, Path::new("checkpoint/tokenizer.json"))
}

fn letters(dropout: Value) -> Value {
    json!({"type": "BPE", "dropout": dropout, "unk_token": null, "continuing_subword_prefix": null,
           "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
           "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]})
}

#[test]
fn a_saved_tokenizer_gives_the_same_ids_and_the_same_file_again() {
    let everything = ODD_TEXTS.concat();
    for kind in MADE {
        for end_of_text in [false, true] {
            let config = TokenizerConfig { end_of_text, vocab_size: 280, ..config(kind) };
            let tokenizer = Tokenizer::build(&config, &[&everything]).unwrap();
            let json = tokenizer.to_json().unwrap();
            let again = read(&json).unwrap();
            assert_eq!(again.to_json().unwrap(), json);
            assert_eq!(again.vocab_size(), tokenizer.vocab_size());
            assert_eq!(again.end_of_text(), tokenizer.end_of_text());
            for text in ODD_TEXTS {
                let ids = tokenizer.encode_document(text).unwrap();
                assert_eq!(again.encode_document(text).unwrap(), ids, "{config:?}");
                assert_eq!(again.decode(&ids).unwrap(), text, "{config:?}");
            }
        }
    }
}

#[test]
fn a_saved_character_vocabulary_still_names_unknown_characters() {
    for end_of_text in [false, true] {
        let config = TokenizerConfig { end_of_text, ..config(TokenizerKind::Char) };
        let json = Tokenizer::build(&config, &["abc"]).unwrap().to_json().unwrap();
        let error = read(&json).unwrap().encode("abcd").unwrap_err();
        assert!(matches!(error, TextError::UnknownCharacters { .. }), "{error:?}");
    }
}

#[test]
fn kind_file_opens_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let tokenizer = build(TokenizerKind::Bpe, "to be or not to be");
    fs::write(&path, tokenizer.to_json().unwrap()).unwrap();
    let path = path.to_str().unwrap().to_string();
    let from_file = TokenizerConfig { path, ..config(TokenizerKind::File) };
    let opened = Tokenizer::build(&from_file, &[]).unwrap();
    assert_eq!(opened.encode("not to be").unwrap(), tokenizer.encode("not to be").unwrap());

    let error = Tokenizer::build(&TokenizerConfig { end_of_text: true, ..from_file }, &[]).unwrap_err();
    assert!(error.to_string().contains("has no end-of-text token (<|endoftext|>, "), "{error}");
}

#[test]
fn the_layout_of_gpt_2_with_its_end_of_text_inside_the_vocabulary_is_read() {
    let bytes = build(TokenizerKind::Byte, "").to_json().unwrap();
    let mut model = serde_json::from_str::<Value>(&bytes).unwrap()["model"].take();
    model["vocab"]["Ġa"] = json!(256);
    model["vocab"]["<|endoftext|>"] = json!(257);
    model["merges"] = json!(["Ġ a"]);
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true});
    let tokenizer = read(&pipeline(model, level.clone(), level, &[(257, "<|endoftext|>")])).unwrap();
    assert_eq!((tokenizer.vocab_size(), tokenizer.end_of_text()), (258, Some(257)));
    assert_eq!(tokenizer.encode("a a").unwrap(), [97, 256]);
    assert_eq!(tokenizer.encode_document("a").unwrap(), [97, 257]);
    for text in ODD_TEXTS {
        let ids = tokenizer.encode(text).unwrap();
        assert!(!ids.contains(&257));
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
}

#[test]
fn sentence_pieces_are_read_and_their_bytes_counted() {
    let tokenizer = sentence_pieces();
    let ids = tokenizer.encode("the the é").unwrap();
    assert_eq!(ids, [265, 265, 259, 3 + 0xC3, 3 + 0xA9]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "the the é");
    assert_eq!(ids.iter().map(|&id| tokenizer.byte_len(id)).collect::<Vec<_>>(), [4, 4, 1, 1, 1]);
    assert_eq!(tokenizer.token_text(265), " the");
    assert_eq!(tokenizer.token_text(3 + 0xC3), "<0xC3>");
    assert_eq!((tokenizer.end_of_text(), tokenizer.byte_len(2)), (Some(2), 0));
}

#[test]
fn the_best_known_name_of_end_of_text_wins() {
    let end = |special: &[(u32, &str)]| {
        let model = letters(Value::Null);
        read(&pipeline(model, Value::Null, json!({"type": "Fuse"}), special)).unwrap().end_of_text()
    };
    assert_eq!(end(&[(3, "<eos>"), (4, "</s>"), (5, "<|end_of_text|>"), (6, "<|endoftext|>")]), Some(6));
    assert_eq!(end(&[(3, "<eos>"), (4, "</s>"), (5, "<|end_of_text|>")]), Some(5));
    assert_eq!(end(&[(3, "<eos>"), (4, "</s>")]), Some(4));
    assert_eq!(end(&[(3, "<eos>")]), Some(3));
    assert_eq!(end(&[(3, "<pad>")]), None);
}

#[test]
fn truncation_padding_and_dropout_of_a_file_are_switched_off() {
    let json = pipeline(letters(json!(0.9)), Value::Null, json!({"type": "Fuse"}), &[(3, "<pad>")]);
    let mut json: Value = serde_json::from_str(&json).unwrap();
    json["truncation"] = json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = json!({"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 3,
                             "pad_type_id": 0, "pad_token": "<pad>"});
    let tokenizer = read(&json.to_string()).unwrap();
    for _ in 0..20 {
        assert_eq!(tokenizer.encode("abababab").unwrap(), [2; 4]);
        assert_eq!(tokenizer.encode("a").unwrap(), [0]);
    }
}

#[test]
fn an_added_token_that_would_silently_change_its_id_is_refused() {
    let json = pipeline(letters(Value::Null), Value::Null, json!({"type": "Fuse"}), &[(7, "</s>")]);
    let error = read(&json).unwrap_err().to_string();
    assert!(error.contains("added token \"</s>\" cannot keep its id 7"), "{error}");
}

#[test]
fn what_is_no_tokenizer_is_refused_with_path_and_reason() {
    let whole = build(TokenizerKind::Byte, "").to_json().unwrap();
    for json in ["", "{", "[]", "{}", "{\"version\": \"1.0\"}", "\"text\"", &whole[..whole.len() / 2], &whole[..300]] {
        let error = read(json).unwrap_err();
        assert!(matches!(error, TextError::InvalidTokenizer { .. }), "{error:?}");
        assert!(error.to_string().starts_with("checkpoint/tokenizer.json: not a usable tokenizer.json: "), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
    let empty = json!({"type": "BPE", "vocab": {}, "merges": []});
    let error = read(&pipeline(empty, Value::Null, Value::Null, &[])).unwrap_err().to_string();
    assert!(error.contains("the vocabulary is empty"), "{error}");
    let error = Tokenizer::open(Path::new("no/such/tokenizer.json")).unwrap_err().to_string();
    assert!(error.starts_with("no/such/tokenizer.json: cannot be read: "), "{error}");
}

#[test]
fn the_bytes_of_each_id_follow_one_another_where_tokens_are_bytes_of_the_text() {
    let everything = ODD_TEXTS.concat();
    for kind in MADE {
        let tokenizer = Tokenizer::build(&TokenizerConfig { vocab_size: 280, ..config(kind) }, &[&everything]).unwrap();
        for text in ODD_TEXTS {
            let ranges = tokenizer.encode_with_ranges(text).unwrap();
            assert_eq!(ranges.iter().map(|(id, _)| *id).collect::<Vec<_>>(), tokenizer.encode(text).unwrap());
            let mut end = 0;
            for (id, range) in ranges {
                assert_eq!((range.start, range.len()), (end, tokenizer.byte_len(id)), "{text:?}");
                let bytes = &text.as_bytes()[range.clone()];
                if let Ok(whole) = std::str::from_utf8(bytes) {
                    assert_eq!(tokenizer.token_text(id), whole, "{text:?}");
                }
                end = range.end;
            }
            assert_eq!(end, text.len());
        }
    }
}

#[test]
fn ids_that_share_a_character_or_stand_for_a_changed_text_have_the_ranges_of_whole_characters() {
    let tokenizer = sentence_pieces();
    let ranges = tokenizer.encode_with_ranges("the the é").unwrap();
    assert_eq!(ranges, [(265, 0..3), (265, 3..7), (259, 7..8), (3 + 0xC3, 8..10), (3 + 0xA9, 8..10)]);
    assert_eq!(tokenizer.encode_with_ranges("").unwrap(), []);
}

/// Crafted files that made the library panic, or take all memory, and what is said of them now.
#[test]
fn files_that_break_the_library_are_refused_with_their_names_and_the_part() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers");
    let text = "ab é cd\u{0} efgh";
    let mut seen = 0;
    for (name, expected) in [
        ("bpe_prefix_midchar", "not a char boundary"),
        ("dec_grow", "decoder: Replace parts that make a text more than 64 times as long"),
        ("deep200_decoder", "recursion limit"),
        ("fixed0", "pre_tokenizer: a FixedLength part of length 0"),
        ("nestseq_dec_100", "recursion limit"),
        ("num_1e999_decoder", "number out of range"),
        ("pre_emptytrie", "normalizer: precompiled_charsmap has an empty trie"),
        ("pre_garbage", "normalizer: precompiled_charsmap is cut off"),
        ("pre_hugecap", "normalizer: precompiled_charsmap is cut off"),
        ("pre_midchar", "not a char boundary"),
        ("pre_missing", "normalizer: a Precompiled part without its precompiled_charsmap"),
        ("pre_notb64", "normalizer: precompiled_charsmap is not base64"),
        ("pre_oob", "index out of bounds"),
        ("strip_big", "index out of bounds"),
        ("surrogate_decoder", "hex escape"),
    ] {
        let path = Path::new(directory).join(name).with_extension("json");
        let error = Tokenizer::open(&path).and_then(|tokenizer| tokenizer.decode(&tokenizer.encode(text)?));
        let message = error.expect_err(name).to_string();
        assert!(message.contains(&*path.to_string_lossy()) && message.contains(expected), "{name}: {message}");
        seen += 1;
    }
    assert_eq!(seen + 3, std::fs::read_dir(directory).expect("fixtures").count(), "each is looked at");
}

#[test]
fn ranges_of_bytes_end_at_characters_whatever_a_pipeline_counts() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers/bpe_suffix_fb.json");
    let tokenizer = Tokenizer::open(Path::new(path)).expect("sound");
    for text in ["ab é", "é", "猫猫", "a\u{301}\n", ""] {
        for (id, range) in tokenizer.encode_with_ranges(text).expect("encoded") {
            assert!(text.get(range.clone()).is_some(), "{text:?}: token {id} has {range:?}");
        }
    }
}

#[test]
fn characters_that_would_vanish_are_refused_also_where_words_are_cut() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers/bpe_ws_nounk.json");
    let tokenizer = Tokenizer::open(Path::new(path)).expect("sound");
    tokenizer.encode("A B\n C").expect("white space is no token's");
    let message = tokenizer.encode("A \u{732b}").expect_err("it would vanish").to_string();
    assert!(message.contains("U+732B"), "{message}");
}

fn fixture(name: &str) -> Tokenizer {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers");
    Tokenizer::open(&Path::new(directory).join(name).with_extension("json")).expect("sound")
}

#[test]
fn a_continuation_is_written_as_one_at_once_and_in_a_stream() {
    for tokenizer in [fixture("unigram"), sentence_pieces()] {
        let text = "the the a";
        let ids = tokenizer.encode(text).expect("known");
        assert_eq!(tokenizer.decode(&ids).expect("known"), text);
        for cut in 0..=ids.len() {
            let (before, after) = ids.split_at(cut);
            let begin = tokenizer.decode(before).expect("known");
            let rest = tokenizer.decode_after(before, after).expect("known");
            assert_eq!(begin + &rest, text, "cut after {cut}");
            let mut stream = TextStream::after(&tokenizer, before).expect("known");
            let pieces: String = after.iter().filter_map(|id| stream.push(*id).expect("known")).collect();
            assert_eq!(pieces + &stream.finish().expect("whole"), rest, "cut after {cut}");
        }
    }
    let tokenizer = sentence_pieces();
    let ids = tokenizer.encode("a猫").expect("bytes");
    let (before, after) = ids.split_at(ids.len() - 2);
    assert_eq!(
        tokenizer.decode_after(before, after).expect("known"),
        "猫",
        "a character that both write belongs to the second"
    );
    let end = tokenizer.end_of_text().expect("it has one");
    assert_eq!(tokenizer.decode_after(&[end], &[265]).expect("known"), "the", "after the end of a text another begins");
}

#[test]
fn a_text_that_goes_on_is_encoded_without_the_space_that_one_begins_with() {
    for tokenizer in [sentence_pieces(), fixture("unigram")] {
        for before in ["the", "the ", "the a", "the\nthe", "猫", "a."] {
            let ids = tokenizer.encode(before).expect("encoded");
            for text in [" the", "the", "a the", "\nthe a", "  a", "", "at"] {
                let after = tokenizer.encode_after(&ids, text).expect("encoded");
                let written = tokenizer.decode_after(&ids, &after).expect("known");
                let plain = tokenizer.decode_after(&ids, &tokenizer.encode(text).expect("encoded")).expect("known");
                let can_be_written = [" ", "\n"].iter().all(|one| {
                    !text.contains(one)
                        || tokenizer
                            .encode(one)
                            .is_ok_and(|ids| tokenizer.decode(&ids).is_ok_and(|written| written.contains(one)))
                });
                assert!(
                    written == text || !can_be_written && plain != text,
                    "{before:?} {text:?}: {written:?}, {plain:?}"
                );
            }
        }
        assert_eq!(tokenizer.encode_after(&[], "the").expect("encoded"), tokenizer.encode("the").expect("encoded"));
    }
    let own = Tokenizer::build(&config(TokenizerKind::Bpe), &["the cat the cat"]).expect("built");
    assert_eq!(own.encode_after(&[3, 4], " the").expect("encoded"), own.encode(" the").expect("encoded"));
}

#[test]
fn bytes_are_counted_where_a_token_spells_them() {
    let tokenizer = fixture("unigram");
    let spelt = |text: &str| tokenizer.encode_with_bytes(text).expect("encoded").iter().map(|(_, n)| n).sum::<usize>();
    assert_eq!(spelt("the mat saw"), 11);
    assert_eq!(spelt("the \u{436}\u{443}\u{43a} saw"), 8, "nobody spells the three letters");
    let unknown = tokenizer.unknown_characters("the \u{436}\u{443}\u{436} \u{1f980}").expect("encoded");
    assert_eq!((unknown.count(), unknown.to_string().as_str()), (4, "'ж' (U+0436), 'у' (U+0443), '🦀' (U+1F980)"));
    let words = fixture("bpe_ws_nounk");
    let bytes: Vec<(u32, usize)> = words.encode_with_bytes("The cat  sat.").expect("encoded");
    assert_eq!(bytes, [(69, 3), (63, 3), (57, 3), (0, 1)], "white space between words is nobody's");
}

#[test]
fn characters_that_vanish_are_refused_whatever_cuts_the_words() {
    let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true});
    let mut model = letters(Value::Null);
    model["vocab"]["▁"] = json!(3);
    let tokenizer = read(&pipeline(model, metaspace.clone(), metaspace, &[])).expect("sound");
    tokenizer.encode("ab ba b").expect("all known");
    let error = tokenizer.encode("ab\nab éa").expect_err("it would vanish").to_string();
    assert!(error.starts_with("the text: line 2, column 4: ") && error.contains("'é' (U+00E9)"), "{error}");
}

#[test]
fn a_prompt_of_nothing_but_white_space_begins_where_an_empty_one_does() {
    let tokenizer = fixture("bpe_ws_nounk");
    for prompt in ["", " ", "\n \t"] {
        assert_eq!(tokenizer.encode_prompt(prompt).expect("something"), [0]);
    }
}
