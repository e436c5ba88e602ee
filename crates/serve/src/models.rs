//! `/v1/models`, `/health` and `/metrics`: what the server is and does.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::metrics::prometheus;
use crate::router::Shared;
use crate::{ApiError, ServedModel};

/// All models.
pub async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let models: Vec<Value> = shared.models().iter().map(|model| entry(model)).collect();
    Json(json!({ "object": "list", "data": models }))
}

/// One model by its name.
///
/// # Errors
/// If there is none of this name.
pub async fn one(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Result<Json<Value>, ApiError> {
    ServedModel::find(shared.models(), Some(&name)).map(|model| Json(entry(model)))
}

fn entry(model: &ServedModel) -> Value {
    let config = model.model().config();
    json!({
        "id": model.name(),
        "object": "model",
        "created": model.created(),
        "owned_by": "tril",
        "sha256": model.sha256(),
        "vocab_size": config.vocab_size,
        // None where texts have no end that they must fit into.
        "context": config.context_limit(),
        "chat_template": model.template().is_some(),
    })
}

/// Whether the server is there. It takes no key and says nothing else.
pub async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// What Prometheus reads.
pub async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let models = shared.models().iter().map(|model| (model.name(), &*model.metrics));
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], prometheus(models)).into_response()
}
