//! Where to compute: the CPU, or a device that is a feature of the build.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

#[cfg(all(feature = "wgpu", feature = "vulkan"))]
compile_error!(
    "with `vulkan`, what `wgpu` computes on goes through SPIR-V too, which is wrong on some drivers: choose one"
);

/// The name of a device: a kind and, for GPUs, which of several, as in `cuda:1`.
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
    Wgpu,
    Vulkan,
    Cuda,
}

const KINDS: [(&str, Kind); 6] = [
    ("auto", Kind::Auto),
    ("cpu", Kind::Cpu),
    ("ndarray", Kind::NdArray),
    ("wgpu", Kind::Wgpu),
    ("vulkan", Kind::Vulkan),
    ("cuda", Kind::Cuda),
];

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let usage = || DeviceError::Unknown { name: text.to_owned() };
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse().map_err(|_| usage())?)),
            None => (text, None),
        };
        if name == "webgpu" {
            return Err(DeviceError::ForBrowsers);
        }
        let (_, kind) = *KINDS.iter().find(|(known, _)| *known == name).ok_or_else(usage)?;
        let is_gpu = matches!(kind, Kind::Wgpu | Kind::Vulkan | Kind::Cuda);
        if index.is_some() && !is_gpu {
            return Err(DeviceError::NotNumbered { name: text.to_owned() });
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

/// A device that was opened.
#[derive(Debug, Clone)]
pub struct ComputeDevice {
    inner: Device,
    choice: DeviceChoice,
}

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No device has such a name.
    #[error("`{name}` is not a device; use auto, cpu, ndarray, wgpu[:n], vulkan[:n] or cuda[:n]")]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// WebGPU is what browsers have.
    #[error("`webgpu` is a device of browsers; on a computer it is called wgpu")]
    ForBrowsers,
    /// Only GPUs are numbered.
    #[error("`{name}`: only wgpu, vulkan and cuda have several devices to choose from")]
    NotNumbered {
        /// The name as given.
        name: String,
    },
    /// The program was built without it.
    #[error(
        "{choice} is not compiled into this binary; build it with `cargo build --release --features {kind}`, or use the device cpu"
    )]
    NotCompiledIn {
        /// The device.
        choice: DeviceChoice,
        /// The feature that brings it.
        kind: DeviceChoice,
    },
    /// The machine has none.
    #[error("{0}: no such device was found; install its driver, or use the device cpu")]
    NotFound(DeviceChoice),
    /// The machine has fewer.
    #[error("{choice}: {count} found, numbered from 0; choose a lower number")]
    NoSuchNumber {
        /// The device.
        choice: DeviceChoice,
        /// How many there are.
        count: usize,
    },
    /// The environment names an instruction set that there is not.
    #[error("TRIL_SIMD={value}: it can be avx512, avx2 or plain; unset it for the best")]
    InstructionSet {
        /// Its value.
        value: String,
    },
    /// The thread pool could not be built, or was built before.
    #[error("the thread pool could not be built: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
}

/// Has everything that is computed on the CPU use so many threads. To be called once, before anything is computed.
///
/// # Errors
/// [`DeviceError::Threads`].
pub fn use_threads(threads: usize) -> Result<(), DeviceError> {
    Ok(rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?)
}

impl ComputeDevice {
    /// The CPU, where equal logits have equal bits.
    pub fn cpu() -> Self {
        Self { inner: Device::flex(), choice: DeviceChoice { kind: Kind::Cpu, index: None } }
    }

    /// Opens a device. `auto` is the first GPU that is compiled in and present, else the CPU.
    ///
    /// # Errors
    /// [`DeviceError`] if it is not compiled in or not present; the message says how to have it.
    pub fn open(choice: DeviceChoice) -> Result<Self, DeviceError> {
        let device = match choice.kind {
            Kind::Auto => {
                let gpus = [Kind::Cuda, Kind::Wgpu, Kind::Vulkan].map(|kind| DeviceChoice { kind, index: None });
                let found = gpus.into_iter().find_map(|choice| Some(Self { inner: choice.gpu().ok()?, choice }));
                found.unwrap_or_else(Self::cpu)
            }
            Kind::Cpu => Self::cpu(),
            Kind::NdArray => Self { inner: ndarray(choice)?, choice },
            Kind::Wgpu | Kind::Vulkan | Kind::Cuda => Self { inner: choice.gpu()?, choice },
        };
        if tril_kernels::is_cpu(&device.inner)
            && let Err(value) = tril_kernels::instruction_set()
        {
            return Err(DeviceError::InstructionSet { value: value.to_string() });
        }
        Ok(device)
    }

    /// What tensors are made with.
    pub fn inner(&self) -> &Device {
        &self.inner
    }

    /// Which device it is; never `auto`.
    pub fn choice(&self) -> DeviceChoice {
        self.choice
    }

    /// The instruction set of the kernels, if this is the CPU.
    pub fn instruction_set(&self) -> Option<&'static str> {
        tril_kernels::is_cpu(&self.inner).then(|| tril_kernels::instruction_set().ok()).flatten()
    }
}

impl fmt::Display for ComputeDevice {
    /// Such as "cpu, 2 threads, avx512".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = rayon::current_num_threads();
        write!(f, "{}, {threads} thread{}", self.choice, if threads == 1 { "" } else { "s" })?;
        self.instruction_set().map_or(Ok(()), |set| write!(f, ", {set}"))
    }
}

impl DeviceChoice {
    fn gpu(self) -> Result<Device, DeviceError> {
        let Some(found) = gpus(self.kind) else { return Err(not_compiled_in(self)) };
        let count = found.len();
        match found.into_iter().nth(self.index.unwrap_or(0)) {
            Some(device) => Ok(device),
            None if count == 0 => Err(DeviceError::NotFound(self)),
            None => Err(DeviceError::NoSuchNumber { choice: self, count }),
        }
    }
}

/// The GPUs that a kind reaches; `None` if it is not compiled in.
fn gpus(kind: Kind) -> Option<Vec<Device>> {
    match kind {
        #[cfg(feature = "wgpu")]
        Kind::Wgpu => Some(Device::enumerate(burn::tensor::DeviceType::Wgpu).into_vec()),
        #[cfg(feature = "vulkan")]
        Kind::Vulkan => Some(Device::enumerate(burn::tensor::DeviceType::Vulkan).into_vec()),
        #[cfg(feature = "cuda")]
        Kind::Cuda => Some(Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec()),
        _ => None,
    }
}

#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "Burn drops NdArray in 0.23; until then it is a second opinion on the CPU")]
fn ndarray(_choice: DeviceChoice) -> Result<Device, DeviceError> {
    Ok(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn ndarray(choice: DeviceChoice) -> Result<Device, DeviceError> {
    Err(not_compiled_in(choice))
}

fn not_compiled_in(choice: DeviceChoice) -> DeviceError {
    DeviceError::NotCompiledIn { choice, kind: DeviceChoice { index: None, ..choice } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_as_they_are_written() {
        for text in ["auto", "cpu", "ndarray", "vulkan", "vulkan:1", "wgpu:0", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().expect("a device").to_string(), text);
        }
        for text in ["", "gpu", "cpu:1", "cuda:", "cuda:x", "cuda:-1", "CPU", "webgpu"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text:?} is no device");
        }
    }
}
