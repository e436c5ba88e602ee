//! `tril doctor`: whether this installation works, device by device, and what to do where it does not.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tril::{Checkup, ComputeDevice, DeviceChoice, DeviceInfo};
use tril_prove::ProofOutcome;

use crate::args::DoctorArgs;
use crate::devices::describe;
use crate::output::Form;
use crate::shown::TextWriter;
use crate::{open, quantity};

/// Everything that is printed.
#[derive(Serialize)]
struct DoctorOutput {
    version: &'static str,
    processor: Option<String>,
    instruction_set: Option<&'static str>,
    threads: usize,
    cores: usize,
    memory_bytes: u64,
    devices: Vec<Examined>,
    /// What to do.
    advice: Vec<String>,
    pass: bool,
}

/// A device and what was seen of it.
#[derive(Serialize)]
struct Examined {
    #[serde(flatten)]
    info: DeviceInfo,
    /// Why it was not tried.
    skipped: Option<String>,
    checkup: Option<Checkup>,
    /// What is wrong with it.
    fault: Option<String>,
}

pub fn run(args: &DoctorArgs) -> Result<ExitCode> {
    // What is asked for is opened first, so that a name that there is not is an error.
    let asked = (args.compute.device != DeviceChoice::AUTO).then(|| open::device(&args.compute)).transpose()?;
    let cpu = match &asked {
        Some(_) => ComputeDevice::cpu(),
        None => open::device(&args.compute.on(DeviceChoice::CPU))?,
    };
    let all = DeviceInfo::all();
    let processor = all.first().and_then(|cpu| cpu.name.clone());
    let examine_present = |info: DeviceInfo| match info.present {
        Some(true) if info.compiled_in && info.software => {
            let how = format!("tril doctor --device {} tries it", info.device);
            skip(info, Some(how))
        }
        Some(true) if info.compiled_in => {
            let device = info.device.parse().and_then(ComputeDevice::open);
            examine(info, device.map_err(|error| error.to_string()))
        }
        _ => skip(info, None),
    };
    let devices: Vec<Examined> = match &asked {
        Some(device) => vec![examine(DeviceInfo::of(device), Ok(device.clone()))],
        None => all.into_iter().map(examine_present).collect(),
    };
    let pass = devices.iter().all(|device| device.fault.is_none());
    let mut output = DoctorOutput {
        version: env!("CARGO_PKG_VERSION"),
        processor,
        instruction_set: cpu.instruction_set(),
        threads: rayon::current_num_threads(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: tril_model::memory::limit(),
        devices,
        advice: Vec::new(),
        pass,
    };
    output.advice = advice(&output);
    Form::of(args.json).print(&output, write)?;
    Ok(if pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn skip(info: DeviceInfo, why: Option<String>) -> Examined {
    let why = why.map_or_else(|| describe(&info), |why| format!("{}: {why}", describe(&info)));
    Examined { info, skipped: Some(why), checkup: None, fault: None }
}

fn examine(info: DeviceInfo, device: Result<ComputeDevice, String>) -> Examined {
    // A driver may panic where an error was due.
    let seen = device.and_then(|device| {
        note!("[trying {}…]", device.title());
        tril_text::guard(|| Checkup::of(&device).map_err(|error| error.to_string())).and_then(|seen| seen)
    });
    match seen {
        Ok(checkup) => Examined { info, skipped: None, fault: checkup.fault(), checkup: Some(checkup) },
        Err(fault) => Examined { info, skipped: None, checkup: None, fault: Some(fault) },
    }
}

fn advice(output: &DoctorOutput) -> Vec<String> {
    let mut advice = Vec::new();
    if output.instruction_set == Some("plain") {
        advice.push(match std::env::var("TRIL_SIMD") {
            Ok(_) => "TRIL_SIMD holds the CPU to plain code: unset it for many times the speed".to_owned(),
            Err(_) => {
                "this processor has no AVX2, or the system hides it: everything works, many times slower".to_owned()
            }
        });
    }
    if output.threads < output.cores {
        advice.push(format!("{} of {} cores are used: leave out --threads for all", output.threads, output.cores));
    }
    if output.memory_bytes < 1 << 30 {
        advice.push(
            "less than 1 GiB of memory: choose small models and train.micro_batches = train.batch_size".to_owned(),
        );
    }
    for device in output.devices.iter().filter(|device| device.fault.is_some()) {
        advice.push(match device.info.device.as_str() {
            "cpu" => {
                "the CPU computes wrongly: build again from a clean clone, and report it with this page".to_owned()
            }
            name => format!("do not use {name} before it passes: a newer driver may help, --device cpu always works"),
        });
    }
    advice
}

fn write(output: &DoctorOutput, out: &mut TextWriter<impl Write>) -> std::io::Result<()> {
    writeln!(out, "tril {}", output.version)?;
    let set = output.instruction_set.unwrap_or("no instruction set");
    let threads = format!("{} of {} cores", output.threads, output.cores);
    writeln!(out, "processor  {}, {set}, {threads}", output.processor.as_deref().unwrap_or("without a name"))?;
    writeln!(out, "memory     {}\n", quantity::bytes(output.memory_bytes))?;
    let width = output.devices.iter().map(|device| device.info.device.len()).max().unwrap_or(0).max(8);
    for device in &output.devices {
        let name = &device.info.device;
        match (device, &device.checkup) {
            (Examined { skipped: Some(why), .. }, _) => writeln!(out, "-     {name:<width$}  {why}")?,
            (Examined { fault: Some(fault), .. }, _) => {
                out.outcome("FAIL")?;
                writeln!(out, "  {name:<width$}  {fault}")?;
            }
            (_, Some(seen)) => write_seen(name, width, seen, out)?,
            (_, None) => {}
        }
    }
    writeln!(out)?;
    for advice in &output.advice {
        writeln!(out, "* {advice}")?;
    }
    let auto = output.devices.iter().find(|device| device.info.auto).map(|device| &device.info.device);
    let auto = auto.map(|auto| format!(" --device auto takes {auto}.")).unwrap_or_default();
    writeln!(out, "{}{auto}", if output.pass { "All that was tried works." } else { "Something does not work." })
}

/// What was seen of a device, the names of all being padded to `width`.
fn write_seen(name: &str, width: usize, seen: &Checkup, out: &mut TextWriter<impl Write>) -> std::io::Result<()> {
    let Checkup { losses, loss_error, train_seconds, proofs, prove_seconds } = seen;
    let (first, last) = (losses.first().copied().unwrap_or(0.0), losses.last().copied().unwrap_or(0.0));
    out.outcome("ok")?;
    writeln!(
        out,
        "    {name:<width$}  {} training steps, loss {first:.3} to {last:.3}, {train_seconds:.1} s",
        losses.len()
    )?;
    let margin = width + 8;
    if name != "cpu" {
        writeln!(out, "{:margin$}as the CPU's within {loss_error:.0e} nats", "")?;
    }
    let (passed, open) = (proofs.count(ProofOutcome::Pass), proofs.count(ProofOutcome::Open));
    let open = if open > 0 { format!(", {open} show nothing on so short a text") } else { String::new() };
    writeln!(out, "{:margin$}{passed} proofs hold{open}, {prove_seconds:.1} s", "")
}
