//! The arguments of `tril serve-device`.

use std::path::PathBuf;

use clap::Args;

use super::ComputeArgs;
use super::values::whole;

#[derive(Debug, Args)]
pub struct ServeDeviceArgs {
    /// The name or address to listen at; one that other machines can reach asks for --key-file
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// The port to listen at; 0 takes any that is free
    #[arg(long, value_name = "N", default_value_t = 7070, value_parser = whole::<u16>(0..=65_535))]
    pub port: u16,
    /// A file whose first line is the key that programs must bring: theirs is in the file that their variable
    /// TRIL_DEVICE_KEY_FILE names
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    #[command(flatten)]
    pub compute: ComputeArgs,
}
