//! `--device`: which device a command computes on.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use burn::tensor::Device;

/// A device as written on the command line: a kind and, for GPUs, which of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceChoice {
    kind: Kind,
    index: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Auto,
    Cpu,
    NdArray,
    Vulkan,
    WebGpu,
    Cuda,
}

const KINDS: [(&str, Kind); 6] = [
    ("auto", Kind::Auto),
    ("cpu", Kind::Cpu),
    ("ndarray", Kind::NdArray),
    ("vulkan", Kind::Vulkan),
    ("webgpu", Kind::WebGpu),
    ("cuda", Kind::Cuda),
];

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || format!("`{text}` is no device; use auto, cpu, ndarray, vulkan[:n], webgpu[:n] or cuda[:n]");
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse().map_err(|_| usage())?)),
            None => (text, None),
        };
        let (_, kind) = *KINDS.iter().find(|(known, _)| *known == name).ok_or_else(usage)?;
        let is_gpu = matches!(kind, Kind::Vulkan | Kind::WebGpu | Kind::Cuda);
        if index.is_some() && !is_gpu {
            return Err(format!("`{text}`: only vulkan, webgpu and cuda have several devices to choose from"));
        }
        Ok(Self { kind, index })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name);
        match self.index {
            Some(index) => write!(f, "{name}:{index}"),
            None => write!(f, "{name}"),
        }
    }
}

impl DeviceChoice {
    /// The device, and what it is called.
    ///
    /// # Errors
    /// If it is not compiled in or not present; the message says how to have it.
    pub fn open(self) -> Result<(Device, DeviceChoice)> {
        match self.kind {
            Kind::Auto => {
                let gpus = [Kind::Cuda, Kind::Vulkan, Kind::WebGpu].map(|kind| Self { kind, index: None });
                let found = gpus.into_iter().find_map(|gpu| Some((gpu.gpu().ok()?, gpu)));
                Ok(found.unwrap_or((Device::flex(), Self { kind: Kind::Cpu, index: None })))
            }
            Kind::Cpu => Ok((Device::flex(), self)),
            Kind::NdArray => Ok((ndarray()?, self)),
            Kind::Vulkan | Kind::WebGpu | Kind::Cuda => Ok((self.gpu()?, self)),
        }
    }

    fn gpu(self) -> Result<Device> {
        let Some(found) = gpus(self.kind) else { bail!(not_compiled_in(self)) };
        let count = found.len();
        match found.into_iter().nth(self.index.unwrap_or(0)) {
            Some(device) => Ok(device),
            None if count == 0 => {
                bail!("--device {self}: no such device was found; install its driver, or use --device cpu")
            }
            None => bail!("--device {self}: {count} found, numbered from 0; choose a lower number"),
        }
    }
}

/// The GPUs that a kind reaches; `None` if it is not compiled in.
fn gpus(kind: Kind) -> Option<Vec<Device>> {
    match kind {
        #[cfg(feature = "vulkan")]
        Kind::Vulkan => Some(Device::enumerate(burn::tensor::DeviceType::Vulkan).into_vec()),
        #[cfg(feature = "webgpu")]
        Kind::WebGpu => Some(Device::enumerate(burn::tensor::DeviceType::WebGpu).into_vec()),
        #[cfg(feature = "cuda")]
        Kind::Cuda => Some(Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec()),
        _ => None,
    }
}

#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "Burn drops NdArray in 0.23; until then it is a second opinion on the CPU")]
fn ndarray() -> Result<Device> {
    Ok(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Result<Device> {
    bail!(not_compiled_in(DeviceChoice { kind: Kind::NdArray, index: None }))
}

fn not_compiled_in(choice: DeviceChoice) -> String {
    let name = DeviceChoice { index: None, ..choice };
    format!(
        "--device {choice}: {name} is not compiled into this binary; build it with `cargo build --release --features {name}`, or use --device cpu"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_as_they_are_written() {
        for text in ["auto", "cpu", "ndarray", "vulkan", "vulkan:1", "webgpu:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().expect("a device").to_string(), text);
        }
        for text in ["", "gpu", "cpu:1", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text:?} is no device");
        }
    }
}
