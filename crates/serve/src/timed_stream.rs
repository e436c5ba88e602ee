//! A connection whose other end must take what it is sent: one that takes nothing for a while is given up, so that nobody can
//! hold a text in work by not reading it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// A connection with a limit of time for each write.
pub struct TimedStream {
    stream: TcpStream,
    write_time: Duration,
    /// Since when nothing could be written.
    stalled: Pin<Box<Sleep>>,
    is_stalled: bool,
}

impl TimedStream {
    /// A connection that is given up where its other end takes no byte for so long.
    pub fn new(stream: TcpStream, write_time: Duration) -> Self {
        Self { stream, write_time, stalled: Box::pin(sleep(write_time)), is_stalled: false }
    }

    fn timed<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_stalled = false;
            return written;
        }
        if !std::mem::replace(&mut self.is_stalled, true) {
            self.stalled.as_mut().reset(Instant::now() + self.write_time);
        }
        match self.stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.timed(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.timed(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_reader_that_takes_nothing_is_given_up_and_one_that_is_slow_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let client = TcpStream::connect(address).await.expect("connected");
            let (server, _) = listener.accept().await.expect("accepted");
            let mut timed = TimedStream::new(server, Duration::from_millis(200));
            let begin = Instant::now();
            let error = timed.write_all(&vec![0; 64 << 20]).await.expect_err("it is not read");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(begin.elapsed() < Duration::from_secs(20));
            drop(client);

            let client = TcpStream::connect(address).await.expect("connected");
            let (server, _) = listener.accept().await.expect("accepted");
            let mut timed = TimedStream::new(server, Duration::from_millis(500));
            let reader = tokio::spawn(async move {
                let mut read = 0;
                while read < 24 << 20 {
                    client.readable().await.expect("a connection");
                    let mut some = vec![0; 4 << 20];
                    read += client.try_read(&mut some).unwrap_or(0);
                    sleep(Duration::from_millis(20)).await;
                }
            });
            timed.write_all(&vec![0; 24 << 20]).await.expect("it is read, if slowly");
            reader.await.expect("no panic");
        });
    }
}
