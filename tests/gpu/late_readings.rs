//! What is read late on the device.

use super::device;
use crate::recomputation::{breaks_in_time, is_read_every_so_many_steps};

#[test]
fn losses_are_read_every_so_many_steps_and_none_is_left_out() {
    let Some(device) = device("late readings on wgpu") else { return };
    is_read_every_so_many_steps(&device);
}

#[test]
fn what_breaks_between_two_readings_ends_the_run_before_it_is_measured_or_saved() {
    let Some(device) = device("runs that break on wgpu") else { return };
    breaks_in_time(&device);
}
