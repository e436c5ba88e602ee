//! Connections: where they come in, how many there may be, how long they may take, and how they end.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::guard::Guard;
use crate::options::{HEAD_TIME, MAX_CONNECTIONS, STOP_TIME, WRITE_TIME};
use crate::page::{self, PageSource};
use crate::router::{Shared, router};
use crate::timed_stream::TimedStream;
use crate::{ServeError, ServeOptions, ServedModel};

/// Threads that read and write; the models have their own.
const THREADS: usize = 2;

/// Threads that take large requests apart.
const BLOCKING_THREADS: usize = 4;

/// The most that the head of a request may have.
const HEAD_BYTES: usize = 64 << 10;

/// What is answered where there are too many connections.
const TURNED_AWAY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A server that has its address, and no models yet.
#[derive(Debug)]
pub struct Server {
    options: ServeOptions,
    listener: std::net::TcpListener,
    address: SocketAddr,
    guard: Guard,
}

impl Server {
    /// Takes an address. Nothing is answered before [`Server::run`].
    ///
    /// # Errors
    /// [`ServeError::Key`], [`ServeError::NoKey`]; [`ServeError::Address`] for one that is taken or not this machine's.
    pub fn bind(options: ServeOptions) -> Result<Self, ServeError> {
        let key = options.api_key_file.as_deref().map(read_key).transpose()?;
        let failed = |source| ServeError::Address { host: options.host.clone(), port: options.port, source };
        let host = options.host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses: Vec<SocketAddr> = (host, options.port).to_socket_addrs().map_err(failed)?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        if let (None, Some(open)) = (&key, addresses.iter().find(|address| !address.ip().is_loopback())) {
            return Err(ServeError::NoKey { host: options.host, address: open.ip() });
        }
        let listener = std::net::TcpListener::bind(&addresses[..]).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let guard = Guard::new(&options, address, key.as_deref())?;
        Ok(Self { options, listener, address, guard })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves models until SIGTERM or Ctrl-C. Texts in work then end where they are, and say why.
    ///
    /// - ready: called once requests are answered
    ///
    /// # Errors
    /// [`ServeError::Start`].
    pub fn run(self, models: Vec<ServedModel>, ready: impl FnOnce()) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .enable_all()
            .build()
            .map_err(ServeError::Start)?;
        let ServeOptions { chat_format, limits, .. } = self.options;
        let shared = Arc::new(Shared::new(models, chat_format, limits, self.guard));
        let listener = self.listener;
        let served = runtime.block_on(serve(listener, &shared, ready)).map_err(ServeError::Start);
        // What has not ended by now would not end soon.
        runtime.shutdown_background();
        served
    }
}

/// The page, which is about the first of the models.
fn page_of(models: &[Arc<ServedModel>]) -> Router<Arc<Shared>> {
    PageSource::of_models(models.iter().map(|model| model.model())).map_or_else(Router::new, page::router)
}

async fn serve(listener: std::net::TcpListener, shared: &Arc<Shared>, ready: impl FnOnce()) -> std::io::Result<()> {
    let mut signals = Signals::listen()?;
    let listener = TcpListener::from_std(listener)?;
    let app = router(Arc::clone(shared), page_of(shared.models()));
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (closing, is_closing) = watch::channel(());
    ready();
    loop {
        let accepted = tokio::select! {
            () = signals.next() => break,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&permits).try_acquire_owned()) {
            (Ok((stream, _)), Ok(permit)) => {
                tokio::spawn(connection(stream, app.clone(), is_closing.clone(), permit));
            }
            (Ok((stream, _)), Err(_)) => {
                tokio::spawn(turn_away(stream));
            }
            // No handles are left, or the client has gone already.
            (Err(_), _) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    drop(listener);
    // Connections finish what they are at; models end the texts that these wait for.
    let _ = closing.send(());
    shared.models().iter().for_each(|model| model.queue.stop());
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    tokio::select! {
        _ = permits.acquire_many(all) => {}
        () = tokio::time::sleep(STOP_TIME) => {}
        () = signals.next() => {}
    }
    Ok(())
}

/// Serves one connection to its end.
async fn connection(
    stream: TcpStream,
    app: Router,
    mut is_closing: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
) {
    // Each token is sent when it is there.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(TimedStream::new(stream, WRITE_TIME));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_BYTES);
    let mut served = std::pin::pin!(http.serve_connection(stream, TowerToHyperService::new(app)));
    tokio::select! {
        // What goes wrong with a connection is its client's affair.
        _ = served.as_mut() => return,
        _ = is_closing.changed() => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

async fn turn_away(mut stream: TcpStream) {
    let told = async {
        stream.write_all(TURNED_AWAY).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
}

/// The key in a file: its first line.
fn read_key(path: &Path) -> Result<String, ServeError> {
    let wrong = |reason: String| ServeError::Key { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("it cannot be read: {error}")))?;
    let key = text.lines().next().unwrap_or_default().trim();
    if key.is_empty() {
        return Err(wrong("its first line is empty; write the key there".to_owned()));
    }
    if !key.chars().all(|character| character.is_ascii_graphic()) {
        return Err(wrong("the key has characters that no header can hold; use letters, digits and signs".to_owned()));
    }
    Ok(key.to_owned())
}

/// What asks a server to stop.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    #[cfg(not(unix))]
    fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
