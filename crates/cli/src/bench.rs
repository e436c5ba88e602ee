//! `tril bench`: tokens a second of training and generation on this machine, as a few lines or as JSON.

mod encode;
mod report;
mod subject;

use std::process::ExitCode;

use anyhow::{Result, bail};
use tril::WeightFormat;
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
    let weights = options.weights.format();
    if weights != WeightFormat::F32 {
        match workload {
            Workload::Train => bail!("--weights {weights}: training takes weights as they are; leave it out"),
            _ if !device.is_cpu() => {
                bail!("--weights {weights}: only the CPU reads them in fewer bytes; leave it out, or add --device cpu")
            }
            Workload::Prefill => {
                bail!(
                    "--weights {weights}: a prompt is read with weights as f32, so it is as fast as without; leave it out"
                )
            }
            Workload::Decode { .. } => {}
        }
    }
    let subject = Subject::open(options)?;
    let report = bench(&subject.shape, workload, options.seconds, device.inner())?;
    let threads = rayon::current_num_threads();
    let output = BenchOutput { of: subject.name, device: device.to_string(), threads, weights, report };
    Form::of(options.json).print(&output, |output, out| output.write(out))?;
    Ok(ExitCode::SUCCESS)
}
