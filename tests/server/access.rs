//! Who may ask, and where: hosts, origins, keys, addresses, methods, types.

use serde_json::json;

use super::client::*;
use crate::commands::test_dir::*;

#[test]
fn a_request_for_another_host_is_refused() {
    let server = Server::start("--allow-host model.example");
    let status = |host: &str| server.request("GET", "/v1/models", &[("Host", host)]).status;
    for ours in ["localhost", "127.0.0.1:1", "[::1]:80", "MODEL.example:80"] {
        assert_eq!(status(ours), 200, "{ours}");
    }
    for other in ["evil.example", "192.168.0.1", "localhost.evil.example"] {
        assert_eq!(status(other), 403, "{other}");
    }
    let answer = server.request("GET", "/health", &[("Host", "evil.example")]);
    assert_eq!((answer.status, answer.error()["code"].as_str()), (403, Some("host_not_allowed")));
    assert_eq!(server.raw(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").status, 400);
    let twice = b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(server.raw(twice).status, 400);
    let whole = b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(server.raw(whole).status, 403);
}

#[test]
fn pages_from_elsewhere_read_nothing_unless_they_are_let_in() {
    let server = Server::start("--allow-origin https://page.example");
    let ask = |method: &str, origin: &str| {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
        server.request(method, "/v1/completions", &headers)
    };
    let refused = ask("OPTIONS", "https://evil.example");
    assert_eq!(refused.status, 403);
    assert!(!refused.headers.contains_key("access-control-allow-origin"));
    let preflight = ask("OPTIONS", "https://page.example");
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.headers["access-control-allow-origin"], "https://page.example");
    assert_says(&preflight.headers["access-control-allow-headers"], &["authorization", "content-type"]);
    let get = server.request("GET", "/v1/models", &[("Origin", "https://page.example")]);
    assert_eq!((get.status, get.headers["access-control-allow-origin"].as_str()), (200, "https://page.example"));
    let own = format!("http://{}", server.address);
    let own = server.request("GET", "/v1/models", &[("Origin", &own)]);
    assert_eq!((own.status, own.headers.contains_key("access-control-allow-origin")), (200, false));
}

#[test]
fn with_a_key_nothing_but_health_and_an_empty_page_is_told_without_it() {
    let test_dir = TestDir::with_run();
    test_dir.write("key.txt", "s3cret\nnot the key\n");
    let server = Server::start_in(test_dir, "run --api-key-file key.txt");
    let status = |path: &str, key: &str| server.request("GET", path, &[("Authorization", key)]).status;
    for path in ["/v1/models", "/metrics", "/v1/nothing"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.error()["code"].as_str()), (401, Some("invalid_api_key")), "{path}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
        for wrong in ["Bearer s3cre", "Bearer s3cret1", "s3cret", "Basic s3cret", "Bearer not the key"] {
            assert_eq!(status(path, wrong), 401, "{wrong}");
        }
    }
    assert_eq!(status("/v1/models", "Bearer s3cret"), 200);
    assert_eq!(server.get("/health").status, 200);
    // The page says nothing of a model; its documents do.
    assert_eq!(server.get("/").status, 200);
    for document in ["/page/model", "/page/training", "/page/working"] {
        assert_eq!(server.get(document).status, 401, "{document}");
    }
    assert_eq!(server.post("/page/pass", &json!({"text": "a"})).status, 401);
    assert_eq!(status("/page/model", "Bearer s3cret"), 200);
    assert_eq!(server.post("/v1/completions", &json!({"prompt": "a"})).status, 401);
}

#[test]
fn the_page_is_about_the_first_model_and_draws_the_runs_of_the_others() {
    let test_dir = TestDir::with_run();
    test_dir.stdout("train smoke --data text.txt --out other --set train.steps=2");
    let server = Server::start_in(test_dir, "run other");
    let index = server.get("/");
    assert_eq!((index.status, index.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    let model = server.get("/page/model").json();
    assert_eq!(model["schema"], 1);
    assert!(model["checkpoint"].as_str().is_some_and(|path| path.contains("run/step-")), "{model}");
    let runs = server.get("/page/training").json();
    assert_eq!(runs.as_array().map(Vec::len), Some(2), "{runs}");
    let pass = server.post("/page/pass", &json!({"text": "a b"}));
    assert_eq!(pass.status, 200);
    assert_eq!(server.request("GET", "/", &[("Host", "evil.example")]).status, 403, "guarded as the API is");
}

#[test]
fn beyond_this_machine_a_key_is_demanded_and_a_bad_key_file_is_told() {
    let test_dir = TestDir::with_run();
    assert_says(&test_dir.refused("serve run --port 0 --host 0.0.0.0"), &["--host 0.0.0.0", "--api-key-file"]);
    assert_says(&test_dir.refused("serve run --port 0 --host ::"), &["--host ::", "--api-key-file"]);
    assert_says(&test_dir.refused("serve run --port 0 --api-key-file none.txt"), &["none.txt", "cannot be read"]);
    test_dir.write("key.txt", "\nkey\n");
    assert_says(&test_dir.refused("serve run --port 0 --api-key-file key.txt"), &["key.txt", "empty"]);
    test_dir.write("key.txt", "schlüssel\n");
    assert_says(&test_dir.refused("serve run --port 0 --api-key-file key.txt"), &["no header can hold"]);
    test_dir.write("key.txt", "k\n");
    let server = Server::start_in(test_dir, "run --host 0.0.0.0 --api-key-file key.txt");
    assert_eq!(server.request("GET", "/v1/models", &[("Authorization", "Bearer k")]).status, 200);
}

#[test]
fn an_address_that_cannot_be_had_is_told_and_so_are_models_that_are_none() {
    let server = Server::start("");
    let port = server.address.port();
    let message = server.test_dir.refused(&format!("serve run --port {port}"));
    assert_says(&message, &[&format!("127.0.0.1:{port}"), "in use", "--port"]);
    assert_says(&server.test_dir.refused("serve run --port 0 --host no.such.host.invalid"), &["no.such.host.invalid"]);
    assert_says(&server.test_dir.refused("serve none --port 0"), &["none"]);
    assert_says(&server.test_dir.refused("serve run run --port 0"), &["\"run\"", "once"]);
    assert_says(&server.test_dir.refused("serve run --port 70000"), &["65535"]);
    assert_says(&server.test_dir.refused("serve run --port 0 --max-batch 0"), &["--max-batch"]);
    assert_says(&server.test_dir.refused("serve"), &["CHECKPOINT"]);
}

#[test]
fn other_methods_and_types_are_refused_and_told_what_there_is() {
    let server = Server::start("");
    for (method, path, allowed) in [
        ("GET", "/v1/completions", "POST"),
        ("DELETE", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET"),
        ("PUT", "/health", "GET"),
        ("OPTIONS", "/v1/completions", "POST"),
    ] {
        let answer = server.request(method, path, &[]);
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_says(&answer.headers["allow"], &[allowed]);
        assert_says(answer.error()["message"].as_str().expect("a message"), &[method, path]);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json2", ""] {
        let mut request = server.head("POST", "/v1/completions", &[("Content-Type", kind)], Some(2));
        request.extend_from_slice(b"{}");
        assert_eq!(server.raw(&request).status, 415, "{kind}");
    }
    let mut request =
        server.head("POST", "/v1/completions", &[("Content-Type", "Application/JSON; charset=utf-8")], Some(2));
    request.extend_from_slice(b"{}");
    assert_eq!(server.raw(&request).status, 200);
    let head = server.request("HEAD", "/v1/models", &[]);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn a_body_that_is_no_request_is_told_what_is_wrong() {
    let server = Server::start("");
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "{",
        "nonsense",
        "[]",
        "3",
        "\"text\"",
        "{\"prompt\": \"a\"",
        "{\"a\": 1e999}",
        "{\"prompt\": \"\\ud800\"}",
        &deep,
    ] {
        let answer = server.post_bytes("/v1/completions", body.as_bytes());
        assert_eq!(answer.status, 400, "{body:.40}: {}", answer.body);
        answer.error();
    }
    assert_eq!(server.post_bytes("/v1/completions", b"{\"prompt\": \"\xff\"}").status, 400);
    for nonsense in
        [&b"\x16\x03\x01\x02\x00\x01"[..], b"GET\r\n\r\n", b"\r\n\r\n\r\n\0\0", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        let mut stream = server.connect();
        std::io::Write::write_all(&mut stream, nonsense).expect("sent");
        stream.shutdown(std::net::Shutdown::Write).expect("shut");
        let mut answer = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.get("/health").status, 200);
}
