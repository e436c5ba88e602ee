//! A new run that begins from the weights and the tokenizer of a model, whatever that was opened from.

mod origin;
#[cfg(test)]
mod tests;

use std::path::Path;

use toml::{Table, Value};
use tril_data::{Corpus, EncodedCorpus, TextEvent, TextSource};
use tril_model::checkpoint;
use tril_text::{TextBounds, Tokenizer, TokenizerConfig, TokenizerKind};
use tril_train::{LoraConfig, OptimizerConfig, OptimizerKind, TrainConfig, TrainError};

use crate::advice::fitting_steps;
use crate::beginning::{self, Beginning};
use crate::recipe::{Recipe, RecipeError, SampleConfig, known_fields, parse_table, read, set};
use crate::{Error, ExistingRun, Model, Rehearsal, Training};

pub use origin::Origin;

/// Tokens of a step where nothing else is said.
const STEP_TOKENS: usize = 1024;
/// Pieces that a batch is computed in where nothing else is said: the first of these that divides it.
const PIECES: [usize; 3] = [4, 2, 1];
/// Windows are no longer than this where nothing else is said: more takes memory.
const LONGEST_WINDOW: usize = 256;
/// AdamW's highest rate for all parameters, times the width of the model: wider models take smaller steps.
const RATE_BY_WIDTH: f64 = 0.2;
/// Low-rank factors take larger ones (Schulman 2025, LoRA Without Regret: ten times as large).
const LORA_RATE: f64 = 10.0;

/// Sizes that a recipe may leave to be derived, by a zero.
const DERIVED: [&str; 4] = ["vocab_size", "n_kv_heads", "d_head", "d_ff"];

/// A run to be begun from a model. Its shape and its tokenizer are the model's; what is not given has a default that suits
/// a model that has learnt much already: two or three passes over the text, by AdamW at a low rate.
///
/// ```no_run
/// use std::sync::atomic::AtomicBool;
/// use tril::train::LoraConfig;
/// use tril::{ComputeDevice, ExistingRun, FineTuning, Model, Quiet};
///
/// # fn main() -> Result<(), tril::Error> {
/// let model = Model::open("runs/tales", &ComputeDevice::cpu())?;
/// let mut tuning = FineTuning::of(&model).with_lora(LoraConfig { rank: 8, alpha: 0.0 });
/// tuning.set_all(&["data.source=notes.txt", "train.steps=300"])?;
/// let mut training = tuning.begin("runs/notes", ExistingRun::Keep)?;
/// training.train(&mut Quiet, &AtomicBool::new(false))?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct FineTuning<'a> {
    model: &'a Model,
    /// Fields by section, as recipes and settings give them.
    given: Table,
}

impl<'a> FineTuning<'a> {
    /// From a model, on the embedded stories unless a recipe or a setting names another text.
    pub fn of(model: &'a Model) -> Self {
        Self { model, given: Table::new() }
    }

    /// Takes the fields that a recipe file or a shipped recipe writes out, over those given before.
    ///
    /// # Errors
    /// As [`Recipe::open`].
    pub fn with_recipe(self, path: impl AsRef<Path>) -> Result<Self, RecipeError> {
        let (text, origin) = read(path.as_ref())?;
        self.with_recipe_text(&text, &origin)
    }

    /// The same for a recipe's text, found at `origin`.
    ///
    /// # Errors
    /// As [`Recipe::parse`].
    pub fn with_recipe_text(mut self, text: &str, origin: &str) -> Result<Self, RecipeError> {
        // A value that cannot be is told with its line.
        Recipe::parse(text, origin)?;
        for (section, fields) in parse_table(text, origin)? {
            match (self.given.get_mut(&section), fields) {
                (Some(Value::Table(known)), Value::Table(fields)) => known.extend(fields),
                (_, fields) => drop(self.given.insert(section, fields)),
            }
        }
        Ok(self)
    }

    /// Sets a field, as in `train.steps=300`.
    ///
    /// # Errors
    /// As [`Recipe::set`].
    pub fn set(&mut self, item: &str) -> Result<(), RecipeError> {
        // A value that cannot be is told with the setting that gives it.
        Recipe::default().set(item)?;
        let wrong = |detail: String| RecipeError::Field { origin: item.to_owned(), detail };
        set(&mut self.given, &known_fields(), item).map_err(wrong)
    }

    /// Sets several fields, one after another.
    ///
    /// # Errors
    /// As [`Recipe::set`], of the first that cannot be.
    pub fn set_all<T: AsRef<str>>(&mut self, items: &[T]) -> Result<(), RecipeError> {
        items.iter().try_for_each(|item| self.set(item.as_ref()))
    }

    /// Trains low-rank factors of the matrices of blocks alone.
    ///
    /// - alpha: 0 is the rank
    #[must_use]
    pub fn with_lora(mut self, LoraConfig { rank, alpha }: LoraConfig) -> Self {
        let rank = i64::try_from(rank).unwrap_or(i64::MAX);
        let fields = [("rank", Value::Integer(rank)), ("alpha", Value::Float(alpha))];
        self.given.insert(
            "lora".into(),
            Value::Table(fields.map(|(name, value)| (name.into(), value)).into_iter().collect()),
        );
        self
    }

    /// The whole recipe for a text.
    ///
    /// - train_tokens: of the part that is trained on
    ///
    /// # Errors
    /// [`Error::CannotFineTune`] for a field of the model or the tokenizer that says otherwise than the model does.
    pub fn recipe(&self, train_tokens: usize) -> Result<Recipe, Error> {
        self.model.check_exact("training would go on from the rounded ones")?;
        self.check_model()?;
        self.check_tokenizer()?;
        let draft = self.merged(self.defaults())?;
        let steps = if self.field("train", "steps").is_some() {
            draft.train.steps
        } else {
            fitting_steps(&draft, train_tokens)
        };
        let pieces = PIECES.into_iter().find(|pieces| draft.train.batch_size.is_multiple_of(*pieces)).unwrap_or(1);
        let interval = steps.div_ceil(8).max(1);
        let train = TrainConfig {
            steps,
            micro_batches: pieces,
            eval_interval: interval,
            checkpoint_interval: interval,
            ..draft.train
        };
        let sample = SampleConfig { interval: steps.div_ceil(4).max(1), ..draft.sample };
        let warmup_steps = (steps / 20).min(100);
        let optimizer = OptimizerConfig { warmup_steps, ..draft.optimizer };
        let recipe = self.merged(Recipe { train, sample, optimizer, ..draft })?;
        recipe.train.check()?;
        recipe.optimizer.check()?;
        recipe.lora.check()?;
        let (seq_len, limit) = (recipe.train.seq_len, self.model.config().max_seq_len);
        if seq_len > limit {
            return Err(Error::CannotFineTune(format!(
                "train.seq_len = {seq_len} is longer than the {limit} positions that {} has: lower it",
                self.model.path().display()
            )));
        }
        Ok(recipe)
    }

    /// Begins the run on the text that the recipe names.
    ///
    /// # Errors
    /// As [`Training::begin`]; [`Error::CannotFineTune`].
    pub fn begin(&self, dir: impl AsRef<Path>, existing: ExistingRun) -> Result<Training, Error> {
        self.begin_watched(dir, existing, &mut |_| ())
    }

    /// As [`FineTuning::begin`]; `watch` is told how far a large text is read.
    ///
    /// # Errors
    /// As [`FineTuning::begin`].
    pub fn begin_watched(
        &self,
        dir: impl AsRef<Path>,
        existing: ExistingRun,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Training, Error> {
        // Said before the text is read, which may take long.
        tril_train::RunDir::check_free(dir.as_ref(), existing == ExistingRun::Replace)?;
        let source = self.recipe(0)?.data.open_source(watch)?;
        self.begin_from(&source, dir.as_ref(), existing, watch)
    }

    /// Begins the run on a corpus that is in memory.
    ///
    /// # Errors
    /// As [`FineTuning::begin`].
    pub fn begin_on(&self, corpus: &Corpus, dir: impl AsRef<Path>, existing: ExistingRun) -> Result<Training, Error> {
        self.begin_from(&corpus.into(), dir.as_ref(), existing, &mut |_| ())
    }

    fn begin_from(
        &self,
        source: &TextSource,
        dir: &Path,
        existing: ExistingRun,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Training, Error> {
        let origin = Origin::of(self.model)?;
        Training::start(self.beginning(source, watch)?, source, Some(&origin), dir, existing)
    }

    /// Says what the run would be, and writes nothing.
    ///
    /// # Errors
    /// As [`FineTuning::begin`], but for a directory: there is none.
    pub fn rehearse(&self) -> Result<Rehearsal, Error> {
        self.rehearse_watched(&mut |_| ())
    }

    /// As [`FineTuning::rehearse`]; `watch` is told how far a large text is read.
    ///
    /// # Errors
    /// As [`FineTuning::begin`].
    pub fn rehearse_watched(&self, watch: &mut dyn FnMut(TextEvent)) -> Result<Rehearsal, Error> {
        let source = self.recipe(0)?.data.open_source(watch)?;
        Rehearsal::of_beginning(self.beginning(&source, watch)?, &source)
    }

    /// The name or the path of the text.
    ///
    /// # Errors
    /// As [`FineTuning::recipe`].
    pub fn source(&self) -> Result<String, Error> {
        Ok(self.recipe(0)?.data.source)
    }

    fn beginning(&self, source: &TextSource, watch: &mut dyn FnMut(TextEvent)) -> Result<Beginning, Error> {
        let tokenizer =
            tokenizer_for_training(self.model.tokenizer(), self.model.tokenizer().end_of_text(), self.model.path())?;
        let text = source.encode(&tokenizer, self.recipe(0)?.data.held_out(), watch)?;
        let recipe = self.recipe(text.train.ids.len())?;
        let bounds = bounds(&tokenizer, &text, self.model.tokenizer().end_of_text())?;
        Beginning::from_parts(recipe, self.model.gpt().as_ref().clone(), text, tokenizer, bounds)
    }

    /// A field that is given.
    fn field(&self, section: &str, name: &str) -> Option<&Value> {
        self.given.get(section)?.get(name)
    }

    /// What is used where nothing is given, but for what depends on the length of the text.
    fn defaults(&self) -> Recipe {
        let config = self.model.config();
        let seq_len = config.max_seq_len.min(LONGEST_WINDOW);
        let batch_size = (STEP_TOKENS / seq_len).clamp(4, 32).next_multiple_of(4);
        let rank = self.field("lora", "rank").and_then(Value::as_integer);
        let is_lora = rank.is_some_and(|rank| rank > 0);
        let rate = RATE_BY_WIDTH / config.d_model as f64 * if is_lora { LORA_RATE } else { 1.0 };
        let path = self.model.path().join(checkpoint::TOKENIZER);
        let path = if path.is_file() { path } else { self.model.path().to_owned() };
        Recipe {
            tokenizer: TokenizerConfig {
                kind: TokenizerKind::File,
                path: path.to_string_lossy().into_owned(),
                end_of_text: self.model.tokenizer().end_of_text().is_some(),
                ..TokenizerConfig::default()
            },
            model: config.clone(),
            train: TrainConfig { batch_size, seq_len, micro_batches: PIECES[0], ..TrainConfig::default() },
            optimizer: OptimizerConfig {
                kind: OptimizerKind::Adamw,
                learning_rate: rate,
                min_learning_rate: 0.0,
                weight_decay: if is_lora { 0.0 } else { 0.1 },
                ..OptimizerConfig::default()
            },
            ..Recipe::default()
        }
    }

    /// A recipe with what is given, but for the model and the tokenizer, in place of its own.
    fn merged(&self, recipe: Recipe) -> Result<Recipe, Error> {
        let wrong = |detail: String| RecipeError::Field { origin: "the recipe".to_owned(), detail };
        let mut all = Table::try_from(recipe).map_err(|error| wrong(error.to_string()))?;
        let given = self.given.iter().filter(|(section, _)| !["model", "tokenizer"].contains(&section.as_str()));
        for (section, fields) in given {
            if let (Some(Value::Table(known)), Value::Table(fields)) = (all.get_mut(section), fields) {
                known.extend(fields.clone());
            }
        }
        Ok(Value::Table(all).try_into().map_err(|error: toml::de::Error| wrong(error.to_string()))?)
    }

    /// Refuses a field of the model's shape that the model contradicts.
    fn check_model(&self) -> Result<(), Error> {
        let is_derived = |name: &str, value: &Value| DERIVED.contains(&name) && *value == Value::Integer(0);
        let has = table(self.model.config());
        let found = self.contradiction("model", &has, is_derived);
        found.map_or(Ok(()), |(name, given, has)| {
            Err(Error::CannotFineTune(format!(
                "model.{name} = {given}, but {} has {has}, and a model keeps its shape: leave the field out",
                self.model.path().display()
            )))
        })
    }

    /// Refuses a field of the tokenizer that says otherwise than the recipe by which the model's own was made.
    fn check_tokenizer(&self) -> Result<(), Error> {
        let path = self.model.path().join("config.toml");
        let recipe = if path.is_file() { Recipe::open(&path).ok() } else { None };
        let has = recipe.map(|recipe| table(&recipe.tokenizer)).unwrap_or_default();
        let found = self.contradiction("tokenizer", &has, |_, _| false);
        found.map_or(Ok(()), |(name, given, has)| {
            let has = if has.is_empty() { String::new() } else { format!(" ({name} = {has} there)") };
            Err(Error::CannotFineTune(format!(
                "tokenizer.{name} = {given}, but the tokenizer of {} comes with its weights{has}: leave the field out",
                self.model.path().display()
            )))
        })
    }

    /// The first field of a section that is given and differs from what there is: its name, what is given, what there is.
    fn contradiction(
        &self,
        section: &str,
        has: &Table,
        is_left_open: impl Fn(&str, &Value) -> bool,
    ) -> Option<(String, String, String)> {
        let Some(Value::Table(given)) = self.given.get(section) else { return None };
        let differs = |name: &String, value: &Value| {
            let number = |value: &Value| value.as_float().or(value.as_integer().map(|whole| whole as f64));
            let is_same = has
                .get(name)
                .is_some_and(|known| known == value || number(known).is_some_and(|known| number(value) == Some(known)));
            !is_same && !is_left_open(name, value)
        };
        let (name, value) = given.iter().find(|(name, value)| differs(name, value))?;
        Some((name.clone(), value.to_string(), has.get(name).map(Value::to_string).unwrap_or_default()))
    }
}

fn table(section: &impl serde::Serialize) -> Table {
    Table::try_from(section).unwrap_or_default()
}

/// A model's tokenizer as a text is to be encoded with: documents end with the token that its vocabulary has for that, learnt
/// before or not.
pub(crate) fn tokenizer_for_training(
    tokenizer: &Tokenizer,
    learnt: Option<u32>,
    origin: &Path,
) -> Result<Tokenizer, Error> {
    let fresh = Tokenizer::from_json(&tokenizer.to_json()?, &origin.join(checkpoint::TOKENIZER))?;
    let eos_token_id = learnt.or(fresh.end_of_text());
    Ok(fresh.with_bounds(TextBounds { bos_token_id: None, eos_token_id })?)
}

/// What the model will have learnt that texts begin and end with: what the new text shows, and an end that it knew before.
fn bounds(tokenizer: &Tokenizer, text: &EncodedCorpus, known_end: Option<u32>) -> Result<TextBounds, Error> {
    let learnt = beginning::bounds(tokenizer, text);
    let (None, Some(end)) = (learnt.eos_token_id, known_end) else { return Ok(learnt) };
    // Where the new text has no ends, an empty prompt begins as it does, and not with the end of another text.
    let start = tokenizer.clone().with_bounds(learnt)?.encode_prompt("")?;
    match start[..] {
        [start] => Ok(TextBounds { bos_token_id: Some(start), eos_token_id: Some(end) }),
        _ => Ok(learnt),
    }
}

/// Refuses factors for a model that begins with fresh weights.
pub(crate) fn check_fresh(lora: &LoraConfig) -> Result<(), TrainError> {
    lora.check()?;
    if !lora.is_used() {
        return Ok(());
    }
    Err(TrainError::Config(format!(
        "lora.rank = {}: low-rank factors are added to the matrices of a model that has learnt something; begin from a checkpoint, or set lora.rank=0",
        lora.rank
    )))
}
