//! Where to compute: the CPU, or a device that is a feature of the build.

#[cfg(any(feature = "wgpu", feature = "vulkan"))]
mod adapters;
mod choice;
mod error;
mod list;
#[cfg(feature = "remote")]
mod remote;
mod self_check;
mod server;

use std::fmt;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;

pub use choice::DeviceChoice;
pub use error::DeviceError;
pub use list::DeviceInfo;
pub use server::{DeviceServer, DeviceServerEvent};

use choice::Kind;
use list::Found;
use self_check::Finding;

#[cfg(all(feature = "wgpu", feature = "vulkan"))]
compile_error!(
    "with `vulkan`, what `wgpu` computes on goes through SPIR-V too, which is wrong on some drivers: choose one"
);

/// A device that was opened.
#[derive(Debug, Clone)]
pub struct ComputeDevice {
    inner: Device,
    choice: DeviceChoice,
    /// What it and its driver call themselves.
    name: Option<String>,
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
        Self { inner: Device::flex(), choice: DeviceChoice::CPU, name: None }
    }

    /// Opens a device. `auto` is the fastest GPU that is compiled in and present, else the CPU; a program on the CPU that
    /// stands in for a GPU is taken only by its name. When a process first opens a device, a small product, a softmax
    /// and their gradients are held to the CPU's.
    ///
    /// # Errors
    /// [`DeviceError`] if it is not compiled in, is not present or computes wrongly; the message says what to do.
    pub fn open(choice: DeviceChoice) -> Result<Self, DeviceError> {
        let device = match choice.kind {
            Kind::Cpu => Self::cpu(),
            Kind::Auto => list::fastest().map_or_else(Self::cpu, Self::from),
            Kind::NdArray => Self { inner: ndarray(&choice)?, choice, name: None },
            Kind::Remote => Self { inner: remote(&choice)?, choice, name: Some(REMOTE_NAME.to_owned()) },
            Kind::Wgpu | Kind::Vulkan | Kind::Cuda => list::find(&choice)?.into(),
        };
        if tril_kernels::is_cpu(&device.inner) {
            let wrong = |value: String| DeviceError::InstructionSet { value };
            tril_kernels::instruction_set().map_err(wrong)?;
        } else {
            device.check_once()?;
        }
        Ok(device)
    }

    /// Holds it to the CPU, once a process.
    fn check_once(&self) -> Result<(), DeviceError> {
        static CHECKED: Mutex<Vec<DeviceChoice>> = Mutex::new(Vec::new());
        let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
        if !checked.contains(&self.choice) {
            self_check::check(&self.inner).map_err(|finding| self.wrong(finding))?;
            checked.push(self.choice.clone());
        }
        Ok(())
    }

    fn wrong(&self, finding: Finding) -> DeviceError {
        let device = self.title();
        match finding {
            Finding::Failed(message) => DeviceError::Failed { device, message },
            Finding::Off { what, error } => {
                let other = if self.choice.kind == Kind::Vulkan { "a build with `--features wgpu`, " } else { "" };
                DeviceError::Wrong { device, what, error, allowed: self_check::ALLOWED, other }
            }
        }
    }

    /// What tensors are made with.
    pub fn inner(&self) -> &Device {
        &self.inner
    }

    /// Which device it is; never `auto`.
    pub fn choice(&self) -> &DeviceChoice {
        &self.choice
    }

    /// Whether it is the CPU, where equal logits have equal bits.
    pub fn is_cpu(&self) -> bool {
        tril_kernels::is_cpu(&self.inner)
    }

    /// The instruction set of the kernels, if this is the CPU.
    pub fn instruction_set(&self) -> Option<&'static str> {
        self.is_cpu().then(|| tril_kernels::instruction_set().ok()).flatten()
    }

    /// Its name here, and what it and its driver call themselves.
    pub fn title(&self) -> String {
        self.name.as_ref().map_or_else(|| self.choice.to_string(), |name| format!("{}, {name}", self.choice))
    }
}

impl From<Found> for ComputeDevice {
    fn from(found: Found) -> Self {
        Self { name: Some(found.title()), inner: found.device, choice: found.choice }
    }
}

impl fmt::Display for ComputeDevice {
    /// Such as "cpu, 2 threads, avx512" or "wgpu:0, NAME (DRIVER)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_some() {
            return f.write_str(&self.title());
        }
        let threads = rayon::current_num_threads();
        write!(f, "{}, {threads} thread{}", self.choice, if threads == 1 { "" } else { "s" })?;
        self.instruction_set().map_or(Ok(()), |set| write!(f, ", {set}"))
    }
}

#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "Burn drops NdArray in 0.23; until then it is a second opinion on the CPU")]
fn ndarray(_choice: &DeviceChoice) -> Result<Device, DeviceError> {
    Ok(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn ndarray(choice: &DeviceChoice) -> Result<Device, DeviceError> {
    Err(list::not_compiled_in(choice))
}

/// What a device of another machine is called: what it is there, that machine knows.
const REMOTE_NAME: &str = "a device of another machine";

#[cfg(feature = "remote")]
use remote::connect as remote;

#[cfg(not(feature = "remote"))]
fn remote(choice: &DeviceChoice) -> Result<Device, DeviceError> {
    Err(list::not_compiled_in(choice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_computes_wrongly_is_named_with_its_error_and_what_to_do() {
        let vulkan = DeviceChoice::numbered(Kind::Vulkan, 0);
        let device =
            ComputeDevice { inner: Device::flex(), choice: vulkan, name: Some("Voodoo (3dfx 1.04)".to_owned()) };
        let error = device.wrong(Finding::Off { what: "a matrix product", error: 0.97 });
        assert!(!error.is_user_error(), "no flag mends it: exit code 1");
        let message = error.to_string();
        for part in ["vulkan:0, Voodoo (3dfx 1.04)", "a matrix product", "9.7e-1", "--features wgpu", "newer driver"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let error = device.wrong(Finding::Failed("out of luck".to_owned()));
        assert!(!error.is_user_error() && error.to_string().contains("out of luck"), "{error}");
    }
}
