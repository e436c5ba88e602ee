//! Sessions with small fresh models: what follows a line, however it was come to.

use burn::tensor::Device;
use clap::Parser;
use tril_model::{GptConfig, Positions};
use tril_text::{TokenizerConfig, TokenizerKind};

use super::*;
use crate::args::{Cli, Command};

struct Scene {
    gpt: Gpt,
    tokenizer: Tokenizer,
}

impl Scene {
    /// A model whose context is 40 tokens, and one with a window of 8 that has none.
    fn both() -> [Self; 2] {
        let learned = GptConfig { positions: Positions::Learned, window: 0, ..GptConfig::default() };
        let rotary = GptConfig { positions: Positions::Rotary, window: 8, ..GptConfig::default() };
        [learned, rotary].map(|config| Self::new(config, TokenizerKind::Char))
    }

    fn new(config: GptConfig, kind: TokenizerKind) -> Self {
        let text = "abcdefghijklmnopqrstuvwxyz ,.!<>床前明月光\n";
        let config_of = TokenizerConfig { kind, ..TokenizerConfig::default() };
        let tokenizer = Tokenizer::build(&config_of, &[text]).expect("a tokenizer");
        let sizes = GptConfig { max_seq_len: 40, n_layers: 2, n_heads: 2, d_model: 24, ..config };
        let config = GptConfig { vocab_size: tokenizer.vocab_size(), ..sizes };
        Self { gpt: Gpt::new(config, 5, &Device::flex()).expect("a sound config"), tokenizer }
    }

    fn session(&self, flags: &[&str]) -> Session<'_> {
        let words = ["tril", "chat", "run", "--max-tokens", "12"].iter().chain(flags);
        let Command::Chat(args) = Cli::try_parse_from(words).expect("sound flags").command else { panic!("a chat") };
        let settings = Settings::new(args.settings, &self.tokenizer).expect("sound settings");
        Session::new(&self.gpt, &self.tokenizer, args.format, args.sample_index, settings)
    }

    /// What follows these lines, said one after another to a new session.
    fn fresh(&self, lines: &[&str]) -> String {
        let mut session = self.session(&[]);
        lines.iter().map(|line| say(&mut session, line).0).last().expect("a line")
    }
}

fn never() -> AtomicBool {
    AtomicBool::new(false)
}

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).expect("UTF-8")
}

fn say(session: &mut Session<'_>, line: &str) -> (String, Report) {
    let mut out = Vec::new();
    let report = session.say(line, &mut out, &never()).expect("a sound line");
    (text(out), report)
}

fn regenerate(session: &mut Session<'_>) -> (String, Report) {
    let mut out = Vec::new();
    let report = session.regenerate(&mut out, &never()).expect("there is a turn");
    (text(out), report)
}

#[test]
fn going_back_gives_what_a_fresh_start_would_give_and_computes_only_what_is_new() {
    for scene in Scene::both() {
        let mut session = scene.session(&[]);
        let (first, _) = say(&mut session, "once");
        let (_, report) = say(&mut session, " upon a time");
        // The first answer's last token was never computed, nor was the line.
        assert_eq!(report.computed, 1 + " upon a time".len());
        let (again, report) = regenerate(&mut session);
        assert_eq!(report.computed, 1 + " upon a time".len());
        assert_eq!(session.undo().expect("a turn"), " upon a time");
        assert_eq!(session.transcript(), format!("once{first}"));
        let (other, report) = say(&mut session, " or not");
        assert_eq!((other.clone(), report.computed), (scene.fresh(&["once", " or not"]), 1 + " or not".len()));
        let mut out = Vec::new();
        let report = session.edit(" upon a time", &mut out, &never()).expect("a sound line");
        assert_eq!(text(out), scene.fresh(&["once", " upon a time"]));
        assert_eq!(report.computed, 1 + " upon a time".len());
        assert_ne!(again, scene.fresh(&["once", " upon a time"]));
        // Further back, where what was computed may be gone.
        session.undo().expect("a turn");
        session.undo().expect("a turn");
        assert_eq!(session.transcript(), "");
        assert_eq!(say(&mut session, "once").0, first);
        assert_eq!(say(&mut session, ", long ago").0, scene.fresh(&["once", ", long ago"]));
    }
}

#[test]
fn another_answer_is_the_next_sample_of_the_same_line() {
    for scene in Scene::both() {
        let mut session = scene.session(&[]);
        let answers: Vec<String> =
            std::iter::once(say(&mut session, "once").0).chain((0..3).map(|_| regenerate(&mut session).0)).collect();
        for (index, answer) in answers.iter().enumerate() {
            let mut other = scene.session(&["--sample-index", &index.to_string()]);
            assert_eq!(&say(&mut other, "once").0, answer);
            assert!(!answers[..index].contains(answer));
        }
    }
}

#[test]
fn an_empty_line_goes_on_as_if_there_had_been_no_pause() {
    for scene in Scene::both() {
        let first = scene.fresh(&["once"]);
        let mut session = scene.session(&[]);
        say(&mut session, "once");
        let (second, _) = regenerate(&mut session);
        let (third, _) = say(&mut session, "");
        let mut whole = scene.session(&["--sample-index", "1"]);
        whole.set("max-tokens", vec!["24".into()]).expect("a number");
        assert_eq!(say(&mut whole, "once").0, format!("{second}{third}"));
        assert_ne!(first, second);
    }
}

#[test]
fn a_character_that_was_cut_is_gone_on_with() {
    let config = GptConfig { positions: Positions::Rotary, window: 8, ..GptConfig::default() };
    let scene = Scene::new(config, TokenizerKind::Byte);
    let bytes = "床前明月光".as_bytes();
    // Nothing but the bytes of these characters may come.
    let others: Vec<String> = (0..=255).filter(|byte| !bytes.contains(byte)).map(|byte: u8| byte.to_string()).collect();
    let begin = |max_tokens: usize| {
        let mut session = scene.session(&[]);
        session.set("ban-id", others.clone()).expect("ids");
        session.set("temperature", vec!["2".into()]).expect("a temperature");
        session.set("max-tokens", vec![max_tokens.to_string()]).expect("a number");
        session
    };
    let whole = say(&mut begin(60), "床").0;
    let mut session = begin(5);
    let mut text = say(&mut session, "床").0;
    for _ in 0..40 {
        text += &say(&mut session, "").0;
    }
    let whole_characters = whole.trim_end_matches(char::REPLACEMENT_CHARACTER);
    assert!(text.starts_with(whole_characters), "{text}\n{whole}");
    assert_eq!(session.transcript(), format!("床{text}"));
}

#[test]
fn a_stop_text_is_not_part_of_what_the_next_line_follows() {
    for scene in Scene::both() {
        let whole = scene.fresh(&["once"]);
        let stop: String = whole.chars().skip(5).take(2).collect();
        let mut session = scene.session(&[]);
        session.set("stop", vec![stop.clone()]).expect("a stop text");
        let (answer, report) = say(&mut session, "once");
        assert_eq!(answer, whole[..whole.find(&stop).expect("it is there")]);
        assert_eq!(report.ending, Ending::StopText(stop));
        session.set("stop", vec![]).expect("none");
        let (next, _) = say(&mut session, " more");
        assert_eq!(next, scene.fresh(&[&format!("once{answer} more")]));
        assert_eq!(session.transcript(), format!("once{answer} more{next}"));
    }
}

#[test]
fn hiding_changes_no_token_and_a_part_that_the_user_begins_is_hidden_too() {
    for scene in Scene::both() {
        let whole = scene.fresh(&["on<ce"]);
        let mut session = scene.session(&[]);
        session.set("hide", vec!["<".into(), whole.chars().nth(6).expect("twelve").into()]).expect("a pair");
        let (shown, report) = say(&mut session, "on<ce");
        assert!(whole.ends_with(&shown) && shown.len() < whole.len(), "{shown:?} of {whole:?}");
        assert_eq!(report.not_shown, whole.chars().count() - shown.chars().count());
        assert_eq!(session.transcript(), format!("on<ce{whole}"));
    }
}

#[test]
fn a_line_stands_in_its_format_and_an_empty_one_does_not() {
    let [scene, _] = Scene::both();
    let mut session = scene.session(&["--format", r"<{}>\n"]);
    let (first, _) = say(&mut session, "once");
    assert_eq!(first, scene.fresh(&["<once>\n"]));
    let (second, _) = say(&mut session, "");
    let (third, _) = say(&mut session, "月");
    assert_eq!(session.transcript(), format!("<once>\n{first}{second}<月>\n{third}"));
}

#[test]
fn a_line_that_cannot_be_read_changes_nothing() {
    let [scene, _] = Scene::both();
    let mut session = scene.session(&[]);
    assert!(session.undo().is_err() && session.regenerate(&mut Vec::new(), &never()).is_err());
    say(&mut session, "once");
    let before = session.transcript();
    let refused = session.say("ONCE", &mut Vec::new(), &never()).err().expect("no such characters").to_string();
    assert!(refused.contains("the line") && refused.contains('O'), "{refused}");
    assert!(session.edit("ONCE", &mut Vec::new(), &never()).is_err());
    assert_eq!(session.transcript(), before);
    assert_eq!(session.last_line().expect("a line"), "once");
}

#[test]
fn an_answer_ends_when_it_is_stopped_and_can_be_gone_on_with() {
    for scene in Scene::both() {
        let mut session = scene.session(&[]);
        let mut out = Vec::new();
        let report = session.say("once", &mut out, &AtomicBool::new(true)).expect("a sound line");
        assert_eq!((report.tokens, report.ending), (1, Ending::Interrupted));
        let (rest, _) = say(&mut session, "");
        let whole = scene.fresh(&["once"]);
        assert!(format!("{}{rest}", text(out)).starts_with(&whole));
    }
}

#[test]
fn past_a_full_context_the_text_is_that_of_a_fresh_start_too() {
    let [scene, _] = Scene::both();
    let mut session = scene.session(&[]);
    let mut dropped = 0;
    for line in ["once", " upon a time", " there was", " a fox", " and a cat"] {
        dropped += say(&mut session, line).1.dropped;
    }
    assert!(dropped > 0, "the premise");
    let transcript = session.transcript();
    let (answer, _) = say(&mut session, " and");
    assert_eq!(answer, scene.fresh(&[&format!("{transcript} and")]));
    session.set("on-overflow", vec!["stop".into()]).expect("a choice");
    let (answer, report) = say(&mut session, " then");
    assert_eq!((answer.as_str(), report.ending), ("", Ending::Finish(Finish::ContextFull)));
}

#[test]
fn after_the_end_of_a_text_the_next_line_begins_another() {
    let config = TokenizerConfig { end_of_text: true, ..TokenizerConfig::default() };
    let tokenizer = Tokenizer::build(&config, &["abc \n"]).expect("a tokenizer");
    let end = tokenizer.end_of_text().expect("one");
    let vocab_size = tokenizer.vocab_size();
    let sizes = GptConfig { vocab_size, max_seq_len: 40, n_layers: 1, n_heads: 2, d_model: 8, ..GptConfig::default() };
    let scene = Scene { gpt: Gpt::new(sizes, 5, &Device::flex()).expect("sound"), tokenizer };
    let mut session = scene.session(&[]);
    session.set("logit-bias", vec![format!("{end}=100")]).expect("a bias");
    let (answer, report) = say(&mut session, "a");
    assert_eq!((answer.as_str(), report.ending), ("", Ending::Finish(Finish::EndOfText)));
    session.set("logit-bias", vec![]).expect("none");
    say(&mut session, "b");
    assert_eq!(session.turns[1].said.ids[0], end);
    assert!(session.transcript().starts_with("a\n\nb"));
}
