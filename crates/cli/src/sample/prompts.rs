//! Many prompts: a file with one a line, or with one JSON object a line.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};
use tril_infer::{GenerateOptions, SamplerConfig};

use crate::open;

/// A text to be continued.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    pub text: String,
    /// What an error calls it.
    pub name: String,
    /// The value by which its sender knows it.
    pub id: Option<Value>,
    pub options: GenerateOptions,
}

/// A line of a file of objects. Fields that it does not name are settings of the sampler.
#[derive(Debug, Deserialize)]
struct Line {
    prompt: String,
    id: Option<Value>,
    sample: Option<u64>,
    max_tokens: Option<usize>,
    #[serde(flatten)]
    sampler: Map<String, Value>,
}

/// The prompts of a file: an object a line where its name ends in `.jsonl` or `.ndjson`, or where JSON lines are asked for
/// and its first line begins as an object does; else a prompt a line.
///
/// # Errors
/// For a file that cannot be read or holds no line, and for the first line that is no such object.
pub fn read(path: &Path, json_lines: bool, options: &GenerateOptions) -> Result<Vec<Prompt>> {
    let text = open::text(path)?;
    let is_named =
        path.extension().is_some_and(|end| ["jsonl", "ndjson"].iter().any(|name| end.eq_ignore_ascii_case(name)));
    let lines = named_lines(path, &text)?;
    if is_named || json_lines && text.trim_start().starts_with('{') {
        let lines = lines.filter(|(_, line)| !line.trim().is_empty());
        let prompts: Vec<Prompt> = lines.map(|(name, line)| object(&name, line, options)).collect::<Result<_>>()?;
        if prompts.is_empty() {
            bail!("{}: all its lines are empty; write one object per line", path.display());
        }
        return Ok(prompts);
    }
    // A prompt a line; an empty line is an empty prompt.
    let prompt =
        |(name, text): (String, &str)| Prompt { text: text.to_owned(), name, id: None, options: options.clone() };
    Ok(lines.map(prompt).collect())
}

/// `prompt`, and where it differs from the command line `seed`, `sample`, `max_tokens` and any setting of the sampler; `id`
/// comes back with the text.
fn object(name: &str, line: &str, options: &GenerateOptions) -> Result<Prompt> {
    let Line { prompt, id, sample, max_tokens, sampler } = serde_json::from_str(line)
        .with_context(|| format!("{name}: it must be an object such as {{\"prompt\": \"There was\", \"seed\": 7}}"))?;
    let mut options = options.clone();
    if !sampler.is_empty() {
        let mut settings = serde_json::to_value(&options.sampler)?;
        if let Value::Object(settings) = &mut settings {
            // By its old name a setting would stand beside itself.
            let present =
                |(name, value)| (if name == "penalty_span" { "penalty_last_n".to_owned() } else { name }, value);
            settings.extend(sampler.into_iter().map(present));
        }
        options.sampler = serde_json::from_value::<SamplerConfig>(settings).with_context(|| name.to_owned())?;
    }
    options.sample_index = sample.unwrap_or(options.sample_index);
    options.max_tokens = max_tokens.unwrap_or(options.max_tokens);
    Ok(Prompt { text: prompt, name: name.to_owned(), id, options })
}

/// The lines of a text and what they are called.
fn named_lines<'a>(path: &'a Path, text: &'a str) -> Result<impl Iterator<Item = (String, &'a str)>> {
    if text.is_empty() {
        bail!("{}: it holds no prompts; write one per line", path.display());
    }
    Ok((1..).zip(text.lines()).map(|(number, line)| (format!("{}:{number}", path.display()), line)))
}
