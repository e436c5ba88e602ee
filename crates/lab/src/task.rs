//! Problems with one right answer each, and the working that leads to it: from numbers, and from their text.

use rand::RngExt;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use tril_model::random::{self, Purpose};

use crate::LabError;

/// Bits of a parity problem.
pub const PARITY_BITS: usize = 20;
/// How many of them count.
pub const PARITY_SUBSET: usize = 6;
/// The most digits of a number that is added.
pub const MAX_DIGITS: usize = 5;
/// One problem of so many is held out: no model is trained on it, in whichever order its numbers stand.
const HELD_OUT: u64 = 8;

/// What is to be learnt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Task {
    /// Whether an odd number of the bits at some places are 1. The places are the same in all problems, and hidden.
    Parity {
        /// The places, ascending, from 0.
        subset: Vec<usize>,
    },
    /// Adding two numbers of equally many digits.
    Sums,
}

/// How the texts of a task lie in training. What stands before a text there stands before it when it is asked, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One after another, each behind an end of text; a row begins anywhere in them.
    Stream,
    /// Each in a row of its own, from its first position on.
    Rows,
}

/// Which problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Those to learn from.
    Training,
    /// Those to be asked afterwards.
    HeldOut,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// As in `487+275`, or a row of bits.
    pub question: String,
    /// The steps, written out: each column's digits and what they add up to with the carry, the lowest first, as in
    /// `75:12,87:16,42:07`; or the parity of the first one, two, three… of the bits that count.
    pub working: String,
    /// As in `762`.
    pub answer: String,
    /// Digits of each number; how many bits count.
    pub length: usize,
}

impl Task {
    /// Parity with a hidden subset that the seed names.
    pub fn parity(seed: u64) -> Self {
        let mut places: Vec<usize> = (0..PARITY_BITS).collect();
        places.shuffle(&mut random::generator(seed, Purpose::Problem, u64::MAX, 0, 0));
        places.truncate(PARITY_SUBSET);
        places.sort_unstable();
        Self::Parity { subset: places }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Parity { .. } => "parity",
            Self::Sums => "sums",
        }
    }

    /// How its texts lie in training. One layer must know by its position which bit of a parity to look at; a sum says
    /// itself where its digits are.
    pub fn layout(&self) -> Layout {
        match self {
            Self::Parity { .. } => Layout::Rows,
            Self::Sums => Layout::Stream,
        }
    }

    /// The lengths that problems have, each as often as the others.
    pub fn lengths(&self) -> Vec<usize> {
        match self {
            Self::Parity { subset } => vec![subset.len()],
            Self::Sums => (1..=MAX_DIGITS).collect(),
        }
    }

    /// The problem of one side with this number; equal ones may come twice. The sides have no problem in common.
    pub fn problem(&self, seed: u64, side: Side, number: u64) -> Problem {
        let mut rng = random::generator(seed, Purpose::Problem, side as u64, number, 0);
        let lengths = self.lengths();
        let length = lengths[rng.random_range(0..lengths.len())];
        loop {
            let problem = self.draw(length, &mut rng);
            if self.side(&problem) == side {
                return problem;
            }
        }
    }

    /// Different problems that were held out, all of one length: as many as asked for, or as can be found where there are
    /// few.
    pub fn held_out(&self, seed: u64, length: usize, count: usize) -> Vec<Problem> {
        let mut rng = random::generator(seed, Purpose::Problem, 2 + length as u64, 0, 0);
        let mut found: Vec<Problem> = Vec::with_capacity(count);
        let mut known = std::collections::BTreeSet::new();
        for _ in 0..100 * count {
            let problem = self.draw(length, &mut rng);
            if found.len() < count && self.side(&problem) == Side::HeldOut && known.insert(problem.question.clone()) {
                found.push(problem);
            }
        }
        found
    }

    fn draw(&self, length: usize, rng: &mut impl rand::Rng) -> Problem {
        match self {
            Self::Parity { subset } => {
                let bits: Vec<u8> = (0..PARITY_BITS).map(|_| rng.random_range(0..2)).collect();
                parity(&bits, subset)
            }
            Self::Sums => {
                let least = if length == 1 { 0 } else { 10_u64.pow(length as u32 - 1) };
                let mut number = || rng.random_range(least..10_u64.pow(length as u32));
                sum(number(), number(), length)
            }
        }
    }

    /// The side that a problem belongs to, whoever asks it.
    fn side(&self, problem: &Problem) -> Side {
        let mut parts: Vec<&str> = problem.question.split('+').collect();
        parts.sort_unstable();
        // A hash of few characters hardly mixes them; the generator that it names does.
        let hash = random::hash(parts.join("+").bytes().map(u64::from));
        let mut rng = random::generator(0, Purpose::Problem, u64::MAX - 1, hash, 0);
        if rng.random_range(0..HELD_OUT) == 0 { Side::HeldOut } else { Side::Training }
    }

    /// The problem that a text asks, with an `=` at its end or without.
    ///
    /// # Errors
    /// [`LabError::Problem`] for what is no problem of this task.
    pub fn parse(&self, text: &str) -> Result<Problem, LabError> {
        let question = text.trim().trim_end_matches('=');
        let refuse = |expected: String| LabError::Problem { text: text.to_owned(), expected };
        match self {
            Self::Parity { subset } => {
                let bits: Vec<u8> = question.bytes().map(|byte| byte.wrapping_sub(b'0')).collect();
                if bits.len() != PARITY_BITS || bits.iter().any(|bit| *bit > 1) {
                    return Err(refuse(format!("{PARITY_BITS} bits, such as 01101001101010010110")));
                }
                Ok(parity(&bits, subset))
            }
            Self::Sums => {
                let expected = || format!("two numbers of equally many digits, at most {MAX_DIGITS}, such as 487+275");
                let (a, b) = question.split_once('+').ok_or_else(|| refuse(expected()))?;
                let is_number = |text: &str| {
                    let digits =
                        (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
                    digits && (text.len() == 1 || !text.starts_with('0'))
                };
                match (a.parse(), b.parse()) {
                    (Ok(x), Ok(y)) if is_number(a) && is_number(b) && a.len() == b.len() => Ok(sum(x, y, a.len())),
                    _ => Err(refuse(expected())),
                }
            }
        }
    }
}

fn parity(bits: &[u8], subset: &[usize]) -> Problem {
    let mut parity = 0;
    let partial = subset.iter().map(|place| {
        parity ^= bits[*place];
        char::from(b'0' + parity)
    });
    let working: String = partial.collect();
    Problem {
        question: bits.iter().map(|bit| char::from(b'0' + bit)).collect(),
        working,
        answer: char::from(b'0' + parity).to_string(),
        length: subset.len(),
    }
}

fn sum(a: u64, b: u64, digits: usize) -> Problem {
    let mut carry = 0;
    let column = |index: usize| {
        let digit = |number: u64| number / 10_u64.pow(index as u32) % 10;
        let total = digit(a) + digit(b) + carry;
        carry = total / 10;
        format!("{}{}:{total:02}", digit(a), digit(b))
    };
    let columns: Vec<String> = (0..digits).map(column).collect();
    Problem { question: format!("{a}+{b}"), working: columns.join(","), answer: (a + b).to_string(), length: digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_worked_out_column_by_column() {
        let problem = Task::Sums.parse("487+275=").expect("a sum");
        assert_eq!([&*problem.working, &*problem.answer], ["75:12,87:16,42:07", "762"]);
        let problem = Task::Sums.parse("99999+99999").expect("a sum");
        assert_eq!((&*problem.working, &*problem.answer), ("99:18,99:19,99:19,99:19,99:19", "199998"));
        assert_eq!(Task::Sums.parse("0+0").expect("a sum").working, "00:00");
    }

    #[test]
    fn parity_counts_the_bits_of_its_subset_and_no_others() {
        let task = Task::Parity { subset: vec![0, 3, 19] };
        let problem = task.parse("10010000000000000001").expect("bits");
        assert_eq!([&*problem.working, &*problem.answer], ["101", "1"]);
        let problem = task.parse("01100000000000000000").expect("bits");
        assert_eq!([&*problem.working, &*problem.answer], ["000", "0"]);
        let subsets: Vec<Task> = (0..9).map(Task::parity).collect();
        for task in &subsets {
            let Task::Parity { subset } = task else { panic!("parity") };
            assert!(subset.is_sorted() && subset.len() == PARITY_SUBSET && subset.iter().all(|place| *place < 20));
        }
        assert!(subsets.windows(2).all(|pair| pair[0] != pair[1]), "each seed has its own");
    }

    #[test]
    fn no_problem_is_on_both_sides_and_each_has_its_number() {
        for task in [Task::Sums, Task::parity(3)] {
            for number in 0..300 {
                let asked = task.problem(1, Side::Training, number);
                assert_eq!(task.side(&asked), Side::Training);
                assert_eq!(asked, task.problem(1, Side::Training, number), "whatever was drawn before");
                assert_eq!(task.parse(&asked.question).expect("its own text"), asked);
                assert_eq!(task.side(&task.problem(1, Side::HeldOut, number)), Side::HeldOut);
            }
        }
        assert_eq!(Task::Sums.side(&sum(12, 34, 2)), Task::Sums.side(&sum(34, 12, 2)), "in either order");
    }

    #[test]
    fn held_out_problems_differ_and_are_as_long_as_asked() {
        for length in Task::Sums.lengths() {
            let problems = Task::Sums.held_out(5, length, 40);
            assert_eq!(problems.len(), if length == 1 { problems.len().clamp(4, 39) } else { 40 });
            let questions: std::collections::BTreeSet<&str> = problems.iter().map(|p| &*p.question).collect();
            assert_eq!(questions.len(), problems.len());
            assert!(
                problems.iter().all(|problem| problem.length == length && problem.question.len() == 2 * length + 1)
            );
        }
    }

    #[test]
    fn what_is_no_problem_is_refused_with_an_example() {
        for text in ["", "1+", "12+3", "123456+654321", "01+10", "-1+2", "1+1+1", "a+b", "٣+٣"] {
            let message = Task::Sums.parse(text).expect_err(text).to_string();
            assert!(message.contains("487+275"), "{message}");
        }
        for text in ["", "0101", "010101010101010101012", "0101010101010101010x"] {
            assert!(Task::parity(1).parse(text).is_err(), "{text}");
        }
    }
}
