//! A page served by itself, for tests and for looking at one; `tril serve` nests the same router.

use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::{PageSource, router};

/// A page on a port of the system's choice, until this is dropped.
#[doc(hidden)]
pub struct ServedPage {
    /// Such as `http://127.0.0.1:34567/`.
    pub address: String,
    runtime: Option<Runtime>,
}

impl ServedPage {
    /// Begins to serve.
    ///
    /// # Errors
    /// Where the system gives no port or no threads.
    pub fn start(source: PageSource) -> std::io::Result<Self> {
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = format!("http://{}/", listener.local_addr()?);
        runtime.spawn(async move { axum::serve(listener, router::<()>(source)).await });
        Ok(Self { address, runtime: Some(runtime) })
    }
}

impl Drop for ServedPage {
    fn drop(&mut self) {
        // What is computed for a reader who has gone is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
