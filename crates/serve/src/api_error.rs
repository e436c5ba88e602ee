//! An answer that is an error, in the form that OpenAI's clients read.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What is wrong, whose fault it is, and which parameter it is about.
#[derive(Debug, Clone)]
pub struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    header: Option<(HeaderKind, &'static str)>,
}

/// A header beside the error.
#[derive(Debug, Clone, Copy)]
enum HeaderKind {
    RetryAfter,
    WwwAuthenticate,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code: None, param: None, message: message.into(), header: None }
    }

    /// The request is wrong in some way.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A parameter of the request is wrong.
    pub fn param(param: impl Into<String>, message: impl std::fmt::Display) -> Self {
        let param = param.into();
        let message = format!("{param}: {message}");
        Self { param: Some(param), ..Self::bad_request(message) }
    }

    /// A parameter of the API, or none that it has, that would change the result and does nothing here.
    pub fn unsupported(param: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self { code: Some("unsupported_parameter"), ..Self::param(param, message) }
    }

    /// A prompt does not fit.
    pub fn too_long(param: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self { code: Some("context_length_exceeded"), ..Self::param(param, message) }
    }

    /// There is no such model.
    pub fn no_model(message: impl Into<String>) -> Self {
        let code = Some("model_not_found");
        let error = Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message);
        Self { code, param: Some("model".to_owned()), ..error }
    }

    /// There is nothing at this path.
    pub fn no_path(path: &str) -> Self {
        let message = format!(
            "there is nothing at {path}; there are /v1/models, /v1/completions, /v1/chat/completions, /health and /metrics"
        );
        Self { code: Some("not_found"), ..Self::new(StatusCode::NOT_FOUND, "invalid_request_error", message) }
    }

    /// This path has other methods.
    pub fn no_method(method: &str, path: &str) -> Self {
        let message = format!("{path} has no method {method}; the header Allow names those that it has");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message)
    }

    /// The key is missing or another one.
    pub fn no_key() -> Self {
        let message = "this server asks for a key: send the header Authorization: Bearer KEY with the right one";
        let header = Some((HeaderKind::WwwAuthenticate, "Bearer"));
        let error = Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message);
        Self { code: Some("invalid_api_key"), header, ..error }
    }

    /// The request is meant for another server, by its Host or Origin.
    pub fn not_here(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::FORBIDDEN, "invalid_request_error", message);
        Self { code: Some("host_not_allowed"), ..error }
    }

    /// The body is not JSON by its header.
    pub fn not_json() -> Self {
        let message = "send the header Content-Type: application/json, with a body that is JSON";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", message)
    }

    /// The body is too large.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the body has more than {limit} bytes, which is the most that is read");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
    }

    /// The body did not come in time.
    pub fn too_slow(seconds: u64) -> Self {
        let message = format!("the body did not come within {seconds} seconds");
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", message)
    }

    /// Too many wait already.
    pub fn busy(waiting: usize) -> Self {
        let message = format!("{waiting} requests wait already, which is the most that may; try again in a second");
        let header = Some((HeaderKind::RetryAfter, "1"));
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
        Self { code: Some("queue_full"), header, ..error }
    }

    /// Not done, for a reason that passes.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        let header = Some((HeaderKind::RetryAfter, "1"));
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message);
        Self { code: Some(code), header, ..error }
    }

    /// The server's own fault.
    pub fn server(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// The same about a parameter.
    #[must_use]
    pub fn about(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// What is sent of it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { kind, code, param, message, .. } = self;
        json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = self.to_json().to_string() + "\n";
        let mut response = (self.status, [(CONTENT_TYPE, "application/json")], body).into_response();
        if let Some((kind, value)) = self.header {
            let name = match kind {
                HeaderKind::RetryAfter => RETRY_AFTER,
                HeaderKind::WwwAuthenticate => WWW_AUTHENTICATE,
            };
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_parameter_and_has_the_fields_that_clients_read() {
        let error = ApiError::param("top_p", "it must be a number").to_json();
        let expected = json!({ "error": {
            "message": "top_p: it must be a number", "type": "invalid_request_error", "param": "top_p", "code": null,
        } });
        assert_eq!(error, expected);
    }

    #[test]
    fn who_is_turned_away_is_told_when_to_come_back() {
        let response = ApiError::busy(3).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}
