//! What a job is told that fails.

use tril::infer::InferError;

use crate::ApiError;
use crate::job::Cutoff;

impl Cutoff {
    /// What a job is told of which some text has not begun.
    pub fn into_error(self) -> ApiError {
        match self {
            Self::TimeLimit => ApiError::unavailable(
                "time_limit",
                "the time that a request may take was over before all of its texts had begun; try again when less is asked for",
            ),
            Self::Shutdown => stopping(),
        }
    }
}

/// The server takes no more.
pub fn stopping() -> ApiError {
    ApiError::unavailable("shutting_down", "the server is stopping")
}

/// What a model says against a request, or what it fails at.
pub fn of_model(error: &tril::Error) -> ApiError {
    if error.is_user_error() && !matches!(error, tril::Error::Infer(InferError::BadLogits { .. })) {
        ApiError::bad_request(error.to_string())
    } else {
        ApiError::server(error.to_string())
    }
}

/// The same of its inference alone.
pub fn of_inference(error: &InferError) -> ApiError {
    match error {
        InferError::BadLogits { .. } | InferError::Device(_) => ApiError::server(error.to_string()),
        error => ApiError::bad_request(error.to_string()),
    }
}
