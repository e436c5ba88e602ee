//! `tril lab routes`: how far back and how sharply each head looks, and an induction head.

use std::io::{Result as IoResult, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tril::Model;
use tril_lab::{DISTANCES, INDUCTION, RoutesReport, echo_model, routes};
use tril_model::files;
use tril_prove::OwnText;

use super::table::mean;
use super::{after_the_end, bar, cell, routes_plot, token_texts, told};
use crate::args::RoutesLabArgs;
use crate::folded::stdout_width;
use crate::output::Form;
use crate::shown::{self, quoted};
use crate::{open, runs};

/// Everything that is printed.
#[derive(Serialize)]
pub struct RoutesOutput {
    pub checkpoint: String,
    /// Of the text.
    pub tokens: Vec<String>,
    /// Of the phrase said twice.
    pub repeated_tokens: Vec<String>,
    #[serde(flatten)]
    pub report: RoutesReport,
}

pub fn run(args: &RoutesLabArgs) -> Result<ExitCode> {
    if let Some(svg) = &args.svg {
        open::check_output("--svg", svg)?;
    }
    let device = open::device(&args.compute)?;
    let model = match &args.checkpoint {
        Some(checkpoint) => runs::model(checkpoint, &device)?,
        None => {
            let bar = bar(args.steps);
            let mut observe = |report: &tril::StepReport| {
                bar.inc(1);
                bar.set_message(format!("loss {:.3} ·", report.loss));
            };
            let trained = echo_model(args.steps, &device, &mut observe);
            bar.finish_and_clear();
            let (gpt, tokenizer) = trained.map_err(told)?;
            Model::new(gpt, tokenizer, "letters that come again")?
        }
    };
    let ids = match &args.text {
        Some(text) => after_the_end(&model, text, "--text")?,
        None => {
            let mut ids = OwnText::write(&**model.gpt(), &model.tokenizer().encode_prompt("")?)?.ids;
            ids.truncate(model.config().max_seq_len);
            ids
        }
    };
    let phrase = model.tokenizer().encode(&args.phrase).map_err(|error| error.in_text("--phrase"))?;
    let report = routes(model.gpt(), model.tokenizer().end_of_text(), &ids, &phrase).map_err(told)?;
    let output = RoutesOutput {
        checkpoint: model.path().display().to_string(),
        tokens: token_texts(&model, &ids),
        repeated_tokens: token_texts(&model, &report.repeated),
        report,
    };
    if let Some(svg) = &args.svg {
        files::write_file(svg, routes_plot::render(&output)?.as_bytes())?;
    }
    Form::of(args.json).print(&output, |output, out| {
        write(output, out)?;
        args.svg.as_ref().map_or(Ok(()), |svg| writeln!(out, "\nplot  {}", shown::path(svg)))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A group of distances, as in `2–3`.
pub fn distance_name(group: usize) -> String {
    match (DISTANCES[group], DISTANCES.get(group + 1)) {
        (least, None) => format!("{least}+"),
        (least, Some(next)) if least + 1 == *next => least.to_string(),
        (least, Some(next)) => format!("{least}–{}", next - 1),
    }
}

fn write(output: &RoutesOutput, out: &mut impl Write) -> IoResult<()> {
    let report = &output.report;
    let text = output.tokens.len();
    writeln!(out, "{}, a text of {text} tokens", shown::path(output.checkpoint.as_ref()))?;
    writeln!(out, "entropy in bits: 0 looks at one token, {:.1} at all of them evenly", libm::log2(text as f64))?;
    writeln!(out, "the rest in %: weight by distance, and just after the same token before\n")?;
    write_heads(report, out)?;
    writeln!(out, "\nentropy: mean of the first and of the second half of the text")?;
    writeln!(out, "induction: random tokens said twice, weight so many places after the same token")?;
    writeln!(out, "before; evenly, {:.1}", 100.0 * report.induction_even)?;
    let (layer, head) = (report.induction_layer, report.induction_head);
    if !report.has_induction_head {
        writeln!(out, "\nno head looks there {INDUCTION} times as much as evenly: this model has no induction head;")?;
        writeln!(out, "the one that comes nearest is shown")?;
    }
    writeln!(out, "\nlayer {layer} head {head} where a phrase is said again:")?;
    write_steps(output, out)
}

/// A row a head; in a narrow terminal three lines.
fn write_heads(report: &RoutesReport, out: &mut impl Write) -> IoResult<()> {
    let is_narrow = is_narrow();
    if !is_narrow {
        write!(out, "{:<14} {:>10}", "", "entropy")?;
        (0..DISTANCES.len()).try_for_each(|group| write!(out, " {:>5}", distance_name(group)))?;
        writeln!(out, " {:>9}", "induction")?;
    }
    for head in &report.heads {
        let half = head.entropy.len() / 2;
        let (first, second) = head.entropy.split_at(half);
        let ends = if half == 0 { String::new() } else { format!("{:.1} → {:.1}", mean(first), mean(second)) };
        let name = format!("layer {} head {}", head.layer, head.head);
        let induction = format!("{:.1} +{}", 100.0 * head.induction, head.induction_offset);
        let shares = head.by_distance.iter().enumerate().map(|(group, share)| (distance_name(group), 100.0 * share));
        if is_narrow {
            let shares: Vec<String> = shares.map(|(name, share)| format!("{name}: {share:.1}")).collect();
            writeln!(out, "{name}\n  entropy {ends}, induction {induction}\n  {}", shares.join(", "))?;
        } else {
            let shares: String = shares.map(|(_, share)| format!(" {share:>5.1}")).collect();
            writeln!(out, "{name:<14} {ends:>10}{shares} {induction:>9}")?;
        }
    }
    Ok(())
}

/// A row a token of the second saying; in a narrow terminal two lines.
fn write_steps(output: &RoutesOutput, out: &mut impl Write) -> IoResult<()> {
    let is_narrow = is_narrow();
    if !is_narrow {
        let [at, should, weight] = ["at", "should look at", "weight, %"];
        writeln!(out, "{at:<16} {should:<16} {weight:>9}  {:<16} {:>15}", "looks most at", "p of what comes")?;
    }
    for step in &output.report.steps {
        let token = |position: usize| cell(&quoted(&output.repeated_tokens[position]), 16);
        let (at, should, most) = (token(step.position), token(step.expected), token(step.most));
        let arrow = if step.most == step.expected { "←" } else { " " };
        let (weight, p) = (100.0 * step.weight, step.probability);
        if is_narrow {
            let [at, should, most] = [at, should, most].map(|token| token.trim_end().to_owned());
            writeln!(out, "{at} should look at {should}: {weight:.1} %")?;
            writeln!(out, "  looks most at {most}, p of what comes {p:.4}")?;
        } else {
            writeln!(out, "{at} {should} {weight:>9.1}  {most} {arrow}{p:>14.4}")?;
        }
    }
    Ok(())
}

/// Whether tables of 80 columns have to take another form.
fn is_narrow() -> bool {
    stdout_width().is_some_and(|width| width < 78)
}
