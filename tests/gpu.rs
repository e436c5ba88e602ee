//! The device `wgpu` against the CPU; only where it is compiled in (`--features wgpu`). A program on the CPU that stands in
//! for a GPU will do: what is looked at is what is computed, not how fast.
//!
//! | module | what it holds the device to |
//! |---|---|
//! | `operations` | each operation and its gradients, and whole models, are the CPU's within a tolerance |
//! | `commands` | every command works on it, and what goes wrong has one message |
//! | `launches` | kernels launched in a step, and none compiled anew from one step to the next |

mod commands;
mod launches;
mod operations;

use tril::ComputeDevice;

/// The largest difference that is allowed, as a share of the largest value.
const TOLERANCE: f64 = 1e-4;

/// The first adapter, or `None` with a line on stderr if the machine has none.
fn device(test: &str) -> Option<ComputeDevice> {
    match ComputeDevice::open("wgpu".parse().expect("a name")) {
        Ok(device) => Some(device),
        Err(tril::DeviceError::NotFound(_)) => {
            crate::support::say_skipped(test, "no adapter");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
