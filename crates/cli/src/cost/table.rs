//! The report of `tril cost` as a table over the length of the context, 100 columns wide or in three parts where the terminal
//! is narrower, and what it comes to.

use std::io::{Result, Write};
use std::ops::RangeInclusive;

use tril_prove::Tolerance;
use tril_prove::cost::{Agreement, PassCost, RouteCost};

use super::CostOutput;
use crate::folded::is_narrow;
use crate::quantity::{Unit, grouped, significant};
use crate::shown::{TextWriter, on_one_line};

/// Rows of the table, at most.
const ROWS: usize = 8;

/// What the routes are called.
pub const LETTERS: [char; 3] = ['a', 'b', 'c'];

/// What is told of a pass, or of a share of it.
#[derive(Clone, Copy)]
pub enum Quantity {
    Flops,
    Bytes,
    Seconds,
}

impl Quantity {
    pub fn of(self, pass: &PassCost) -> f64 {
        match self {
            Self::Flops => pass.flops as f64,
            Self::Bytes => pass.bytes as f64,
            Self::Seconds => pass.seconds,
        }
    }

    fn total(self, route: &RouteCost) -> f64 {
        match self {
            Self::Flops => route.flops as f64,
            Self::Bytes => route.bytes as f64,
            Self::Seconds => route.seconds,
        }
    }

    /// The unit in which the smallest of some values is told.
    pub fn unit(self, smallest: f64) -> Unit {
        match self {
            Self::Flops => Unit::of(smallest, "FLOP"),
            Self::Bytes => Unit::of(smallest, "B"),
            Self::Seconds => Unit { factor: 1e-3, name: "ms".to_owned() },
        }
    }
}

const QUANTITIES: [Quantity; 3] = [Quantity::Flops, Quantity::Bytes, Quantity::Seconds];

/// Writes heading, table, totals and conclusions.
pub fn write(finding: &CostOutput, out: &mut TextWriter<impl Write>) -> Result<()> {
    let report = &finding.report;
    write_heading(finding, out)?;
    let contexts = report.prompt_tokens + report.new_tokens - 1;
    let units = QUANTITIES.map(|quantity| quantity.unit(smallest(&report.routes, quantity)));
    let totals = QUANTITIES.map(|quantity| match quantity {
        Quantity::Seconds => Unit { factor: 1.0, name: "s".to_owned() },
        other => other.unit(report.routes.iter().map(|route| other.total(route)).fold(f64::INFINITY, f64::min)),
    });
    let columns: Vec<Column<'_>> = (0..QUANTITIES.len())
        .map(|at| Column { quantity: QUANTITIES[at], unit: &units[at], total: &totals[at] })
        .collect();
    let together = if is_narrow() { 1 } else { columns.len() };
    for (number, columns) in columns.chunks(together).enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        write_columns(&report.routes, contexts, columns, out)?;
    }
    out.write_all(LEGEND.as_bytes())?;
    let runs: Vec<String> = report.routes.iter().map(|route| route.runs.to_string()).collect();
    writeln!(out, "Time: one pass, copying its logits out included; the median of {} runs.\n", runs.join(", "))?;
    write_growth(finding, out)?;
    write_agreement(finding, out)
}

/// What is told of a quantity, for each route.
struct Column<'a> {
    quantity: Quantity,
    unit: &'a Unit,
    /// The unit of all passes together.
    total: &'a Unit,
}

impl Column<'_> {
    /// A number for each route.
    fn cells(&self, routes: &[RouteCost], value: impl Fn(&RouteCost) -> f64) -> String {
        routes.iter().map(|route| format!("{:>9}", significant(value(route)))).collect()
    }

    fn head(&self, unit: &Unit, of: &str) -> String {
        let read = if matches!(self.quantity, Quantity::Bytes) { " read" } else { "" };
        format!("{:>27}", format!("{}{read} {of}", unit.name))
    }
}

/// Writes some quantities side by side: of a token over the length of the context, and of all.
fn write_columns(routes: &[RouteCost], contexts: usize, columns: &[Column<'_>], out: &mut impl Write) -> Result<()> {
    write_line("", columns.iter().map(|column| column.head(column.unit, "a token")), out)?;
    let letters = LETTERS.map(|letter| format!("{letter:>9}")).concat();
    write_line("context", columns.iter().map(|_| &letters), out)?;
    for range in ranges(contexts) {
        let cells = columns
            .iter()
            .map(|column| column.cells(routes, |route| mean(route, &range, column.quantity) / column.unit.factor));
        write_line(&name(&range), cells, out)?;
    }
    writeln!(out)?;
    write_line("", columns.iter().map(|column| column.head(column.total, "in all")), out)?;
    let cells =
        columns.iter().map(|column| column.cells(routes, |route| column.quantity.total(route) / column.total.factor));
    write_line("all", cells, out)
}

/// What is counted.
const LEGEND: &str = "
A token's share of the pass that took it in. Operations: 2 a multiply-add, in matrix products and in
attention over the keys that a query sees; without norms, activations, softmax and embeddings. Read:
matrices, keys and values, once a pass each; without activations.
";

fn write_heading(finding: &CostOutput, out: &mut impl Write) -> Result<()> {
    let report = &finding.report;
    writeln!(out, "{} on {}", on_one_line(&finding.checkpoint), finding.device)?;
    let window = match finding.window {
        Some(window) => format!("a query sees {window} tokens"),
        None => "a query sees all tokens before it".to_owned(),
    };
    let (prompt, new, seed) = (tokens(report.prompt_tokens), report.new_tokens, finding.seed);
    writeln!(out, "a prompt of {prompt} and {new} generated, seed {seed}; {window}\n")?;
    let (chunk, given) = (report.prefill_chunk, report.routes.last().map_or(0, |route| route.given));
    let a = if report.prompt_tokens == 1 { "first token" } else { "prompt" };
    writeln!(out, "a  without a cache: each step computes the whole context again")?;
    writeln!(out, "b  with the cache: the {a} in one pass, then one position a step")?;
    writeln!(out, "c  prefill: the first {} are known and enter in chunks of {chunk}, then as b\n", tokens(given))
}

fn write_line(label: &str, columns: impl IntoIterator<Item = impl AsRef<str>>, out: &mut impl Write) -> Result<()> {
    write!(out, "{label:>11}")?;
    for (index, column) in columns.into_iter().enumerate() {
        write!(out, "{}{}", if index > 0 { "  " } else { "" }, column.as_ref())?;
    }
    writeln!(out)
}

/// How a step's operations grow, and what the routes cost beside each other.
fn write_growth(finding: &CostOutput, out: &mut impl Write) -> Result<()> {
    let routes = &finding.report.routes;
    let [recompute, cached, ..] = &routes[..] else { return Ok(()) };
    let unit = Quantity::Flops.unit(finding.matrix_flops as f64);
    let told = |flops: u64| significant(flops as f64 / unit.factor);
    let ends = |route: &RouteCost| {
        let steps: Vec<&PassCost> = route.passes.iter().filter(|pass| pass.tokens == 1).collect();
        Some((**steps.first()?, **steps.last()?))
    };
    if let (Some((a_first, a_last)), Some((b_first, b_last))) = (ends(recompute), ends(cached)) {
        let (from, to) = (a_first.position + 1, a_last.position + 1);
        let grows = |first: PassCost, last: PassCost| significant(last.flops as f64 / first.flops as f64);
        let bound = finding.window.map_or(String::new(), |window| format!(", up to {window}"));
        writeln!(out, "A step from context {from} to {to}, in {}:", unit.name)?;
        let (first, last, times) = (told(a_first.flops), told(a_last.flops), grows(a_first, a_last));
        writeln!(
            out,
            "a  {first} to {last}, ×{times}: all n positions again, and attention of each to those before it"
        )?;
        let (first, last, times) = (told(b_first.flops), told(b_last.flops), grows(b_first, b_last));
        let matrices = told(finding.matrix_flops);
        writeln!(
            out,
            "b  {first} to {last}, ×{times}: {matrices} for matrices whatever n is, and attention to n keys{bound}"
        )?;
    }
    let [flops, seconds] = [Quantity::Flops, Quantity::Seconds]
        .map(|quantity| significant(quantity.total(recompute) / quantity.total(cached)));
    writeln!(out, "In all, a takes {flops} times the operations of b and {seconds} times as long.\n")
}

fn write_agreement(finding: &CostOutput, out: &mut TextWriter<impl Write>) -> Result<()> {
    let report = &finding.report;
    let compared =
        || LETTERS.iter().zip(&report.routes).filter_map(|(letter, route)| Some((letter, route.agreement.as_ref()?)));
    if report.agree {
        let equal = match report.tolerance {
            Tolerance::EqualBits => "to the last bit",
            Tolerance::Within(_) => "within the tolerance",
        };
        let new = tokens(report.new_tokens);
        out.outcome("pass")?;
        writeln!(out, "  the same {new} by all three. Logits are those of a, {equal}:")?;
        for (letter, agreement) in compared() {
            writeln!(out, "      {letter} at {}", tokens_as(agreement.positions, "position"))?;
        }
    }
    for (letter, agreement) in compared() {
        if let Some(tolerance) = agreement.tolerance {
            writeln!(
                out,
                "{letter}     differs from a by {:.1e} at most; {tolerance:.1e} is allowed",
                agreement.max_difference
            )?;
        }
        if !agreement.agree {
            out.outcome("FAIL")?;
            writeln!(out, "  {letter} is not a: {}", failure(agreement))?;
        }
    }
    Ok(())
}

/// Where two routes part.
fn failure(agreement: &Agreement) -> String {
    let mut told = Vec::new();
    if let Some(position) = agreement.first_logits {
        let ulps = agreement.max_ulps.map_or("no number".to_owned(), |ulps| format!("{ulps} ULP"));
        told.push(format!(
            "logits differ from position {position} on, by {:.1e} at most ({ulps})",
            agreement.max_difference
        ));
    }
    if let Some(position) = agreement.first_token {
        told.push(format!("the token at position {position} is a different one"));
    }
    if told.is_empty() {
        told.push("nothing could be compared".to_owned());
    }
    told.join("; ")
}

/// Contexts 1 to `contexts` in rows of one length, but the last.
fn ranges(contexts: usize) -> impl Iterator<Item = RangeInclusive<usize>> {
    let length = contexts.div_ceil(ROWS);
    (1..=contexts).step_by(length).map(move |first| first..=contexts.min(first + length - 1))
}

fn name(range: &RangeInclusive<usize>) -> String {
    if range.start() == range.end() {
        return grouped(*range.start() as f64);
    }
    format!("{}–{}", range.start(), range.end())
}

/// What a token costs on average where the context with it is so long; a pass of several gives each the same share.
fn mean(route: &RouteCost, contexts: &RangeInclusive<usize>, quantity: Quantity) -> f64 {
    let shares = route.passes.iter().map(|pass| {
        let from = (pass.position + 1).max(*contexts.start());
        let to = (pass.position + pass.tokens).min(*contexts.end());
        let tokens = (to + 1).saturating_sub(from);
        quantity.of(pass) * tokens as f64 / pass.tokens as f64
    });
    shares.sum::<f64>() / contexts.clone().count() as f64
}

fn smallest(routes: &[RouteCost], quantity: Quantity) -> f64 {
    let values = routes.iter().flat_map(|route| &route.passes).map(|pass| quantity.of(pass) / pass.tokens as f64);
    values.fold(f64::INFINITY, f64::min)
}

fn tokens(count: usize) -> String {
    tokens_as(count, "token")
}

fn tokens_as(count: usize, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use tril_prove::cost::Route;

    use super::*;

    fn route(passes: &[(usize, usize, u64)]) -> RouteCost {
        let pass = |(position, tokens, flops): &(usize, usize, u64)| PassCost {
            position: *position,
            tokens: *tokens,
            flops: *flops,
            bytes: 1,
            seconds: 1.0,
        };
        RouteCost {
            route: Route::Cached,
            flops: 0,
            bytes: 0,
            seconds: 0.0,
            runs: 1,
            given: 1,
            agreement: None,
            passes: passes.iter().map(pass).collect(),
        }
    }

    #[test]
    fn contexts_are_cut_into_eight_rows_at_most_without_a_gap() {
        for contexts in 1..100 {
            let ranges: Vec<_> = ranges(contexts).collect();
            assert!(ranges.len() <= ROWS);
            assert_eq!(ranges.into_iter().flatten().collect::<Vec<_>>(), (1..=contexts).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_pass_of_several_tokens_gives_each_an_equal_share() {
        let route = route(&[(0, 4, 40), (4, 1, 7), (5, 1, 9)]);
        let flops = |contexts| mean(&route, &contexts, Quantity::Flops);
        assert_eq!((flops(1..=4), flops(2..=3), flops(5..=6)), (10.0, 10.0, 8.0));
        assert_eq!(flops(4..=5), 8.5);
    }
}
