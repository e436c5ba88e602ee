//! A model that is served: its name, what it was read from, and the way to its worker.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use tril::model::checkpoint::WEIGHTS;
use tril::train::RunDir;
use tril::{ComputeDevice, Draft, Model, WeightFormat};

use crate::chat_template::ChatTemplate;
use crate::job::JobQueue;
use crate::metrics::ModelMetrics;
use crate::options::Limits;
use crate::worker::Worker;
use crate::{ApiError, ServeError};

/// How often a checkpoint is opened that is replaced while it is read.
const ATTEMPTS: usize = 5;

/// A model, what clients call it, and its queue.
#[derive(Debug)]
pub struct ServedModel {
    name: String,
    model: Model,
    device: ComputeDevice,
    sha256: String,
    /// When its weights were written, in seconds since 1970.
    created: u64,
    template: Option<ChatTemplate>,
    pub(crate) queue: JobQueue,
    pub(crate) metrics: Arc<ModelMetrics>,
}

impl ServedModel {
    /// Opens the best checkpoint of the run at a path, or the checkpoint at it, and starts its worker. The weights stay in
    /// memory: what happens to the checkpoint afterwards changes no answer.
    ///
    /// - weights: what they are rounded to
    ///
    /// # Errors
    /// As [`Model::open`]; [`ServeError::Template`] for a chat template that cannot be read; [`ServeError::Moving`] for a
    /// checkpoint that does not stay the same while it is read.
    pub fn open(
        name: String,
        path: &Path,
        weights: WeightFormat,
        device: &ComputeDevice,
        limits: &Limits,
    ) -> Result<Self, ServeError> {
        for _ in 0..ATTEMPTS {
            let dir = RunDir::find_checkpoint(path).map_err(tril::Error::from)?;
            let before = stamp(&dir);
            let model = Model::open(path, device)?;
            let sha256 = tril::train::model_sha256(model.path()).map_err(tril::Error::from)?;
            // The hash is that of what was read if the file stayed the same around both.
            if model.path() == dir && stamp(&dir) == before {
                return Self::start(name, model.with_weights(weights)?, sha256, device, limits);
            }
        }
        Err(ServeError::Moving(path.to_owned()))
    }

    fn start(
        name: String,
        model: Model,
        sha256: String,
        device: &ComputeDevice,
        limits: &Limits,
    ) -> Result<Self, ServeError> {
        let template = ChatTemplate::open(model.path(), model.tokenizer())?;
        let (queue, commands) = JobQueue::new();
        let metrics = Arc::<ModelMetrics>::default();
        let worker = Worker::new(model.clone(), sha256.clone(), device.clone(), limits, Arc::clone(&metrics), commands);
        // It ends when nobody is left who could ask for anything.
        let thread = thread::Builder::new().name("worker".to_owned()).spawn(|| worker.work());
        thread.map_err(ServeError::Start)?;
        let created = modified(model.path());
        Ok(Self { name, model, device: device.clone(), sha256, created, template, queue, metrics })
    }

    /// Has next tokens guessed, so that one pass checks several of them. It changes the time, never an answer.
    ///
    /// - draft: for this model
    #[must_use]
    pub fn with_draft(self, draft: Draft) -> Self {
        self.queue.guess(draft);
        self
    }

    /// What clients call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model itself, which a worker is computing with.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What it is computed on.
    pub fn device(&self) -> &ComputeDevice {
        &self.device
    }

    /// SHA-256 of its weights, as they were read.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// What is told of the weights with every answer.
    pub fn fingerprint(&self) -> String {
        let hash = self.sha256.get(..16).unwrap_or(&self.sha256);
        match self.model.weights() {
            WeightFormat::F32 => format!("tril-{hash}"),
            weights => format!("tril-{hash}-{weights}"),
        }
    }

    /// When its weights were written, in seconds since 1970.
    pub fn created(&self) -> u64 {
        self.created
    }

    /// Whether the checkpoint says how chats are written.
    pub fn has_chat_template(&self) -> bool {
        self.template.is_some()
    }

    /// How its chats are written, where the checkpoint says so.
    pub(crate) fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// The one of several that a request names.
    pub(crate) fn find<'a>(models: &'a [Arc<Self>], name: Option<&str>) -> Result<&'a Arc<Self>, ApiError> {
        let names = || models.iter().map(|model| model.name()).collect::<Vec<_>>().join(", ");
        match (name, models) {
            (None, [model]) => Ok(model),
            (None, _) => Err(ApiError::no_model(format!("model: name one of {}", names()))),
            (Some(name), _) => models
                .iter()
                .find(|model| model.name == name)
                .ok_or_else(|| ApiError::no_model(format!("there is no model {name:?} here; there are {}", names()))),
        }
    }

    /// What clients call the models at some paths: the last part of each path, or all of it where others end alike.
    ///
    /// # Errors
    /// [`ServeError::SameName`] for a path that is named twice.
    pub fn names(paths: &[PathBuf]) -> Result<Vec<String>, ServeError> {
        let last = |path: &Path| {
            let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            whole.file_name().map_or_else(|| whole.display().to_string(), |name| name.to_string_lossy().into_owned())
        };
        let short: Vec<String> = paths.iter().map(|path| last(path)).collect();
        let is_taken = |name: &String| short.iter().filter(|other| *other == name).count() > 1;
        let names: Vec<String> = paths
            .iter()
            .zip(&short)
            .map(|(path, name)| if is_taken(name) { path.display().to_string() } else { name.clone() })
            .collect();
        match names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)) {
            Some((_, name)) => Err(ServeError::SameName(name.clone())),
            None => Ok(names),
        }
    }
}

/// What changes when the weights in a directory do.
fn stamp(dir: &Path) -> Option<(u64, SystemTime)> {
    let file = std::fs::metadata(dir.join(WEIGHTS)).ok()?;
    Some((file.len(), file.modified().ok()?))
}

/// When the weights in a directory were written.
fn modified(dir: &Path) -> u64 {
    let time = std::fs::metadata(dir.join(WEIGHTS)).and_then(|file| file.modified());
    let since = time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_called_by_the_last_part_of_their_paths_and_by_all_of_it_where_two_end_alike() {
        let names = |paths: &[&str]| ServedModel::names(&paths.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(names(&["runs/tales", "other/plays"]).expect("two"), ["tales", "plays"]);
        assert_eq!(names(&["a/tales", "b/tales", "c"]).expect("three"), ["a/tales", "b/tales", "c"]);
        assert!(names(&["a/tales", "a/tales"]).expect_err("twice").to_string().contains("a/tales"));
    }
}
