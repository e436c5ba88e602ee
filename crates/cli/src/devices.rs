//! `tril devices`: which there are, and which this program can use.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tril::DeviceInfo;

use crate::args::DevicesArgs;
use crate::output::Form;
use crate::quantity;

#[derive(Serialize)]
struct DevicesOutput {
    devices: Vec<DeviceInfo>,
}

pub fn run(args: &DevicesArgs) -> Result<ExitCode> {
    let output = DevicesOutput { devices: DeviceInfo::all() };
    Form::of(args.json).print(&output, write)?;
    Ok(ExitCode::SUCCESS)
}

fn write(output: &DevicesOutput, out: &mut impl Write) -> std::io::Result<()> {
    for device in &output.devices {
        writeln!(out, "{:<8}  {}", device.device, describe(device))?;
    }
    let auto = output.devices.iter().find(|device| device.auto).map_or("cpu", |device| &device.device);
    let why = if output.devices.iter().any(|device| device.software) {
        "the fastest that is no program on the CPU"
    } else {
        "the fastest that is present"
    };
    writeln!(out, "\n--device auto takes {auto}: {why}.")
}

/// In a line: what it is, or how to have it.
pub fn describe(device: &DeviceInfo) -> String {
    if !device.compiled_in {
        let kind = device.device.split(':').next().unwrap_or(&device.device);
        return format!("not compiled in; cargo build --release --features {kind}");
    }
    if device.present == Some(false) {
        return "compiled in, none found; is its driver installed?".to_owned();
    }
    if device.present.is_none() {
        return "compiled in; --device remote:HOST:PORT is what `tril serve-device` serves there".to_owned();
    }
    let name = device.name.as_deref().unwrap_or("a device without a name");
    let memory = device.memory_bytes.map(|bytes| format!("{} of memory", quantity::bytes(bytes)));
    let driver = device.driver.as_ref().map(|driver| format!("driver {driver}"));
    let software = device.software.then(|| "a program on the CPU, taken only by its name".to_owned());
    let parts = [Some(name.to_owned()), driver, memory, software];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
