//! What to type to mend an error: the libraries say what is wrong, and know no flags.

use std::error::Error as StdError;

use clap::ValueEnum;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use tril::{DeviceError, Error, ReceiptError, RecipeError};
use tril_model::{ModelError, checkpoint};
use tril_train::TrainError;

use crate::args::FormatArg;

/// The flags that mend an error, where there are some.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(hint_of)
}

const OF_RECEIPTS: &str = "tril sample --receipt FILE writes one";

/// What has another name here than elsewhere.
const OTHER_NAMES: [(&[&str], &[&str]); 10] = [
    (&["continue", "resume"], &["train --resume"]),
    (&["convert"], &["import", "export"]),
    (&["download"], &["data fetch"]),
    (&["finetune", "fine-tune", "tune"], &["train --from"]),
    (&["infer", "inference", "predict", "run"], &["sample"]),
    (&["quantize"], &["sample --weights", "export --dtype"]),
    (&["test", "evaluate", "validate"], &["eval"]),
    (&["tokenize", "encode"], &["score", "data stats"]),
    (&["trace", "logits"], &["sample --trace"]),
    (&["version"], &["--version"]),
];

/// What is typed to see which runs there are; any message that lacks a checkpoint names them.
const LISTS_OF_RUNS: [&str; 5] = ["runs", "ls", "list", "models", "checkpoints"];

/// Names the command that is meant, where what was typed is spelt like another one.
pub fn correct_suggestion(error: &mut clap::Error) {
    let Some(typed) = unknown_command(error) else { return };
    if LISTS_OF_RUNS.contains(&typed) {
        error.remove(ContextKind::SuggestedSubcommand);
    } else if let Some((_, meant)) = OTHER_NAMES.iter().find(|(names, _)| names.contains(&typed)) {
        let meant = meant.iter().map(ToString::to_string).collect();
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(meant));
    }
}

/// A command that `tril` does not have.
fn unknown_command(error: &clap::Error) -> Option<&str> {
    let ContextValue::String(typed) = error.get(ContextKind::InvalidSubcommand)? else { return None };
    // Only of `tril` itself, whose usage has no command before the options: `tril lab run` means no sample.
    let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    (usage.split_whitespace().nth(2) == Some("[OPTIONS]")).then_some(typed)
}

/// What a command line lacks that does not fit its command.
pub fn hint_on_usage(error: &clap::Error) -> Option<String> {
    if unknown_command(error).is_some_and(|typed| LISTS_OF_RUNS.contains(&typed)) {
        return Some(of_runs());
    }
    let arguments: Vec<&str> = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(one) => vec![one],
        ContextValue::Strings(several) => several.iter().map(String::as_str).collect(),
        _ => return None,
    };
    match error.kind() {
        ErrorKind::MissingRequiredArgument if arguments.contains(&"<CHECKPOINT>") => Some(of_runs()),
        ErrorKind::MissingRequiredArgument if arguments.contains(&"<RECEIPT>") => Some(OF_RECEIPTS.into()),
        ErrorKind::MissingRequiredArgument if arguments.contains(&"--format <FORMAT>") => {
            let formats: Vec<String> = FormatArg::value_variants().iter().filter_map(described).collect();
            Some(formats.join("; "))
        }
        // Where a prompt is taken, its second word is a second argument.
        ErrorKind::UnknownArgument if arguments.iter().all(|one| !one.starts_with('-')) => {
            let usage = error.get(ContextKind::Usage)?.to_string();
            usage.contains("[PROMPT]").then(|| "several words are one argument in quotes, as in \"Once upon\"".into())
        }
        _ => None,
    }
}

fn hint_of(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<TrainError>() {
        return hint_of_training(error);
    }
    if let Some(error) = error.downcast_ref::<ModelError>() {
        return hint_of_model(error);
    }
    match error.downcast_ref()? {
        Error::Train(error) => hint_of_training(error),
        Error::Model(error) => hint_of_model(error),
        Error::TextMoved { .. } => Some("--data names the place where the text is now".into()),
        Error::Device(DeviceError::NotCompiledIn { .. } | DeviceError::NotFound(_)) => {
            Some("--device cpu needs nothing else".into())
        }
        Error::Receipt(ReceiptError::NoReceipt { .. }) => Some(OF_RECEIPTS.into()),
        Error::Recipe(RecipeError::Unreadable { .. } | RecipeError::Unknown { .. }) => Some(
            "tril recipes lists the shipped ones, which are also in configs/; a text that is there is taken as --data"
                .into(),
        ),
        Error::In { source, .. } => hint_of(&**source),
        _ => None,
    }
}

/// A format as it is typed, and what it is.
fn described(format: &FormatArg) -> Option<String> {
    let value = format.to_possible_value()?;
    Some(format!("--format {} writes {}", value.get_name(), value.get_help()?.to_string().replacen('A', "a", 1)))
}

/// The runs that there are.
fn of_runs() -> String {
    crate::runs::known().unwrap_or_else(|| "tril train makes one".into())
}

fn hint_of_model(error: &ModelError) -> Option<String> {
    match error {
        ModelError::Missing { path, .. } => Some(crate::runs::kept_beside(path).unwrap_or_else(of_runs)),
        ModelError::Memory { what, .. } if what == tril::formats::CACHE_SIZES => {
            Some("tril import --max-seq-len N keeps a context of N tokens".into())
        }
        _ => None,
    }
}

fn hint_of_training(error: &TrainError) -> Option<String> {
    match error {
        TrainError::Occupied(path) => Some(format!(
            "--resume {} continues it, --force replaces it, --out names another directory",
            crate::open::quoted(path)
        )),
        // A checkpoint that stands outside a run can be no new run's directory.
        TrainError::NoRun { path, .. } if !path.join(checkpoint::WEIGHTS).exists() => {
            let begins = || format!("tril train --out {} begins one", crate::open::quoted(path));
            Some(crate::runs::kept_beside(path).unwrap_or_else(begins))
        }
        TrainError::LaterCheckpoint { .. } => {
            Some("--out DIR goes on in a new run and leaves this one as it is, --force removes what is later".into())
        }
        TrainError::NothingSaved(_) => Some("tril train --force begins it anew".into()),
        TrainError::OccupiedUnsaved(_) => Some("--force replaces it, --out names another directory".into()),
        TrainError::Foreign(_) | TrainError::Model(ModelError::Io { action: "create", .. }) => {
            Some("--out names another directory".into())
        }
        _ => None,
    }
}
