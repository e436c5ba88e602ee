//! The device `wgpu` against the CPU; only where it is compiled in (`--features wgpu`). A program on the CPU that stands in
//! for a GPU will do: what is looked at is what is computed, not how fast.
//!
//! | module | what it holds the device to |
//! |---|---|
//! | `operations` | each operation and its gradients, and whole models, are the CPU's within a tolerance |
//! | `commands` | every command works on it, and what goes wrong has one message |
//! | `launches` | kernels launched in a step, and none compiled anew from one step to the next |
//! | `late_readings` | losses that are read every so many steps: none is left out, and what breaks ends the run in time |

mod commands;
mod late_readings;
mod launches;
mod operations;

use std::ops::Deref;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tril::ComputeDevice;

/// The largest difference that is allowed, as a share of the largest value.
const TOLERANCE: f64 = 1e-4;

/// What is launched is counted for the whole process, so that whoever counts must be alone.
static COUNTING: RwLock<()> = RwLock::new(());

/// The device, and what keeps others from it where launches are counted.
struct Gpu<G> {
    device: ComputeDevice,
    _guard: G,
}

impl<G> Deref for Gpu<G> {
    type Target = ComputeDevice;

    fn deref(&self) -> &ComputeDevice {
        &self.device
    }
}

/// The first adapter, or `None` with a line on stderr if the machine has none.
fn device(test: &str) -> Option<Gpu<RwLockReadGuard<'static, ()>>> {
    let guard = COUNTING.read().unwrap_or_else(PoisonError::into_inner);
    open(test).map(|device| Gpu { device, _guard: guard })
}

/// The same, alone in this process.
fn device_alone(test: &str) -> Option<Gpu<RwLockWriteGuard<'static, ()>>> {
    let guard = COUNTING.write().unwrap_or_else(PoisonError::into_inner);
    open(test).map(|device| Gpu { device, _guard: guard })
}

fn open(test: &str) -> Option<ComputeDevice> {
    match ComputeDevice::open("wgpu".parse().expect("a name")) {
        Ok(device) => Some(device),
        Err(tril::DeviceError::NotFound(_)) => {
            crate::support::say_skipped(test, "no adapter");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
