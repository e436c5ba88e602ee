//! Decoding while ids arrive.

use crate::foreign::sentence_pieces;
use crate::shared::{CHINESE, MADE, ODD_TEXTS, build, config, shared_text};
use tril_text::{TextStream, Tokenizer, TokenizerConfig, TokenizerKind};

/// All pieces but the last, and what `finish` gave.
fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> (Vec<String>, String) {
    let mut stream = TextStream::new(tokenizer);
    let pieces: Vec<String> = ids.iter().filter_map(|&id| stream.push(id).expect("a known id")).collect();
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    (pieces, stream.finish().expect("whole characters"))
}

#[test]
fn chinese_poems_arrive_in_whole_characters_and_a_cut_keeps_half_a_character_back() {
    let Some(text) = shared_text(CHINESE) else { return };
    let config = TokenizerConfig { vocab_size: 400, ..config(TokenizerKind::Bpe) };
    let tokenizer = Tokenizer::build(&config, &[&text]).unwrap();
    let ids = tokenizer.encode(&text).unwrap();
    assert!(ids.len() * 2 > text.chars().count() * 3, "most characters must be more than one token");
    let (pieces, rest) = stream(&tokenizer, &ids);
    assert_eq!(pieces.concat(), text);
    assert_eq!(rest, "");

    let mut n_cut_characters = 0;
    for end in 0..200 {
        let (pieces, rest) = stream(&tokenizer, &ids[..end]);
        let complete = pieces.concat();
        assert!(text.starts_with(&complete) && !complete.contains('\u{fffd}'), "cut at {end}: {complete:?}");
        let n_bytes: usize = ids[..end].iter().map(|&id| tokenizer.byte_len(id)).sum();
        assert_eq!(rest.is_empty(), complete.len() == n_bytes);
        assert!(n_bytes - complete.len() < 4);
        if !rest.is_empty() {
            assert_eq!(rest, "\u{fffd}");
            n_cut_characters += 1;
        }
    }
    assert!(n_cut_characters > 20, "{n_cut_characters}");
}

#[test]
fn a_stream_says_what_decoding_at_once_says() {
    let everything = ODD_TEXTS.concat();
    for kind in MADE {
        let tokenizer = build(kind, &everything);
        for text in ODD_TEXTS {
            let (pieces, rest) = stream(&tokenizer, &tokenizer.encode(text).unwrap());
            assert_eq!((pieces.concat().as_str(), rest.as_str()), (text, ""), "{kind:?}");
        }
    }
}

#[test]
fn bytes_that_are_no_text_become_the_same_replacement_characters_as_at_once() {
    let tokenizer = build(TokenizerKind::Byte, "");
    let cases: [&[u8]; 7] = [
        b"\xFF",
        b"a\xE4b",
        b"\xE4\xBD",
        b"\xE4\xBD\xE4\xBD\xA0",
        b"\xF0\x9F\x98 \x80\x80",
        b"\xC0\xAF\xED\xA0\x80",
        b"ok\xF4\x90\x80\x80!",
    ];
    for bytes in cases {
        let ids: Vec<u32> = bytes.iter().map(|&byte| u32::from(byte)).collect();
        let (pieces, rest) = stream(&tokenizer, &ids);
        assert_eq!(pieces.concat() + &rest, tokenizer.decode(&ids).unwrap(), "{bytes:?}");
        assert_eq!(pieces.concat() + &rest, String::from_utf8_lossy(bytes));
    }
}

#[test]
fn special_tokens_give_no_text_in_a_stream() {
    let config = TokenizerConfig { end_of_text: true, ..config(TokenizerKind::Char) };
    let tokenizer = Tokenizer::build(&config, &["ab"]).unwrap();
    let end = tokenizer.end_of_text().unwrap();
    let mut stream = TextStream::new(&tokenizer);
    assert_eq!(stream.push(0).unwrap().as_deref(), Some("a"));
    assert_eq!(stream.push(end).unwrap(), None);
    assert_eq!(stream.push(1).unwrap().as_deref(), Some("b"));
    assert_eq!(stream.finish().unwrap(), "");
}

#[test]
fn a_tokenizer_that_strips_the_first_space_streams_what_it_decodes() {
    let tokenizer = sentence_pieces();
    let end = tokenizer.end_of_text().unwrap();
    for text in ["the the", "the é the", " the", "a的e 的", "的", "", "  a  \n"] {
        let mut ids = tokenizer.encode(text).unwrap();
        ids.insert(ids.len() / 2, end);
        let (pieces, rest) = stream(&tokenizer, &ids);
        assert_eq!(pieces.concat() + &rest, tokenizer.decode(&ids).unwrap(), "{text:?}");
        assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')), "{pieces:?}");
    }
    let ids = tokenizer.encode("a的").unwrap();
    let (pieces, rest) = stream(&tokenizer, &ids[..ids.len() - 1]);
    assert_eq!(pieces.concat(), "a");
    assert!(!rest.is_empty() && rest.chars().all(|c| c == '\u{fffd}'), "{rest:?}");
}
