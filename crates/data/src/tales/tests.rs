//! Tests that need the inside of the engine: grammars small enough to enumerate, the entropy of single choices, and
//! the many ways in which a grammar can be wrong.

use std::collections::HashSet;

use super::generate::{Options, Point, weight};
use super::{Derivation, Grammar, TalesError};

/// Every feature of the format in 81 stories: two names from one list, a form, an article, a capital, weights,
/// a rule with a parameter, a deck that is dealt out (`fruit`, three times from two) and a rule that may repeat.
const TOY: &str = r#"
seed = 5
stories = 20000
repeats = ["sound"]
[lists.person]
columns = ["they"]
rows = [[["Ada", "Una"], "she"], ["Ivo", "he"]]
[vars]
hero = "person"
friend = "person"
[rules]
story = ["{hero} met {friend}. {^hero.they} had {a} {fruit}, {a} {fruit} and {a} {fruit}. {end:hero}\n\n", "{bang}\n\n"]
fruit = [{ weight = 3, text = "apple" }, "pear"]
bang = ["{^sound}! {^sound}!"]
sound = [{ weight = 2, text = "tick" }, { weight = 5, text = "tock" }, "umph"]
"end(x)" = ["{x} laughed.", { weight = 4, text = "{^x.they} slept." }, "{friend} sang."]
"#;

fn grammar(rules: &str) -> Grammar {
    parse(rules).unwrap()
}

fn parse(rules: &str) -> Result<Grammar, TalesError> {
    let lists = r#"
        [lists.person]
        columns = ["they"]
        rows = [["Ada", "she"], ["Ivo", "he"]]
        [vars]
        hero = "person"
        friend = "person"
    "#;
    let lists = if rules.contains("friend") { lists } else { "" };
    Grammar::parse(&format!("seed = 1\nstories = 1\n{lists}\n[rules]\n{rules}"))
}

/// All stories of a grammar, by making every choice at every point.
fn all_stories(grammar: &Grammar) -> Vec<(String, Derivation)> {
    let mut stories = Vec::new();
    let mut beginnings = vec![Vec::new()];
    while let Some(beginning) = beginnings.pop() {
        let mut next = None;
        let mut made = 0;
        let told = grammar.generate(&mut |_, options| {
            made += 1;
            if let Some(&pick) = beginning.get(made - 1) {
                return pick;
            }
            next.get_or_insert_with(|| options.picks().collect::<Vec<_>>());
            options.picks().next().unwrap()
        });
        match next {
            None => stories.push(told),
            Some(picks) => beginnings.extend(picks.iter().map(|&pick| [beginning.as_slice(), &[pick]].concat())),
        }
    }
    stories
}

/// Entropy of one choice in nats.
fn entropy(grammar: &Grammar, point: Point, options: Options) -> f64 {
    let total = f64::from(options.total);
    let term = |pick| {
        let p = f64::from(weight(grammar, point, pick)) / total;
        -p * p.ln()
    };
    options.picks().map(term).sum()
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, (variance / count).sqrt())
}

#[test]
fn the_probabilities_of_all_texts_of_a_toy_grammar_sum_to_one() {
    let stories = all_stories(&grammar_of(TOY));
    assert_eq!(stories.len(), 6 * 4 * 3 + 3 * 3);
    let sum: f64 = stories.iter().map(|(_, derivation)| (-derivation.nats()).exp()).sum();
    assert!((sum - 1.0).abs() < 1e-12, "the probabilities sum to {sum}");
    let texts: HashSet<&String> = stories.iter().map(|(text, _)| text).collect();
    assert_eq!(texts.len(), stories.len(), "two derivations tell one text");
}

#[test]
fn every_text_of_a_toy_grammar_is_read_back_as_the_choices_that_told_it() {
    let grammar = grammar_of(TOY);
    grammar.prove_unique().unwrap();
    for (text, derivation) in all_stories(&grammar) {
        assert_eq!(grammar.derivations(&text), [derivation], "{text}");
    }
}

#[test]
fn stories_come_as_often_as_their_probabilities_say() {
    let grammar = grammar_of(TOY);
    let stories = all_stories(&grammar);
    let exact: f64 = stories.iter().map(|(_, derivation)| (-derivation.nats()).exp() * derivation.nats()).sum();
    let told: Vec<f64> = (0..grammar.len()).map(|index| grammar.story(index).nats).collect();
    let (mean, error) = mean_and_error(&told);
    assert!((mean - exact).abs() < 4.0 * error, "mean {mean} +- {error} nats, the grammar's entropy is {exact}");

    let (text, derivation) = stories.iter().find(|(text, _)| text == "Tock! Tock!\n\n").unwrap();
    let p = (-derivation.nats()).exp();
    assert!((p - 0.5 * (5.0f64 / 8.0).powi(2)).abs() < 1e-12, "p({text:?}) = {p}");
    let share =
        (0..grammar.len()).filter(|&index| grammar.story(index).text == *text).count() as f64 / grammar.len() as f64;
    assert!((share - p).abs() < 4.0 * (p * (1.0 - p) / grammar.len() as f64).sqrt(), "share {share}, probability {p}");
}

#[test]
fn the_nats_of_the_corpus_agree_with_the_entropies_of_its_choices() {
    let grammar = Grammar::embedded().unwrap();
    // The entropies of a story's choices sum to the same mean as its nats, with less noise.
    let surplus = |index| {
        let derivation = grammar.derivation(index);
        let mut picks = derivation.choices.iter().map(|choice| choice.pick);
        let mut expected = 0.0;
        grammar.generate(&mut |point, options| {
            expected += entropy(&grammar, point, options);
            picks.next().unwrap()
        });
        derivation.nats() - expected
    };
    let surplus: Vec<f64> = (0..grammar.len()).map(surplus).collect();
    let (mean, error) = mean_and_error(&surplus);
    assert!(error > 0.0 && mean.abs() < 4.0 * error, "{mean} +- {error} nats a story too many");
}

#[test]
fn an_ambiguous_grammar_has_two_derivations_and_the_proof_refuses_it() {
    let grammar = grammar("story = ['{a1}{b1}']\na1 = ['x', 'xy']\nb1 = ['yz', 'z']");
    assert_eq!(grammar.derivations("xyz").len(), 2);
    assert_eq!(grammar.derivations("xz").len(), 1);
    assert_eq!(grammar.derivations("zz").len(), 0);
    let error = grammar.prove_unique().unwrap_err().to_string();
    assert!(error.contains("rule `a1`: alternatives 1 and 2 can both tell \"x\""), "{error}");
}

#[test]
fn the_proof_refuses_every_subtle_source_of_ambiguity() {
    let cases = [
        ("an alternative that begins another", "story = ['{x}']\nx = ['a bell', 'a bellows']"),
        ("the same text by two ways", "story = ['{x}.']\nx = ['{y} cat', 'red cat']\ny = ['red', 'blue']"),
        ("equal only when capitalised", "story = ['{^x}']\nx = ['will.', 'Will.']"),
        ("two names of one list, neither known", "story = ['{x}']\nx = ['{hero} sat.', '{friend} sat.']"),
        (
            "forms that may agree",
            "story = ['{hero} met {friend}. {x}']\nx = ['{^hero.they} sat.', '{^friend.they} sat.']",
        ),
        ("a form before its word", "story = ['{^hero.they} sat. {hero} met {friend}.']"),
        (
            "a word that only some alternatives draw",
            "story = ['{x} {hero.they} met {friend}.']\nx = ['{hero}', 'Nobody']",
        ),
        ("an article that hides an n", "story = ['{x}']\nx = ['{a} {y}', 'an apple']\ny = ['apple', 'pear']"),
    ];
    for (case, rules) in cases {
        let grammar = grammar(rules);
        assert!(grammar.prove_unique().is_err(), "not refused: {case}");
    }
    let names = |names: &str| {
        let lists = format!("[lists.l]\nrows = [[[{names}]]]\n[vars]\nv = 'l'\n[rules]\nstory = ['{{v}}']");
        Grammar::parse(&format!("seed = 1\nstories = 1\n{lists}")).unwrap().prove_unique()
    };
    assert!(names("'Ann', 'Bea'").is_ok());
    assert!(names("'Ann', 'Anna'").is_err());
}

#[test]
fn the_proof_accepts_what_only_looks_ambiguous() {
    let rules = [
        "story = ['{hero} met {friend}. {x}']\nx = ['{hero} sat.', '{friend} sat.', '{^hero.they} sat.']",
        "story = ['{x}']\nx = ['{y} cat', '{y} dog']\ny = ['red', 'blue']",
        "story = ['{hero} and {x}']\nx = ['{friend}.', '{friend}, too.', 'nobody.']",
    ];
    for rules in rules {
        grammar(rules).prove_unique().unwrap();
    }
}

#[test]
fn a_faulty_data_file_is_refused_with_the_place_and_the_problem() {
    let cases = [
        ("story = ['{nobody}']", "rule `story`, alternative 1: `nobody` is no rule, variable or parameter"),
        ("story = []", "rule `story`: it is empty"),
        ("story = ['x', 'x']", "\"x\" stands there twice"),
        ("story = ['x', { weight = 2, text = 'x' }]", "\"x\" stands there twice"),
        ("story = ['x', '']", "rule `story`: it has an empty option"),
        ("story = [{ weight = 0, text = 'x' }]", "\"x\" has weight 0; give it one from 1"),
        ("story = ['x{story}']", "rule `story` contains itself"),
        ("story = ['x']\nlonely = ['y']", "rule `lonely`: no story reaches it"),
        ("story = ['{x']", "`{` without `}`"),
        ("story = ['{x:hero} {friend}']\n'x(p,q)' = ['{p} {q}']", "rule `x` takes 2 arguments, 1 given"),
        ("story = ['{x:bob}']\n'x(p)' = ['{p}']", "`bob` is no variable"),
        ("story = ['{hero.them} {friend}']", "`hero` has no column `them`; it has [\"they\"]"),
        ("story = ['{friend}']", "variable `hero`: no story reaches it"),
        ("story = ['na\u{ef}ve']", "is not ASCII"),
        ("story = ['{a}pple']", "`{a}` needs a space behind it"),
        ("tale = ['x']", "the grammar: `story` is no rule"),
        ("story = 'x'", "not readable"),
    ];
    for (rules, problem) in cases {
        let error = parse(rules).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(problem), "{rules}: {error}");
    }
}

fn grammar_of(toml: &str) -> Grammar {
    Grammar::parse(toml).unwrap()
}
