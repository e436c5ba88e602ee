//! A server of files for tests, which does what they tell it to: give a part, stop in the middle, lead elsewhere, keep silent.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is asked of it.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its number, from 0.
    pub number: usize,
    /// Such as GET.
    pub method: String,
    /// The address as it is written: a path, or with a proxy a host.
    pub target: String,
    /// From which byte on, if that is asked for.
    pub from: Option<usize>,
}

/// What it does.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status line without the version, and other headers, a line each.
    pub head: String,
    /// What it gives of the body.
    pub body: Vec<u8>,
    /// What it says that the body's length is, if it says so.
    pub length: Option<usize>,
    /// Bytes that it gives at a time, with a pause between two of them.
    pub slowly: Option<usize>,
    /// Whether it keeps silent when it has given the body, and does not close.
    pub stalls: bool,
}

impl Answer {
    /// All of a file.
    pub fn whole(body: &[u8]) -> Self {
        Self { head: "200 OK".into(), body: body.to_vec(), length: Some(body.len()), slowly: None, stalls: false }
    }

    /// A file as it is asked for: from some byte on, or all of it.
    pub fn asked(body: &[u8], request: &Request) -> Self {
        let Some(from) = request.from else { return Self::whole(body) };
        let range = format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len());
        Self { head: format!("206 Partial Content\r\n{range}"), ..Self::whole(&body[from..]) }
    }

    /// No file, but this status.
    pub fn status(line: &str) -> Self {
        Self { head: line.into(), ..Self::whole(b"") }
    }

    /// The first bytes of what would be given, and then the end of the connection.
    pub fn cut_off(mut self, after: usize) -> Self {
        self.body.truncate(after);
        self
    }

    /// A little at a time.
    pub fn slow(self, bytes: usize) -> Self {
        Self { slowly: Some(bytes), ..self }
    }

    /// Silence at its end.
    pub fn silent(self) -> Self {
        Self { stalls: true, ..self }
    }

    fn send(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        let Self { head, body, length, slowly, stalls } = self;
        let length = length.map_or(String::new(), |length| format!("Content-Length: {length}\r\n"));
        write!(stream, "HTTP/1.1 {head}\r\n{length}Connection: close\r\n\r\n")?;
        for part in body.chunks(slowly.unwrap_or(usize::MAX)) {
            stream.write_all(part)?;
            stream.flush()?;
            if slowly.is_some() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        if *stalls {
            std::thread::sleep(Duration::from_secs(60));
        }
        Ok(())
    }
}

/// A server on a port of its own, until the end of the test process.
pub struct FileServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FileServer {
    /// Begins to listen, and answers each request by what `answer` says.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        Self { address, requests }
    }

    /// The address of a file.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// What has been asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no panic").clone()
    }
}

/// Answers the requests of a connection: more than one where it is a tunnel.
fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Answer) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    while let Some(request) = read(&mut reader, seen) {
        if request.method == "CONNECT" {
            // A proxy that is the end of the way itself.
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").expect("written");
            continue;
        }
        // Who asked may have gone.
        let _ = answer(&request).send(&mut stream);
        return;
    }
}

fn read(reader: &mut BufReader<TcpStream>, seen: &Mutex<Vec<Request>>) -> Option<Request> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines.first()?.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let range = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let from = range.and_then(|range| range.trim_end_matches('-').parse().ok());
    let mut seen = seen.lock().expect("no panic");
    let request = Request { number: seen.len(), method, target, from };
    seen.push(request.clone());
    Some(request)
}
