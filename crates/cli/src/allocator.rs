//! The allocator. A training step allocates and frees the same large buffers again and again; the system's own gives
//! them back and faults them in anew each time.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of `mi_option_purge_delay` in mimalloc's header. The bindings do not name it, so Cargo.toml pins their version.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed memory for the next step instead of giving it back after some milliseconds. Without it a training step
/// of the smaller preset faults in 150 pages anew, with it 6, and needs no more memory at its peak.
pub fn keep_freed_memory() {
    // SAFETY: the function sets a number; it is called once, before there is a second thread.
    #[expect(unsafe_code, reason = "mimalloc has no safe way to set an option")]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, -1);
    }
}
