//! `tales`, the embedded default corpus: short stories told by a small seeded grammar (datasets/tales.toml).
//! Each story has exactly one derivation, so its exact probability, and so the best loss a model can reach, is known.
//! The file is loaded in `load`, made into stories in `generate`, read back in `read`, and proved unambiguous in `unique`.

mod generate;
mod load;
mod read;
#[cfg(test)]
mod tests;
mod unique;

/// The data file that [`Grammar::embedded`] loads.
const EMBEDDED: &str = include_str!("../datasets/tales.toml");

/// One story of the corpus.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// The story: a title line, paragraphs that end in single newlines, and a blank line as separator (`"\n\n"`).
    pub text: String,
    /// −ln p(text) under the grammar, separator included, in nats. The sum over the corpus, divided by the corpus's
    /// characters, is what a model that knew the grammar would score in nats per character; none can expect less.
    pub nats: f64,
}

/// One choice of a derivation: which option was drawn, and with what exact probability `weight / total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Index of the option in its rule or list, as the data file orders them.
    pub pick: usize,
    /// Weight of the option drawn.
    pub weight: u32,
    /// Sum of the weights of all options that could have been drawn at this point of this story.
    pub total: u32,
}

/// A way to make a text: the choices in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derivation {
    /// The choices, from the beginning of the text to its end.
    pub choices: Vec<Choice>,
}

impl Derivation {
    /// −ln of the product of the choices' probabilities, in nats.
    #[must_use]
    pub fn nats(&self) -> f64 {
        let nats = |choice: &Choice| libm::log(f64::from(choice.total)) - libm::log(f64::from(choice.weight));
        self.choices.iter().map(nats).sum()
    }
}

/// Why a tales grammar was refused.
#[derive(Debug, thiserror::Error)]
pub enum TalesError {
    /// The text is not TOML of the expected shape.
    #[error("tales grammar: not readable: {0}; see datasets/tales.toml for the format")]
    Syntax(#[from] toml::de::Error),
    /// A list, variable, rule or setting breaks a rule of the format.
    #[error("tales grammar: {place}: {problem}")]
    Invalid {
        /// Where: a list, a variable, or a rule and the number of its alternative, counted from 1.
        place: String,
        /// What is wrong there and what to do.
        problem: String,
    },
    /// Two alternatives can begin alike to the end of one of them, so a text might have two derivations.
    #[error(
        "tales grammar: rule `{rule}`: alternatives {first} and {second} can both tell {text:?} before either must \
         differ; reword one so that they part before one of them ends"
    )]
    Ambiguous {
        /// The rule, with its arguments.
        rule: String,
        /// Number of one alternative, counted from 1.
        first: usize,
        /// Number of the other alternative, counted from 1.
        second: usize,
        /// The common text.
        text: String,
    },
}

/// A grammar of stories: lists of words, variables that hold one word of a list throughout a story, and rules.
#[derive(Debug, Clone)]
pub struct Grammar {
    seed: u64,
    stories: u64,
    lists: Vec<List>,
    vars: Vec<Var>,
    rules: Vec<Rule>,
    /// Number of decks: sets of alternatives that are dealt without repeats until all are used.
    decks: usize,
    /// The rule that tells a whole story.
    start: usize,
}

/// Words to draw variables from. `words[i][0]` is the word itself, the other columns are forms that go with it.
#[derive(Debug, Clone)]
struct List {
    words: Vec<Vec<String>>,
}

/// A word that is drawn where a story first mentions it and stays the same to the story's end.
#[derive(Debug, Clone)]
struct Var {
    name: String,
    list: usize,
}

/// A choice between alternatives.
#[derive(Debug, Clone)]
struct Rule {
    name: String,
    /// The deck that remembers which alternatives this story has used; none where repeats are welcome.
    deck: Option<usize>,
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Clone)]
struct Alternative {
    weight: u32,
    items: Vec<Item>,
}

/// A piece of an alternative.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// Text, never empty.
    Text(String),
    /// An alternative of this rule.
    Rule(usize),
    /// The word of variable `var`, or the form of it in another column.
    Word { var: usize, column: usize },
    /// "a", or "an" where the word after the next space begins with a vowel.
    Article,
    /// Makes the next letter a capital.
    Capital,
}

impl Grammar {
    /// The grammar of the default corpus. That its stories have one derivation each is proved by a test, and by
    /// [`Grammar::prove_unique`] for anyone who asks, not by every load: the proof takes ten times as long as the telling.
    ///
    /// # Errors
    /// When the embedded data file is not well formed.
    pub fn embedded() -> Result<Self, TalesError> {
        Self::parse(EMBEDDED)
    }

    /// Number of stories in the corpus.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.stories
    }

    /// Whether the corpus has no stories.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stories == 0
    }
}

/// The whole default corpus, in order; its text is the concatenation of the stories' texts.
///
/// # Errors
/// When the embedded data file is not well formed.
pub fn stories() -> Result<Vec<Story>, TalesError> {
    let grammar = Grammar::embedded()?;
    Ok((0..grammar.len()).map(|index| grammar.story(index)).collect())
}
