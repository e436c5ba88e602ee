//! Workings with a mistake in them that is taken back: a wrong step, `wait`, and the right one.

use rand::RngExt;
use tril_model::random::{self, Purpose};

use crate::Problem;

/// What stands after a step that is wrong, as a step of its own.
pub const WAIT: &str = "wait";

/// Characters by which a working is longer than it need be, at most, where one step is taken back.
pub(crate) const SPARE: usize = "75:12,wait,".len() + 1;

/// The steps of a working of sums.
const BETWEEN_STEPS: char = ',';

/// The working of a sum; in every second problem one of its steps has another last digit, and is taken back. Which problems
/// and which step, the question decides alone.
pub fn with_mistake(problem: &Problem) -> String {
    let hash = random::hash(problem.question.bytes().map(u64::from));
    let mut rng = random::generator(0, Purpose::Problem, u64::MAX - 4, hash, 0);
    if rng.random_range(0..2) == 0 {
        return problem.working.clone();
    }
    let mut steps: Vec<String> = problem.working.split(BETWEEN_STEPS).map(str::to_owned).collect();
    let place = rng.random_range(0..steps.len());
    let wrong = with_last_digit_moved(&steps[place], rng.random_range(1..10));
    steps.splice(place..place, [wrong, WAIT.to_owned()]);
    steps.join(&BETWEEN_STEPS.to_string())
}

/// A step whose last digit is so many further, after 9 from 0 on.
pub fn with_last_digit_moved(step: &str, by: u8) -> String {
    let (kept, last) = step.split_at(step.len().saturating_sub(1));
    let digit = last.bytes().next().map_or(0, |digit| digit.wrapping_sub(b'0'));
    format!("{kept}{}", (digit + by) % 10)
}

/// A working without the steps that were taken back, and without what takes them back.
pub fn without_mistakes(working: &str) -> String {
    let mut steps: Vec<&str> = Vec::new();
    for step in working.split(BETWEEN_STEPS) {
        if step == WAIT {
            steps.pop();
        } else {
            steps.push(step);
        }
    }
    steps.join(&BETWEEN_STEPS.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Side, Task};

    #[test]
    fn about_every_second_working_has_one_wrong_step_which_is_taken_back_at_once() {
        let mut with = 0;
        for number in 0..400 {
            let problem = Task::Sums.problem(3, Side::Training, number);
            let working = with_mistake(&problem);
            assert_eq!(working, with_mistake(&problem), "the question decides");
            assert_eq!(without_mistakes(&working), problem.working);
            assert!(working.len() < problem.working.len() + SPARE);
            let steps: Vec<&str> = working.split(',').collect();
            let Some(place) = steps.iter().position(|step| *step == WAIT) else {
                assert_eq!(working, problem.working);
                continue;
            };
            with += 1;
            let (wrong, right) = (steps[place - 1], steps[place + 1]);
            assert_eq!(wrong[..wrong.len() - 1], right[..right.len() - 1], "one digit, the last");
            assert_ne!(wrong, right);
            assert_eq!(working.matches(WAIT).count(), 1);
        }
        assert!((160..240).contains(&with), "{with} of 400");
    }

    #[test]
    fn a_digit_goes_round_and_nothing_else_moves() {
        assert_eq!(["75:12", "30:09", "0"].map(|step| with_last_digit_moved(step, 1)), ["75:13", "30:00", "1"]);
        assert_eq!(without_mistakes("75:13,wait,75:12,87:16"), "75:12,87:16");
        assert_eq!(without_mistakes("wait"), "");
        assert_eq!(without_mistakes("nonsense"), "nonsense");
    }
}
