//! Each kind of tokenizer: its ids, its round trips, its limits.

use crate::shared::{CHINESE, ENGLISH, MADE, ODD_TEXTS, build, config, shared_text};
use tril_text::{Position, TextError, TextStream, Tokenizer, TokenizerConfig, TokenizerKind};

#[test]
fn decoding_what_was_encoded_gives_the_text_for_every_kind_and_odd_string() {
    let everything = ODD_TEXTS.concat();
    for kind in MADE {
        for end_of_text in [false, true] {
            let config = TokenizerConfig { end_of_text, ..config(kind) };
            let tokenizer = Tokenizer::build(&config, &[&everything]).unwrap();
            for text in ODD_TEXTS {
                let ids = tokenizer.encode(text).unwrap();
                assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{config:?}");
                let n_bytes: usize = ids.iter().map(|&id| tokenizer.byte_len(id)).sum();
                assert_eq!(n_bytes, text.len(), "{config:?} {text:?}");
            }
        }
    }
}

#[test]
fn shuffled_odd_strings_survive_the_round_trip() {
    let everything = ODD_TEXTS.concat();
    let characters: Vec<char> = everything.chars().collect();
    let mut state = 1_u64;
    let mut next = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for kind in MADE {
        let tokenizer = build(kind, &everything);
        for _ in 0..500 {
            let text: String = (0..next(40)).map(|_| characters[next(characters.len())]).collect();
            assert_eq!(tokenizer.decode(&tokenizer.encode(&text).unwrap()).unwrap(), text, "{kind:?}");
        }
    }
}

#[test]
fn characters_get_ids_in_code_point_order() {
    let tokenizer = build(TokenizerKind::Char, "cab\n é");
    assert_eq!(tokenizer.encode("\n abcé").unwrap(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(tokenizer.vocab_size(), 6);
    assert_eq!(tokenizer.byte_len(5), 2);
    assert_eq!(tokenizer.token_text(0), "\n");
}

#[test]
fn tiny_shakespeare_has_the_65_characters_of_nanogpt() {
    let Some(text) = shared_text(ENGLISH) else { return };
    let tokenizer = build(TokenizerKind::Char, &text);
    assert_eq!(tokenizer.vocab_size(), 65);
    let alphabet = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    assert_eq!(tokenizer.encode(alphabet).unwrap(), (0..65).collect::<Vec<u32>>());
    let ids = tokenizer.encode(&text).unwrap();
    assert_eq!(ids.len(), 1_115_394);
    assert_eq!(ids[..5], [18, 47, 56, 57, 58]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
}

#[test]
fn the_id_of_a_byte_is_its_value() {
    let tokenizer = build(TokenizerKind::Byte, "");
    assert_eq!(tokenizer.vocab_size(), 256);
    for text in ODD_TEXTS {
        let bytes: Vec<u32> = text.bytes().map(u32::from).collect();
        assert_eq!(tokenizer.encode(text).unwrap(), bytes, "{text:?}");
    }
    assert!((0..256).all(|id| tokenizer.byte_len(id) == 1));
    assert_eq!(tokenizer.token_text(0xE4), "<0xE4>");
    assert_eq!(tokenizer.token_text(u32::from(b' ')), " ");
}

#[test]
fn chinese_poems_survive_every_kind() {
    let Some(text) = shared_text(CHINESE) else { return };
    for kind in MADE {
        let tokenizer = build(kind, &text);
        let ids = tokenizer.encode(&text).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text, "{kind:?}");
    }
}

#[test]
fn byte_pair_encoding_learns_what_repeats_and_shortens_the_text() {
    let Some(text) = shared_text(ENGLISH) else { return };
    let tokenizer = build(TokenizerKind::Bpe, &text);
    assert_eq!(tokenizer.vocab_size(), 512);
    let ids = tokenizer.encode(&text).unwrap();
    assert!(ids.len() * 9 < text.len() * 5, "{} ids for {} bytes", ids.len(), text.len());
    assert_eq!(tokenizer.encode(" the").unwrap().len(), 1);
    assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    let unseen = "Ünseen 词 🎈";
    assert_eq!(tokenizer.decode(&tokenizer.encode(unseen).unwrap()).unwrap(), unseen);
}

#[test]
fn training_twice_gives_the_same_file() {
    let mut texts: Vec<String> = [ENGLISH, CHINESE].into_iter().filter_map(shared_text).collect();
    texts.push("aaaaaaa abababab bababab aabb abab aaabaaab ".repeat(40));
    for text in texts {
        let config = TokenizerConfig { vocab_size: 700, end_of_text: true, ..config(TokenizerKind::Bpe) };
        let json = || Tokenizer::build(&config, &[&text]).unwrap().to_json().unwrap();
        let first = json();
        assert!((0..3).all(|_| json() == first));
    }
}

#[test]
fn a_short_corpus_gives_fewer_tokens_than_asked_for() {
    let tokenizer = build(TokenizerKind::Bpe, "abab abab");
    assert!((257..270).contains(&tokenizer.vocab_size()), "{}", tokenizer.vocab_size());
    assert_eq!(build(TokenizerKind::Bpe, "").vocab_size(), 256);
    assert_eq!(build(TokenizerKind::Bpe, "each pair once").vocab_size(), 256, "once is no pattern");
}

#[test]
fn end_of_text_is_the_last_id_and_comes_only_from_encode_document() {
    for kind in MADE {
        let with = TokenizerConfig { end_of_text: true, vocab_size: 300, ..config(kind) };
        let without = TokenizerConfig { end_of_text: false, ..with.clone() };
        let text = "One fish. <|endoftext|> Two fish. Two fish, one fish: too few fish.";
        let plain = Tokenizer::build(&without, &[text]).unwrap();
        assert_eq!(plain.end_of_text(), None);
        assert_eq!(plain.encode_document(text).unwrap(), plain.encode(text).unwrap());

        let tokenizer = Tokenizer::build(&with, &[text]).unwrap();
        let end = tokenizer.end_of_text().unwrap();
        assert_eq!(end as usize, tokenizer.vocab_size() - 1);
        let ids = tokenizer.encode(text).unwrap();
        assert!(!ids.contains(&end), "{kind:?}");
        assert_eq!(tokenizer.encode_document(text).unwrap(), [ids, vec![end]].concat());
        assert_eq!(tokenizer.decode(&[end]).unwrap(), "");
        assert_eq!(tokenizer.byte_len(end), 0);
        assert_eq!(tokenizer.token_text(end), "<|endoftext|>");
    }
}

#[test]
fn the_vocabulary_size_of_byte_pairs_counts_end_of_text() {
    let text = "the cat and the hat and the bat and the rat that the cat sat at ".repeat(3);
    let config = TokenizerConfig { vocab_size: 264, end_of_text: true, ..config(TokenizerKind::Bpe) };
    assert_eq!(Tokenizer::build(&config, &[&text]).unwrap().vocab_size(), 264);
    let least = TokenizerConfig { vocab_size: 257, ..config };
    assert_eq!(Tokenizer::build(&least, &[&text]).unwrap().vocab_size(), 257);
    let error = Tokenizer::build(&TokenizerConfig { vocab_size: 256, ..least }, &[&text]).unwrap_err();
    let told = "tokenizer kind `bpe`: vocab_size = 256 is too small; give at least 257 (the 256 bytes and end of text)";
    assert_eq!(error.to_string(), told);
}

#[test]
fn unknown_characters_are_named_once_with_their_place() {
    let tokenizer = build(TokenizerKind::Char, "abc \n");
    let error = tokenizer.encode("abc\nab é c\u{301}é\t").unwrap_err();
    let TextError::UnknownCharacters { at, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*at, Position { line: 2, column: 4 });
    let told = "the text: line 2, column 4: the vocabulary lacks 'é' (U+00E9), '\\u{301}' (U+0301), '\\t' (U+0009); ";
    assert!(error.to_string().starts_with(told), "{error}");
}

#[test]
fn many_unknown_characters_are_counted_not_listed() {
    let tokenizer = build(TokenizerKind::Char, "a");
    let error = tokenizer.encode("abcdefghijklm").unwrap_err().to_string();
    assert!(error.contains("'i' (U+0069) and 4 more; "), "{error}");
    assert!(!error.contains("'j'"), "{error}");
}

#[test]
fn ids_beyond_the_vocabulary_are_refused() {
    let tokenizer = build(TokenizerKind::Char, "ab");
    let error = tokenizer.decode(&[0, 2]).unwrap_err();
    assert!(matches!(error, TextError::UnknownId { id: 2, vocab_size: 2 }), "{error:?}");
    assert!(error.to_string().starts_with("token id 2: the vocabulary ends at id 1; "), "{error}");
    assert!(TextStream::new(&tokenizer).push(2).is_err());
    assert_eq!((tokenizer.byte_len(2), tokenizer.token_text(2)), (0, "<id 2>".to_string()));
}

#[test]
fn what_cannot_be_built_is_refused_with_a_reason() {
    let refused = |config| Tokenizer::build(&config, &[""]).unwrap_err();
    assert!(matches!(refused(config(TokenizerKind::Char)), TextError::NoCharacters));
    assert!(matches!(refused(config(TokenizerKind::File)), TextError::NoTokenizerPath));
}

#[test]
fn the_configuration_reads_from_toml_with_defaults_and_refuses_unknown_keys() {
    let config: TokenizerConfig = toml::from_str("kind = \"bpe\"\nvocab_size = 1000").unwrap();
    let expected = TokenizerConfig { kind: TokenizerKind::Bpe, vocab_size: 1000, ..TokenizerConfig::default() };
    assert_eq!(config, expected);
    assert_eq!(toml::from_str::<TokenizerConfig>("").unwrap(), TokenizerConfig::default());
    assert!(toml::from_str::<TokenizerConfig>("vocabulary = 1").is_err());
}
