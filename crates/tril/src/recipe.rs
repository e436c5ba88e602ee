//! A recipe: the TOML file that says what to train, on what, and how.

mod fields;
mod sections;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use tril_model::{GptConfig, ModelError, Positions, memory};
use tril_text::{TokenizerConfig, text_from_bytes};
use tril_train::{LoraConfig, OptimizerConfig, TrainConfig};

use fields::plain;
pub(crate) use fields::{known_fields, parse_table, set};
pub use sections::{DataConfig, SampleConfig};

/// The recipe that runs when none is named.
pub const DEFAULT_RECIPE: &str = "tales";

/// Names and texts of the recipes that the program carries.
pub const SHIPPED_RECIPES: [(&str, &str); 8] = [
    ("tales", include_str!("../configs/tales.toml")),
    ("shakespeare_char", include_str!("../configs/shakespeare_char.toml")),
    ("shakespeare_fast", include_str!("../configs/shakespeare_fast.toml")),
    ("shakespeare_best", include_str!("../configs/shakespeare_best.toml")),
    ("shakespeare_record", include_str!("../configs/shakespeare_record.toml")),
    ("baby", include_str!("../configs/baby.toml")),
    ("llama_tiny", include_str!("../configs/llama_tiny.toml")),
    ("smoke", include_str!("../configs/smoke.toml")),
];

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// No shipped recipe has this name.
    #[error("`{name}` is not a recipe; the shipped ones are {}", SHIPPED_RECIPES.map(|(name, _)| name).join(", "))]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// The file cannot be read.
    #[error("cannot read the recipe {}: {source}; give the path of a TOML file, or the name of a shipped recipe", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("{origin} is not valid TOML: {detail}")]
    Toml {
        /// The file, or the recipe's name.
        origin: String,
        /// Where and why.
        detail: String,
    },
    /// A section or field is unknown, or has a value that it cannot have.
    #[error("{origin}: {detail}")]
    Field {
        /// The file, the recipe's name, or the override.
        origin: String,
        /// Which, and what is wrong with it.
        detail: String,
    },
}

/// The text of a shipped recipe.
///
/// # Errors
/// [`RecipeError::Unknown`] for another name; the message lists those there are.
pub fn shipped_recipe(name: &str) -> Result<&'static str, RecipeError> {
    let found = SHIPPED_RECIPES.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).ok_or_else(|| RecipeError::Unknown { name: name.to_owned() })
}

/// All sections. A section or field left out has its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// What to train on.
    pub data: DataConfig,
    /// What a token is.
    pub tokenizer: TokenizerConfig,
    /// The shape of the model.
    pub model: GptConfig,
    /// Steps, batches, evaluations, checkpoints.
    pub train: TrainConfig,
    /// How weights change.
    pub optimizer: OptimizerConfig,
    /// Low-rank factors in place of all weights, of a run that begins from a model's.
    pub lora: LoraConfig,
    /// What is shown while training.
    pub sample: SampleConfig,
}

impl Recipe {
    /// A recipe that the program carries, by its name.
    ///
    /// # Errors
    /// [`RecipeError::Unknown`].
    pub fn shipped(name: &str) -> Result<Self, RecipeError> {
        Self::parse(shipped_recipe(name)?, &format!("the recipe {name}"))
    }

    /// Reads a recipe's text, found at `origin`.
    ///
    /// # Errors
    /// [`RecipeError::Toml`]; [`RecipeError::Field`] for an unknown section or field (the nearest known one is named) or
    /// a value of another type.
    pub fn parse(text: &str, origin: &str) -> Result<Self, RecipeError> {
        parse_table(text, origin)?;
        let text = text.trim_start_matches('\u{feff}');
        let wrong = |detail: String| RecipeError::Field { origin: origin.to_owned(), detail };
        // From the text, so that a value that cannot be is reported with its line.
        toml::from_str(text).map_err(|error| wrong(plain(&error)))
    }

    /// Reads a recipe file, or a shipped recipe by its name where no file is called so.
    ///
    /// # Errors
    /// As [`Recipe::parse`]; [`RecipeError::Unreadable`], [`RecipeError::Unknown`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RecipeError> {
        let (text, origin) = read(path.as_ref())?;
        Self::parse(&text, &origin)
    }

    /// Changes one field, as in `model.n_layers=6`. The value is read as TOML; what is no TOML is text, so quotes may be
    /// left out.
    ///
    /// # Errors
    /// [`RecipeError::Field`] for an unknown field or a value that it cannot have; nothing is changed then.
    pub fn set(&mut self, item: &str) -> Result<(), RecipeError> {
        let wrong = |detail: String| RecipeError::Field { origin: item.to_owned(), detail };
        let mut table = Table::try_from(&*self).map_err(|error| wrong(error.to_string()))?;
        set(&mut table, &known_fields(), item).map_err(wrong)?;
        *self = Value::Table(table).try_into().map_err(|error| wrong(plain(&error)))?;
        Ok(())
    }

    /// Changes several fields, one after another.
    ///
    /// # Errors
    /// As [`Recipe::set`], of the first that cannot be.
    pub fn set_all<T: AsRef<str>>(&mut self, items: &[T]) -> Result<(), RecipeError> {
        items.iter().try_for_each(|item| self.set(item.as_ref()))
    }

    /// Refuses a training step that does not fit into memory; the model is resolved.
    ///
    /// # Errors
    /// [`ModelError::Memory`].
    pub fn check_memory(&self) -> Result<(), ModelError> {
        let TrainConfig { batch_size, micro_batches, seq_len, .. } = self.train;
        let what = format!(
            "a training step with train.batch_size = {batch_size}, train.micro_batches = {micro_batches}, train.seq_len = {seq_len} and the sizes in [model]"
        );
        memory::check(&what, self.training_bytes())
    }

    /// The least memory that a training step takes, in bytes; the model is resolved.
    pub(crate) fn training_bytes(&self) -> u128 {
        let TrainConfig { batch_size, micro_batches, seq_len, .. } = self.train;
        let rows = batch_size / micro_batches.max(1);
        let (weights, activations) = (self.train.kept_weights(), self.train.kept_activations());
        memory::training_bytes(&self.model, weights, activations, rows, seq_len)
    }

    /// What is allowed and seldom meant: settings of which one undoes another, each in a sentence.
    pub fn doubts(&self) -> Vec<String> {
        let Self { model, train, optimizer, .. } = self;
        let mut doubts = Vec::new();
        if optimizer.warmup_steps > train.steps && train.steps > 0 {
            doubts.push(format!(
                "optimizer.warmup_steps = {} is more than train.steps = {}: the learning rate never reaches its peak",
                optimizer.warmup_steps, train.steps
            ));
        }
        if model.positions == Positions::Learned && train.seq_len < model.max_seq_len {
            doubts.push(format!(
                "train.seq_len = {} is less than model.max_seq_len = {}: the positions after {0} are never trained, and texts go there",
                train.seq_len, model.max_seq_len
            ));
        }
        doubts
    }

    /// The recipe as TOML, every field written out.
    ///
    /// # Errors
    /// If it cannot be written as TOML, which no recipe that was read does.
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self)
            .map_err(|error| RecipeError::Field { origin: "the recipe".to_owned(), detail: error.to_string() })
    }
}

/// The text of a recipe file, or of a shipped recipe by its name where no file is called so, and what messages call it.
pub(crate) fn read(path: &Path) -> Result<(String, String), RecipeError> {
    let name = path.to_str().filter(|name| !name.contains(['/', '\\', '.']) && !path.exists());
    if let Some(name) = name {
        return Ok((shipped_recipe(name)?.to_owned(), format!("the recipe {name}")));
    }
    let unreadable = |source| RecipeError::Unreadable { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(unreadable)?;
    let text = text_from_bytes(bytes, path);
    let invalid = |fault: String| unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, fault));
    let text = text.map_err(|error| invalid(error.encoding_fault()))?;
    Ok((text, path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, overrides: &[&str]) -> Result<Recipe, RecipeError> {
        let mut recipe = Recipe::parse(text, "test.toml")?;
        recipe.set_all(overrides)?;
        Ok(recipe)
    }

    #[test]
    fn every_shipped_recipe_is_sound_and_names_and_comments_every_field() {
        let known = Table::try_from(Recipe::default()).expect("table");
        let configs = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/configs")).expect("configs");
        let mut count = 0;
        for path in configs.map(|entry| entry.expect("an entry").path()) {
            let text = std::fs::read_to_string(&path).expect("text");
            let recipe = Recipe::parse(&text, "a recipe").expect("sound");
            GptConfig { vocab_size: 300, ..recipe.model }.resolve().expect("a sound model");
            recipe.train.check().expect("sound training");
            recipe.optimizer.check().expect("a sound optimizer");
            let written: Table = text.parse().expect("TOML");
            for (section, fields) in &known {
                for field in fields.as_table().expect("section").keys() {
                    let path = path.display();
                    assert!(written[section].get(field).is_some(), "{path}: [{section}] {field} is not there");
                }
            }
            // A line is a comment, a field under one, or a field of the same group (AdamW's three, Muon's three).
            let lines: Vec<&str> = text.lines().collect();
            let bare = lines.windows(2).filter(|pair| pair[1].contains(" = ") && !pair[1].starts_with('#'));
            let bare: Vec<_> = bare.filter(|pair| !pair[0].starts_with('#')).map(|pair| pair[1]).collect();
            let grouped = ["momentum_start", "momentum_warmup_steps", "beta2", "eps"];
            assert!(bare.iter().all(|line| grouped.iter().any(|field| line.starts_with(field))), "{bare:?}");
            count += 1;
        }
        assert_eq!(count, 8);
    }

    #[test]
    fn a_recipe_survives_being_written_and_read() {
        let recipe =
            parse(shipped_recipe(DEFAULT_RECIPE).expect("shipped"), &["model.n_layers=7", "optimizer.learning_rate=1"])
                .expect("sound");
        let again = parse(&recipe.to_toml().expect("TOML"), &[]).expect("sound");
        assert_eq!(recipe, again);
        assert_eq!((again.model.n_layers, again.optimizer.learning_rate), (7, 1.0));
    }

    #[test]
    fn a_field_is_read_by_its_old_name_but_not_by_both() {
        let old = "[optimizer]\nmatrix_learning_rate = 0.25";
        for recipe in [parse(old, &[]), parse("", &["optimizer.matrix_learning_rate=0.25"])] {
            assert_eq!(recipe.expect("sound").optimizer.muon_learning_rate, 0.25);
        }
        let recipe = parse(old, &["optimizer.muon_learning_rate=0.5"]).expect("sound");
        assert_eq!(recipe.optimizer.muon_learning_rate, 0.5);
        let both = parse(&format!("{old}\nmuon_learning_rate = 0.5"), &[]).expect_err("both");
        assert!(both.to_string().contains("its old name"), "{both}");
    }

    #[test]
    fn text_may_be_set_with_quotes_or_without() {
        for value in ["rms", "\"rms\""] {
            let recipe = parse("", &[&format!("model.norm={value}")]).expect("sound");
            assert_eq!(recipe.model.norm, tril_model::NormKind::Rms);
        }
        assert_eq!(parse("", &["data.source=1984"]).expect("sound").data.source, "1984");
        assert_eq!(parse("", &["sample.prompt=a = b"]).expect("sound").sample.prompt, "a = b");
    }

    #[test]
    fn an_unknown_key_is_refused_and_the_nearest_named() {
        let message = |text: &str, overrides: &[&str]| parse(text, overrides).expect_err("unknown").to_string();
        assert!(message("[model]\nn_layer = 3", &[]).contains("did you mean `n_layers`?"));
        assert!(message("[modle]\nn_layers = 3", &[]).contains("did you mean `model`?"));
        assert!(message("", &["train.step=3"]).contains("did you mean `steps`?"));
        assert!(message("", &["steps=3"]).contains("section.field=value"));
        assert!(message("[model]\nn_layers = \"three\"", &[]).contains("line 2"));
        assert!(message("", &["model.n_layers=three"]).contains("n_layers"));
    }
}
