//! The flags that say how tokens are chosen, the same for every command that generates.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use clap::Args;
use tril_infer::SamplerConfig;
use tril_text::Tokenizer;

use super::values::whole;

/// How many tokens of a text an error names.
const MAX_NAMED: usize = 8;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling, in the order it is applied")]
pub struct SamplingArgs {
    /// Make tokens that have occurred less likely: divide their logits by X if positive, multiply if negative; 1 is off
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    pub repetition_penalty: f64,
    /// Subtract X from the logit of every token that has occurred; a negative X favours them
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub presence_penalty: f64,
    /// Subtract X from a token's logit for each time it has occurred; a negative X favours it
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub frequency_penalty: f64,
    /// How many of the last tokens the penalties consider, the prompt's included; 0 is all
    #[arg(long, alias = "penalty-span", value_name = "N", default_value_t = 0, value_parser = whole::<usize>(0..=u64::MAX))]
    pub penalty_last_n: usize,
    /// Add VALUE to the logit of the token ID of the checkpoint's tokenizer.json, -inf bans it; may be repeated
    #[arg(long, value_name = "ID=VALUE", value_parser = parse_bias)]
    pub logit_bias: Vec<(u32, f32)>,
    /// Never choose the token TEXT, spaces included, such as e or " the" or "<|endoftext|>"; may be repeated
    #[arg(long, value_name = "TEXT", value_parser = tril::unescape, allow_hyphen_values = true)]
    pub ban: Vec<String>,
    /// Never choose the token ID of the checkpoint's tokenizer.json; may be repeated
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    pub ban_id: Vec<u32>,
    /// 0 always takes the most probable token; 1 draws from the model's own distribution
    #[arg(short, long, value_name = "T", default_value_t = 0.8)]
    pub temperature: f64,
    /// Draw only from the K most probable tokens; 0 keeps all
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = whole::<usize>(0..=u64::MAX))]
    pub top_k: usize,
    /// Draw only from the tokens whose surprise is closest to its expectation, the entropy: as few as have
    /// probability P together; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub typical_p: f64,
    /// Draw only from the most probable tokens: as few as have probability P together; 1 keeps all
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub top_p: f64,
    /// Draw only from tokens at least P times as probable as the most probable one; 0 keeps all
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub min_p: f64,
    /// The same seed gives the same text
    #[arg(long, value_name = "S", default_value_t = 1337, value_parser = whole::<u64>(0..=u64::MAX))]
    pub seed: u64,
}

impl SamplingArgs {
    /// The sampler that the flags describe, for a vocabulary.
    ///
    /// # Errors
    /// For a text that is no single token, a token that there is not or that is named twice, and what
    /// [`SamplerConfig::check`] refuses.
    pub fn config(&self, tokenizer: &Tokenizer) -> Result<SamplerConfig> {
        let mut banned = BTreeSet::new();
        for text in &self.ban {
            banned.extend(tokens_of(text, tokenizer)?);
        }
        for &id in &self.ban_id {
            check_id("--ban-id", id, tokenizer)?;
            banned.insert(id);
        }
        let mut logit_bias = BTreeMap::new();
        for &(id, bias) in &self.logit_bias {
            check_id("--logit-bias", id, tokenizer)?;
            if logit_bias.insert(id, bias).is_some() {
                bail!("--logit-bias: token {id} has two values; give it one");
            }
        }
        let config = SamplerConfig {
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            penalty_last_n: self.penalty_last_n,
            logit_bias,
            banned,
            temperature: self.temperature,
            top_k: self.top_k,
            typical_p: self.typical_p,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: self.seed,
        };
        config.check(tokenizer.vocab_size())?;
        Ok(config)
    }
}

/// The ids of all tokens that are `text`, by themselves or as it is encoded.
fn tokens_of(text: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let all = 0..tokenizer.vocab_size() as u32;
    let exact: Vec<u32> = all.filter(|id| tokenizer.token_text(*id) == text).collect();
    if !exact.is_empty() {
        return Ok(exact);
    }
    match &tokenizer.encode(text).map_err(|error| error.in_text("--ban"))?[..] {
        [] => bail!("--ban {text:?}: it is not a token here; give the text of one"),
        [id] => Ok(vec![*id]),
        ids => {
            let name = |id: &u32| format!("{:?} ({id})", tokenizer.token_text(*id));
            let mut names: Vec<String> = ids.iter().take(MAX_NAMED).map(name).collect();
            if ids.len() > MAX_NAMED {
                names.push("…".into());
            }
            let (count, names) = (ids.len(), names.join(", "));
            bail!(
                "--ban {text:?}: it is {count} tokens here, {names}, and only single tokens can be banned; ban one of these"
            )
        }
    }
}

fn check_id(flag: &str, id: u32, tokenizer: &Tokenizer) -> Result<()> {
    let vocab_size = tokenizer.vocab_size();
    if (id as usize) < vocab_size {
        return Ok(());
    }
    let last = vocab_size.saturating_sub(1);
    bail!("{flag}: no token {id}; ids go from 0 to {last}, and tokenizer.json in the checkpoint's directory lists them")
}

fn parse_id(text: &str) -> Result<u32, String> {
    let error = "a token's id is a whole number; tokenizer.json in the checkpoint's directory lists them";
    text.trim().parse().map_err(|_| error.to_owned())
}

fn parse_bias(text: &str) -> Result<(u32, f32), String> {
    let (id, bias) = text.split_once('=').ok_or("it must be ID=VALUE, such as 42=-1.5")?;
    let bias: f32 =
        bias.trim().parse().map_err(|_| format!("the value {bias:?} is not a number, such as -1.5 or -inf"))?;
    if bias.is_nan() || bias == f32::INFINITY {
        return Err(format!("the value {bias} must be a finite number, or -inf to ban the token"));
    }
    Ok((parse_id(id)?, bias))
}
