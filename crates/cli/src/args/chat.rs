//! The arguments of `tril chat`. Those that may change from turn to turn are in [`ChatFlags`].

use std::path::PathBuf;

use clap::Args;
use tril::ChatFormat;

use super::values::{max_tokens, whole};
use super::{ComputeArgs, DraftArgs, OnOverflow, SamplingArgs, WeightsArgs};

#[derive(Debug, Args)]
pub struct ChatArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// Template for each typed line: {} is the line, \n a newline, \t a tab, \\ a backslash, as in 'Q: {}\nA:'
    #[arg(long, value_name = "TEMPLATE", default_value = "{}", value_parser = ChatFormat::parse, allow_hyphen_values = true)]
    pub format: ChatFormat,
    /// Sample index of the first answer to a line; each /regen adds one
    #[arg(long, value_name = "I", default_value_t = 0, value_parser = whole::<u64>(0..=u64::MAX))]
    pub sample_index: u64,
    #[command(flatten)]
    pub weights: WeightsArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub draft: DraftArgs,
    #[command(flatten)]
    pub settings: ChatFlags,
}

/// What `/set` can change.
#[derive(Debug, Clone, Args)]
pub struct ChatFlags {
    /// Generate at most this many tokens an answer; inf goes on until Ctrl-C
    #[arg(short = 'n', long, value_name = "N|inf", default_value = "200", value_parser = max_tokens)]
    pub max_tokens: usize,
    /// What to do when the context is full; with rotary positions and a window it never is
    #[arg(long, value_name = "WHAT", default_value = "recompute")]
    pub on_overflow: OnOverflow,
    /// End an answer where TEXT appears, and leave it out; may be repeated
    #[arg(long, value_name = "TEXT", value_parser = tril::unescape, allow_hyphen_values = true)]
    pub stop: Vec<String>,
    /// Hide everything from START to END; it is still generated and saved; may be repeated
    #[arg(long, num_args = 2, value_names = ["START", "END"], value_parser = tril::unescape, allow_hyphen_values = true)]
    pub hide: Vec<String>,
    #[command(flatten)]
    pub sampling: SamplingArgs,
}

impl ChatFlags {
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
            ("penalty-last-n", sampling.penalty_last_n.to_string()),
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
