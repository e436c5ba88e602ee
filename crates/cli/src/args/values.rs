//! How values on the command line are read, and what is said of those that cannot be.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

/// A whole number from a range.
pub fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("it must be a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A whole number above zero.
pub fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    whole::<usize>(1..=u64::MAX)(text).map(|number| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN))
}

/// A number of tokens, or `inf`.
pub fn max_tokens(text: &str) -> Result<usize, String> {
    match text {
        "inf" => Ok(usize::MAX),
        _ => text.parse().map_err(|_| format!("it must be a whole number from 0 to {}, or inf for no end", usize::MAX)),
    }
}

/// A time to measure.
pub fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0 && *seconds <= 3600.0);
    seconds.ok_or_else(|| "it must be a number above 0, at most 3600".to_owned())
}

/// A share of the largest logit.
pub fn share_of_logits(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share <= 0.1);
    share.ok_or_else(|| "it must be a number above 0, up to 0.1, such as 1e-3".to_owned())
}
