//! From counter-based randomness to the text of a story. Which options a point of a story has, and with what
//! weights, is decided here (`Memory`) and nowhere else, so the reader and the probabilities cannot disagree with it.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Choice, Derivation, Grammar, Item, Story};

/// What a story remembers while it is told: the words of its variables and the alternatives already used.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    /// The word of each variable, once drawn.
    pub words: Vec<Option<usize>>,
    /// Bit i of a list: its word i is taken by a variable.
    taken: Vec<u128>,
    /// Bit i of a deck: its alternative i has been used since the deck was last full.
    used: Vec<u128>,
}

/// A point of a story where something is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) enum Point {
    Rule(usize),
    Var(usize),
}

/// The options at a point: bit i says that option i can be drawn; `total` is the sum of their weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    mask: u128,
    pub total: u32,
}

impl Options {
    pub fn picks(self) -> impl Iterator<Item = usize> {
        (0..128).filter(move |i| self.mask >> i & 1 == 1)
    }
}

impl Memory {
    pub fn new(grammar: &Grammar) -> Self {
        Self {
            words: vec![None; grammar.vars.len()],
            taken: vec![0; grammar.lists.len()],
            used: vec![0; grammar.decks],
        }
    }

    /// What can be drawn at `point` now: a word that no other variable has, an alternative that the story has not used
    /// (or any, once all have been used).
    pub fn options(&self, grammar: &Grammar, point: Point) -> Options {
        let (count, without) = match point {
            Point::Var(var) => {
                let list = grammar.vars[var].list;
                (grammar.lists[list].words.len(), self.taken[list])
            }
            Point::Rule(rule) => {
                let rule = &grammar.rules[rule];
                (rule.alternatives.len(), rule.deck.map_or(0, |deck| self.used[deck]))
            }
        };
        let all = u128::MAX >> (128 - count);
        let mask = if all & !without == 0 { all } else { all & !without };
        let mut options = Options { mask, total: 0 };
        options.total = options.picks().map(|pick| weight(grammar, point, pick)).sum();
        options
    }

    /// Notes that `pick` was drawn at `point`.
    pub fn note(&mut self, grammar: &Grammar, point: Point, pick: usize) {
        match point {
            Point::Var(var) => {
                self.words[var] = Some(pick);
                self.taken[grammar.vars[var].list] |= 1 << pick;
            }
            Point::Rule(rule) => {
                let rule = &grammar.rules[rule];
                if let Some(deck) = rule.deck {
                    let all = u128::MAX >> (128 - rule.alternatives.len());
                    let used = if self.used[deck] == all { 0 } else { self.used[deck] };
                    self.used[deck] = used | 1 << pick;
                }
            }
        }
    }
}

/// Weight of option `pick` at `point`; words of a list weigh 1 each.
pub(super) fn weight(grammar: &Grammar, point: Point, pick: usize) -> u32 {
    match point {
        Point::Rule(rule) => grammar.rules[rule].alternatives[pick].weight,
        Point::Var(_) => 1,
    }
}

/// Whether an article before `text` is "an". By letters and a few beginnings whose sound differs from their letter.
pub(super) fn takes_an(text: &[u8]) -> bool {
    let begins = |start: &&str| text.get(..start.len()).is_some_and(|text| text.eq_ignore_ascii_case(start.as_bytes()));
    if ["heir", "honest", "hour"].iter().any(begins) {
        return true;
    }
    let vowel = ["a", "e", "i", "o", "u"].iter().any(&begins);
    vowel && !["eu", "ew", "one", "uni", "use", "usu"].iter().any(begins)
}

impl Grammar {
    /// Story `index` of the corpus. It depends on the seed and on `index` alone; indices past the corpus tell further
    /// stories of the same kind.
    #[must_use]
    pub fn story(&self, index: u64) -> Story {
        let (text, derivation) = self.write(index);
        Story { text, nats: derivation.nats() }
    }

    /// The choices that made story `index`.
    #[must_use]
    pub fn derivation(&self, index: u64) -> Derivation {
        self.write(index).1
    }

    fn write(&self, index: u64) -> (String, Derivation) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        self.generate(&mut |point, options: Options| {
            let mut rest = below(&mut rng, options.total);
            let mut drawn = |&pick: &usize| {
                let weight = weight(self, point, pick);
                let here = rest < weight;
                rest = rest.saturating_sub(weight);
                here
            };
            options.picks().find(&mut drawn).unwrap_or_default() // always found: `rest` is below the total
        })
    }

    /// Makes a story of the picks that `choose` makes.
    pub(super) fn generate(&self, choose: &mut dyn FnMut(Point, Options) -> usize) -> (String, Derivation) {
        let mut writer = StoryWriter {
            grammar: self,
            choose,
            memory: Memory::new(self),
            choices: Vec::new(),
            text: Vec::new(),
            capital: false,
            articles: Vec::new(),
        };
        writer.rule(self.start);
        writer.finish()
    }
}

/// Uniform in 0..total without bias, by Lemire's multiplication with rejection (arXiv:1805.10941). Written out here so
/// that the corpus keeps its bytes whatever the `rand` crate does.
fn below(rng: &mut ChaCha8Rng, total: u32) -> u32 {
    let refused = total.wrapping_neg() % total; // 2³² mod total
    loop {
        let product = u64::from(rng.next_u32()) * u64::from(total);
        if product as u32 >= refused {
            return (product >> 32) as u32;
        }
    }
}

struct StoryWriter<'a> {
    grammar: &'a Grammar,
    choose: &'a mut dyn FnMut(Point, Options) -> usize,
    memory: Memory,
    choices: Vec<Choice>,
    text: Vec<u8>,
    /// Whether the next letter becomes a capital.
    capital: bool,
    /// Where articles end whose "n" is not decided yet.
    articles: Vec<usize>,
}

impl StoryWriter<'_> {
    fn rule(&mut self, rule: usize) {
        let grammar = self.grammar;
        let pick = self.draw(Point::Rule(rule));
        for item in &grammar.rules[rule].alternatives[pick].items {
            match item {
                Item::Text(text) => self.push(text),
                Item::Rule(rule) => self.rule(*rule),
                Item::Word { var, column } => {
                    let drawn = self.memory.words[*var];
                    let word = drawn.unwrap_or_else(|| self.draw(Point::Var(*var)));
                    self.push(&grammar.lists[grammar.vars[*var].list].words[word][*column]);
                }
                Item::Article => {
                    self.push("a");
                    self.articles.push(self.text.len());
                }
                Item::Capital => self.capital = true,
            }
        }
    }

    fn draw(&mut self, point: Point) -> usize {
        let options = self.memory.options(self.grammar, point);
        let pick = (self.choose)(point, options);
        self.memory.note(self.grammar, point, pick);
        self.choices.push(Choice { pick, weight: weight(self.grammar, point, pick), total: options.total });
        pick
    }

    fn push(&mut self, text: &str) {
        let start = self.text.len();
        self.text.extend_from_slice(text.as_bytes());
        if std::mem::take(&mut self.capital) {
            self.text[start].make_ascii_uppercase();
        }
    }

    fn finish(mut self) -> (String, Derivation) {
        for &end in self.articles.iter().rev() {
            if self.text.get(end + 1..).is_some_and(takes_an) {
                self.text.insert(end, b'n');
            }
        }
        let text = String::from_utf8_lossy(&self.text).into_owned();
        (text, Derivation { choices: self.choices })
    }
}
