//! The arguments of `tril chat`. Those that may change from turn to turn are in [`ChatSettings`].

use std::path::PathBuf;

use clap::Args;

use super::{ComputeArgs, OnOverflow, SamplingArgs, parse_max_tokens};

#[derive(Debug, Args)]
pub struct ChatArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// What a typed line adds to the text: {} is the line, \n a new line, \t a tab, \\ a backslash, as in 'Q: {}\nA:'
    #[arg(long, value_name = "TEMPLATE", default_value = "{}", value_parser = parse_format, allow_hyphen_values = true)]
    pub format: Format,
    /// Which of the seed's samples the first answer to a line is; /regen counts on from it
    #[arg(long, value_name = "I", default_value_t = 0)]
    pub sample_index: u64,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub settings: ChatSettings,
}

/// What `/set` can change.
#[derive(Debug, Clone, Args)]
pub struct ChatSettings {
    /// Tokens that an answer has at most; inf for one without end, until Ctrl-C
    #[arg(long, value_name = "N|inf", default_value = "200", value_parser = parse_max_tokens)]
    pub max_tokens: usize,
    /// What to do when the context is full; with rotary positions and a window it never is, and this changes nothing
    #[arg(long, value_name = "WHAT", default_value = "recompute")]
    pub on_overflow: OnOverflow,
    /// End an answer where TEXT appears in it, and leave out what is from there on; may be repeated
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub stop: Vec<String>,
    /// Do not show what stands between two texts, nor these; it is still generated, and saved; may be repeated
    #[arg(long, num_args = 2, value_names = ["START", "END"], allow_hyphen_values = true)]
    pub hide: Vec<String>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
}

/// What stands before and after the line that a user types.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Format {
    pub before: String,
    pub after: String,
}

impl ChatSettings {
    /// Each setting's name and value, in the order of the help.
    pub fn list(&self) -> Vec<(&'static str, String)> {
        let texts = |texts: &[String]| texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>();
        let max_tokens = if self.max_tokens == usize::MAX { "inf".into() } else { self.max_tokens.to_string() };
        let on_overflow = format!("{:?}", self.on_overflow).to_lowercase();
        let SamplingArgs { logit_bias, ban, ban_id, .. } = &self.sampling;
        let sampling = &self.sampling;
        let several = |values: Vec<String>| if values.is_empty() { "none".to_owned() } else { values.join(" ") };
        vec![
            ("max-tokens", max_tokens),
            ("on-overflow", on_overflow),
            ("stop", several(texts(&self.stop))),
            ("hide", several(texts(&self.hide))),
            ("repetition-penalty", sampling.repetition_penalty.to_string()),
            ("presence-penalty", sampling.presence_penalty.to_string()),
            ("frequency-penalty", sampling.frequency_penalty.to_string()),
            ("penalty-span", sampling.penalty_span.to_string()),
            ("logit-bias", several(logit_bias.iter().map(|(id, bias)| format!("{id}={bias}")).collect())),
            ("ban", several(texts(ban))),
            ("ban-id", several(ban_id.iter().map(u32::to_string).collect())),
            ("temperature", sampling.temperature.to_string()),
            ("top-k", sampling.top_k.to_string()),
            ("typical-p", sampling.typical_p.to_string()),
            ("top-p", sampling.top_p.to_string()),
            ("min-p", sampling.min_p.to_string()),
            ("seed", sampling.seed.to_string()),
        ]
    }
}

fn parse_format(template: &str) -> Result<Format, String> {
    let parts: Vec<&str> = template.split("{}").collect();
    let [before, after] = parts[..] else {
        return Err(format!("it must hold {{}} once, where the line goes, and holds it {} times", parts.len() - 1));
    };
    Ok(Format { before: unescaped(before)?, after: unescaped(after)? })
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut chars = text.chars();
    let mut unescaped = String::new();
    while let Some(char) = chars.next() {
        unescaped.push(match char {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('\\') => '\\',
                _ => return Err(r"after a backslash come n, t or another backslash: \n, \t, \\".into()),
            },
            char => char,
        });
    }
    Ok(unescaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_one_place_for_the_line_and_escapes_around_it() {
        let parsed = |template| parse_format(template).map(|format| (format.before, format.after));
        assert_eq!(parsed("{}"), Ok((String::new(), String::new())));
        assert_eq!(parsed(r"问：{}\n答：\\"), Ok(("问：".into(), "\n答：\\".into())));
        assert!(parsed("Q:").is_err_and(|message| message.contains("0 times")));
        assert!(parsed("{}{}").is_err_and(|message| message.contains("2 times")));
        assert!(parsed(r"\x{}").is_err_and(|message| message.contains("backslash")));
        assert!(parsed(r"{}\").is_err_and(|message| message.contains("backslash")));
    }
}
