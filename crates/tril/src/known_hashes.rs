//! What shipped recipes are known to end in, on the machines that were tried: the same bits on another one show that it
//! computes as they do.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::Table;
use tril_train::{CheckpointHashes, TrainObserver, TrainOutcome};

use crate::recipe::{Recipe, SHIPPED_RECIPES};
use crate::{ComputeDevice, Error, ExistingRun, Training};

/// The table.
const HASHES: &str = include_str!("known_hashes.toml");

/// What a recipe ends in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownHashes {
    /// SHA-256 of the settings that the other two hold for.
    settings: String,
    /// SHA-256 of the last checkpoint's `model.safetensors`.
    pub weights: String,
    /// SHA-256 of its `optimizer.safetensors`.
    pub optimizer: String,
}

/// Why there is nothing to compare a recipe with.
#[derive(Debug, thiserror::Error)]
pub enum KnownHashesError {
    /// It is none of the shipped ones.
    #[error(
        "`{name}` is not a shipped recipe, and only of these are hashes known that other machines have got: {}; `tril train --verbose` prints those of a run of yours",
        with_hashes()
    )]
    NotShipped {
        /// As it was given.
        name: String,
    },
    /// It trains long, or on a text that this program does not carry.
    #[error(
        "no hashes are known of the recipe {name}: it takes long, or trains on a text that is fetched; there are some of {}",
        with_hashes()
    )]
    Unknown {
        /// Its name.
        name: String,
    },
    /// This program was built with other settings in it.
    #[error(
        "the recipe {name} in this program is another than the one whose hashes are known: it has been changed since they were taken (settings {found}); undo that, or take new hashes into known_hashes.toml"
    )]
    Changed {
        /// Its name.
        name: String,
        /// SHA-256 of its settings.
        found: String,
    },
    /// Other devices sum in orders of their own.
    #[error("equal bits are promised on the CPU alone, and this is {device}: leave --device out, or give it cpu")]
    Device {
        /// What would compute.
        device: String,
    },
}

/// What a recipe has ended in on this machine, beside what is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecipeCheck {
    /// Optimizer steps that were taken.
    pub steps: u64,
    /// Of the weights.
    pub weights: HashCheck,
    /// Of the optimizer's state.
    pub optimizer: HashCheck,
}

/// One SHA-256 beside the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HashCheck {
    /// What other machines have got.
    pub known: String,
    /// What this one has.
    pub found: String,
}

impl HashCheck {
    /// Whether they are the same.
    pub fn is_equal(&self) -> bool {
        self.known == self.found
    }
}

impl RecipeCheck {
    /// Whether this machine has got the same bits.
    pub fn is_equal(&self) -> bool {
        self.weights.is_equal() && self.optimizer.is_equal()
    }
}

impl KnownHashes {
    /// Those of a shipped recipe, and the recipe, to be trained on a device.
    ///
    /// # Errors
    /// [`KnownHashesError`] where there are none.
    pub fn of(name: &str, device: &ComputeDevice) -> Result<(Recipe, Self), Error> {
        if !device.is_cpu() {
            return Err(KnownHashesError::Device { device: device.to_string() }.into());
        }
        let name = name.to_owned();
        if !SHIPPED_RECIPES.iter().any(|(known, _)| *known == name) {
            return Err(KnownHashesError::NotShipped { name }.into());
        }
        let Some(hashes) = table().remove(&name) else { return Err(KnownHashesError::Unknown { name }.into()) };
        let recipe = Recipe::shipped(&name)?;
        let found = settings_sha256(&recipe);
        if found != hashes.settings {
            return Err(KnownHashesError::Changed { name, found }.into());
        }
        Ok((recipe, hashes))
    }

    /// Trains the recipe into an empty directory and compares. None where `stop` has ended it early.
    ///
    /// # Errors
    /// What [`Training`] can meet.
    pub fn check(
        &self,
        recipe: Recipe,
        dir: &Path,
        device: &ComputeDevice,
        observer: &mut dyn TrainObserver,
        stop: &AtomicBool,
    ) -> Result<Option<RecipeCheck>, Error> {
        let mut training = Training::begin(recipe, dir, ExistingRun::Keep, device)?;
        if let TrainOutcome::Stopped { .. } = training.train(observer, stop)? {
            return Ok(None);
        }
        let last = training.dir().last().unwrap_or_else(|| dir.to_owned());
        let found = CheckpointHashes::of(&last)?;
        let pair = |known: &String, found| HashCheck { known: known.clone(), found };
        Ok(Some(RecipeCheck {
            steps: training.step(),
            weights: pair(&self.weights, found.model),
            optimizer: pair(&self.optimizer, found.optimizer),
        }))
    }
}

/// The table, by the names of recipes. A test holds it to be sound.
fn table() -> BTreeMap<String, KnownHashes> {
    toml::from_str(HASHES).unwrap_or_default()
}

/// The names of those that hashes are known of.
fn with_hashes() -> String {
    table().into_keys().collect::<Vec<_>>().join(", ")
}

/// SHA-256 of the settings that differ from their defaults, a line each: what a comment or a new field that is left at its
/// default does not change.
fn settings_sha256(recipe: &Recipe) -> String {
    let sections = |recipe: &Recipe| Table::try_from(recipe).unwrap_or_default();
    let (set, default) = (sections(recipe), sections(&Recipe::default()));
    let mut lines = Vec::new();
    for (section, fields) in &set {
        for (field, value) in fields.as_table().into_iter().flatten() {
            if default.get(section).and_then(|section| section.get(field)) != Some(value) {
                lines.push(format!("{section}.{field} = {value}\n"));
            }
        }
    }
    lines.sort();
    Sha256::digest(lines.concat()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_has_the_settings_that_its_hashes_were_taken_with() {
        let table: BTreeMap<String, KnownHashes> = toml::from_str(HASHES).expect("a sound table");
        let known: BTreeMap<_, _> =
            table.iter().map(|(name, hashes)| (name.clone(), hashes.settings.clone())).collect();
        let now: BTreeMap<_, _> = table
            .keys()
            .map(|name| (name.clone(), settings_sha256(&Recipe::shipped(name).expect("shipped"))))
            .collect();
        assert_eq!(known, now, "on the left what known_hashes.toml says, on the right what the recipes are");
        for hashes in table.values().flat_map(|hashes| [&hashes.weights, &hashes.optimizer]) {
            assert!(hashes.len() == 64 && hashes.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hashes}");
        }
        assert!(table.contains_key("tales") && table.contains_key("smoke"));
    }

    #[test]
    fn any_other_setting_is_another_recipe_and_a_comment_is_not() {
        let (recipe, _) = KnownHashes::of("smoke", &ComputeDevice::cpu()).expect("known");
        let own = settings_sha256(&recipe);
        for change in ["train.seed=1338", "optimizer.eps=1e-9", "data.source=text.txt", "model.norm_gain=false"] {
            let mut changed = recipe.clone();
            changed.set(change).expect("a setting");
            assert_ne!(settings_sha256(&changed), own, "{change}");
        }
        let text = format!("# a comment\n{}", crate::shipped_recipe("smoke").expect("shipped"));
        assert_eq!(settings_sha256(&Recipe::parse(&text, "smoke").expect("a recipe")), own);
    }

    #[test]
    fn what_has_no_known_hashes_is_refused_with_the_reason() {
        let refused = |name| KnownHashes::of(name, &ComputeDevice::cpu()).expect_err("refused").to_string();
        assert!(refused("my.toml").contains("`my.toml` is not a shipped recipe"));
        assert!(refused("baby").contains("no hashes are known of the recipe baby"));
        assert!(refused("baby").ends_with("there are some of smoke, tales"));
    }
}
