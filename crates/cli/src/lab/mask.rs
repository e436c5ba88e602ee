//! `tril lab mask`: each head's triangle in the terminal, and two models of which one has no mask.

use std::io::{Result as IoResult, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tril::Corpus;
use tril_lab::{HeadAttention, Mask, MaskReport, MaskRun, attention, remove_mask};

use super::{after_the_end, bar, cell, token_texts, told};
use crate::args::MaskLabArgs;
use crate::folded::stdout_width;
use crate::output::Form;
use crate::shown::{self, on_one_line};
use crate::{open, runs};

/// How the two samples begin.
const PROMPT: &str = "There was once ";
/// Columns of a token.
const TOKEN: usize = 14;
/// Columns of the name of a head.
const HEAD: usize = 14;
/// Columns between two triangles.
const GAP: usize = 2;
/// Columns in which triangles stand side by side, where no terminal is narrower.
const WIDTH: usize = 80;

/// The triangles.
#[derive(Serialize)]
struct TriangleOutput {
    checkpoint: String,
    tokens: Vec<String>,
    /// The sum of all weights on later tokens, over all heads.
    weight_on_later: f64,
    heads: Vec<HeadAttention>,
}

pub fn run(args: &MaskLabArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    let Some(checkpoint) = &args.checkpoint else {
        let corpus = Corpus::open("tales").map_err(tril::Error::from)?;
        let bar = bar(2 * args.steps);
        let mut observe = |mask: Mask, report: &tril::StepReport| {
            bar.inc(1);
            bar.set_message(format!("{} · loss {:.3} ·", name(mask), report.loss));
        };
        let report = remove_mask(&corpus, PROMPT, args.steps, &device, &mut observe);
        bar.finish_and_clear();
        Form::of(args.json).print(&report.map_err(told)?, write_runs)?;
        return Ok(ExitCode::SUCCESS);
    };
    let model = runs::model(checkpoint, &device)?;
    let ids = after_the_end(&model, &args.text, "--text")?;
    let heads = attention(model.gpt(), &ids).map_err(told)?;
    let output = TriangleOutput {
        checkpoint: model.path().display().to_string(),
        tokens: token_texts(&model, &ids),
        weight_on_later: heads.iter().map(HeadAttention::weight_on_later).sum(),
        heads,
    };
    Form::of(args.json).print(&output, write_triangles)?;
    Ok(ExitCode::SUCCESS)
}

fn name(mask: Mask) -> &'static str {
    match mask {
        Mask::Causal => "with the mask",
        Mask::Removed => "without",
    }
}

/// A weight as a shade.
fn shade(weight: f32) -> char {
    match weight {
        weight if weight >= 0.5 => '█',
        weight if weight >= 0.25 => '▓',
        weight if weight >= 0.1 => '▒',
        weight if weight >= 0.03 => '░',
        _ => ' ',
    }
}

fn write_triangles(output: &TriangleOutput, out: &mut impl Write) -> IoResult<()> {
    let count = output.tokens.len();
    // A triangle that is wider than the terminal would be no triangle.
    let room = stdout_width().map_or(usize::MAX, |width| width - GAP);
    let token = TOKEN.min(room / 2);
    let size = count.min(room - token);
    writeln!(out, "{}: where each head looks", shown::path(output.checkpoint.as_ref()))?;
    writeln!(out, "a row is a token that looks, a column one that is looked at, both in order")?;
    writeln!(out, "█ half of the weight or more   ▓ a quarter   ▒ a tenth   ░ 3 %   · masked")?;
    if size < count {
        writeln!(out, "the first {size} of {count} tokens are shown, which is what this terminal has columns for")?;
    }
    // Wide enough for a head's name.
    let columns = size.max(HEAD).min(room - token);
    let together = ((WIDTH.min(room + GAP) - token) / (columns + GAP)).max(1);
    for heads in output.heads.chunk_by(|a, b| a.layer == b.layer).flat_map(|layer| layer.chunks(together)) {
        writeln!(out)?;
        let names = heads.iter().map(|head| cell(&format!("layer {} head {}", head.layer, head.head), columns));
        writeln!(out, "{:token$}  {}", "", names.collect::<Vec<_>>().join("  ").trim_end())?;
        for (query, text) in output.tokens.iter().enumerate().take(size) {
            let mut line = cell(text, token);
            for head in heads {
                let shaded = |(key, weight): (usize, &f32)| if key > query { '·' } else { shade(*weight) };
                line.push_str("  ");
                line.extend(head.weights[query].iter().take(size).enumerate().map(shaded));
                line.push_str(&" ".repeat(columns - size));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    writeln!(out)?;
    writeln!(out, "weight on later tokens, all heads and rows together: {}", output.weight_on_later)
}

fn write_runs(report: &MaskReport, out: &mut impl Write) -> IoResult<()> {
    let MaskReport { steps, vocab_size, prompt, runs } = report;
    writeln!(out, "the same small model, first weights and batches, {steps} steps")?;
    writeln!(out, "on the embedded stories by characters")?;
    let knows_nothing = libm::log(*vocab_size as f64);
    writeln!(out, "knowing nothing costs ln {vocab_size} = {knows_nothing:.2} nats a token\n")?;
    write_row("training loss", &|run| name(run.mask).to_owned(), runs, out)?;
    for (index, (step, _)) in runs[0].curve.iter().enumerate() {
        write_row(&format!("  step {step}"), &|run| format!("{:.4}", run.curve[index].1), runs, out)?;
    }
    writeln!(out)?;
    type Column = fn(&MaskRun) -> f64;
    let rows: [(&str, Column); 3] = [
        ("attention to later tokens", |run| run.weight_on_later),
        ("held-out loss, in parallel", |run| run.parallel_loss),
        ("held-out loss, by prefixes", |run| run.prefix_loss),
    ];
    for (title, column) in rows {
        write_row(title, &|run| format!("{:.4}", column(run)), runs, out)?;
    }
    for run in runs {
        writeln!(out, "\n{}: {}", name(run.mask), on_one_line(&format!("{prompt}{}", run.sample)))?;
    }
    writeln!(out)?;
    writeln!(out, "In a parallel pass without the mask each position sees the token that it is to")?;
    writeln!(out, "predict. A text that is being generated has no such token yet, so what the model")?;
    writeln!(out, "learnt is of no use there.")
}

/// A row with a column for each model; in a narrow terminal the name stands above the columns.
fn write_row(name: &str, cell: &dyn Fn(&MaskRun) -> String, runs: &[MaskRun], out: &mut impl Write) -> IoResult<()> {
    let cells: String = runs.iter().map(|run| format!(" {:>14}", cell(run))).collect();
    match stdout_width() {
        Some(..56) => writeln!(out, "{name}\n {cells}"),
        _ => writeln!(out, "{name:<26}{cells}"),
    }
}
