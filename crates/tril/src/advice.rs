//! Which tokenizer suits a text, and how long to train on it; what to say where a recipe does not fit the text.

use tril_data::{Corpus, Encoded, EncodedCorpus, Split, TextStats, encode_side};
use tril_text::{Tokenizer, TokenizerConfig, TokenizerKind};

use crate::Error;
use crate::recipe::Recipe;

/// A vocabulary is no larger than so many bytes of text a token: what stands there less often is not learnt well.
const BYTES_PER_ENTRY: usize = 400;
/// Byte-pair vocabularies that are worth proposing.
const VOCAB_SIZES: [usize; 5] = [512, 1024, 2048, 4096, 8192];
/// A vocabulary of more characters than this is left to byte pairs where the text is large.
const MAX_CHARS: usize = 12_000;
/// Where a text is written in these, a character is as much as a word's part elsewhere.
const DENSE_SCRIPTS: [&str; 4] = ["Han", "Hiragana", "Katakana", "Hangul"];
/// Of a text that is larger, so much is looked at to tell how many tokens it has.
pub const SAMPLE_BYTES: usize = 8 << 20;
/// Passes over a text: two, or three of a small one. More, and a small model begins to learn it by heart.
const PASSES: f64 = 2.0;
const PASSES_OF_SMALL: f64 = 3.0;
/// Tokens of a small text.
const SMALL: usize = 100_000;
/// Passes from which on a recipe is worth a word.
const TOO_MANY_PASSES: f64 = 5.0;
/// Share of tokens that are parts of characters from which on byte pairs are worth one.
const TOO_MANY_PARTS: f64 = 0.1;

/// A proposal for a text, as changes to a recipe.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// The tokenizer, made for the text.
    pub tokenizer: TokenizerConfig,
    /// Steps for two or three passes.
    pub steps: u64,
    /// Tokens that train.
    pub tokens: usize,
    /// How many bytes of the text one of them stands for.
    pub bytes_per_token: f64,
    /// How often the steps go over them, about.
    pub passes: f64,
}

impl Advice {
    /// What to change in a recipe for a text, of which [`SAMPLE_BYTES`] are enough, with the counts of all of it. None where the text is too short to train on with its windows.
    ///
    /// # Errors
    /// As [`Split::new`], [`Tokenizer::build`] and [`encode_side`].
    pub fn new(corpus: &Corpus, stats: &TextStats, recipe: &Recipe) -> Result<Option<Self>, Error> {
        let tokenizer = TokenizerConfig { end_of_text: corpus.has_documents, ..tokenizer_for(stats) };
        // What is true of the beginning of a large text is about true of it all.
        let corpus = &if stats.bytes > SAMPLE_BYTES { corpus.beginning(SAMPLE_BYTES) } else { corpus.clone() };
        let scale = (stats.bytes as f64 / corpus.text_len() as f64).max(1.0);
        let split = Split::new(corpus, recipe.data.held_out())?;
        let built = Tokenizer::build(&tokenizer, &corpus.texts())?;
        let Encoded { ids, bytes, .. } = encode_side(&built, &split.train)?;
        let (tokens, held_out) = (ids.len(), encode_side(&built, &split.validation)?.ids.len());
        if tokens <= recipe.train.seq_len || held_out < 2 {
            return Ok(None);
        }
        let bytes_per_token = bytes as f64 / tokens as f64;
        let tokens = (tokens as f64 * scale) as usize;
        let steps = fitting_steps(recipe, tokens);
        let passes = steps as f64 * tokens_per_step(recipe) / tokens as f64;
        Ok(Some(Self { tokenizer, steps, tokens, bytes_per_token, passes }))
    }

    /// The changes as `section.field=value`.
    #[must_use]
    pub fn settings(&self) -> Vec<String> {
        let TokenizerConfig { kind, vocab_size, .. } = &self.tokenizer;
        let kind = match kind {
            TokenizerKind::Bpe => vec!["tokenizer.kind=bpe".to_owned(), format!("tokenizer.vocab_size={vocab_size}")],
            kind => vec![format!("tokenizer.kind={}", format!("{kind:?}").to_lowercase())],
        };
        let interval = (self.steps / 4).max(1);
        let fields = ["train.eval_interval", "train.checkpoint_interval", "sample.interval"];
        let intervals = fields.map(|field| format!("{field}={interval}"));
        kind.into_iter().chain([format!("train.steps={}", self.steps)]).chain(intervals).collect()
    }
}

/// Characters where a text is dense or small, else byte pairs, as many as its length lets be learnt.
fn tokenizer_for(stats: &TextStats) -> TokenizerConfig {
    let dense: f64 =
        stats.scripts.iter().filter(|one| DENSE_SCRIPTS.contains(&one.script)).map(|one| stats.share(one)).sum();
    let allowed = stats.bytes / BYTES_PER_ENTRY;
    let vocab_size = VOCAB_SIZES.into_iter().rev().find(|size| *size <= allowed);
    match vocab_size {
        Some(vocab_size) if dense < 0.5 || stats.distinct_chars > MAX_CHARS => {
            TokenizerConfig { kind: TokenizerKind::Bpe, vocab_size, ..TokenizerConfig::default() }
        }
        _ => TokenizerConfig::default(),
    }
}

/// What to say where a recipe goes over its text many times, or spends its tokens on parts of characters.
pub(crate) fn doubts(recipe: &Recipe, text: &EncodedCorpus, tokenizer: &Tokenizer) -> Vec<String> {
    let tokens = text.train.ids.len();
    let passes = recipe.train.steps as f64 * tokens_per_step(recipe) / tokens as f64;
    let mut doubts = Vec::new();
    if passes > TOO_MANY_PASSES && recipe.train.dropout == 0.0 {
        doubts.push(format!(
            "{} steps are {passes:.0} passes over this text, which will be learnt by heart from some point on: train.steps={} are about {:.0}, and `tril data stats` proposes settings",
            recipe.train.steps,
            fitting_steps(recipe, tokens),
            passes_over(tokens)
        ));
    }
    if recipe.tokenizer.kind == TokenizerKind::Bpe {
        let of_parts = (0..).zip(&text.train.counts).filter(|(id, _)| tokenizer.is_part_of_character(*id));
        let parts: u64 = of_parts.map(|(_, count)| *count).sum();
        let share = parts as f64 / tokens as f64;
        if share > TOO_MANY_PARTS {
            doubts.push(format!(
                "{:.0} % of the text's tokens are bytes of single characters, for which tokenizer.vocab_size = {} has no room: tokenizer.kind=char suits this text, and `tril data stats` proposes settings",
                100.0 * share, recipe.tokenizer.vocab_size
            ));
        }
    }
    doubts
}

/// Passes that suit a text.
fn passes_over(tokens: usize) -> f64 {
    if tokens < SMALL { PASSES_OF_SMALL } else { PASSES }
}

/// Steps for as many passes as suit a text.
pub(crate) fn fitting_steps(recipe: &Recipe, tokens: usize) -> u64 {
    rounded(passes_over(tokens) * tokens as f64 / tokens_per_step(recipe))
}

fn tokens_per_step(recipe: &Recipe) -> f64 {
    (recipe.train.batch_size * recipe.train.seq_len) as f64
}

/// Steps in two digits, and at least a few.
fn rounded(steps: f64) -> u64 {
    let steps = (steps.round() as u64).max(20);
    let mut unit = 1;
    while steps / unit >= 100 {
        unit *= 10;
    }
    (steps + unit / 2) / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    fn stats(text: &str) -> TextStats {
        TextStats::of(&Corpus::new("x", vec![Document::new("x", text)]))
    }

    #[test]
    fn small_and_dense_texts_get_characters_and_larger_ones_as_many_byte_pairs_as_they_can_teach() {
        let words = "some words of a text, ";
        let kind = |text: &str| {
            let TokenizerConfig { kind, vocab_size, .. } = tokenizer_for(&stats(text));
            (kind, vocab_size)
        };
        assert_eq!(kind(words).0, TokenizerKind::Char);
        assert_eq!(kind(&words.repeat(120_000 / words.len())).0, TokenizerKind::Char);
        assert_eq!(kind(&words.repeat(1_000_000 / words.len())), (TokenizerKind::Bpe, 2048));
        assert_eq!(kind(&words.repeat(9_000_000 / words.len())), (TokenizerKind::Bpe, 8192));
        assert_eq!(kind(&"明月幾時有，把酒問青天。".repeat(100_000)).0, TokenizerKind::Char);
    }

    #[test]
    fn steps_are_two_or_three_passes_in_round_numbers() {
        assert_eq!([3.0, 55.4, 123.0, 987.0, 12_345.0].map(rounded), [20, 55, 120, 990, 12_000]);
        let corpus = Corpus::new("x", vec![Document::new("x", "some words of a text, ".repeat(6000))]);
        let recipe = Recipe::shipped("tales").expect("shipped");
        let advice = Advice::new(&corpus, &TextStats::of(&corpus), &recipe).expect("sound").expect("long enough");
        let passes = advice.steps as f64 * 512.0 / advice.tokens as f64;
        assert!((1.0..=3.1).contains(&passes), "{passes} passes: {advice:?}");
        let short = Corpus::new("x", vec![Document::new("x", "some words of a text, ")]);
        assert_eq!(Advice::new(&short, &TextStats::of(&short), &recipe).expect("sound"), None);
    }

    #[test]
    fn a_recipe_that_does_not_fit_is_told() {
        let recipe = Recipe::shipped("tales").expect("shipped");
        let told = |text: String| {
            let corpus = Corpus::new("x", vec![Document::new("x", text)]);
            let tokenizer = Tokenizer::build(&recipe.tokenizer, &corpus.texts()).expect("built");
            doubts(&recipe, &EncodedCorpus::new(&corpus, &tokenizer, 0.1).expect("encoded"), &tokenizer)
        };
        let chinese: String = ('一'..).take(4000).collect();
        let found = told(chinese);
        assert!(found.len() == 2 && found[0].contains("passes") && found[1].contains("single characters"), "{found:?}");
        let tales = Corpus::open("tales").expect("embedded");
        assert_eq!(told(tales.texts().concat()), Vec::<String>::new(), "the default recipe fits its text");
    }
}
