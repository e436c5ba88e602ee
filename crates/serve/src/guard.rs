//! Who may ask: requests that are meant for this server, from pages that may read its answers, with the key if there is one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::router::Shared;
use crate::{ApiError, ServeError, ServeOptions};

/// What is served without a key: it says nothing of models or texts.
fn is_open(path: &str) -> bool {
    path == "/health" || path == "/" || path.starts_with("/page/assets/")
}

/// Who may ask.
#[derive(Debug)]
pub struct Guard {
    /// Names of the server, in lower case.
    names: Vec<String>,
    /// Whether only this machine can reach it.
    is_local: bool,
    /// SHA-256 of the key.
    key: Option<[u8; 32]>,
    /// Scheme and host of pages that may read answers.
    origins: Vec<String>,
}

impl Guard {
    /// The guard of a server at an address.
    ///
    /// # Errors
    /// [`ServeError::NoKey`] where other machines could reach a server without a key.
    pub fn new(options: &ServeOptions, address: SocketAddr, key: Option<&str>) -> Result<Self, ServeError> {
        let is_local = address.ip().is_loopback();
        if !is_local && key.is_none() {
            return Err(ServeError::NoKey { host: options.host.clone(), address: address.ip() });
        }
        let names = options.allowed_hosts.iter().chain([&options.host]).map(|name| name.to_ascii_lowercase());
        Ok(Self {
            names: names.chain(["localhost".to_owned()]).collect(),
            is_local,
            key: key.map(|key| Sha256::digest(key).into()),
            origins: options.allowed_origins.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect(),
        })
    }

    /// Refuses a request that is meant for another server: a page elsewhere may have its own name point to this machine
    /// (DNS rebinding), but cannot have its name be one of ours.
    fn check_host(&self, request: &Request) -> Result<(), ApiError> {
        let mut hosts = request.headers().get_all(HOST).into_iter();
        let host = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
            (Some(Ok(host)), None) => host,
            (None, _) => return Err(ApiError::bad_request("the request has no header Host")),
            _ => {
                return Err(ApiError::bad_request("the request has more than one header Host, or one that is no text"));
            }
        };
        let authority = request.uri().authority().map(|authority| authority.as_str());
        for host in authority.into_iter().chain([host]) {
            if !self.is_ours(host) {
                return Err(ApiError::not_here(format!(
                    "the request is for {host:?}, and this server is not called so; start it with --allow-host NAME to have it take the name"
                )));
            }
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        // No page can have an address as its name but the one at this address.
        let is_address = |ip: IpAddr| ip.is_loopback() || !self.is_local;
        name.parse().is_ok_and(is_address) || self.names.contains(&name)
    }

    /// The origin of the page that asks, if it may read the answer as a page from elsewhere; none for a page of this server
    /// and for whoever is no page.
    fn check_origin(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, ApiError> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(None) };
        let text = origin.to_str().unwrap_or_default();
        if self.origins.iter().any(|allowed| allowed == "*" || allowed == text) {
            return Ok(Some(origin.clone()));
        }
        let own = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        match text.split_once("://") {
            Some(("http" | "https", host)) if host == own => Ok(None),
            _ => Err(ApiError::not_here(format!(
                "the request comes from a page of {text:?}; start the server with --allow-origin ORIGIN to let it in"
            ))),
        }
    }

    fn check_key(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(key) = &self.key else { return Ok(()) };
        let given = headers.get(AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
        let (scheme, given) = given.split_at_checked(7).unwrap_or((&[], &[]));
        let given: [u8; 32] = Sha256::digest(given.trim_ascii()).into();
        // All bytes are compared, whatever the first of them are.
        let difference = key.iter().zip(given).fold(0, |difference, (a, b)| difference | (a ^ b));
        if scheme.eq_ignore_ascii_case(b"bearer ") && std::hint::black_box(difference) == 0 {
            Ok(())
        } else {
            Err(ApiError::no_key())
        }
    }
}

/// Lets a request through, or answers it itself.
pub async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let guard = shared.guard();
    let origin = match guard.check_host(&request).and_then(|()| guard.check_origin(request.headers())) {
        Ok(origin) => origin,
        Err(error) => return error.into_response(),
    };
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if origin.is_some() && is_preflight {
        let allowed = [
            (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
            (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
            (ACCESS_CONTROL_MAX_AGE, "600"),
        ];
        (StatusCode::NO_CONTENT, allowed).into_response()
    } else {
        match guard.check_key(request.headers()) {
            Err(error) if !is_open(request.uri().path()) => error.into_response(),
            _ => next.run(request).await,
        }
    };
    if let Some(origin) = origin {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// A host without its port, an IPv6 address without its brackets.
fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split_once(']').map_or(rest, |(address, _)| address);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tril::ChatFormat;

    use super::*;
    use crate::Limits;

    fn options(host: &str) -> ServeOptions {
        ServeOptions {
            host: host.to_owned(),
            port: 8080,
            api_key_file: None,
            allowed_hosts: vec!["Model.example".to_owned()],
            allowed_origins: vec!["https://page.example/".to_owned()],
            chat_format: ChatFormat::default(),
            limits: Limits::default(),
        }
    }

    fn guard(host: &str, key: Option<&str>) -> Guard {
        let address = SocketAddr::new(host.parse().expect("an address"), 8080);
        Guard::new(&options(host), address, key).expect("sound")
    }

    fn headers(pairs: &[(axum::http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).expect("text"))).collect()
    }

    fn host(guard: &Guard, uri: &str, hosts: &[&str]) -> Option<u16> {
        let request = hosts.iter().fold(Request::builder().uri(uri), |request, host| request.header(HOST, *host));
        let request = request.body(Body::empty()).expect("a request");
        guard.check_host(&request).err().map(|error| error.into_response().status().as_u16())
    }

    #[test]
    fn only_names_of_this_server_are_taken_for_it() {
        let local = guard("127.0.0.1", None);
        for ours in ["127.0.0.1:8080", "localhost", "LOCALHOST:9", "[::1]:8080", "127.8.8.8", "model.example.:80"] {
            assert_eq!(host(&local, "/", &[ours]), None, "{ours}");
        }
        for other in ["evil.example", "192.168.1.5:8080", "localhost.evil.example", "", ":", "[::1", "127.0.0.1.x"] {
            assert!(host(&local, "/", &[other]).is_some() || other == "[::1", "{other}");
        }
        assert_eq!(host(&local, "/", &[]), Some(400));
        assert_eq!(host(&local, "/", &["localhost", "localhost"]), Some(400));
        assert_eq!(host(&local, "http://evil.example/v1/models", &["localhost"]), Some(403));
        let open = guard("0.0.0.0", Some("k"));
        assert_eq!(host(&open, "/", &["192.168.1.5:8080"]), None);
        assert_eq!(host(&open, "/", &["evil.example"]), Some(403));
    }

    #[test]
    fn beyond_this_machine_a_key_is_demanded() {
        let address = "0.0.0.0:1".parse().expect("an address");
        let error = Guard::new(&options("0.0.0.0"), address, None).expect_err("no key").to_string();
        assert!(error.contains("--api-key-file"), "{error}");
    }

    #[test]
    fn a_key_must_be_the_whole_key() {
        let guard = guard("127.0.0.1", Some("secret"));
        let check = |value: &str| guard.check_key(&headers(&[(AUTHORIZATION, value)])).is_ok();
        assert!(check("Bearer secret") && check("bearer  secret"));
        for wrong in
            ["Bearer secre", "Bearer secret2", "secret", "Bearer", "Bearer ", "Basic secret", "", "Bearer Secret"]
        {
            assert!(!check(wrong), "{wrong}");
        }
        assert!(guard.check_key(&HeaderMap::new()).is_err());
    }

    #[test]
    fn pages_from_elsewhere_are_let_in_by_name_alone() {
        let guard = guard("127.0.0.1", None);
        let check = |origin: &str| {
            let headers = headers(&[(HOST, "localhost:8080"), (ORIGIN, origin)]);
            guard.check_origin(&headers).map(|origin| origin.is_some()).ok()
        };
        assert_eq!(check("https://page.example"), Some(true));
        assert_eq!(check("http://localhost:8080"), Some(false), "a page of its own");
        for other in ["http://page.example", "https://page.example.evil", "null", "", "http://localhost:1"] {
            assert_eq!(check(other), None, "{other}");
        }
    }
}
