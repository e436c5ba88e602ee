//! Which devices there are.

use burn::tensor::Device;
use serde::Serialize;

use super::choice::Kind;
use super::{ComputeDevice, DeviceChoice, DeviceError};

/// A GPU that is present.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub choice: DeviceChoice,
    pub device: Device,
    pub name: String,
    /// What its driver calls itself, where it tells.
    pub driver: Option<String>,
    /// Its own memory, where its driver tells.
    pub memory_bytes: Option<u64>,
    /// A program on the CPU that stands in for a GPU.
    pub is_software: bool,
}

impl Found {
    /// Such as "NAME (DRIVER)".
    pub fn title(&self) -> String {
        match &self.driver {
            Some(driver) => format!("{} ({driver})", self.name),
            None => self.name.clone(),
        }
    }
}

/// The kinds that have several devices, the fastest first.
const GPU_KINDS: [Kind; 3] = [Kind::Cuda, Kind::Wgpu, Kind::Vulkan];

/// The first GPU that is no program on the CPU.
pub(super) fn fastest() -> Option<Found> {
    GPU_KINDS.into_iter().filter_map(gpus).flatten().find(|found| !found.is_software)
}

/// The GPU of this name; without a number the first.
pub(super) fn find(choice: &DeviceChoice) -> Result<Found, DeviceError> {
    let found = gpus(choice.kind).ok_or_else(|| not_compiled_in(choice))?;
    let count = found.len();
    found.into_iter().nth(choice.index.unwrap_or(0)).ok_or(match count {
        0 => DeviceError::NotFound(choice.clone()),
        _ => DeviceError::NoSuchNumber { choice: choice.clone(), count },
    })
}

pub(super) fn not_compiled_in(choice: &DeviceChoice) -> DeviceError {
    DeviceError::NotCompiledIn { choice: choice.clone(), kind: DeviceChoice::of(choice.kind) }
}

/// The GPUs that a kind reaches, in the order of their numbers; `None` if it is not compiled in.
fn gpus(kind: Kind) -> Option<Vec<Found>> {
    match kind {
        #[cfg(feature = "wgpu")]
        Kind::Wgpu => Some(of_adapters(kind, Device::wgpu)),
        #[cfg(feature = "vulkan")]
        Kind::Vulkan => Some(of_adapters(kind, Device::vulkan)),
        #[cfg(feature = "cuda")]
        Kind::Cuda => Some(cuda()),
        _ => None,
    }
}

#[cfg(any(feature = "wgpu", feature = "vulkan"))]
fn of_adapters(kind: Kind, device: fn(burn::tensor::DeviceKind) -> Device) -> Vec<Found> {
    let found = |(index, adapter): (usize, super::adapters::Adapter)| Found {
        choice: DeviceChoice::numbered(kind, index),
        device: adapter.device,
        name: adapter.name,
        driver: Some(adapter.driver),
        memory_bytes: adapter.memory_bytes,
        is_software: adapter.is_software,
    };
    super::adapters::list(device).into_iter().enumerate().map(found).collect()
}

#[cfg(feature = "cuda")]
fn cuda() -> Vec<Found> {
    let found = |(index, device): (usize, Device)| Found {
        choice: DeviceChoice::numbered(Kind::Cuda, index),
        name: device.identity().map_or_else(|| "a GPU without a name".to_owned(), |identity| identity.name),
        device,
        driver: None,
        memory_bytes: None,
        is_software: false,
    };
    // Without a driver the library may panic where it should say that there is nothing.
    let devices = tril_text::guard(|| Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec());
    devices.unwrap_or_default().into_iter().enumerate().map(found).collect()
}

/// What is known of a device without opening it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceInfo {
    /// Its name for `--device`.
    pub device: String,
    /// Whether this program can use it.
    pub compiled_in: bool,
    /// Whether this machine has it; null where only a program that can use it could tell.
    pub present: Option<bool>,
    /// What it calls itself.
    pub name: Option<String>,
    /// What its driver calls itself.
    pub driver: Option<String>,
    /// Memory that it may use, in bytes.
    pub memory_bytes: Option<u64>,
    /// Whether it is a program on the CPU that stands in for a GPU.
    pub software: bool,
    /// Whether `auto` takes it.
    pub auto: bool,
}

impl DeviceInfo {
    /// All devices that this program knows, the CPU first.
    pub fn all() -> Vec<Self> {
        let auto = fastest().map_or(DeviceChoice::CPU, |found| found.choice);
        let on_cpu = |kind, compiled_in: bool| Self {
            compiled_in,
            present: Some(true),
            name: cpu_name(),
            memory_bytes: Some(tril_model::memory::limit()),
            ..Self::absent(&DeviceChoice::of(kind), &auto)
        };
        let mut all = vec![on_cpu(Kind::Cpu, true), on_cpu(Kind::NdArray, cfg!(feature = "ndarray"))];
        for kind in [Kind::Wgpu, Kind::Vulkan, Kind::Cuda] {
            let none = Self::absent(&DeviceChoice::of(kind), &auto);
            match gpus(kind) {
                None => all.push(none),
                Some(found) if found.is_empty() => all.push(Self { compiled_in: true, present: Some(false), ..none }),
                Some(found) => all.extend(found.into_iter().map(|found| Self {
                    compiled_in: true,
                    present: Some(true),
                    name: Some(found.name),
                    driver: found.driver,
                    memory_bytes: found.memory_bytes,
                    software: found.is_software,
                    ..Self::absent(&found.choice, &auto)
                })),
            }
        }
        let remote = Self::absent(&DeviceChoice::of(Kind::Remote), &auto);
        all.push(Self { compiled_in: cfg!(feature = "remote"), ..remote });
        all
    }

    /// What is known of a device that was opened.
    pub fn of(device: &ComputeDevice) -> Self {
        let choice = device.choice();
        let known = Self::all().into_iter().find(|info| info.device == choice.to_string());
        known.unwrap_or_else(|| Self {
            compiled_in: true,
            present: Some(true),
            name: device.name.clone(),
            ..Self::absent(choice, &DeviceChoice::AUTO)
        })
    }

    fn absent(choice: &DeviceChoice, auto: &DeviceChoice) -> Self {
        Self {
            device: choice.to_string(),
            compiled_in: false,
            present: None,
            name: None,
            driver: None,
            memory_bytes: None,
            software: false,
            auto: choice == auto,
        }
    }
}

/// What the processor calls itself, where the system tells.
fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_auto_takes_one_device() {
        let all = DeviceInfo::all();
        assert!(all[0].device == "cpu" && all[0].compiled_in && all[0].present == Some(true));
        assert_eq!(all.iter().filter(|device| device.auto).count(), 1);
        assert!(all.iter().all(|device| !(device.auto && device.software)), "no program that stands in for a GPU");
    }
}
