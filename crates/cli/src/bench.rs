//! `tril bench`: tokens a second of training and generation on this machine, as a few lines or as JSON.

mod encode;
mod guesses;
mod report;
mod scaling;
mod subject;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tril::WeightFormat;
use tril_prove::bench::{Workload, bench, bench_with_profile};

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
        BenchCommand::Decode { batch_size, options } | BenchCommand::Guesses { batch_size, options } => {
            (options, Workload::Decode { batch_size: (*batch_size).into() })
        }
    };
    let device = open::device(&options.compute())?;
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
    let counts: Vec<usize> = match options.threads.len() {
        0 | 1 => vec![rayon::current_num_threads()],
        _ => options.threads.iter().map(|threads| usize::from(*threads)).collect(),
    };
    if let BenchCommand::Guesses { batch_size, .. } = command {
        guesses::run((*batch_size).into(), options, &subject, &counts, &device)?;
        return Ok(ExitCode::SUCCESS);
    }
    let measure = if options.profile { bench_with_profile } else { bench };
    let mut rates = Vec::new();
    for threads in &counts {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(*threads).build().context("--threads")?;
        let report = pool.install(|| measure(&subject.shape, workload, options.seconds, device.inner()))?;
        rates.push((*threads, report.tokens_per_second()));
        let (of, device) = (subject.name.clone(), device.to_string());
        let output = BenchOutput { of, device, threads: *threads, weights, report };
        Form::of(options.json).print(&output, |output, out| output.write(out))?;
    }
    if rates.len() > 1 && !options.json {
        Form::Table.print(&rates, |rates, out| scaling::write(rates, out))?;
    }
    Ok(ExitCode::SUCCESS)
}
