//! Why a device cannot be had.

use super::{ComputeDevice, DeviceChoice};

/// Why a device cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No device has such a name.
    #[error("`{name}` is not a device; use auto, cpu, ndarray, wgpu[:n], vulkan[:n], cuda[:n] or remote:HOST:PORT")]
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
    /// It names no place where another machine's device could be.
    #[error("`{name}`: a device of another machine is remote:HOST:PORT, such as remote:gpu.local:7070")]
    Address {
        /// The name as given.
        name: String,
    },
    /// No device is served there.
    #[error("{device}: {reason}. Start `tril serve-device` there, or name another host or port")]
    Unreachable {
        /// Its name.
        device: String,
        /// What was met.
        reason: String,
    },
    /// A device is served there, to others.
    #[error("{device}: {reason}")]
    Refused {
        /// Its name.
        device: String,
        /// Why, and what to do.
        reason: String,
    },
    /// A device cannot be served.
    #[error("{0}")]
    Serve(String),
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
    /// It computes something else than the CPU does.
    #[error(
        "{device} computes wrongly: {what} is off by {error:.1e} of its largest value, where {allowed:.0e} is allowed. Use a newer driver, {other}or the device cpu"
    )]
    Wrong {
        /// Its name and its driver's.
        device: String,
        /// What it was asked for.
        what: &'static str,
        /// The largest difference, as a share of the largest value.
        error: f64,
        /// What is allowed.
        allowed: f64,
        /// Another device that may do better, with a comma, or nothing.
        other: &'static str,
    },
    /// It does not compute at all.
    #[error("{device} fails at a small matrix product ({message}). Use a newer driver, or the device cpu")]
    Failed {
        /// Its name and its driver's.
        device: String,
        /// What was said.
        message: String,
    },
    /// It gave up in the middle of something.
    #[error(
        "{device} failed ({message}). What was saved before is whole. If its memory ran out, use a smaller batch (train.batch_size, more train.micro_batches, train.gradient_checkpointing=true, --batch-size) or a smaller model; otherwise a newer driver, or the device cpu"
    )]
    Lost {
        /// Its name and its driver's.
        device: String,
        /// What was said.
        message: String,
    },
    /// The connection to another machine's device broke, or what serves it there.
    #[error(
        "{device}: the connection broke, or the device there failed ({message}). What was saved before is whole. Look at what `tril serve-device` says there and start it again; --resume goes on with a run"
    )]
    Disconnected {
        /// Its name.
        device: String,
        /// What was said.
        message: String,
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

impl DeviceError {
    /// That a device gave up, from all that was said about it, of which only what names a cause is kept: the reports of
    /// what drives GPUs list each operation that was skipped for it.
    #[must_use]
    pub fn lost(device: &ComputeDevice, report: &str) -> Self {
        const NO_CAUSE: [&str; 10] = [
            "caused by",
            "no backtrace",
            "asked at",
            "skipped",
            "several failures",
            "an error happened",
            "an io error happened",
            "the bytes were never written",
            "(",
            "reading from the device failed",
        ];
        let lines = report.lines().map(str::trim).filter(|line| !line.is_empty());
        let names_a_cause = |line: &&str| {
            let line = line.to_lowercase();
            !NO_CAUSE.iter().any(|words| line.starts_with(words))
        };
        let causes: Vec<&str> = lines.clone().filter(names_a_cause).take(3).collect();
        let message = if causes.is_empty() { lines.take(1).collect() } else { causes.join("; ") };
        if device.choice().is_remote() {
            // Burn's words for a connection that is gone, several times over.
            let is_gone = report.contains("RecvError");
            let message = if is_gone { "it does not answer any more".to_owned() } else { message };
            return Self::Disconnected { device: device.choice().to_string(), message };
        }
        Self::Lost { device: device.title(), message }
    }

    /// Whether another name or another setting mends it; otherwise the device or the system failed.
    #[must_use]
    pub fn is_user_error(&self) -> bool {
        let failures = !matches!(self, Self::Threads(_) | Self::Wrong { .. } | Self::Failed { .. });
        failures && !matches!(self, Self::Lost { .. } | Self::Disconnected { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::super::choice::Kind;
    use super::*;

    #[test]
    fn of_a_long_report_the_cause_is_told() {
        let report = "reading from the device failed: An error happened during execution\n  Caused by:\n    \
                      skipped `MatmulEntry`: it needed memory\n    (69 older skip records were dropped)\n  Caused by:\n    \
                      can't allocate buffer of size: 2147483648\n  No backtrace available";
        let wgpu = ComputeDevice { choice: DeviceChoice::numbered(Kind::Wgpu, 0), ..ComputeDevice::cpu() };
        let error = DeviceError::lost(&wgpu, report).to_string();
        assert!(error.starts_with("wgpu:0 failed (can't allocate buffer of size: 2147483648). What"), "{error}");
        let error = DeviceError::lost(&wgpu, "An error happened\n  Caused by:").to_string();
        assert!(error.starts_with("wgpu:0 failed (An error happened). What"), "{error}");
    }

    #[test]
    fn a_remote_device_that_is_gone_is_told_as_a_broken_connection_with_exit_code_1() {
        let choice = "remote:gpu.local:7070".parse().expect("a device");
        let remote = ComputeDevice { choice, ..ComputeDevice::cpu() };
        let error = DeviceError::lost(&remote, "Failed to read tensor: RecvError(())\n  Caused by:");
        assert!(!error.is_user_error());
        let message = error.to_string();
        for part in
            ["remote:gpu.local:7070: the connection broke", "does not answer any more", "serve-device", "--resume"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
