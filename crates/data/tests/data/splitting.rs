//! Which text trains and which validates.

use crate::shared::{ENGLISH, build, config, shared_path};
use tril_data::{Corpus, DataError, Document, HeldOut, Piece, Split, encode_side};
use tril_text::{Position, Tokenizer, TokenizerConfig, TokenizerKind};

fn corpus(texts: &[&str]) -> Corpus {
    let numbered = texts.iter().zip(0_u8..);
    let documents = numbered.map(|(&text, number)| Document {
        nats: Some(f64::from(number) + 0.5),
        ..Document::new(format!("file {number}"), text)
    });
    Corpus::new("test", documents.collect())
}

fn joined(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text).collect()
}

fn n_train(texts: &[&str], fraction: f64) -> usize {
    joined(&Split::new(&corpus(texts), fraction).expect("a sound fraction").train).chars().count()
}

#[test]
fn tiny_shakespeare_is_cut_where_nanogpt_cuts_it() {
    let Some(path) = shared_path(ENGLISH) else { return };
    let corpus = Corpus::open(path.to_str().unwrap()).unwrap();
    assert_eq!((corpus.text_len(), corpus.name.as_str()), (1_115_394, ENGLISH));
    let split = Split::new(&corpus, 0.1).unwrap();
    let tokenizer = build(TokenizerKind::Char, corpus.texts()[0]);
    let train = encode_side(&tokenizer, &split.train).unwrap();
    let validation = encode_side(&tokenizer, &split.validation).unwrap();
    assert_eq!((train.chars, validation.chars), (1_003_854, 111_540));
    assert_eq!((train.ids.len(), validation.ids.len()), (1_003_854, 111_540));
    assert_eq!(joined(&split.train) + &joined(&split.validation), corpus.documents[0].text);
}

#[test]
fn the_cut_of_one_document_is_what_python_computes() {
    // (n, fraction, int(n * share)) with the share 1 - fraction as a person writes it.
    let cases = [(10, 0.1, 9), (1000, 0.9, 100), (99, 0.3, 69), (7, 0.5, 3), (1234, 0.05, 1172), (30, 0.2, 24)];
    for (n, fraction, expected) in cases {
        assert_eq!(n_train(&["字".repeat(n).as_str()], fraction), expected, "{n} {fraction}");
    }
}

#[test]
fn a_border_between_documents_within_a_hundredth_is_preferred() {
    let text = |n: usize| "x".repeat(n);
    // 1000 characters: the cut is at 900, and borders from 890 to 910 win over it.
    for (border, expected) in [(889, 900), (890, 890), (895, 895), (910, 910), (911, 900)] {
        assert_eq!(n_train(&[&text(border), &text(1000 - border)], 0.1), expected);
    }
    assert_eq!(n_train(&[&text(894), &text(11), &text(95)], 0.1), 905);
    assert_eq!(n_train(&[&text(895), &text(10), &text(95)], 0.1), 895);
}

#[test]
fn a_split_at_a_border_keeps_documents_whole() {
    let corpus = corpus(&["a".repeat(895).as_str(), "b".repeat(105).as_str()]);
    let Split { train, validation, .. } = Split::new(&corpus, 0.1).unwrap();
    assert_eq!((train.len(), validation.len()), (1, 1));
    assert!(train[0].ends_document && validation[0].ends_document);
    assert_eq!((train[0].nats, validation[0].nats), (Some(0.5), Some(1.5)));
    assert_eq!((validation[0].origin, validation[0].start), ("file 1", Position::START));
}

#[test]
fn a_divided_document_ends_once_and_loses_its_probability() {
    let corpus = corpus(&["0123456789\nabcdefghij", "ABCDEFGHI"]);
    let Split { train, validation, .. } = Split::new(&corpus, 0.5).unwrap();
    assert_eq!((joined(&train).as_str(), joined(&validation).as_str()), ("0123456789\nabcd", "efghijABCDEFGHI"));
    assert_eq!(validation[0].start, Position { line: 2, column: 5 });
    let ends: Vec<bool> = train.iter().chain(&validation).map(|piece| piece.ends_document).collect();
    assert_eq!(ends, [false, false, false], "no document ends where it could be learnt");
    let nats: Vec<Option<f64>> = train.iter().chain(&validation).map(|piece| piece.nats).collect();
    assert_eq!(nats, [None, None, Some(1.5)]);

    let config = TokenizerConfig { end_of_text: true, ..config(TokenizerKind::Char) };
    let tokenizer = Tokenizer::build(&config, &corpus.texts()).unwrap();
    let end = tokenizer.end_of_text().unwrap();
    let places = |pieces: &[Piece]| -> Vec<usize> {
        let encoded = encode_side(&tokenizer, pieces).unwrap();
        encoded.ids.iter().enumerate().filter(|(_, id)| **id == end).map(|(at, _)| at).collect()
    };
    assert!(places(&train).is_empty() && places(&validation).is_empty());
}

#[test]
fn documents_end_in_both_parts_once_one_ends_where_the_model_learns() {
    let corpus = corpus(&["ab", "0123456789\nabcdefghij", "ABCDEFGHI"]);
    let Split { train, validation, .. } = Split::new(&corpus, 0.5).unwrap();
    assert_eq!((joined(&train).as_str(), joined(&validation).as_str()), ("ab0123456789\nabc", "defghijABCDEFGHI"));
    let config = TokenizerConfig { end_of_text: true, ..config(TokenizerKind::Char) };
    let tokenizer = Tokenizer::build(&config, &corpus.texts()).unwrap();
    let end = tokenizer.end_of_text().unwrap();
    let places = |pieces: &[Piece]| -> Vec<usize> {
        let encoded = encode_side(&tokenizer, pieces).unwrap();
        encoded.ids.iter().enumerate().filter(|(_, id)| **id == end).map(|(at, _)| at).collect()
    };
    assert_eq!((places(&train), places(&validation)), (vec![2], vec![7, 17]));
}

#[test]
fn an_encoded_side_counts_bytes_characters_and_nats() {
    let corpus = corpus(&["é", "字x"]);
    let split = Split::new(&corpus, 0.0).unwrap();
    assert!(split.validation.is_empty());
    let encoded = encode_side(&build(TokenizerKind::Byte, ""), &split.train).unwrap();
    assert_eq!((encoded.ids.len(), encoded.bytes, encoded.chars, encoded.nats), (6, 6, 3, Some(2.0)));
    let unknown = Piece { nats: None, ..split.train[0] };
    let encoded = encode_side(&build(TokenizerKind::Byte, ""), &[unknown, split.train[1]]).unwrap();
    assert_eq!(encoded.nats, None);
    assert_eq!(encode_side(&build(TokenizerKind::Byte, ""), &[]).unwrap().nats, None);
}

#[test]
fn unknown_characters_are_reported_by_their_place_in_the_document() {
    let corpus = corpus(&["aaaa\naaaaaéa\naaaüa"]);
    let split = Split::new(&corpus, 0.5).unwrap();
    assert_eq!(split.validation[0].text, "aéa\naaaüa");
    let error = encode_side(&build(TokenizerKind::Char, "a\n"), &split.validation).unwrap_err().to_string();
    assert!(error.starts_with("file 0: line 2, column 6: "), "{error}");
    let error = encode_side(&build(TokenizerKind::Char, "a\né"), &split.validation).unwrap_err().to_string();
    assert!(error.starts_with("file 0: line 3, column 4: "), "{error}");
}

#[test]
fn fractions_and_texts_that_leave_a_side_empty_are_refused() {
    for fraction in [-0.1, 1.0, 1.5, f64::NAN] {
        let error = Split::new(&corpus(&["text"]), fraction).unwrap_err();
        assert!(matches!(error, DataError::ValidationFraction { .. }), "{error:?}");
    }
    for (text, fraction) in [("", 0.1), ("x", 0.1), ("xy", 0.9)] {
        let error = Split::new(&corpus(&[text]), fraction).unwrap_err();
        assert!(matches!(error, DataError::TooShortToSplit { .. }), "{error:?}");
    }
}

#[test]
fn the_end_of_a_text_tests_what_stands_before_it_validates_and_the_rest_trains_as_without_a_test() {
    let halves = HeldOut { validation: 0.05, test: 0.05 };
    let text: String = ('a'..='z').cycle().take(1013).collect();
    for texts in
        [vec![text.as_str()], vec![&text[..950], &text[950..]], vec![&text[..400], &text[400..960], &text[960..]]]
    {
        let corpus = corpus(&texts);
        let (tested, whole) = (Split::new(&corpus, halves).unwrap(), Split::new(&corpus, 0.1).unwrap());
        assert_eq!(tested.train, whole.train);
        assert_eq!(joined(&tested.validation) + &joined(&tested.test), joined(&whole.validation));
        // The cut does not depend on what validates.
        assert_eq!(joined(&tested.test), joined(&Split::new(&corpus, 0.05).unwrap().validation));
        assert!(whole.test.is_empty() && !joined(&tested.validation).is_empty());
    }
    // One document that is cut twice.
    let corpus = corpus(&["0123456789"]);
    let split = Split::new(&corpus, HeldOut { validation: 0.3, test: 0.2 }).unwrap();
    assert_eq!([&split.train, &split.validation, &split.test].map(|part| joined(part)), ["01234", "567", "89"]);
    assert_eq!(split.test[0].start, Position { line: 1, column: 9 });
}

#[test]
fn test_fractions_that_leave_nothing_are_refused() {
    let fractions = |validation, test| Split::new(&corpus(&["0123456789"]), HeldOut { validation, test }).map(|_| ());
    for (validation, test) in [(0.1, -0.1), (0.5, 0.5), (0.1, 1.0), (0.1, f64::NAN), (0.0, 1.0)] {
        let error = fractions(validation, test).unwrap_err();
        assert!(matches!(error, DataError::TestFraction { .. }), "{error:?}");
    }
    for (validation, test) in [(0.1, 0.01), (0.01, 0.1)] {
        assert!(fractions(validation, test).is_ok(), "a cut is rounded down, so a part of a text has a character");
    }
    let error = Split::new(&corpus(&["xy"]), HeldOut { validation: 0.1, test: 0.1 }).unwrap_err();
    assert!(matches!(error, DataError::TooShortToSplit { .. }), "{error:?}");
}
