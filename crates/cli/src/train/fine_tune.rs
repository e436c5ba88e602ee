//! `tril train --from`: the weights and the tokenizer of a model, and what the command line says of the rest.

use anyhow::{Result, anyhow, bail};
use tril::{FineTuning, Model, Recipe};

use crate::args::{DocumentArgs, TrainArgs};

use super::Inputs;

/// Fields of Muon, which trains no low-rank factors.
const OF_MUON: [&str; 4] = ["muon_learning_rate", "momentum", "momentum_start", "momentum_warmup_steps"];

/// The run that the command line asks for.
pub fn of<'a>(args: &TrainArgs, inputs: &Inputs<'_>, model: &'a Model) -> Result<FineTuning<'a>> {
    let mut tuning = FineTuning::of(model);
    if let Some(path) = inputs.recipe {
        tuning = tuning.with_recipe(path).map_err(tril::Error::from)?;
    }
    let DocumentArgs { field, separator, glob } = &args.documents;
    let mut of_text = vec![("source", inputs.data.clone()), ("glob", glob.clone())];
    if field.is_some() || separator.is_some() {
        of_text.extend([
            ("field", field.clone().or(Some(String::new()))),
            ("separator", separator.clone().or(Some(String::new()))),
        ]);
    }
    for (name, value) in of_text {
        if let Some(value) = value {
            // As TOML, in which no value is anything else than text.
            tuning.set(&format!("data.{name}={}", serde_json::to_string(&value)?))?;
        }
    }
    if args.fine_tune.lora.is_some() {
        let is_of_muon =
            |item: &&String| OF_MUON.iter().any(|name| item.trim().starts_with(&format!("optimizer.{name}=")));
        if let Some(item) = args.set.iter().find(is_of_muon) {
            bail!("--set {item}: this is Muon's, and low-rank factors are trained by AdamW; leave it out");
        }
    }
    for item in args.fields() {
        tuning.set(&item).map_err(|error| anyhow!("--set {error}"))?;
    }
    Ok(tuning)
}

/// What low-rank factors are trained, in words.
pub fn factors(recipe: &Recipe, params: usize) -> String {
    format!("{params} parameters: factors of rank {}, times {}", recipe.lora.rank, recipe.lora.scale())
}
