//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tril::ChatFormat;

use crate::guard::{Guard, guard};
use crate::{ApiError, Limits, ServedModel, chat, completions, models};

/// What all handlers share.
#[derive(Debug)]
pub struct Shared {
    models: Vec<Arc<ServedModel>>,
    chat_format: ChatFormat,
    limits: Limits,
    guard: Guard,
}

impl Shared {
    pub(crate) fn new(models: Vec<ServedModel>, chat_format: ChatFormat, limits: Limits, guard: Guard) -> Self {
        Self { models: models.into_iter().map(Arc::new).collect(), chat_format, limits, guard }
    }

    /// The models, in the order in which they were named.
    pub fn models(&self) -> &[Arc<ServedModel>] {
        &self.models
    }

    /// How a chat becomes a text where a checkpoint does not say.
    pub fn chat_format(&self) -> &ChatFormat {
        &self.chat_format
    }

    /// What is bounded.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }
}

/// All that the server answers.
///
/// - further: routes beside the API, such as those of the page at `/`; they are guarded as the API is, and what lies at `/` and
///   under `/page/assets/` is served without a key
pub fn router(shared: Arc<Shared>, further: Router<Arc<Shared>>) -> Router {
    Router::new()
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::one))
        .route("/v1/completions", post(completions::completions))
        .route("/v1/chat/completions", post(chat::chat))
        .route("/health", get(models::health))
        .route("/metrics", get(models::metrics))
        .merge(further)
        .fallback(|request: Request| async move { ApiError::no_path(request.uri().path()) })
        .method_not_allowed_fallback(|request: Request| async move {
            ApiError::no_method(request.method().as_str(), request.uri().path())
        })
        // Bodies are read within a limit of our own.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&shared), guard))
        .with_state(shared)
}
