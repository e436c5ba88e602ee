//! `tril verify`: whether a receipt says how its checkpoint would have made these texts, as a table or as JSON; and
//! how much of a text without one is what they would have made.

mod bare;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use tril::{Receipt, ReceiptCheck};
use tril_prove::{Tolerance, Verdict};

use crate::args::VerifyArgs;
use crate::output::{Form, UNDECIDED};
use crate::{open, runs};

/// Everything that is printed.
#[derive(Serialize)]
struct VerifyOutput {
    checkpoint: PathBuf,
    device: String,
    receipt: String,
    #[serde(flatten)]
    check: ReceiptCheck,
}

pub fn run(args: &VerifyArgs) -> Result<ExitCode> {
    let Some(receipt) = &args.receipt else { return bare::run(args) };
    let name = name_of(receipt);
    let receipt = Receipt::parse(&open::text(receipt)?, &name).map_err(tril::Error::from)?;
    let device = open::device(&args.compute)?;
    let model = runs::rounded_model(&args.checkpoint, receipt.weights, &device)?;
    let begin = Instant::now();
    let tolerance = args.tolerance.map_or(Tolerance::EqualBits, Tolerance::Within);
    let check = receipt.check(&model, &device, tolerance).with_context(|| name.clone())?;
    let verdict = check.verdict;
    let output = VerifyOutput { checkpoint: model.path().to_owned(), device: device.to_string(), receipt: name, check };
    Form::of(args.json).print(&output, |output, out| table::write(output, &receipt, model.tokenizer(), out))?;
    note!("[verified in {:.2} s]", begin.elapsed().as_secs_f64());
    Ok(exit_code(verdict))
}

fn exit_code(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Pass => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::FAILURE,
        Verdict::Undecided => ExitCode::from(UNDECIDED),
    }
}

/// What a file is called.
fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}
