//! A recipe: the TOML file that says what to train, on what, and how, with overrides from the command line.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};
use tril_model::GptConfig;
use tril_text::TokenizerConfig;
use tril_train::{OptimizerConfig, TrainConfig};

/// The recipe that runs when none is named.
pub const DEFAULT: &str = "tales";

/// Names and texts of the recipes that the program carries.
pub const SHIPPED: [(&str, &str); 7] = [
    ("tales", include_str!("../../../configs/tales.toml")),
    ("shakespeare_char", include_str!("../../../configs/shakespeare_char.toml")),
    ("shakespeare_fast", include_str!("../../../configs/shakespeare_fast.toml")),
    ("shakespeare_best", include_str!("../../../configs/shakespeare_best.toml")),
    ("baby", include_str!("../../../configs/baby.toml")),
    ("llama_tiny", include_str!("../../../configs/llama_tiny.toml")),
    ("smoke", include_str!("../../../configs/smoke.toml")),
];

/// The text of a shipped recipe.
///
/// # Errors
/// For another name; the message lists those there are.
pub fn shipped(name: &str) -> Result<&'static str> {
    let found = SHIPPED.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).with_context(|| {
        let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        format!("`{name}` is no recipe; the shipped ones are {}", names.join(", "))
    })
}

/// Fields that had another name in earlier releases, which is still read: section, old name, name.
const RENAMED: [(&str, &str, &str); 1] = [("optimizer", "matrix_learning_rate", "muon_learning_rate")];

/// All sections. A section or field left out has its default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    pub data: DataConfig,
    pub tokenizer: TokenizerConfig,
    pub model: GptConfig,
    pub train: TrainConfig,
    pub optimizer: OptimizerConfig,
    pub sample: SampleConfig,
}

/// Which text, and how much of it is held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Name of an embedded corpus, or path of a file or directory.
    pub source: String,
    /// Share of the text, at its end, that is held out.
    pub validation_fraction: f64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { source: "tales".into(), validation_fraction: 0.1 }
    }
}

/// The samples shown while training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SampleConfig {
    /// Steps between samples; 0 shows one at the end only.
    pub interval: u64,
    /// What they begin with; empty begins at the end-of-text token if there is one, else at a newline.
    pub prompt: String,
    /// Tokens of a sample.
    pub max_tokens: usize,
    /// 0 is greedy.
    pub temperature: f64,
    /// 0 keeps all tokens.
    pub top_k: usize,
    /// Names the draws.
    pub seed: u64,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self { interval: 0, prompt: String::new(), max_tokens: 200, temperature: 0.8, top_k: 0, seed: 1337 }
    }
}

impl Recipe {
    /// Reads a recipe's text, found at `origin`, and applies overrides such as `model.n_layers=6`.
    ///
    /// # Errors
    /// For TOML that cannot be read, an unknown section or field (the nearest known one is named) or a value of
    /// another type.
    pub fn parse(text: &str, origin: &str, overrides: &[String]) -> Result<Self> {
        let mut table: Table =
            text.parse().map_err(|error| anyhow!("{origin} is not valid TOML: {}", plain(&error)))?;
        let known = Table::try_from(Self::default()).context("the default recipe")?;
        rename_fields(&mut table, origin)?;
        check_keys(&table, &known, "", origin)?;
        // Read by itself before the overrides, so that a value that cannot be is reported with its line.
        let mut recipe = toml::from_str(text).map_err(|error| anyhow!("{origin}: {}", plain(&error)))?;
        for item in overrides {
            set(&mut table, &known, item)?;
            let overridden = Value::Table(table.clone()).try_into();
            recipe = overridden.map_err(|error| anyhow!("--set {item}: {}", plain(&error)))?;
        }
        Ok(recipe)
    }

    /// Reads a recipe file, or a shipped recipe by its name where no file is called so.
    ///
    /// # Errors
    /// As [`Recipe::parse`], and if the file cannot be read or the name is unknown.
    pub fn open(path: &Path, overrides: &[String]) -> Result<Self> {
        let name = path.to_str().filter(|name| !name.contains(['/', '\\', '.']) && !path.exists());
        if let Some(name) = name {
            return Self::parse(shipped(name)?, &format!("the recipe {name}"), overrides);
        }
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("cannot read the recipe {}: give the path of a TOML file, such as one in configs/", path.display())
        })?;
        Self::parse(&text, &path.display().to_string(), overrides)
    }

    /// The recipe as TOML, every field written out.
    ///
    /// # Errors
    /// If it cannot be written as TOML, which no recipe that was read does.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }
}

/// What TOML says of a value, in words that do not take knowing Rust.
fn plain(error: &toml::de::Error) -> String {
    let mut message = error.to_string();
    for (rust, words) in [("usize", "a whole number"), ("u64", "a whole number"), ("f64", "a number")] {
        message = message.replace(&format!("expected {rust}"), &format!("expected {words}"));
    }
    message.trim().to_owned()
}

/// The present name of a field of a section.
fn present_name<'a>(section: &str, field: &'a str) -> &'a str {
    let renamed = RENAMED.into_iter().find(|(of, old, _)| (*of, *old) == (section, field));
    renamed.map_or(field, |(_, _, name)| name)
}

/// Gives fields that were renamed since the recipe was written their present names.
fn rename_fields(table: &mut Table, origin: &str) -> Result<()> {
    for (section, old, name) in RENAMED {
        let Some(Value::Table(fields)) = table.get_mut(section) else { continue };
        let Some(value) = fields.remove(old) else { continue };
        if fields.insert(name.to_owned(), value).is_some() {
            bail!("{origin}: [{section}] has both `{name}` and `{old}`, its old name; remove the second");
        }
    }
    Ok(())
}

/// Refuses keys that no section has.
fn check_keys(table: &Table, known: &Table, section: &str, origin: &str) -> Result<()> {
    for (key, value) in table {
        let Some(expected) = known.get(key) else { bail!(unknown_key(key, known, section, origin)) };
        match (value, expected) {
            (Value::Table(inner), Value::Table(inner_known)) => check_keys(inner, inner_known, key, origin)?,
            (_, Value::Table(_)) => bail!("{origin}: `{key}` is a section; write its fields under [{key}]"),
            _ => {}
        }
    }
    Ok(())
}

fn unknown_key(key: &str, known: &Table, section: &str, origin: &str) -> String {
    let nearest = known.keys().max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)));
    let hint = nearest.map_or(String::new(), |nearest| format!(", did you mean `{nearest}`?"));
    if section.is_empty() {
        let sections: Vec<String> = known.keys().map(|section| format!("[{section}]")).collect();
        return format!("{origin}: there is no section [{key}]{hint} Sections are {}", sections.join(" "));
    }
    let fields: Vec<&str> = known.keys().map(String::as_str).collect();
    format!("{origin}: [{section}] has no field `{key}`{hint} Its fields are {}", fields.join(", "))
}

/// Applies one `section.field=value`. The value is read as TOML; what is no TOML is text, so quotes may be left out.
fn set(table: &mut Table, known: &Table, item: &str) -> Result<()> {
    let usage = || format!("--set {item}: write it as section.field=value, such as --set model.n_layers=6");
    let (path, text) = item.split_once('=').with_context(usage)?;
    let (section, field) = path.trim().split_once('.').with_context(usage)?;
    let field = present_name(section, field);
    let Some(Value::Table(fields)) = known.get(section) else { bail!(unknown_key(section, known, "", "--set")) };
    let Some(expected) = fields.get(field) else { bail!(unknown_key(field, fields, section, "--set")) };
    let text = text.trim();
    let value = match (format!("v = {text}").parse::<Table>(), expected) {
        (Ok(mut parsed), _) if !expected.is_str() || parsed.get("v").is_some_and(Value::is_str) => {
            parsed.remove("v").with_context(usage)?
        }
        _ => Value::String(text.to_owned()),
    };
    // 1 is a fine way to write 1.0.
    let value = match (value, expected) {
        (Value::Integer(whole), Value::Float(_)) => Value::Float(whole as f64),
        (value, _) => value,
    };
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(fields) = entry {
        fields.insert(field.to_owned(), value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, overrides: &[&str]) -> Result<Recipe> {
        let overrides: Vec<String> = overrides.iter().map(|item| (*item).to_owned()).collect();
        Recipe::parse(text, "test.toml", &overrides)
    }

    #[test]
    fn every_shipped_recipe_is_sound_and_names_and_comments_every_field() {
        let known = Table::try_from(Recipe::default()).expect("table");
        let configs = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs")).expect("configs");
        let mut count = 0;
        for path in configs.map(|entry| entry.expect("an entry").path()) {
            let text = std::fs::read_to_string(&path).expect("text");
            let recipe = Recipe::parse(&text, "a recipe", &[]).expect("sound");
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
        assert_eq!(count, 7);
    }

    #[test]
    fn a_recipe_survives_being_written_and_read() {
        let recipe = parse(shipped(DEFAULT).expect("shipped"), &["model.n_layers=7", "optimizer.learning_rate=1"])
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
        let message = |text: &str, overrides: &[&str]| format!("{:#}", parse(text, overrides).expect_err("unknown"));
        assert!(message("[model]\nn_layer = 3", &[]).contains("did you mean `n_layers`?"));
        assert!(message("[modle]\nn_layers = 3", &[]).contains("did you mean `model`?"));
        assert!(message("", &["train.step=3"]).contains("did you mean `steps`?"));
        assert!(message("", &["steps=3"]).contains("section.field=value"));
        assert!(message("[model]\nn_layers = \"three\"", &[]).contains("line 2"));
        assert!(message("", &["model.n_layers=three"]).contains("n_layers"));
    }
}
