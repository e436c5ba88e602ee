//! Train a tiny GPT on a text, generate from it, look inside, and check what it computes.
//!
//! A GPT only ever predicts the next token. The causal mask lets one parallel pass over a known text compute what
//! step-by-step generation computes; a cache of keys and values changes the cost of a step, never its result. On the CPU
//! in f32 all of that holds to the last bit, and [`prove`](prove::prove) shows it on any checkpoint.
//!
//! [`Training`] begins a run from a [`Recipe`] and a text. [`Model`] opens what it saved, a Hugging Face directory or a GGUF
//! file; [`FineTuning`] begins a run from its weights.
//! [`TextGenerator`] makes texts, any number of them at a time, as an iterator of events; [`Chat`] writes one in turn with
//! a user; a [`Receipt`] says how each token of a text came about, and [`Receipt::check`] checks it.
//!
//! ```
//! use std::sync::atomic::AtomicBool;
//! use tril::{ComputeDevice, Corpus, Document, ExistingRun, Model, Quiet, Recipe, Training};
//!
//! # fn main() -> Result<(), tril::Error> {
//! # let runs = std::env::temp_dir().join(format!("tril-front-page-{}", std::process::id()));
//! let device = ComputeDevice::cpu();
//! let text = "Row, row, row your boat, gently down the stream.\n".repeat(40);
//! let corpus = Corpus::new("row", vec![Document::new("row", text)]);
//!
//! let mut recipe = Recipe::shipped("smoke")?;
//! recipe.set_all(&["train.steps=30", "train.eval_interval=15"])?;
//! let mut training = Training::begin_on(&corpus, recipe, runs.join("row"), ExistingRun::Keep, &device)?;
//! training.train(&mut Quiet, &AtomicBool::new(false))?;
//!
//! let model = Model::open(runs.join("row"), &device)?;
//! let mut request = model.request("Row, ")?;
//! request.options.max_tokens = 20;
//! let completion = model.generate(request)?;
//! assert_eq!(completion.tokens.len(), 20);
//! println!("Row, {}", completion.text);
//! # std::fs::remove_dir_all(&runs).ok();
//! # Ok(())
//! # }
//! ```
//!
//! The crates below are re-exported by what they are about: [`text`], [`data`], [`model`], [`formats`], [`train`],
//! [`infer`] and [`prove`].

mod advice;
mod bare_text;
mod beginning;
mod chat;
mod checkup;
mod device;
mod draft;
mod error;
mod exchange;
mod fine_tuning;
mod generate;
mod held_out;
mod kept_samples;
mod known_hashes;
mod loaded_model;
mod model_info;
mod receipt;
mod recipe;
mod rehearsal;
mod training;
mod unescape;

pub use tril_data as data;
pub use tril_formats as formats;
pub use tril_infer as infer;
pub use tril_model as model;
pub use tril_prove as prove;
pub use tril_text as text;
pub use tril_train as train;

pub use advice::{Advice, SAMPLE_BYTES};
pub use bare_text::{BareTextCheck, BareTextError};
pub use chat::{Chat, ChatError, ChatFormat, ChatReply, ChatSettings, ShowPiece};
pub use checkup::Checkup;
pub use device::{ComputeDevice, DeviceChoice, DeviceError, DeviceInfo, DeviceServer, DeviceServerEvent, use_threads};
pub use draft::{Draft, DraftError};
pub use error::{Error, is_device_failure, is_user_error};
pub use exchange::ExistingFiles;
pub use fine_tuning::{FineTuning, Origin};
pub use generate::{
    Completion, CutCharacter, GenerateRequest, GeneratedText, RequestError, TextEvent, TextEventKind, TextGenerator,
};
pub use held_out::{HeldOutPart, HeldOutText};
pub use known_hashes::{HashCheck, KnownHashes, KnownHashesError, RecipeCheck};
pub use loaded_model::Model;
pub use model_info::{CacheSize, ExportFit, Hashes, ModelInfo, ParameterCount, StepSize, TokenizerInfo, TrainingInfo};
pub use receipt::{
    Machine, PromptText, PromptToken, Receipt, ReceiptCheck, ReceiptError, ReceiptPrompt, ReceiptRecorder,
    ReceiptSample, ReceiptSettings, ReceiptToken, SampleCheck,
};
pub use recipe::{DEFAULT_RECIPE, DataConfig, Recipe, RecipeError, SHIPPED_RECIPES, SampleConfig, shipped_recipe};
pub use rehearsal::Rehearsal;
pub use training::{ExistingRun, Quiet, ResumeChanges, Training};
pub use unescape::unescape;

pub use tril_data::{Corpus, Document};
pub use tril_formats::{DataType, ExportFormat, ExportOptions, Gelu};
pub use tril_infer::{
    DraftTally, FinishReason, GenerateOptions, GeneratedToken, PrefixCache, SampledToken, SamplerConfig,
};
pub use tril_model::WeightFormat;
pub use tril_prove::{Tolerance, Verdict};
pub use tril_text::{HiddenParts, StopTexts, Tokenizer};
pub use tril_train::{Evaluation, StepReport, TrainObserver, TrainOutcome};
