//! `tril info`: what can be told of a model without running it.

use std::io::{Result as IoResult, Write};
use std::process::ExitCode;

use anyhow::Result;
use tril::{ComputeDevice, ExportFit, ModelInfo, TokenizerInfo, TrainingInfo};

use crate::args::InfoArgs;
use crate::output::Form;
use crate::quantity::{bytes, counted, grouped, significant};
use crate::{runs, shown};

/// Where the second column begins.
const COLUMN: usize = 12;
/// How wide a table is.
const WIDTH: usize = 80;

pub fn run(args: &InfoArgs) -> Result<ExitCode> {
    let model = runs::model(&args.checkpoint, &ComputeDevice::cpu())?;
    Form::of(args.json).print(&model.info()?, write)?;
    Ok(ExitCode::SUCCESS)
}

fn write(info: &ModelInfo, out: &mut impl Write) -> IoResult<()> {
    let config = &info.config;
    row(out, "model", &shown::on_one_line(&info.path))?;
    if let Some(stored) = &info.stored {
        let types: Vec<String> = stored.types.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let name = stored.architecture.name();
        row(out, "stored as", &format!("{name}, {} tensors, {}", types.join(", "), bytes(stored.bytes)))?;
    }
    row(out, "form", &info.architecture)?;
    let heads = match config.n_kv_heads == config.n_heads {
        true => counted(config.n_heads, "head"),
        false => format!("{} on {} for keys and values", counted(config.n_heads, "head"), config.n_kv_heads),
    };
    let shape = format!(
        "{}, d_model {}, {heads} of {}, d_ff {}, context {}",
        counted(config.n_layers, "block"),
        config.d_model,
        config.d_head,
        config.d_ff,
        config.max_seq_len
    );
    row(out, "shape", &shape)?;
    row(
        out,
        "parameters",
        &format!("{} ({} M)", grouped(info.parameters_total as f64), significant(info.parameters_total as f64 / 1e6)),
    )?;
    for count in &info.parameters {
        let share = 100.0 * count.count as f64 / info.parameters_total.max(1) as f64;
        row(out, "", &format!("{:<18} {:>13}  {share:>5.1} %", count.kind, grouped(count.count as f64)))?;
    }
    row(out, "tokenizer", &tokenizer(&info.tokenizer))?;
    let template = if info.has_chat_template { "chat_template.jinja" } else { "none" };
    row(out, "chat", &format!("template: {template}"))?;
    row(out, "memory", &format!("weights {} as f32", bytes(info.weight_bytes as u64)))?;
    let copies = info.step_bytes.iter().map(|size| format!("{} as {}", bytes(size.bytes), size.weights));
    row(out, "", &format!("to generate on the CPU, also {}", copies.collect::<Vec<_>>().join(", or ")))?;
    row(out, "", &format!("cache {} a token", bytes(info.cache_bytes_per_token as u64)))?;
    let sizes: Vec<String> =
        info.cache.iter().map(|size| format!("{} at {}", bytes(size.bytes as u64), size.tokens)).collect();
    row(out, "", &sizes.join(", "))?;
    if let Some(most) = info.cache_bytes_at_most {
        row(out, "", &format!("at most {}, however long a text becomes", bytes(most)))?;
    }
    row(out, "trained", &trained(info.training.as_ref()))?;
    for fit in &info.exports {
        row(out, if fit.format == info.exports[0].format { "exports to" } else { "" }, &export(fit))?;
    }
    row(out, "sha256", &info.hashes.model)?;
    if let Some(optimizer) = &info.hashes.optimizer {
        row(out, "optimizer", optimizer)?;
    }
    for note in &info.notes {
        row(out, "note", &shown::on_one_line(note))?;
    }
    Ok(())
}

/// A name, and what is to be told, folded where it is too long for a line; a word is never cut.
fn row(out: &mut impl Write, name: &str, text: &str) -> IoResult<()> {
    for (index, line) in
        textwrap::wrap(text, textwrap::Options::new(WIDTH - COLUMN).break_words(false)).iter().enumerate()
    {
        writeln!(out, "{:<COLUMN$}{line}", if index == 0 { name } else { "" })?;
    }
    Ok(())
}

fn tokenizer(info: &TokenizerInfo) -> String {
    let merges = if info.merges == 0 { "no merges".to_owned() } else { counted(info.merges, "merge") };
    let bound =
        |what: &str, token: &Option<String>| token.as_ref().map(|token| format!(", {what} {}", shown::quoted(token)));
    format!(
        "{} of {}, {merges}, {} special{}{}",
        info.model,
        counted(info.vocab_size, "token"),
        info.special_tokens,
        bound("texts begin with", &info.starts_with).unwrap_or_default(),
        bound("end with", &info.ends_with).unwrap_or_else(|| ", no text ends".to_owned()),
    )
}

fn trained(info: Option<&TrainingInfo>) -> String {
    let Some(info) = info else { return "unknown: it holds no record of a run".to_owned() };
    let loss = match (info.best_loss, info.best_step) {
        (Some(loss), Some(step)) => format!("; validation loss {loss:.4} nats a token after step {step}"),
        _ => String::new(),
    };
    let (steps, tokens) = (info.steps, grouped(info.tokens as f64));
    format!("on {}: {steps} of {} steps, {tokens} tokens{loss}", shown::on_one_line(&info.data), info.steps_in_all)
}

fn export(fit: &ExportFit) -> String {
    let name = fit.format.name();
    if fit.fits { format!("{name}: yes") } else { format!("{name}: no: {}", fit.reasons.join("; ")) }
}
