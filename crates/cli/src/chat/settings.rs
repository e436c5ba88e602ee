//! Settings that change during a chat, by the names and rules of the flags.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Command, FromArgMatches};
use tril::{ChatSettings, GenerateOptions, HiddenParts, SamplerConfig, StopTexts, Tokenizer};

use crate::args::ChatFlags;
use crate::open;

/// The settings of a chat as they are now.
pub struct Settings {
    /// Those it began with.
    began: ChatFlags,
    changes: BTreeMap<String, Vec<String>>,
    now: ChatFlags,
    sampler: SamplerConfig,
    sample_index: u64,
    filters: (StopTexts, HiddenParts),
}

impl Settings {
    pub fn new(began: ChatFlags, sample_index: u64, tokenizer: &Tokenizer) -> Result<Self> {
        let sampler = began.sampling.config(tokenizer)?;
        let filters = open::filters(&began.stop, &began.hide, tokenizer)?;
        Ok(Self { now: began.clone(), began, changes: BTreeMap::new(), sampler, sample_index, filters })
    }

    /// Gives a setting other values, or without any those it began with; returns its present name. Nothing changes if that
    /// cannot be.
    pub fn set(&mut self, name: &str, values: Vec<String>, tokenizer: &Tokenizer) -> Result<String> {
        let mut changes = self.changes.clone();
        let command = command();
        let is_named = |arg: &&clap::Arg| {
            arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|names| names.contains(&name))
        };
        let Some(name) = command.get_arguments().find(is_named).and_then(clap::Arg::get_long) else {
            bail!("/set: there is no setting {name}; /set lists them");
        };
        match values.is_empty() {
            true => changes.remove(name),
            false => changes.insert(name.to_owned(), values),
        };
        let now = changed(self.began.clone(), &changes)?;
        let Self { sampler, filters, .. } = Self::new(now.clone(), self.sample_index, tokenizer)?;
        *self = Self { began: self.began.clone(), changes, now, sampler, filters, ..*self };
        Ok(name.to_owned())
    }

    /// Each setting and its value; all of them, or the named one.
    pub fn list(&self, only: Option<&str>) -> String {
        let settings = self.now.list().into_iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
        settings.map(|(name, value)| format!("{name:<18} {value}\n")).collect()
    }

    /// How answers are made.
    pub fn chat(&self) -> ChatSettings {
        ChatSettings {
            options: GenerateOptions {
                sampler: self.sampler.clone(),
                sample_index: self.sample_index,
                max_tokens: self.now.max_tokens,
                on_overflow: self.now.on_overflow.into(),
                ..GenerateOptions::default()
            },
            stop: self.filters.0.clone(),
            hidden: self.filters.1.clone(),
        }
    }
}

/// The flags without their defaults, so that only those count that are named.
fn command() -> Command {
    let command = Command::new("set").no_binary_name(true).disable_help_flag(true);
    ChatFlags::augment_args(command).mut_args(|arg| arg.default_value(None))
}

fn changed(mut settings: ChatFlags, changes: &BTreeMap<String, Vec<String>>) -> Result<ChatFlags> {
    let command = command();
    let mut words = Vec::new();
    for (name, values) in changes {
        let arg = command.get_arguments().find(|arg| arg.get_long() == Some(name));
        let at_once = arg.and_then(|arg| arg.get_num_args()).map_or(1, |range| range.min_values().max(1));
        for values in values.chunks(at_once) {
            match values {
                // In one word, so that a value may begin with a hyphen.
                [value] => words.push(format!("--{name}={value}")),
                _ => words.extend(std::iter::once(format!("--{name}")).chain(values.iter().cloned())),
            }
        }
    }
    // The first line says what is wrong; the others speak of a command line.
    let told = |error: clap::Error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ").replace("'--", "'");
        anyhow!("/set: {line}")
    };
    let matches = command.try_get_matches_from(words).map_err(told)?;
    settings.update_from_arg_matches(&matches).map_err(told)?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tril_text::TokenizerConfig;

    use super::*;
    use crate::args::{Cli, Command as Tril};

    fn tokenizer() -> Tokenizer {
        Tokenizer::build(&TokenizerConfig::default(), &["abc xyz-<>()"]).expect("a tokenizer")
    }

    fn settings(flags: &[&str]) -> Settings {
        let words = ["tril", "chat", "run"].iter().chain(flags);
        let Tril::Chat(args) = Cli::try_parse_from(words).expect("sound flags").command else { panic!("a chat") };
        Settings::new(args.settings, args.sample_index, &tokenizer()).expect("sound settings")
    }

    fn set(settings: &mut Settings, name: &str, values: &[&str]) -> Result<String> {
        settings.set(name, values.iter().map(|value| (*value).to_owned()).collect(), &tokenizer())
    }

    #[test]
    fn every_flag_is_listed_and_only_what_is_set_changes() {
        let mut settings = settings(&["--top-k", "7", "--seed", "3"]);
        let names: Vec<String> = settings.now.list().iter().map(|(name, _)| (*name).to_owned()).collect();
        let command = command();
        let flags: Vec<&str> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
        assert_eq!(names, flags);
        let before = settings.list(None);
        set(&mut settings, "temperature", &["0.5"]).expect("a temperature");
        assert_eq!(settings.list(None), before.replace("temperature        0.8", "temperature        0.5"));
        let options = settings.chat().options;
        assert_eq!((options.sampler.temperature, options.sampler.top_k, options.sampler.seed), (0.5, 7, 3));
        assert_eq!(options.max_tokens, 200);
        set(&mut settings, "top-k", &["2"]).expect("a number");
        set(&mut settings, "temperature", &[]).expect("back");
        set(&mut settings, "top-k", &[]).expect("back");
        assert_eq!(settings.list(None), before);
    }

    #[test]
    fn a_setting_with_several_values_takes_them_all_in_place_of_those_before() {
        let mut settings = settings(&["--stop", "x"]);
        for stops in [&["a b"][..], &["b", "-c", ""][..2]] {
            set(&mut settings, "stop", stops).expect("stop texts");
            assert_eq!(settings.now.stop, stops);
        }
        set(&mut settings, "hide", &["<", ">", "(", ")"]).expect("pairs");
        assert_eq!(settings.list(Some("hide")), "hide               \"<\" \">\" \"(\" \")\"\n");
        set(&mut settings, "ban", &["a", "b"]).expect("tokens");
        assert_eq!(settings.sampler.banned.len(), 2);
        set(&mut settings, "ban", &[]).expect("none");
        assert!(settings.sampler.banned.is_empty());
        set(&mut settings, "penalty-span", &["9"]).expect("an old name");
        assert_eq!(settings.list(Some("penalty-last-n")), "penalty-last-n     9\n");
        set(&mut settings, "max-tokens", &["inf"]).expect("no end");
        assert_eq!(settings.list(Some("max-tokens")), "max-tokens         inf\n");
    }

    #[test]
    fn a_setting_that_cannot_be_is_told_in_one_line_and_changes_nothing() {
        let mut settings = settings(&[]);
        let before = settings.list(None);
        for (name, values, told) in [
            ("temprature", &["1"][..], "no setting temprature"),
            ("temperature", &["hot"], "temperature"),
            ("temperature", &["-1"], "0 (greedy) or a number from"),
            ("temperature", &["1", "2"], "temperature"),
            ("max-tokens", &["-5"], "a whole number"),
            ("hide", &["<"], "hide"),
            ("stop", &[""], "stop text is empty"),
            ("ban", &["abc"], "3 tokens"),
            ("on-overflow", &["shift"], "shift"),
        ] {
            let message = format!("{:#}", set(&mut settings, name, values).expect_err("no sense"));
            assert!(message.contains(told) && !message.contains('\n'), "{name} {values:?}: {message}");
            assert_eq!(settings.list(None), before, "{name} {values:?}");
        }
    }
}
