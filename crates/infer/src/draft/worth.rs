//! How many guesses are worth their cost, by how earlier ones fared.

use super::MAX_GUESSES;

/// How much of what was seen counts still after another pass.
const MEMORY: f64 = 0.9;

/// What is thought of guesses before any was seen: so many right of so many.
const BEFORE: [f64; 2] = [1.4, 2.0];

/// Passes without a guess after one that was tried in vain, at first and at most.
const PAUSE: [u32; 2] = [4, 64];

/// What is known of the guesses of one kind.
#[derive(Debug, Clone)]
pub struct Worth {
    /// Guesses that were right, and those whose turn came: all that were right and the first wrong one of each pass. The
    /// latest count most.
    right: f64,
    seen: f64,
    /// Passes to go by without a guess, and how many after the next guess in vain.
    pause: u32,
    next_pause: u32,
}

impl Default for Worth {
    fn default() -> Self {
        let [right, seen] = BEFORE;
        Self { right, seen, pause: 0, next_pause: PAUSE[0] }
    }
}

impl Worth {
    /// How many guesses the next pass should check. The guess at place n is of use if the n − 1 before it are right too, so
    /// guesses are made as long as that is more probable than what they cost.
    ///
    /// - cost: of making a guess and of checking it, as a share of a pass that checks none
    pub fn guesses(&mut self, cost: f64) -> usize {
        if self.pause > 0 {
            self.pause -= 1;
            return 0;
        }
        let share = self.right / self.seen;
        if cost >= 1.0 {
            return 0;
        }
        let worth = (1..=MAX_GUESSES).take_while(|count| libm::pow(share, *count as f64) > cost).count();
        if worth > 0 {
            return worth;
        }
        // One guess, to see whether the text has changed.
        self.pause = self.next_pause;
        1
    }

    /// Takes in that of so many guesses the first `kept` were right.
    pub fn judged(&mut self, offered: usize, kept: usize) {
        self.right = MEMORY * self.right + kept as f64;
        self.seen = MEMORY * self.seen + offered.min(kept + 1) as f64;
        if kept > 0 {
            (self.pause, self.next_pause) = (0, PAUSE[0]);
        } else if self.pause > 0 {
            self.next_pause = (2 * self.next_pause).min(PAUSE[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft::cost::position_cost_together;

    #[test]
    fn guesses_that_are_right_grow_in_number_and_wrong_ones_stop() {
        let mut worth = Worth::default();
        for _ in 0..30 {
            let offered = worth.guesses(0.15);
            worth.judged(offered, offered);
        }
        assert_eq!(worth.guesses(0.15), MAX_GUESSES);
        let mut offered = Vec::new();
        for _ in 0..400 {
            let guesses = worth.guesses(0.15);
            offered.push(guesses);
            if guesses > 0 {
                worth.judged(guesses, 0);
            }
        }
        let late: usize = offered[200..].iter().sum();
        assert!(late <= 4, "{late} guesses in 200 passes of a text that cannot be guessed: {offered:?}");
        // And it comes back.
        let mut passes = 0;
        while worth.guesses(0.15) < 4 {
            worth.judged(1, 1);
            passes += 1;
            assert!(passes < 200);
        }
    }

    #[test]
    fn the_more_sequences_go_together_the_surer_a_guess_must_be() {
        let of = |together| {
            let mut worth = Worth::default();
            worth.judged(10, 8);
            worth.guesses(position_cost_together(0.15, together))
        };
        assert!(of(1) > of(4) && of(4) > of(16), "{} {} {}", of(1), of(4), of(16));
        assert_eq!(Worth::default().guesses(1.15), 0, "a guess that costs a pass");
    }
}
