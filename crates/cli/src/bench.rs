//! `tril bench`: tokens a second of training and generation on this machine, as a few lines or as JSON.

mod encode;
mod report;
mod subject;

use std::process::ExitCode;

use anyhow::Result;
use tril_prove::bench::{Workload, bench};

use crate::args::{BenchCommand, BenchOptions};
use crate::open;
use crate::output::Form;
use report::BenchOutput;
use subject::Subject;

pub fn run(command: &BenchCommand) -> Result<ExitCode> {
    let (options, workload): (&BenchOptions, Workload) = match command {
        BenchCommand::Encode(args) => return encode::run(args),
        BenchCommand::Train(options) => (options, Workload::Train),
        BenchCommand::Prefill(options) => (options, Workload::Prefill),
        BenchCommand::Decode { batch_size, options } => {
            (options, Workload::Decode { batch_size: (*batch_size).into() })
        }
    };
    let device = open::device(&options.compute)?;
    let subject = Subject::open(options)?;
    let report = bench(&subject.shape, workload, options.seconds, device.inner())?;
    let threads = rayon::current_num_threads();
    let output = BenchOutput { of: subject.name, device: device.to_string(), threads, report };
    Form::of(options.json).print(&output, |output, out| output.write(out))?;
    Ok(ExitCode::SUCCESS)
}
