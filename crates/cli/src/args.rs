//! The command line.

mod chat;
mod check;
mod data;
mod draft;
mod encode;
mod eval;
mod exchange;
mod fine_tune;
mod lab;
mod page;
mod sample;
mod sampling;
mod serve;
mod serve_device;
mod values;
mod weights;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use tril::DeviceChoice;

pub use chat::{ChatArgs, ChatFlags};
pub use check::{ProveArgs, VerifyArgs};
pub use data::{CacheArgs, DataCommand, FetchArgs, ListArgs, StatsArgs};
pub use draft::{DraftArgs, DraftSource};
pub use encode::EncodeBenchArgs;
pub use eval::{EvalArgs, SplitPart};
pub use exchange::{ExportArgs, FormatArg, ImportArgs, InfoArgs};
pub use fine_tune::{FineTuneArgs, LogFormat, TrainOutputArgs};
pub use lab::{BatchLabArgs, LabCommand, MaskLabArgs, ProbeLabArgs, RoutesLabArgs, TrainLabArgs, WaitLabArgs};
pub use page::{PlotArgs, ReportArgs};
pub use sample::{OnOverflow, SampleArgs};
pub use sampling::SamplingArgs;
pub use serve::{LimitArgs, ServeArgs};
pub use serve_device::ServeDeviceArgs;
use values::whole;
pub use weights::WeightsArgs;

/// Train a tiny GPT on your own text and generate from it, on a CPU.
#[derive(Debug, Parser)]
#[command(name = "tril", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Colours: auto, always or never; NO_COLOR is obeyed
    #[arg(long, value_name = "WHEN", default_value_t = ColorChoice::Auto, global = true)]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    pub color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model on a text and save it as a checkpoint
    Train(TrainArgs),
    /// Generate text from a checkpoint
    #[command(visible_alias = "generate")]
    Sample(Box<SampleArgs>),
    /// Write a text with a checkpoint, turn by turn
    Chat(Box<ChatArgs>),
    /// Serve checkpoints over HTTP, with the API of OpenAI's clients
    Serve(Box<ServeArgs>),
    /// Measure how well a checkpoint predicts a text
    Eval(EvalArgs),
    /// Show how probable a checkpoint finds each token of a text
    Score(ScoreArgs),
    /// Write the page of a text into one file that opens offline
    Report(ReportArgs),
    /// Draw how runs went: losses, learning rate, gradient norm
    Plot(PlotArgs),
    /// Prove that every way of computing gives the same predictions
    Prove(ProveArgs),
    /// Check that the tokens of a receipt follow from its checkpoint
    Verify(Box<VerifyArgs>),
    /// Measure what a token costs with the cache and without it
    Cost(CostArgs),
    /// Show what a model is made of, and what it can be exported to
    Info(InfoArgs),
    /// Make a checkpoint of a Hugging Face directory or a GGUF file
    Import(ImportArgs),
    /// Write a checkpoint for transformers, llama.cpp or llama2.c
    Export(ExportArgs),
    /// Texts: fetch one by name, look at one before training on it
    #[command(subcommand)]
    Data(DataCommand),
    /// Experiments on small models: working, the mask, attention
    #[command(subcommand)]
    Lab(LabCommand),
    /// List the shipped recipes, or print one
    Recipes(RecipesArgs),
    /// Measure how fast this machine trains and generates
    #[command(subcommand)]
    Bench(BenchCommand),
    /// List the devices that there are, and which this program can use
    Devices(DevicesArgs),
    /// Check that this installation works on every device
    Doctor(DoctorArgs),
    /// Let programs on other machines compute on a device of this one
    ServeDevice(ServeDeviceArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the man page, or write one for each command
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// Where to write tril.1, tril-train.1 and so on [default: print tril.1]
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

const DEVICE_HELP: &str =
    "auto, cpu, ndarray, wgpu[:n], vulkan[:n], cuda[:n] or remote:HOST:PORT; the last five must be built in";

/// Where to compute.
#[derive(Debug, Args)]
pub struct ComputeArgs {
    #[arg(long, value_name = "DEVICE", default_value = "auto", help = DEVICE_HELP)]
    pub device: DeviceChoice,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=65_535))]
    pub threads: Option<u16>,
}

impl ComputeArgs {
    /// The same on another device.
    pub fn on(&self, device: DeviceChoice) -> Self {
        Self { device, threads: self.threads }
    }
}

#[derive(Debug, Args)]
pub struct TrainArgs {
    /// A shipped recipe by its name (`tril recipes` lists them), or a TOML file; any other file, or the name of a corpus, is a
    /// text, as with --data [default: tales]
    #[arg(value_name = "RECIPE", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// A text file, a directory of them, - for standard input, or the name of a corpus (`tril data list`)
    #[arg(long, value_name = "FILE|DIR|NAME")]
    pub data: Option<String>,
    #[command(flatten)]
    pub documents: DocumentArgs,
    #[command(flatten)]
    pub fine_tune: FineTuneArgs,
    /// Directory of the run [default: runs/NAME by the recipe, or by the text; with --resume, the run's own]
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace the run that the directory holds, or with --resume what it learned after the given checkpoint
    #[arg(long)]
    pub force: bool,
    /// Continue a run from its last checkpoint, or from the given checkpoint of it; with --out as a new run
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// Say what the run would be and about how long it would take, and write nothing
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
    /// Take N steps in all: short for --set train.steps=N
    #[arg(long, value_name = "N", value_parser = whole::<u64>(0..=u64::MAX))]
    pub steps: Option<u64>,
    /// Set a field of the recipe, such as model.n_layers=6; may be repeated
    #[arg(long, value_name = "SECTION.FIELD=VALUE")]
    pub set: Vec<String>,
    #[command(flatten)]
    pub report: TrainOutputArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

impl TrainArgs {
    /// All fields that are set.
    pub fn fields(&self) -> Vec<String> {
        let steps = self.steps.map(|steps| format!("train.steps={steps}"));
        self.set.iter().cloned().chain(steps).chain(self.fine_tune.fields()).collect()
    }
}

/// What a document of a text is.
#[derive(Debug, Args)]
pub struct DocumentArgs {
    /// The text is lines of JSON, and this field of each is a document, such as text
    #[arg(long, value_name = "NAME", conflicts_with = "separator")]
    pub field: Option<String>,
    /// The text holds several documents, and this stands between two of them, such as \n\n
    #[arg(long, value_name = "TEXT", value_parser = tril::unescape, allow_hyphen_values = true)]
    pub separator: Option<String>,
    /// Of a directory, read only the files that fit this pattern, such as '*.md' or 'chapters/**/*.txt'
    #[arg(long, value_name = "PATTERN")]
    pub glob: Option<String>,
}

#[derive(Debug, Args)]
pub struct RecipesArgs {
    /// Print this recipe, to start one of your own from
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// A text file; - reads standard input; or the name of a corpus of one file
    #[arg(value_name = "FILE|NAME")]
    pub file: PathBuf,
    /// Print one JSON object
    #[arg(long, conflicts_with = "html")]
    pub json: bool,
    /// Write one self-contained HTML page, with the five most probable tokens at each position
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Whether to print colours instead of columns
    #[arg(long, value_name = "WHEN", default_value_t = ColorChoice::Auto, conflicts_with_all = ["json", "html"])]
    pub color: ColorChoice,
    #[command(flatten)]
    pub weights: WeightsArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Debug, Args)]
pub struct CostArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// Text to continue [default: where a document begins]
    #[arg(long, value_name = "TEXT", value_parser = tril::unescape, allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Tokens to generate [default: as many as the context holds, or four windows; at most 1024]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=65_535))]
    pub max_tokens: Option<u16>,
    /// Tokens per chunk where a known text is prefilled
    #[arg(long, value_name = "N", default_value = "16", value_parser = values::at_least_one)]
    pub prefill_chunk: NonZeroUsize,
    /// The same seed gives the same tokens
    #[arg(long, value_name = "S", default_value_t = 1337, value_parser = whole::<u64>(0..=u64::MAX))]
    pub seed: u64,
    /// Print one JSON object, with every pass
    #[arg(long)]
    pub json: bool,
    /// Draw the operations and time of each token against the context length
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Optimizer steps on random tokens
    Train(BenchOptions),
    /// Fill the context one token at a time, with the cache
    Decode {
        /// Sequences to decode together, one token each per pass
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u16>(1..=4096))]
        batch_size: u16,
        #[command(flatten)]
        options: BenchOptions,
    },
    /// Passes over 1 to 16 positions of a sequence, as guesses are checked
    Guesses {
        /// Sequences that share each pass
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u16>(1..=4096))]
        batch_size: u16,
        #[command(flatten)]
        options: BenchOptions,
    },
    /// One pass over a prompt of 256 tokens, or of as many as the context holds
    Prefill(BenchOptions),
    /// Turn a text into tokens
    Encode(EncodeBenchArgs),
}

/// Shapes of which PyTorch's speed is known too: nanoGPT's two for Tiny Shakespeare, and that of very small implementations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// 4 layers, d 128, 12 rows of 64 tokens
    CharCpu,
    /// 1 layer, d 64, 16 rows of 16 tokens: nearly all of a step is overhead
    Micro,
    /// 6 layers, d 384, 8 rows of 256 tokens
    Baby,
}

#[derive(Debug, Args)]
pub struct BenchOptions {
    /// A known shape
    #[arg(long, value_name = "NAME", value_enum, default_value_t = Preset::CharCpu)]
    pub preset: Preset,
    /// The model and batch of a recipe; the vocabulary is 65 characters where the recipe leaves it to the text
    #[arg(long, value_name = "CONFIG.toml", conflicts_with = "preset")]
    pub config: Option<PathBuf>,
    /// Set a field of the recipe, such as model.n_layers=6; may be repeated
    #[arg(long, value_name = "SECTION.FIELD=VALUE")]
    pub set: Vec<String>,
    /// How many seconds to measure, after a warm-up of a fifth of that
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = values::seconds)]
    pub seconds: f64,
    /// Print one JSON object on one line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub weights: WeightsArgs,
    /// Print where the time goes, too
    #[arg(long)]
    pub profile: bool,
    #[arg(long, value_name = "DEVICE", default_value = "auto", help = DEVICE_HELP)]
    pub device: DeviceChoice,
    /// CPU threads; several numbers, such as 1,2,4, are measured in turn [default: one per core]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = whole::<u16>(1..=1024))]
    pub threads: Vec<u16>,
}

impl BenchOptions {
    /// The device, and threads for the most that is asked for.
    pub fn compute(&self) -> ComputeArgs {
        ComputeArgs { device: self.device.clone(), threads: self.threads.iter().max().copied() }
    }
}
