//! The parameters that both kinds of completions have: how tokens are chosen, and when texts end.

use std::collections::BTreeMap;

use serde_json::Value;
use tril::infer::Overflow;
use tril::{GenerateOptions, SamplerConfig, StopTexts};

use crate::fields::{Fields, shown, whole};
use crate::identity::drawn_seed;
use crate::options::{MAX_CHOICES, MAX_TOKENS};
use crate::{ApiError, ServedModel};

/// Stop texts of one request.
const MAX_STOPS: usize = 64;

/// `max_tokens` of a stream without end.
const ENDLESS: i64 = -1;

/// What a request says of how texts are made.
#[derive(Debug)]
pub struct Sampling {
    /// For each text, but for what is told of its tokens.
    pub options: GenerateOptions,
    /// What ends a text.
    pub stop: StopTexts,
    /// How many texts of each prompt.
    pub samples: usize,
    /// Whether texts go on until the client leaves.
    pub is_endless: bool,
    /// Whether the oldest part of a prompt may be left out where it does not fit.
    pub may_cut_prompt: bool,
}

/// How an answer is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// As events, while it is made.
    pub stream: bool,
    /// Whether a stream has an event for what it took.
    pub include_usage: bool,
    /// Whether there is to be a receipt.
    pub receipt: bool,
}

/// What is accepted because it changes no answer.
const HARMLESS: [&str; 7] =
    ["user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"];

impl Sampling {
    /// Takes the fields that both kinds of completions have, but for the number of tokens.
    ///
    /// - max_tokens: what the request says of it, and what is taken where it says nothing
    ///
    /// # Errors
    /// About the first field that is wrong.
    pub fn take(
        fields: &mut Fields,
        model: &ServedModel,
        max_tokens: Option<i64>,
        default_tokens: usize,
    ) -> Result<Self, ApiError> {
        fields.skip(&HARMLESS);
        let is_endless = max_tokens == Some(ENDLESS);
        let ignore_eos = fields.flag("ignore_eos")?;
        let tokenizer = model.model().tokenizer();
        let on_overflow = on_overflow(fields)?;
        let options = GenerateOptions {
            sampler: sampler(fields, model)?,
            sample_index: fields.unsigned("sample_index")?.unwrap_or(0),
            max_tokens: match max_tokens {
                Some(ENDLESS) => usize::MAX,
                Some(number) => usize::try_from(number).unwrap_or(0),
                None => default_tokens,
            },
            stop_token: tokenizer.end_of_text().filter(|_| !ignore_eos),
            on_overflow: on_overflow.unwrap_or_default(),
            ..GenerateOptions::default()
        };
        let samples = fields.whole("n", 1..=MAX_CHOICES as i64)?.map_or(1, |n| usize::try_from(n).unwrap_or(1));
        let may_cut_prompt = on_overflow == Some(Overflow::Recompute);
        Ok(Self { options, stop: stop_texts(fields)?, samples, is_endless, may_cut_prompt })
    }

    /// The range of `max_tokens`, and of its other names.
    pub fn token_range() -> std::ops::RangeInclusive<i64> {
        ENDLESS..=MAX_TOKENS as i64
    }

    /// Refuses what would take more memory than one request may have.
    ///
    /// - told_each: numbers that are told of each token
    ///
    /// # Errors
    /// About `max_tokens` or `n`.
    pub fn check_size(&self, prompts: usize, told_each: usize, delivery: Delivery) -> Result<(), ApiError> {
        let choices = prompts.saturating_mul(self.samples);
        if choices > MAX_CHOICES {
            let why = format!("{prompts} prompts with {} texts each are more than {MAX_CHOICES}", self.samples);
            return Err(ApiError::param("n", why));
        }
        if self.is_endless {
            return match delivery {
                Delivery { stream: false, .. } => {
                    Err(ApiError::param("max_tokens", "-1 asks for a text without end; ask for it with stream: true"))
                }
                Delivery { receipt: true, .. } => {
                    Err(ApiError::param("receipt", "a text without end has none; give max_tokens"))
                }
                _ => Ok(()),
            };
        }
        let told = choices.saturating_mul(self.options.max_tokens).saturating_mul(told_each.max(1));
        if told > MAX_TOKENS {
            let why = format!(
                "{choices} texts of {} tokens{} are more than one request may ask for, which is {MAX_TOKENS}",
                self.options.max_tokens,
                if told_each > 1 { format!(" with {told_each} numbers each") } else { String::new() },
            );
            return Err(ApiError::param("max_tokens", why));
        }
        Ok(())
    }
}

impl Delivery {
    /// Takes the fields that say how an answer is sent.
    ///
    /// # Errors
    /// About the first field that is wrong.
    pub fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let stream = fields.flag("stream")?;
        let mut include_usage = false;
        if let Some(mut options) = fields.object("stream_options")? {
            if !stream {
                return Err(ApiError::param("stream_options", "it goes with stream: true"));
            }
            include_usage = options.flag("include_usage")?;
            // Padding against who counts bytes on the way.
            options.skip(&["include_obfuscation"]);
            options.finish()?;
        }
        Ok(Self { stream, include_usage, receipt: fields.flag("receipt")? })
    }
}

fn sampler(fields: &mut Fields, model: &ServedModel) -> Result<SamplerConfig, ApiError> {
    let default = SamplerConfig::default();
    let count = |number: Option<i64>| number.map_or(0, |number| usize::try_from(number).unwrap_or(0));
    let most = i64::from(i32::MAX);
    let config = SamplerConfig {
        repetition_penalty: fields.number("repetition_penalty")?.unwrap_or(default.repetition_penalty),
        presence_penalty: fields.number("presence_penalty")?.unwrap_or(default.presence_penalty),
        frequency_penalty: fields.number("frequency_penalty")?.unwrap_or(default.frequency_penalty),
        penalty_last_n: count(fields.whole("penalty_last_n", 0..=most)?),
        logit_bias: logit_bias(fields)?,
        temperature: fields.number("temperature")?.unwrap_or(default.temperature),
        top_k: count(fields.whole("top_k", 0..=most)?),
        typical_p: fields.number("typical_p")?.unwrap_or(default.typical_p),
        top_p: fields.number("top_p")?.unwrap_or(default.top_p),
        min_p: fields.number("min_p")?.unwrap_or(default.min_p),
        seed: fields.unsigned("seed")?.unwrap_or_else(drawn_seed),
        ..default
    };
    config.check(model.model().config().vocab_size).map_err(|error| match &error {
        tril::infer::InferError::Setting { field, .. } => ApiError::bad_request(error.to_string()).about(*field),
        _ => ApiError::bad_request(error.to_string()).about("logit_bias"),
    })?;
    Ok(config)
}

fn logit_bias(fields: &mut Fields) -> Result<BTreeMap<u32, f32>, ApiError> {
    let Some(biases) = fields.object("logit_bias")? else { return Ok(BTreeMap::new()) };
    let wrong = |id: &str, value: &Value| {
        let why = format!("it must give a number to each token's id, and gives {} to {id:?}", shown(value));
        ApiError::param("logit_bias", why)
    };
    let bias = |(id, value): (String, Value)| {
        let number = value.as_f64().map(|number| number as f32).filter(|number| number.is_finite());
        match (id.trim().parse(), number) {
            (Ok(id), Some(number)) => Ok((id, number)),
            _ => Err(wrong(&id, &value)),
        }
    };
    biases.into_rest().into_iter().map(bias).collect()
}

fn on_overflow(fields: &mut Fields) -> Result<Option<Overflow>, ApiError> {
    match fields.text("on_overflow")?.as_deref() {
        None => Ok(None),
        Some("recompute") => Ok(Some(Overflow::Recompute)),
        Some("stop") => Ok(Some(Overflow::Stop)),
        Some(other) => {
            Err(ApiError::param("on_overflow", format!("it must be \"recompute\" or \"stop\", and is {other:?}")))
        }
    }
}

fn stop_texts(fields: &mut Fields) -> Result<StopTexts, ApiError> {
    let texts = fields.texts("stop")?;
    if texts.len() > MAX_STOPS {
        return Err(ApiError::param("stop", format!("{} stop texts are more than {MAX_STOPS}", texts.len())));
    }
    StopTexts::new(texts).map_err(|error| ApiError::param("stop", error))
}

/// The ids of a prompt, checked.
///
/// # Errors
/// About the parameter `name`, for what is no id or none of this model's.
pub fn ids(values: &[Value], name: &str, model: &ServedModel) -> Result<Vec<u32>, ApiError> {
    let vocab_size = model.model().config().vocab_size;
    let id = |value: &Value| {
        let id = whole(value).and_then(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < vocab_size);
        let last = vocab_size - 1;
        id.ok_or_else(|| {
            ApiError::param(name, format!("{} is no token of this model: ids go from 0 to {last}", shown(value)))
        })
    };
    values.iter().map(id).collect()
}
