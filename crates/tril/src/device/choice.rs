//! The names of devices.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::DeviceError;

/// The name of a device: a kind and, for GPUs, which of several, as in `cuda:1`, or of another machine its address, as in
/// `remote:gpu.local:7070`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceChoice {
    pub(super) kind: Kind,
    pub(super) index: Option<usize>,
    /// HOST:PORT, of a remote device alone.
    pub(super) address: Option<Arc<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Auto,
    Cpu,
    NdArray,
    Wgpu,
    Vulkan,
    Cuda,
    Remote,
}

const KINDS: [(&str, Kind); 7] = [
    ("auto", Kind::Auto),
    ("cpu", Kind::Cpu),
    ("ndarray", Kind::NdArray),
    ("wgpu", Kind::Wgpu),
    ("vulkan", Kind::Vulkan),
    ("cuda", Kind::Cuda),
    ("remote", Kind::Remote),
];

impl DeviceChoice {
    /// The fastest device that is present and real, else the CPU.
    pub const AUTO: Self = Self::of(Kind::Auto);

    /// The CPU.
    pub const CPU: Self = Self::of(Kind::Cpu);

    /// The names of the devices that this program can use where they are present.
    #[must_use]
    pub fn compiled_in() -> Vec<&'static str> {
        let features = [
            ("cpu", true),
            ("ndarray", cfg!(feature = "ndarray")),
            ("wgpu", cfg!(feature = "wgpu")),
            ("vulkan", cfg!(feature = "vulkan")),
            ("cuda", cfg!(feature = "cuda")),
            ("remote", cfg!(feature = "remote")),
        ];
        features.into_iter().filter_map(|(name, is_in)| is_in.then_some(name)).collect()
    }

    /// Whether it is a device of another machine.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.kind == Kind::Remote
    }

    /// The kind alone.
    pub(super) const fn of(kind: Kind) -> Self {
        Self { kind, index: None, address: None }
    }

    /// One of several.
    #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cuda", test))]
    pub(super) const fn numbered(kind: Kind, index: usize) -> Self {
        Self { kind, index: Some(index), address: None }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let usage = || DeviceError::Unknown { name: text.to_owned() };
        if let Some(address) = text.strip_prefix("remote").filter(|rest| rest.is_empty() || rest.starts_with(':')) {
            let address = address.strip_prefix(':').filter(|address| is_address(address));
            let address = address.ok_or_else(|| DeviceError::Address { name: text.to_owned() })?;
            return Ok(Self { address: Some(address.into()), ..Self::of(Kind::Remote) });
        }
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
        Ok(Self { index, ..Self::of(kind) })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(_, kind)| *kind == self.kind).map_or("", |(name, _)| name);
        match (self.index, &self.address) {
            (Some(index), _) => write!(f, "{name}:{index}"),
            (None, Some(address)) => write!(f, "{name}:{address}"),
            (None, None) => write!(f, "{name}"),
        }
    }
}

/// Whether a text is HOST:PORT: a name, four numbers, or an IPv6 address in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_name = |host: &str| host.chars().all(|letter| letter.is_alphanumeric() || "-._".contains(letter));
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && is_name(host),
    };
    is_host && port.chars().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_read_as_they_are_written() {
        for text in ["auto", "cpu", "ndarray", "vulkan", "vulkan:1", "wgpu:0", "cuda:3", "remote:gpu.local:7070"] {
            assert_eq!(text.parse::<DeviceChoice>().expect("a device").to_string(), text);
        }
        for text in ["", "gpu", "cpu:1", "cuda:", "cuda:x", "cuda:-1", "CPU", "webgpu"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text:?} is no device");
        }
    }

    #[test]
    fn a_remote_device_has_a_host_and_a_port_and_nothing_else() {
        for text in ["remote:localhost:1", "remote:10.0.0.2:65535", "remote:[::1]:7070", "remote:a-b_c.example:80"] {
            let choice: DeviceChoice = text.parse().expect("a device");
            assert!(choice.is_remote() && choice.to_string() == text, "{text}");
        }
        let wrong =
            ["", ":", ":h", ":h:", ":h:0", ":h:65536", ":h:+1", "::1", ":::1:70", ":[::1:70", ":ws://h:1", ":h:1/x"];
        for text in wrong.map(|rest| format!("remote{rest}")).iter().chain(&["remote:a\u{1b}[31m:70".to_owned()]) {
            let error = text.parse::<DeviceChoice>().expect_err("no device").to_string();
            assert!(error.contains("remote:HOST:PORT"), "{text:?}: {error}");
        }
        assert!("remotely:1".parse::<DeviceChoice>().is_err_and(|error| error.to_string().contains("not a device")));
    }
}
