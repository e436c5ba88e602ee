//! A server of its own for each test, and an HTTP client of some lines.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::commands::test_dir::*;

/// Far longer than any answer of these tests takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that is gone after the test.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    pub test_dir: TestDir,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Server {
    /// A server of the small run, with these options.
    pub fn start(options: &str) -> Self {
        Self::start_in(TestDir::with_run(), &format!("run {options}"))
    }

    /// A server in a directory, with these arguments.
    pub fn start_in(test_dir: TestDir, arguments: &str) -> Self {
        let mut process = test_dir.process(&format!("serve --port 0 {arguments}"));
        let mut child = process.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("a line");
        let Some(address) = line.trim().strip_prefix("listening on http://") else {
            let mut message = String::new();
            child.stderr.take().expect("a pipe").read_to_string(&mut message).expect("text");
            panic!("{line:?}: {message}");
        };
        // What it says on stderr is read on, so that it never waits for a reader.
        let stderr = child.stderr.take().expect("a pipe");
        std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).for_each(drop));
        Self { address: address.replace("localhost", "127.0.0.1").parse().expect("an address"), child, test_dir }
    }

    /// A connection.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// Sends bytes as they are, and reads what comes until the end.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // A server may refuse a body before it has come.
        let _ = stream.write_all(bytes);
        Answer::read(stream)
    }

    /// A request without a body.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.raw(&self.head(method, path, headers, None))
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[])
    }

    /// A request with a body of JSON.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_bytes(path, body.to_string().as_bytes())
    }

    pub fn post_bytes(&self, path: &str, body: &[u8]) -> Answer {
        self.raw(&self.post_request(path, body))
    }

    /// The bytes of such a request.
    pub fn post_request(&self, path: &str, body: &[u8]) -> Vec<u8> {
        let mut request = self.head("POST", path, &[("Content-Type", "application/json")], Some(body.len()));
        request.extend_from_slice(body);
        request
    }

    pub fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], length: Option<usize>) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {}\r\n", self.address);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(length) = length {
            head += &format!("Content-Length: {length}\r\n");
        }
        (head + "\r\n").into_bytes()
    }

    /// The answer to a request that is done.
    pub fn done(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        answer.json()
    }

    pub fn complete(&self, body: &Value) -> Value {
        self.done("/v1/completions", body)
    }

    /// The chunks of a stream, and whether it ended with `[DONE]`.
    pub fn stream(&self, path: &str, body: &Value) -> (Vec<Value>, bool) {
        let mut body = body.clone();
        body["stream"] = true.into();
        let answer = self.post(path, &body);
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "text/event-stream");
        answer.events()
    }

    /// Begins a request and does not wait for its end.
    pub fn begin(&self, path: &str, body: &Value) -> BufReader<TcpStream> {
        let mut stream = self.connect();
        stream.write_all(&self.post_request(path, body.to_string().as_bytes())).expect("sent");
        BufReader::new(stream)
    }

    /// A number of `/metrics`.
    pub fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics").body;
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")));
        let line = line.unwrap_or_else(|| panic!("{name} is missing in {metrics}"));
        line.rsplit_once(' ').expect("a value").1.parse().expect("a number")
    }

    /// Waits until a number of `/metrics` is what it should be.
    pub fn await_metric(&self, name: &str, expected: impl Fn(f64) -> bool) {
        let begin = Instant::now();
        while !expected(self.metric(name)) {
            assert!(begin.elapsed() < PATIENCE, "{name} stays at {}", self.metric(name));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Bytes of memory that it uses.
    #[cfg(target_os = "linux")]
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }

    /// Sends a signal.
    #[cfg(unix)]
    pub fn signal(&self, name: &str) {
        let signalled = std::process::Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(signalled.expect("kill").success());
    }

    /// Waits for its end; how long that took, and its exit code.
    #[cfg(unix)]
    pub fn end(&mut self) -> (Duration, Option<i32>) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a process") {
                return (begin.elapsed(), status.code());
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    /// Reads an answer to its end.
    pub fn read(stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A connection that is reset after an answer has given it.
        let _ = BufReader::new(stream).read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).expect("a head");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status");
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let body = &bytes[end + 4..];
        let is_chunked = headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked");
        let body = if is_chunked { dechunked(body) } else { body.to_vec() };
        let body = String::from_utf8(body).expect("UTF-8");
        Self { status: status.parse().expect("a number"), headers, body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The error of an answer that is one.
    pub fn error(&self) -> Value {
        let error = self.json()["error"].take();
        for field in ["message", "type"] {
            assert!(error[field].is_string(), "{error}");
        }
        for field in ["param", "code"] {
            assert!(error.get(field).is_some(), "{error}");
        }
        error
    }

    /// The chunks of a stream, and whether it ended with `[DONE]`.
    pub fn events(&self) -> (Vec<Value>, bool) {
        let events: Vec<&str> = self.body.split("\n\n").filter(|event| !event.is_empty()).collect();
        let data = events.iter().filter_map(|event| event.strip_prefix("data: "));
        let chunks = data.filter(|data| **data != *"[DONE]").map(|data| serde_json::from_str(data).expect("JSON"));
        (chunks.collect(), events.last() == Some(&"data: [DONE]"))
    }
}

/// A body without the lengths of its chunks; what has come of one that has broken off.
fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length = std::str::from_utf8(&bytes[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let begin = end + 2;
        let stop = begin + length.expect("a length");
        body.extend_from_slice(&bytes[begin..stop.min(bytes.len())]);
        bytes = bytes.get(stop + 2..).unwrap_or_default();
    }
    body
}

/// The text of the first choice.
pub fn text_of(answer: &Value) -> &str {
    answer["choices"][0]["text"].as_str().unwrap_or_else(|| panic!("a text in {answer}"))
}

/// The text of a choice of a stream, put together.
pub fn streamed(chunks: &[Value], index: usize) -> String {
    let choices = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().expect("choices"));
    let own = choices.filter(|choice| choice["index"] == index);
    own.filter_map(|choice| choice["text"].as_str().or_else(|| choice["delta"]["content"].as_str())).collect()
}
