//! A device of this machine for programs on others, by Burn's own server over WebSocket. What they ask is computed as they ask
//! it, an operation at a time; nothing of a model is known here.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;

use super::{ComputeDevice, DeviceError};

/// A server that has its address and is not yet there for anybody.
#[derive(Debug)]
pub struct DeviceServer {
    listener: TcpListener,
    address: SocketAddr,
    key: Option<String>,
}

/// What a server tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceServerEvent {
    /// It takes connections.
    Ready,
    /// A program at this address uses the device.
    Admitted(String),
    /// One at this address brought another key.
    TurnedAway(String),
}

impl DeviceServer {
    /// Takes an address. An address that other machines can reach asks for a key, as whoever reaches a device server can use
    /// all of the device and its memory. The key and what is computed travel unencrypted.
    ///
    /// - key_file: a file whose first line is the key that programs must bring
    ///
    /// # Errors
    /// [`DeviceError::Serve`] for an address or a key that cannot be, or where this is not compiled in.
    pub fn bind(host: &str, port: u16, key_file: Option<&Path>) -> Result<Self, DeviceError> {
        if !cfg!(feature = "remote") {
            return Err(not_compiled_in());
        }
        Self::bind_to(host, port, key_file)
    }

    fn bind_to(host: &str, port: u16, key_file: Option<&Path>) -> Result<Self, DeviceError> {
        let failed = |error: std::io::Error| {
            DeviceError::Serve(format!("{host}:{port}: cannot listen there ({error}); name another host or port"))
        };
        let key = key_file.map(|path| read_key(path, "--key-file")).transpose()?;
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses: Vec<SocketAddr> = (name, port).to_socket_addrs().map_err(failed)?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        if let (None, Some(open)) = (&key, addresses.iter().find(|address| !address.ip().is_loopback())) {
            return Err(DeviceError::Serve(format!(
                "{host}: other machines can reach {}, so programs must bring a key: --key-file names a file that holds one",
                open.ip()
            )));
        }
        let listener = TcpListener::bind(&addresses[..]).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, key })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Computes on a device for whoever comes, until SIGTERM or Ctrl-C.
    ///
    /// # Errors
    /// [`DeviceError::Serve`].
    #[cfg(not(feature = "remote"))]
    pub fn run(
        self,
        _device: &ComputeDevice,
        _watch: impl Fn(DeviceServerEvent) + Send + Sync + 'static,
    ) -> Result<(), DeviceError> {
        drop((self.listener, self.key));
        Err(not_compiled_in())
    }

    /// Computes on a device for whoever comes, until SIGTERM or Ctrl-C.
    ///
    /// # Errors
    /// [`DeviceError::Serve`].
    #[cfg(feature = "remote")]
    pub fn run(
        self,
        device: &ComputeDevice,
        watch: impl Fn(DeviceServerEvent) + Send + Sync + 'static,
    ) -> Result<(), DeviceError> {
        use burn::server::{AuthorizationRequest, PeerAuthorizer, RemoteServer, TokenAuthorizer, WebSocketTransport};

        if device.choice().is_remote() {
            let message = "a device of another machine cannot be served again: serve it where it is";
            return Err(DeviceError::Serve(message.to_owned()));
        }
        let failed = |error: &dyn std::fmt::Display| DeviceError::Serve(format!("the device server failed: {error}"));
        let key = self.key.map(TokenAuthorizer::new).transpose().map_err(|error| failed(&error))?;
        let watch = std::sync::Arc::new(watch);
        let told = std::sync::Arc::clone(&watch);
        let authorizer = move |request: AuthorizationRequest<'_>| {
            let client = request.client.to_string();
            let client = client.trim_start_matches("WebSocket client ").to_owned();
            let found = key.as_ref().map_or(Ok(()), |key| key.authorize(request));
            told(match found {
                Ok(()) => DeviceServerEvent::Admitted(client),
                Err(_) => DeviceServerEvent::TurnedAway(client),
            });
            found
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed(&error))?;
        let server = RemoteServer::new([device.inner().clone()]).with_authorizer(authorizer);
        let served = runtime.block_on(async {
            let stopped = stopped().map_err(|error| failed(&error))?;
            let serving = server.serve_async(WebSocketTransport::from_listener(self.listener));
            watch(DeviceServerEvent::Ready);
            tokio::select! {
                served = serving => served.map_err(|error| failed(&error)),
                () = stopped => Ok(()),
            }
        });
        // What is computed for somebody ends with the server.
        runtime.shutdown_background();
        served
    }
}

/// What a program without the feature says.
fn not_compiled_in() -> DeviceError {
    let message =
        "serving a device is not compiled into this binary; build it with `cargo build --release --features remote`";
    DeviceError::Serve(message.to_owned())
}

/// Ends when the process is asked to.
#[cfg(all(feature = "remote", unix))]
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(all(feature = "remote", not(unix)))]
fn stopped() -> std::io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// The key in a file: its first line.
///
/// - option: what names the file, for the message
pub(super) fn read_key(path: &Path, option: &str) -> Result<String, DeviceError> {
    let wrong = |reason: &str| DeviceError::Serve(format!("{option}: {}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&format!("it cannot be read ({error})")))?;
    let key = text.lines().next().unwrap_or_default().trim();
    if key.is_empty() {
        return Err(wrong("its first line is empty; write the key there"));
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_can_reach_asks_for_a_key() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("key.txt");
        let open = |key_file| DeviceServer::bind_to("0.0.0.0", 0, key_file).map_err(|error| error.to_string());
        assert!(open(None).is_err_and(|message| message.contains("--key-file")));
        assert!(open(Some(file.as_path())).is_err_and(|message| message.contains("cannot be read")));
        std::fs::write(&file, "\nsecret\n").expect("written");
        assert!(open(Some(file.as_path())).is_err_and(|message| message.contains("first line is empty")));
        std::fs::write(&file, " secret\r\n").expect("written");
        assert_eq!(open(Some(file.as_path())).expect("an address").key.as_deref(), Some("secret"));
        let here = DeviceServer::bind_to("localhost", 0, None).expect("an address");
        let taken = DeviceServer::bind_to("127.0.0.1", here.address().port(), None).expect_err("taken");
        assert!(taken.is_user_error() && taken.to_string().contains("another host or port"), "{taken}");
    }
}
