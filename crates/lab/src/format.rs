//! The same problem as text in several ways: with nothing between question and answer, with the working, with dots.

use serde::{Deserialize, Serialize};

use crate::Problem;
use crate::mended::with_mistake;

/// What stands between a question and its answer, and in which order the answer's digits stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The answer at once: `487+275=762`.
    Direct,
    /// As many dots as the working has characters, then the answer: `487+275=[.................]762`.
    Filler,
    /// The answer at once, and every number with its lowest digit first: `784+572=267`. Digits that belong together stand
    /// equally far apart then, as they do in [`Format::Direct`], and no digit hangs on a later one.
    Reversed,
    /// The same with the question as people write it: `487+275=267`.
    AnswerReversed,
    /// The working, then the answer: `487+275=[75:12,87:16,42:07]762`.
    Worked,
    /// The same, and in every second problem one step is wrong and taken back: `[75:12,87:13,wait,87:16,42:07]762`.
    Mended,
}

/// Every character that a format writes but [`Format::Mended`]: one vocabulary, and so one model, for all.
pub const ALPHABET: &str = "0123456789+=[]:,.";

/// The same with the letters of [`crate::WAIT`].
const ALPHABET_WITH_WAIT: &str = "0123456789+=[]:,.wait";

/// Between these stands what comes before the answer, so that a display can hide it.
pub const WORKING_MARKERS: (&str, &str) = ("[", "]");

impl Format {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Filler => "filler",
            Self::Reversed => "reversed",
            Self::AnswerReversed => "answer-reversed",
            Self::Worked => "worked",
            Self::Mended => "mended",
        }
    }

    /// Every character that models are compared on where this format is among them.
    pub fn alphabet(self) -> &'static str {
        if self == Self::Mended { ALPHABET_WITH_WAIT } else { ALPHABET }
    }

    /// What a model is given.
    pub fn prompt(self, problem: &Problem) -> String {
        match self {
            Self::Reversed => format!("{}=", with_numbers_reversed(&problem.question)),
            _ => format!("{}=", problem.question),
        }
    }

    /// What is to follow.
    pub fn completion(self, problem: &Problem) -> String {
        let Problem { working, answer, .. } = problem;
        let (open, close) = WORKING_MARKERS;
        match self {
            Self::Direct => answer.clone(),
            Self::Reversed | Self::AnswerReversed => with_numbers_reversed(answer),
            Self::Worked => format!("{open}{working}{close}{answer}"),
            Self::Mended => format!("{open}{}{close}{answer}", with_mistake(problem)),
            Self::Filler => format!("{open}{}{close}{answer}", ".".repeat(working.len())),
        }
    }

    /// Both.
    pub fn document(self, problem: &Problem) -> String {
        self.prompt(problem) + &self.completion(problem)
    }

    /// The working and the answer that a text after a prompt states, the answer's highest digit first; `None` where the
    /// text is not of this form. The working of a format without one is empty.
    pub fn read(self, completion: &str) -> Option<(&str, String)> {
        let (open, close) = WORKING_MARKERS;
        let (working, answer) = match self {
            Self::Direct | Self::Reversed | Self::AnswerReversed => ("", completion),
            Self::Worked | Self::Mended | Self::Filler => completion.strip_prefix(open)?.split_once(close)?,
        };
        if answer.is_empty() || !answer.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let answer = match self {
            Self::Reversed | Self::AnswerReversed => with_numbers_reversed(answer),
            _ => answer.to_owned(),
        };
        Some((working, answer))
    }
}

/// A question or an answer with the lowest digit of each number first. Read so again, it is what it was.
fn with_numbers_reversed(text: &str) -> String {
    let number = |number: &str| number.chars().rev().collect::<String>();
    text.split('+').map(number).collect::<Vec<_>>().join("+")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Task;

    const FORMATS: [Format; 5] =
        [Format::Direct, Format::Filler, Format::Reversed, Format::AnswerReversed, Format::Worked];

    #[test]
    fn every_format_is_written_in_its_alphabet() {
        for number in 0..50 {
            let problem = Task::Sums.problem(1, crate::Side::Training, number);
            for format in FORMATS.into_iter().chain([Format::Mended]) {
                let document = format.document(&problem);
                assert!(document.chars().all(|character| format.alphabet().contains(character)), "{document}");
            }
        }
    }

    #[test]
    fn one_problem_reads_differently_and_has_one_answer() {
        let problem = Task::Sums.parse("487+275").expect("a sum");
        let documents = FORMATS.map(|format| format.document(&problem));
        let expected = [
            "487+275=762",
            "487+275=[.................]762",
            "784+572=267",
            "487+275=267",
            "487+275=[75:12,87:16,42:07]762",
        ];
        assert_eq!(documents, expected);
        for (format, document) in FORMATS.into_iter().zip(documents) {
            let completion = document.strip_prefix(&format.prompt(&problem)).expect("the prompt first");
            let (working, answer) = format.read(completion).expect("an answer");
            assert_eq!(answer, problem.answer, "{format:?}");
            assert_eq!(working == problem.working, format == Format::Worked);
            assert!(document.chars().all(|character| ALPHABET.contains(character)));
        }
    }

    #[test]
    fn a_text_that_states_no_answer_has_none() {
        for (format, text) in [
            (Format::Direct, ""),
            (Format::Direct, "[..]12"),
            (Format::Direct, "12="),
            (Format::Worked, "762"),
            (Format::Worked, "[75:12,87"),
            (Format::Worked, "[75:12]"),
            (Format::Worked, "[75:12]7]2"),
            (Format::Filler, "...762"),
        ] {
            assert_eq!(format.read(text), None, "{format:?}: {text}");
        }
    }
}
