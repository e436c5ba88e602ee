//! `tril serve-device`: this machine's device for programs on others, until SIGTERM or Ctrl-C.

use std::process::ExitCode;

use anyhow::Result;
use tril::{DeviceServer, DeviceServerEvent};

use crate::args::ServeDeviceArgs;
use crate::open;

pub fn run(args: &ServeDeviceArgs) -> Result<ExitCode> {
    let server = DeviceServer::bind(&args.host, args.port, args.key_file.as_deref()).map_err(tril::Error::from)?;
    let device = open::device(&args.compute)?;
    let address = server.address();
    let name = device.to_string();
    let watch = move |event| match event {
        DeviceServerEvent::Ready => {
            println!("listening on {address}");
            note!("[{name}, for --device remote:HOST:{}; Ctrl-C ends it]", address.port());
        }
        DeviceServerEvent::Admitted(client) => note!("[{client} uses the device]"),
        DeviceServerEvent::TurnedAway(client) => note!("[{client} was turned away: it brought another key]"),
    };
    server.run(&device, watch).map_err(tril::Error::from)?;
    note!("[stopped]");
    Ok(ExitCode::SUCCESS)
}
