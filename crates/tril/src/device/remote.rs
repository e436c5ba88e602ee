//! A device of another machine, as this one uses it: Burn's own remote backend over WebSocket.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use burn::remote::{ConnectError, RemoteHost};
use burn::tensor::Device;
use tril_text::guard;

use super::server::read_key;
use super::{DeviceChoice, DeviceError};

/// Names the file with the key that a device server asks for.
const KEY_FILE: &str = "TRIL_DEVICE_KEY_FILE";

/// How long a machine may take to accept a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// How long what has accepted it may take to answer as a device.
const ANSWER_TIME: Duration = Duration::from_secs(20);

/// The device at the address of a choice, with its connection open.
pub(super) fn connect(choice: &DeviceChoice) -> Result<Device, DeviceError> {
    let address = choice.address.as_deref().unwrap_or_default();
    let unreachable = |reason: String| DeviceError::Unreachable { device: choice.to_string(), reason };
    // Burn tries for a quarter of a minute where nothing listens.
    reach(address).map_err(unreachable)?;
    let host = RemoteHost::websocket(&format!("ws://{address}"));
    let key = std::env::var_os(KEY_FILE).map(|path| read_key(&PathBuf::from(path), KEY_FILE)).transpose()?;
    let host = key.map_or(host.clone(), |key| host.with_credential(key));
    // What says nothing would be waited for without end.
    let (sender, answer) = mpsc::channel();
    std::thread::spawn(move || sender.send(guard(|| Device::remote_options(&host).init())));
    match answer.recv_timeout(ANSWER_TIME) {
        Ok(Ok(Ok(device))) => Ok(device),
        Ok(Ok(Err(error))) => Err(refusal(choice, error)),
        Ok(Err(message)) => Err(unreachable(message)),
        Err(_) => Err(unreachable(format!(
            "something accepts connections there, and has not answered as a device for {} s",
            ANSWER_TIME.as_secs()
        ))),
    }
}

/// Whether anything accepts connections there.
fn reach(address: &str) -> Result<(), String> {
    let addresses = address.to_socket_addrs().map_err(|error| format!("the host is not known ({error})"))?;
    let mut last = "the host has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_TIME) {
            Ok(_) => return Ok(()),
            Err(error) => last = format!("nothing accepts connections there ({error})"),
        }
    }
    Err(last)
}

fn refusal(choice: &DeviceChoice, error: ConnectError) -> DeviceError {
    let device = choice.to_string();
    match error {
        ConnectError::Unauthorized => {
            let asks = if std::env::var_os(KEY_FILE).is_some() { "another key" } else { "a key" };
            let names = format!("{KEY_FILE}=FILE names the file that `tril serve-device --key-file` reads there");
            DeviceError::Refused { device, reason: format!("it asks for {asks}: {names}") }
        }
        ConnectError::IncompatibleProtocol { .. } => {
            DeviceError::Refused { device, reason: format!("{error}: build tril of the same version on both machines") }
        }
        ConnectError::Unreachable { reason } | ConnectError::Handshake { reason } => DeviceError::Unreachable {
            device,
            reason: format!(
                "what answers there is no device ({})",
                reason.trim_end_matches('.').replace("error: ", "")
            ),
        },
        other => DeviceError::Unreachable { device, reason: other.to_string() },
    }
}
