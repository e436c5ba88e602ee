//! The GPUs that `wgpu` and `vulkan` reach, with what their drivers say of themselves.

use burn::tensor::{Device, DeviceKind};

/// In the order in which Burn asks them.
const INTERFACES: &[wgpu::Backends] = if cfg!(feature = "vulkan") {
    &[wgpu::Backends::VULKAN]
} else if cfg!(target_os = "macos") {
    &[wgpu::Backends::METAL]
} else {
    &[wgpu::Backends::VULKAN, wgpu::Backends::DX12, wgpu::Backends::GL]
};

/// A GPU, or a program on the CPU that stands in for one.
#[derive(Debug, Clone)]
pub(super) struct Adapter {
    pub device: Device,
    pub name: String,
    pub driver: String,
    pub memory_bytes: Option<u64>,
    pub is_software: bool,
}

/// All of the graphics interface that Burn takes when it is asked for any: the first with a GPU, else the first with
/// anything. Real ones come first, discrete before integrated.
pub(super) fn list(device: fn(DeviceKind) -> Device) -> Vec<Adapter> {
    let mut software_only = Vec::new();
    for backend in INTERFACES {
        let adapters = adapters_of(*backend, device);
        if adapters.iter().any(|adapter| !adapter.is_software) {
            return adapters;
        }
        if software_only.is_empty() {
            software_only = adapters;
        }
    }
    software_only
}

fn adapters_of(backend: wgpu::Backends, device: fn(DeviceKind) -> Device) -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backend;
    let instance = wgpu::Instance::new(descriptor);
    let found = burn::tensor::read_sync(instance.enumerate_adapters(backend));
    // Burn counts each kind on its own, in the order of the interface.
    let mut counts = [0; 3];
    let mut next = |kind: usize| {
        counts[kind] += 1;
        counts[kind] - 1
    };
    let describe = |adapter: &wgpu::Adapter| {
        let info = adapter.get_info();
        let (rank, kind) = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => (0, DeviceKind::DiscreteGpu(next(0))),
            wgpu::DeviceType::IntegratedGpu => (1, DeviceKind::IntegratedGpu(next(1))),
            wgpu::DeviceType::VirtualGpu => (2, DeviceKind::VirtualGpu(next(2))),
            wgpu::DeviceType::Cpu => (3, DeviceKind::Cpu),
            // Burn has no name for it.
            wgpu::DeviceType::Other => return None,
        };
        let driver = format!("{} {}", info.driver, info.driver_info).trim().to_owned();
        let driver = if driver.is_empty() { "a driver without a name".to_owned() } else { driver };
        let is_software = kind == DeviceKind::Cpu;
        let memory_bytes = memory(adapter);
        Some((rank, Adapter { device: device(kind), name: info.name, driver, memory_bytes, is_software }))
    };
    let mut adapters: Vec<_> = found.iter().filter_map(describe).collect();
    adapters.sort_by_key(|(rank, _)| *rank);
    // Of several programs on the CPU, Burn reaches the first.
    adapters.dedup_by(|(_, next), (_, before)| next.is_software && before.is_software);
    adapters.into_iter().map(|(_, adapter)| adapter).collect()
}

/// The largest heap of the device's own memory, where the interface tells.
#[cfg(not(any(target_os = "macos", target_os = "ios")))]
fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
    const DEVICE_LOCAL: u32 = 1; // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
    // SAFETY: the adapter outlives the handle, which is only asked for properties and not kept.
    let vulkan = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = vulkan.shared_instance().raw_instance();
    // SAFETY: the physical device is one of this instance.
    let memory = unsafe { instance.get_physical_device_memory_properties(vulkan.raw_physical_device()) };
    let heaps = memory.memory_heaps.iter().take(memory.memory_heap_count as usize);
    heaps.filter(|heap| heap.flags.as_raw() & DEVICE_LOCAL != 0).map(|heap| heap.size).max()
}

#[cfg(any(target_os = "macos", target_os = "ios"))]
fn memory(_adapter: &wgpu::Adapter) -> Option<u64> {
    None
}
