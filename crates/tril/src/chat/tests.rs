//! Chats with small fresh models: what follows a line, however it was come to.

use std::sync::Arc;

use burn::tensor::Device;
use tril_infer::{Overflow, SamplerConfig};
use tril_model::{Gpt, GptConfig, Positions};
use tril_text::{TokenizerConfig, TokenizerKind};

use super::*;

/// A chat with these settings, to be changed.
fn chat(model: &Model) -> Chat {
    let mut chat = model.chat(ChatFormat::default(), ChatSettings::default());
    chat.settings.options.max_tokens = 12;
    chat.settings.options.sampler = SamplerConfig { temperature: 0.8, seed: 1337, ..SamplerConfig::default() };
    chat
}

/// What follows these lines, said one after another to a new chat.
fn fresh(model: &Model, lines: &[&str]) -> String {
    let mut chat = chat(model);
    lines.iter().map(|line| say(&mut chat, line).0).last().expect("a line")
}

/// A model whose context is 40 tokens, and one with a window of 8 that has none.
fn both() -> [Model; 2] {
    let learned = GptConfig { positions: Positions::Learned, window: 0, ..GptConfig::default() };
    let rotary = GptConfig { positions: Positions::Rotary, window: 8, ..GptConfig::default() };
    [learned, rotary].map(|config| model(config, TokenizerKind::Char))
}

fn model(config: GptConfig, kind: TokenizerKind) -> Model {
    let text = "abcdefghijklmnopqrstuvwxyz ,.!<>床前明月光\n";
    let config_of = TokenizerConfig { kind, ..TokenizerConfig::default() };
    let tokenizer = Tokenizer::build(&config_of, &[text]).expect("a tokenizer");
    let sizes = GptConfig { max_seq_len: 40, n_layers: 2, n_heads: 2, d_model: 24, ..config };
    let config = GptConfig { vocab_size: tokenizer.vocab_size(), ..sizes };
    let gpt = Gpt::new(config, 5, &Device::flex()).expect("a sound config");
    Model::new(gpt, Arc::new(tokenizer), "memory").expect("they fit")
}

/// Calls one of a chat's functions with something that takes the answer down.
fn shown(
    chat: &mut Chat,
    make: impl FnOnce(&mut Chat, &mut ShowPiece<'_>) -> Result<ChatReply, ChatError>,
) -> Result<(String, ChatReply), ChatError> {
    let mut text = String::new();
    let reply = make(chat, &mut |piece| {
        text.push_str(piece);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((text, reply))
}

fn say(chat: &mut Chat, line: &str) -> (String, ChatReply) {
    shown(chat, |chat, show| chat.say(line, show)).expect("a sound line")
}

fn edit(chat: &mut Chat, line: &str) -> Result<(String, ChatReply), ChatError> {
    shown(chat, |chat, show| chat.edit(line, show))
}

fn regenerate(chat: &mut Chat) -> (String, ChatReply) {
    shown(chat, Chat::regenerate).expect("there is a turn")
}

#[test]
fn going_back_gives_what_a_fresh_start_would_give_and_computes_only_what_is_new() {
    for model in both() {
        let mut chat = chat(&model);
        let (first, _) = say(&mut chat, "once");
        let (_, report) = say(&mut chat, " upon a time");
        // The first answer's last token was never computed, nor was the line.
        assert_eq!(report.computed, 1 + " upon a time".len());
        let (again, report) = regenerate(&mut chat);
        assert_eq!(report.computed, 1 + " upon a time".len());
        assert_eq!(chat.undo().expect("a turn"), " upon a time");
        assert_eq!(chat.transcript(), format!("once{first}"));
        let (other, report) = say(&mut chat, " or not");
        assert_eq!((other.clone(), report.computed), (fresh(&model, &["once", " or not"]), 1 + " or not".len()));
        let (edited, report) = edit(&mut chat, " upon a time").expect("a sound line");
        assert_eq!(edited, fresh(&model, &["once", " upon a time"]));
        assert_eq!(report.computed, 1 + " upon a time".len());
        assert_ne!(again, fresh(&model, &["once", " upon a time"]));
        // Further back, where what was computed may be gone.
        chat.undo().expect("a turn");
        chat.undo().expect("a turn");
        assert_eq!(chat.transcript(), "");
        assert_eq!(say(&mut chat, "once").0, first);
        assert_eq!(say(&mut chat, ", long ago").0, fresh(&model, &["once", ", long ago"]));
    }
}

#[test]
fn another_answer_is_the_next_sample_of_the_same_line() {
    for model in both() {
        let mut chat = chat(&model);
        let answers: Vec<String> =
            std::iter::once(say(&mut chat, "once").0).chain((0..3).map(|_| regenerate(&mut chat).0)).collect();
        for (index, answer) in answers.iter().enumerate() {
            let mut other = self::chat(&model);
            other.settings.options.sample_index = index as u64;
            assert_eq!(&say(&mut other, "once").0, answer);
            assert!(!answers[..index].contains(answer));
        }
    }
}

#[test]
fn an_empty_line_goes_on_as_if_there_had_been_no_pause() {
    for model in both() {
        let first = fresh(&model, &["once"]);
        let mut chat = chat(&model);
        say(&mut chat, "once");
        let (second, _) = regenerate(&mut chat);
        let (third, _) = say(&mut chat, "");
        let mut whole = self::chat(&model);
        whole.settings.options.sample_index = 1;
        whole.settings.options.max_tokens = 24;
        assert_eq!(say(&mut whole, "once").0, format!("{second}{third}"));
        assert_ne!(first, second);
    }
}

#[test]
fn a_character_that_was_cut_is_gone_on_with() {
    let config = GptConfig { positions: Positions::Rotary, window: 8, ..GptConfig::default() };
    let model = model(config, TokenizerKind::Byte);
    let bytes = "床前明月光".as_bytes();
    // Nothing but the bytes of these characters may come.
    let others: Vec<u32> = (0..=255).filter(|byte| !bytes.contains(byte)).map(u32::from).collect();
    let begin = |max_tokens: usize| {
        let mut chat = chat(&model);
        let sampler = &mut chat.settings.options.sampler;
        (sampler.banned, sampler.temperature) = (others.iter().copied().collect(), 2.0);
        chat.settings.options.max_tokens = max_tokens;
        chat
    };
    let whole = say(&mut begin(60), "床").0;
    let mut chat = begin(5);
    let mut text = say(&mut chat, "床").0;
    for _ in 0..40 {
        text += &say(&mut chat, "").0;
    }
    let whole_characters = whole.trim_end_matches(char::REPLACEMENT_CHARACTER);
    assert!(text.starts_with(whole_characters), "{text}\n{whole}");
    assert_eq!(chat.transcript(), format!("床{text}"));
}

#[test]
fn a_stop_text_is_not_part_of_what_the_next_line_follows() {
    for model in both() {
        let whole = fresh(&model, &["once"]);
        let stop: String = whole.chars().skip(5).take(2).collect();
        let mut chat = chat(&model);
        chat.settings.stop = StopTexts::new([stop.clone()]).expect("a stop text");
        let (answer, report) = say(&mut chat, "once");
        assert_eq!(answer, whole[..whole.find(&stop).expect("it is there")]);
        assert_eq!((report.finish, report.stop_text), (FinishReason::StopText, Some(stop)));
        chat.settings.stop = StopTexts::default();
        let (next, _) = say(&mut chat, " more");
        assert_eq!(next, fresh(&model, &[&format!("once{answer} more")]));
        assert_eq!(chat.transcript(), format!("once{answer} more{next}"));
    }
}

#[test]
fn hiding_changes_no_token_and_a_part_that_the_user_begins_is_hidden_too() {
    for model in both() {
        let whole = fresh(&model, &["on<ce"]);
        let mut chat = chat(&model);
        let end = whole.chars().nth(6).expect("twelve").to_string();
        chat.settings.hidden = HiddenParts::new([("<".to_owned(), end)]).expect("a pair");
        let (shown, report) = say(&mut chat, "on<ce");
        assert!(whole.ends_with(&shown) && shown.len() < whole.len(), "{shown:?} of {whole:?}");
        assert_eq!(report.hidden_tokens, whole.chars().count() - shown.chars().count());
        assert_eq!(chat.transcript(), format!("on<ce{whole}"));
    }
}

#[test]
fn a_line_stands_in_its_format_and_an_empty_one_does_not() {
    let [model, _] = both();
    let mut chat = chat(&model);
    chat.format = ChatFormat::parse(r"<{}>\n").expect("a template");
    let (first, _) = say(&mut chat, "once");
    assert_eq!(first, fresh(&model, &["<once>\n"]));
    let (second, _) = say(&mut chat, "");
    let (third, _) = say(&mut chat, "月");
    assert_eq!(chat.transcript(), format!("<once>\n{first}{second}<月>\n{third}"));
}

#[test]
fn a_line_that_cannot_be_read_changes_nothing() {
    let [model, _] = both();
    let mut chat = chat(&model);
    assert!(chat.undo().is_err() && shown(&mut chat, Chat::regenerate).is_err());
    say(&mut chat, "once");
    let before = chat.transcript();
    let refused = shown(&mut chat, |chat, show| chat.say("ONCE", show)).expect_err("no such characters").to_string();
    assert!(refused.contains("the line") && refused.contains('O'), "{refused}");
    assert!(edit(&mut chat, "ONCE").is_err());
    assert_eq!(chat.transcript(), before);
    assert_eq!(chat.last_line().expect("a line"), "once");
}

#[test]
fn an_answer_ends_when_it_is_stopped_and_can_be_gone_on_with() {
    for model in both() {
        let mut chat = chat(&model);
        let mut text = String::new();
        let reply = chat.say("once", &mut |piece| {
            text.push_str(piece);
            Ok(ControlFlow::Break(()))
        });
        let reply = reply.expect("a sound line");
        assert_eq!((reply.tokens, reply.finish), (1, FinishReason::Interrupted));
        let (rest, _) = say(&mut chat, "");
        let whole = fresh(&model, &["once"]);
        assert!(format!("{text}{rest}").starts_with(&whole));
    }
}

#[test]
fn past_a_full_context_the_text_is_that_of_a_fresh_start_too() {
    let [model, _] = both();
    let mut chat = chat(&model);
    let mut dropped = 0;
    for line in ["once", " upon a time", " there was", " a fox", " and a cat"] {
        dropped += say(&mut chat, line).1.dropped;
    }
    assert!(dropped > 0, "the premise");
    let transcript = chat.transcript();
    let (answer, _) = say(&mut chat, " and");
    assert_eq!(answer, fresh(&model, &[&format!("{transcript} and")]));
    chat.settings.options.on_overflow = Overflow::Stop;
    let (answer, report) = say(&mut chat, " then");
    assert_eq!((answer.as_str(), report.finish), ("", FinishReason::ContextFull));
}

#[test]
fn after_the_end_of_a_text_the_next_line_begins_another() {
    let config = TokenizerConfig { end_of_text: true, ..TokenizerConfig::default() };
    let tokenizer = Tokenizer::build(&config, &["abc \n"]).expect("a tokenizer");
    let end = tokenizer.end_of_text().expect("one");
    let vocab_size = tokenizer.vocab_size();
    let sizes = GptConfig { vocab_size, max_seq_len: 40, n_layers: 1, n_heads: 2, d_model: 8, ..GptConfig::default() };
    let gpt = Gpt::new(sizes, 5, &Device::flex()).expect("sound");
    let model = Model::new(gpt, Arc::new(tokenizer), "memory").expect("they fit");
    let mut chat = chat(&model);
    chat.settings.options.sampler.logit_bias = [(end, 100.0)].into();
    let (answer, report) = say(&mut chat, "a");
    assert_eq!((answer.as_str(), report.finish), ("", FinishReason::EndOfText));
    chat.settings.options.sampler.logit_bias.clear();
    say(&mut chat, "b");
    assert_eq!(chat.turns[1].said.ids[0], end);
    assert!(chat.transcript().starts_with("a\n\nb"));
}

#[test]
fn a_template_has_one_place_for_the_line_and_escapes_around_it() {
    let parsed = |template| ChatFormat::parse(template).map(|format| (format.before, format.after));
    assert_eq!(parsed("{}"), Ok((String::new(), String::new())));
    assert_eq!(parsed(r"问：{}\n答：\\"), Ok(("问：".into(), "\n答：\\".into())));
    assert!(parsed("Q:").is_err_and(|message| message.contains("0 times")));
    assert!(parsed("{}{}").is_err_and(|message| message.contains("2 times")));
    assert!(parsed(r"\x{}").is_err_and(|message| message.contains("backslash")));
    assert!(parsed(r"{}\").is_err_and(|message| message.contains("backslash")));
}
