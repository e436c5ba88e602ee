//! The embedded corpus as its users see it: one derivation each, exact probabilities, stable, plain, well formed.

#![allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit")]

use std::collections::BTreeSet;

use tril_data::tales::{Grammar, Story, stories};

fn corpus() -> (Grammar, Vec<Story>) {
    (Grammar::embedded().expect("sound"), stories().expect("sound"))
}

#[test]
fn the_grammar_is_proved_to_give_every_text_one_derivation() {
    Grammar::embedded().unwrap().prove_unique().unwrap();
}

#[test]
fn every_story_has_exactly_the_derivation_that_told_it_and_its_probability() {
    let (grammar, stories) = corpus();
    for (index, story) in (0..).zip(&stories) {
        let derivations = grammar.derivations(&story.text);
        assert_eq!(derivations, [grammar.derivation(index)], "story {index}");
        let product: f64 =
            derivations[0].choices.iter().map(|c| -(f64::from(c.weight) / f64::from(c.total)).ln()).sum();
        assert!((product - story.nats).abs() <= 1e-9 * story.nats, "story {index}: {product} and {}", story.nats);
    }
}

#[test]
fn a_story_with_one_name_or_pronoun_changed_has_no_derivation() {
    let (grammar, stories) = corpus();
    let mut changed = 0;
    for (index, story) in stories.iter().enumerate().step_by(7) {
        for (old, new) in [(" she ", " he "), (" he ", " she "), (" his ", " her ")] {
            if let Some(at) = story.text.find(old) {
                let text = [&story.text[..at], new, &story.text[at + old.len()..]].concat();
                assert!(grammar.derivations(&text).is_empty(), "story {index} is told with{new}for{old}");
                changed += 1;
            }
        }
        let hero =
            ["Mira", "Otis", "Vera", "Hugo", "Nell", "Leo"].iter().find(|name| story.text.matches(**name).count() > 2);
        if let Some(hero) = hero {
            let text = story.text.replacen(hero, "Tobin", 1);
            assert!(grammar.derivations(&text).is_empty(), "story {index} is told with Tobin for one {hero}");
            changed += 1;
        }
    }
    assert!(changed > 100, "only {changed} stories were changed");
}

#[test]
fn a_story_is_the_same_alone_as_in_the_whole() {
    let (grammar, stories) = corpus();
    assert_eq!(stories.len() as u64, grammar.len());
    for index in [1649, 3, 800, 3, 0] {
        assert_eq!(grammar.story(index), stories[usize::try_from(index).unwrap()], "story {index}");
    }
    assert_ne!(stories[0], stories[1]);
    let distinct: BTreeSet<&str> = stories.iter().map(|story| story.text.as_str()).collect();
    assert_eq!(distinct.len(), stories.len(), "a story is told twice");
}

#[test]
fn the_corpus_is_about_a_megabyte_of_plain_text_in_few_characters() {
    let (_, stories) = corpus();
    let bytes: usize = stories.iter().map(|story| story.text.len()).sum();
    assert!((1_000_000..=1_100_000).contains(&bytes), "{bytes} bytes");
    let characters: BTreeSet<char> = stories.iter().flat_map(|story| story.text.chars()).collect();
    assert!(characters.iter().all(char::is_ascii), "{characters:?}");
    assert!((55..=75).contains(&characters.len()), "{} characters: {characters:?}", characters.len());
    let nats = stories.iter().map(|story| story.nats).sum::<f64>() / bytes as f64;
    assert!((0.25..=0.6).contains(&nats), "{nats} nats per character");
}

#[test]
fn the_corpus_keeps_its_bytes() {
    // FNV-1a. If you changed datasets/tales.toml on purpose, put the new value here; old checkpoints knew other text.
    let (_, stories) = corpus();
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = stories.iter().flat_map(|story| story.text.bytes()).fold(0xcbf2_9ce4_8422_2325, step);
    assert_eq!(hash, 0x57f3_dc85_b5f8_332a, "the hash is {hash:#x}");
}

#[test]
fn a_blank_line_ends_each_story_and_stands_nowhere_else() {
    let (_, stories) = corpus();
    for Story { text, .. } in &stories {
        assert_eq!(text.find("\n\n"), Some(text.len() - 2), "{text}");
        assert!(!text.contains("  ") && !text.contains(" \n") && !text.contains("\n "), "{text}");
        assert_eq!(text.matches('"').count() % 2, 0, "{text}");
    }
}

#[test]
fn articles_agree_with_the_words_behind_them() {
    let (_, stories) = corpus();
    let mut articles = 0;
    for Story { text, .. } in &stories {
        let words: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c == '"').filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let word = pair[1].to_ascii_lowercase();
            let sounds_like_a_consonant = ["one", "use", "uni", "eu"].iter().any(|start| word.starts_with(start));
            let silent_h = ["hour", "honest", "heir"].iter().any(|start| word.starts_with(start));
            let vowel = word.starts_with(['a', 'e', 'i', 'o', 'u']) && !sounds_like_a_consonant || silent_h;
            if matches!(pair[0], "a" | "A" | "an" | "An") {
                assert_eq!(pair[0].len() == 2, vowel, "{} {} in {text}", pair[0], pair[1]);
                articles += 1;
            }
        }
    }
    assert!(articles > 10_000, "only {articles} articles were seen");
}

#[test]
fn sentences_begin_with_a_capital() {
    let (_, stories) = corpus();
    for Story { text, .. } in &stories {
        let mut letters = text.chars().peekable();
        let mut sentence = true; // at the beginning of a line, or behind a full stop and a space
        while let Some(letter) = letters.next() {
            assert!(!(sentence && letter.is_ascii_lowercase()), "a small letter begins a sentence in {text}");
            let ends = matches!(letter, '.' | '!' | '?') && letters.next_if_eq(&' ').is_some();
            sentence = ends || letter == '\n';
        }
    }
}
