//! Why a text that a model writes ends where it does, and how that is told of one text or of several.

use std::fmt;

use tril::{FinishReason, GeneratedText};

/// More than these are not listed one by one.
const MAX_RANGES: usize = 8;

/// Why there is no more of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub finish: FinishReason,
    /// The stop text that appeared, where one did.
    pub stop_text: Option<String>,
}

impl From<&GeneratedText> for Ending {
    fn from(text: &GeneratedText) -> Self {
        Self { finish: text.finish, stop_text: text.stop_text.clone() }
    }
}

/// What a reason is called.
pub fn reason(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::EndOfText => "end of text",
        FinishReason::MaxTokens => "max tokens",
        FinishReason::ContextFull => "full context",
        FinishReason::StopText => "stop text",
        FinishReason::Interrupted => "interrupt",
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", reason(self.finish))?;
        self.stop_text.as_ref().map_or(Ok(()), |text| write!(f, " {text:?}"))
    }
}

/// What is said when tokens have left a full context.
pub fn overflow_notice(limit: usize, dropped: usize) -> String {
    format!(
        "[the context of {limit} tokens is full: the oldest {dropped} were dropped and the rest recomputed; this will happen again without notice]"
    )
}

/// What stopped each of several texts: each reason once, in order of appearance, and which texts it stopped, counted
/// from 1, if there is more than one.
pub fn stopped_by(endings: &[Ending]) -> String {
    let mut reasons: Vec<(&Ending, Vec<usize>)> = Vec::new();
    for (number, ending) in (1..).zip(endings) {
        match reasons.iter_mut().find(|(reason, _)| *reason == ending) {
            Some((_, numbers)) => numbers.push(number),
            None => reasons.push((ending, vec![number])),
        }
    }
    let told = |(reason, numbers): &(&Ending, Vec<usize>)| match &numbers[..] {
        _ if endings.len() == 1 => reason.to_string(),
        [number] => format!("{reason} (sample {number})"),
        numbers => format!("{reason} ({})", ranges(numbers)),
    };
    let reasons: Vec<String> = reasons.iter().map(told).collect();
    format!("stopped by: {}", reasons.join(", "))
}

/// `samples 1-3, 5` for 1, 2, 3 and 5, and where there is too much to list how many they are.
fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        _ => run.iter().map(ToString::to_string).collect(),
    });
    let runs: Vec<String> = runs.collect();
    if runs.len() > MAX_RANGES { format!("{} samples", numbers.len()) } else { format!("samples {}", runs.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_OF_TEXT: Ending = Ending { finish: FinishReason::EndOfText, stop_text: None };
    const MAX_TOKENS: Ending = Ending { finish: FinishReason::MaxTokens, stop_text: None };

    fn stop_text(text: &str) -> Ending {
        Ending { finish: FinishReason::StopText, stop_text: Some(text.to_owned()) }
    }

    #[test]
    fn one_text_has_one_reason_and_no_number() {
        assert_eq!(stopped_by(&[MAX_TOKENS]), "stopped by: max tokens");
        assert_eq!(stopped_by(&[stop_text("\n猫")]), "stopped by: stop text \"\\n猫\"");
    }

    #[test]
    fn of_several_texts_each_reason_is_told_once_with_those_that_it_stopped() {
        assert_eq!(stopped_by(&[END_OF_TEXT, END_OF_TEXT]), "stopped by: end of text (samples 1-2)");
        let stop = stop_text("x");
        let endings = [END_OF_TEXT, END_OF_TEXT, END_OF_TEXT, MAX_TOKENS, END_OF_TEXT, stop, END_OF_TEXT];
        let told = "stopped by: end of text (samples 1-3, 5, 7), max tokens (sample 4), stop text \"x\" (sample 6)";
        assert_eq!(stopped_by(&endings), told);
        let many: Vec<Ending> = (0..100).map(|n| if n % 3 == 0 { MAX_TOKENS } else { END_OF_TEXT }).collect();
        assert_eq!(stopped_by(&many), "stopped by: max tokens (34 samples), end of text (66 samples)");
    }
}
