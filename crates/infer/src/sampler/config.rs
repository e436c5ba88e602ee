//! How a token is chosen: the settings, what they may be, and how they are written down.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::InferError;

/// The largest `penalty_last_n`: more tokens than any text has.
const MAX_SPAN: usize = i32::MAX as usize;

/// How a token is chosen from the logits. The default draws from the model's own distribution.
///
/// The settings take effect in one order, that of the fields: penalties, bias and bans, temperature, top-k, typical-p,
/// top-p, min-p. Each filter looks at what the ones before it left, and no filter ever leaves nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerConfig {
    /// Logits of tokens that occur in the history are divided by it where they are positive and multiplied by it where
    /// they are negative; 1 is none (Keskar et al. 2019).
    pub repetition_penalty: f64,
    /// Subtracted once from the logit of each token that occurs in the history; 0 is none.
    pub presence_penalty: f64,
    /// Subtracted from the logit of a token for each of its occurrences in the history; 0 is none.
    pub frequency_penalty: f64,
    /// How many of the last tokens, those of the prompt included, are the history that the penalties count; 0 is all.
    #[serde(alias = "penalty_span")]
    pub penalty_last_n: usize,
    /// Added to the logits of tokens: finite, or −∞, which bans.
    #[serde(with = "bias")]
    pub logit_bias: BTreeMap<u32, f32>,
    /// Tokens that are never chosen.
    pub banned: BTreeSet<u32>,
    /// Logits are divided by it; 0 takes the largest logit (the lowest id among equals), draws nothing and leaves
    /// nothing for the filters to do.
    pub temperature: f64,
    /// Only the k largest logits are kept (the lowest ids among equals); 0 keeps all (Fan et al. 2018).
    pub top_k: usize,
    /// Only the tokens whose surprise −ln p is nearest to the entropy are kept, as few as have this probability
    /// together; 1 keeps all (Meister et al. 2023).
    pub typical_p: f64,
    /// Only the most probable tokens are kept, as few as have this probability together; 1 keeps all
    /// (Holtzman et al. 2020).
    pub top_p: f64,
    /// Only tokens with at least this share of the largest probability are kept; 0 keeps all (Nguyen et al. 2024).
    pub min_p: f64,
    /// Names the draws, together with the sample index and the position.
    pub seed: u64,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_last_n: 0,
            logit_bias: BTreeMap::new(),
            banned: BTreeSet::new(),
            temperature: 1.0,
            top_k: 0,
            typical_p: 1.0,
            top_p: 1.0,
            min_p: 0.0,
            seed: 1337,
        }
    }
}

impl SamplerConfig {
    /// Whether this is a sampler for a model of `vocab_size` tokens.
    ///
    /// # Errors
    /// [`InferError::Setting`] for the first value that is none of those its field may have;
    /// [`InferError::AllBanned`] if no token is left.
    pub fn check(&self, vocab_size: usize) -> Result<(), InferError> {
        let within = |value: f64, low: f64, high: f64| (low..=high).contains(&value);
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let settings = [
            (
                "repetition_penalty",
                self.repetition_penalty,
                within(self.repetition_penalty, 0.01, 100.0),
                "a number from 0.01 to 100; 1 is none",
            ),
            (
                "presence_penalty",
                self.presence_penalty,
                within(self.presence_penalty, -100.0, 100.0),
                "a number from -100 to 100; 0 is none",
            ),
            (
                "frequency_penalty",
                self.frequency_penalty,
                within(self.frequency_penalty, -100.0, 100.0),
                "a number from -100 to 100; 0 is none",
            ),
            (
                "temperature",
                self.temperature,
                self.temperature == 0.0 || within(self.temperature, 1e-9, 1000.0),
                "0 (greedy) or a number from 1e-9 to 1000",
            ),
            ("typical_p", self.typical_p, share(self.typical_p), "a number from 0 to 1; 1 keeps all tokens"),
            ("top_p", self.top_p, share(self.top_p), "a number from 0 to 1; 1 keeps all tokens"),
            ("min_p", self.min_p, share(self.min_p), "a number from 0 to 1; 0 keeps all tokens"),
        ];
        if let Some(&(field, value, _, allowed)) = settings.iter().find(|(_, _, sound, _)| !sound) {
            // As it would be typed: 1e300, and not its three hundred digits.
            let value = format!("{value:?}").trim_end_matches(".0").to_owned();
            return Err(InferError::Setting { field, value, allowed: allowed.to_owned() });
        }
        let span = self.penalty_last_n;
        if span > MAX_SPAN {
            let allowed = format!("a number from 0 to {MAX_SPAN}; 0 is all tokens");
            return Err(InferError::Setting { field: "penalty_last_n", value: span.to_string(), allowed });
        }
        self.check_tokens(vocab_size)
    }

    /// How many of the last tokens the penalties look at: none if there are no penalties, `usize::MAX` if all.
    pub(crate) fn history(&self) -> usize {
        let none = self.repetition_penalty == 1.0 && self.presence_penalty == 0.0 && self.frequency_penalty == 0.0;
        match self.penalty_last_n {
            _ if none => 0,
            0 => usize::MAX,
            span => span,
        }
    }

    /// Whether bias and bans name tokens that there are, and leave some.
    fn check_tokens(&self, vocab_size: usize) -> Result<(), InferError> {
        let outside = |id: u32| id as usize >= vocab_size;
        let known = || format!("of a token of this model: an id from 0 to {}", vocab_size.saturating_sub(1));
        if let Some((&id, bias)) = self.logit_bias.last_key_value().filter(|(id, _)| outside(**id)) {
            let value = format!("{id}: {bias}");
            return Err(InferError::Setting { field: "logit_bias", value, allowed: known() });
        }
        if let Some((id, bias)) = self.logit_bias.iter().find(|(_, bias)| bias.is_nan() || **bias == f32::INFINITY) {
            let value = format!("{id}: {bias}");
            return Err(InferError::Setting { field: "logit_bias", value, allowed: "finite, or -inf to ban".into() });
        }
        if let Some(&id) = self.banned.last().filter(|id| outside(**id)) {
            return Err(InferError::Setting { field: "banned", value: id.to_string(), allowed: known() });
        }
        let minus_infinity = self.logit_bias.iter().filter(|(_, bias)| **bias == f32::NEG_INFINITY);
        let more = minus_infinity.filter(|(id, _)| !self.banned.contains(id)).count();
        if vocab_size > 0 && self.banned.len() + more == vocab_size {
            return Err(InferError::AllBanned);
        }
        Ok(())
    }
}

/// Numbers, and "-inf", which JSON has no number for.
mod bias {
    use std::collections::BTreeMap;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Bias {
        Number(f32),
        Word(String),
    }

    pub fn serialize<S: Serializer>(biases: &BTreeMap<u32, f32>, serializer: S) -> Result<S::Ok, S::Error> {
        let bias = |bias: f32| if bias.is_finite() { Bias::Number(bias) } else { Bias::Word(bias.to_string()) };
        serializer.collect_map(biases.iter().map(|(id, value)| (id, bias(*value))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u32, f32>, D::Error> {
        let biases = BTreeMap::<u32, Bias>::deserialize(deserializer)?;
        let number = |(id, bias)| match bias {
            Bias::Number(number) => Ok((id, number)),
            Bias::Word(word) if word == "-inf" => Ok((id, f32::NEG_INFINITY)),
            Bias::Word(word) => Err(D::Error::custom(format!("bias {word:?} of token {id}: a number or \"-inf\""))),
        };
        biases.into_iter().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCAB_SIZE: usize = 5;

    fn message(config: &SamplerConfig) -> String {
        config.check(VOCAB_SIZE).expect_err("a bad value").to_string()
    }

    #[test]
    fn every_bad_value_is_refused_by_field_value_and_what_it_may_be() {
        fn set(field: &str, value: f64) -> SamplerConfig {
            let mut config = SamplerConfig::default();
            *match field {
                "repetition_penalty" => &mut config.repetition_penalty,
                "presence_penalty" => &mut config.presence_penalty,
                "frequency_penalty" => &mut config.frequency_penalty,
                "temperature" => &mut config.temperature,
                "typical_p" => &mut config.typical_p,
                "top_p" => &mut config.top_p,
                _ => &mut config.min_p,
            } = value;
            config
        }
        let (infinity, nan) = (f64::INFINITY, f64::NAN);
        let cases: [(&str, &[f64], &[f64], &str); 7] = [
            ("repetition_penalty", &[0.0, -1.0, 1e12, infinity, nan], &[0.01, 1.0, 100.0], "from 0.01 to 100"),
            ("presence_penalty", &[101.0, infinity, -infinity, nan], &[-2.0, 0.0, 100.0], "from -100 to 100"),
            ("frequency_penalty", &[-101.0, infinity, -infinity, nan], &[-2.0, 0.0, 100.0], "from -100 to 100"),
            (
                "temperature",
                &[-0.1, 1e-300, 1001.0, infinity, nan],
                &[0.0, 1e-9, 1000.0],
                "0 (greedy) or a number from",
            ),
            ("typical_p", &[-0.1, 1.1, nan], &[0.0, 0.5, 1.0], "from 0 to 1"),
            ("top_p", &[-0.1, 1.1, nan], &[0.0, 0.5, 1.0], "from 0 to 1"),
            ("min_p", &[-0.1, 1.1, nan], &[0.0, 0.5, 1.0], "from 0 to 1"),
        ];
        for (field, bad, good, allowed) in cases {
            for value in bad {
                let message = message(&set(field, *value));
                let written = format!("{value:?}").trim_end_matches(".0").to_owned();
                assert!(message.contains(&format!("{field} = {written}: ")), "{message}");
                assert!(message.contains(allowed), "{message}");
            }
            for value in good {
                set(field, *value).check(VOCAB_SIZE).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        let span = |penalty_last_n| SamplerConfig { penalty_last_n, ..Default::default() };
        assert!(
            message(&span(usize::MAX)).contains("penalty_last_n = 18446744073709551615: it must be a number from 0")
        );
        span(1 << 30).check(VOCAB_SIZE).expect("sound");
    }

    #[test]
    fn tokens_that_the_vocabulary_lacks_are_refused_with_the_ids_that_it_has() {
        let biased = |id, bias| SamplerConfig { logit_bias: BTreeMap::from([(id, bias)]), ..Default::default() };
        assert!(message(&biased(5, 1.5)).contains("logit_bias = 5: 1.5: it must be of a token of this model"));
        assert!(message(&biased(5, 1.5)).contains("0 to 4"));
        assert!(message(&biased(4, f32::NAN)).contains("4: NaN"));
        assert!(message(&biased(4, f32::INFINITY)).contains("4: inf"));
        assert!(biased(4, f32::NEG_INFINITY).check(VOCAB_SIZE).is_ok());
        let banned = |ids: &[u32]| SamplerConfig { banned: ids.iter().copied().collect(), ..Default::default() };
        assert!(message(&banned(&[1, 7])).contains("banned = 7: "));
        assert!(banned(&[0, 1, 2, 4]).check(VOCAB_SIZE).is_ok());
    }

    #[test]
    fn bans_and_biases_that_leave_no_token_are_refused() {
        let config = SamplerConfig {
            banned: BTreeSet::from([0, 1, 2, 3]),
            logit_bias: BTreeMap::from([(3, f32::NEG_INFINITY), (4, f32::NEG_INFINITY)]),
            ..Default::default()
        };
        assert!(matches!(config.check(VOCAB_SIZE), Err(InferError::AllBanned)));
        assert!(config.check(VOCAB_SIZE + 1).is_ok());
    }

    #[test]
    fn what_is_written_as_json_or_toml_is_read_again() {
        let config = SamplerConfig {
            top_p: 0.95,
            penalty_last_n: 64,
            logit_bias: BTreeMap::from([(0, f32::NEG_INFINITY), (3, -0.1), (17, 1e30)]),
            banned: BTreeSet::from([2, 9]),
            seed: 99,
            ..Default::default()
        };
        let json = serde_json::to_string(&config).expect("JSON");
        assert_eq!(serde_json::from_str::<SamplerConfig>(&json).expect("the same"), config, "{json}");
        let toml = toml::to_string(&config).expect("TOML");
        assert_eq!(toml::from_str::<SamplerConfig>(&toml).expect("the same"), config, "{toml}");
    }

    #[test]
    fn what_is_absent_is_the_default_and_what_is_unknown_is_refused() {
        let config: SamplerConfig = serde_json::from_str(r#"{"top_k": 3}"#).expect("sound");
        assert_eq!(config, SamplerConfig { top_k: 3, ..Default::default() });
        assert!(serde_json::from_str::<SamplerConfig>(r#"{"top_q": 3}"#).is_err());
        let error = serde_json::from_str::<SamplerConfig>(r#"{"logit_bias": {"3": "big"}}"#).expect_err("no number");
        assert!(error.to_string().contains("\"big\" of token 3"), "{error}");
    }
}
