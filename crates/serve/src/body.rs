//! The body of a request, within its limits of size and time, and the reading of it away from the threads that listen.

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use crate::ApiError;
use crate::options::BODY_TIME;

/// Bodies up to this size are read where they arrive; larger ones may take long.
const SMALL: usize = 16 << 10;

/// The bytes of a JSON body.
///
/// # Errors
/// For a body of another type, one that is too large, and one that does not come in time.
pub async fn read(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    check_headers(request.headers(), limit)?;
    let bytes = axum::body::to_bytes(request.into_body(), limit);
    match tokio::time::timeout(BODY_TIME, bytes).await {
        Err(_) => Err(ApiError::too_slow(BODY_TIME.as_secs())),
        Ok(Ok(bytes)) => Ok(bytes),
        // Without a length, it is too long or it has broken off.
        Ok(Err(_)) => Err(ApiError::too_large(limit)),
    }
}

/// Refuses what can be refused before the body has come.
fn check_headers(headers: &HeaderMap, limit: usize) -> Result<(), ApiError> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = header(CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(ApiError::not_json());
    }
    let length = header(CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) { Err(ApiError::too_large(limit)) } else { Ok(()) }
}

/// Does something with a body that may take as long as the body is large.
///
/// # Errors
/// Those of `read`.
pub async fn blocking<T: Send + 'static>(
    body: Bytes,
    read: impl FnOnce(&[u8]) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if body.len() <= SMALL {
        return read(&body);
    }
    let task = tokio::task::spawn_blocking(move || read(&body));
    task.await.unwrap_or_else(|_| Err(ApiError::server("the request could not be read; the server's log says more")))
}
