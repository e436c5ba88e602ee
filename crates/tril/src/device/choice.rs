//! The names of devices.

use std::fmt;
use std::str::FromStr;

use super::DeviceError;

/// The name of a device: a kind and, for GPUs, which of several, as in `cuda:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceChoice {
    pub(super) kind: Kind,
    pub(super) index: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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

impl DeviceChoice {
    /// The fastest device that is present and real, else the CPU.
    pub const AUTO: Self = Self { kind: Kind::Auto, index: None };

    /// The CPU.
    pub const CPU: Self = Self { kind: Kind::Cpu, index: None };

    /// The names of the devices that this program can use where they are present.
    #[must_use]
    pub fn compiled_in() -> Vec<&'static str> {
        let features = [
            ("cpu", true),
            ("ndarray", cfg!(feature = "ndarray")),
            ("wgpu", cfg!(feature = "wgpu")),
            ("vulkan", cfg!(feature = "vulkan")),
            ("cuda", cfg!(feature = "cuda")),
        ];
        features.into_iter().filter_map(|(name, is_in)| is_in.then_some(name)).collect()
    }

    /// The kind alone.
    pub(super) fn kind_alone(self) -> Self {
        Self { index: None, ..self }
    }
}

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
