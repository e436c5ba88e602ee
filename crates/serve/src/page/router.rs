//! The page over HTTP: itself, its assets, and a JSON document for each view. The caller nests it, and sees to hosts and keys.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tril_lab::{LabModelInfo, TaskKind};

use super::change::single_token;
use super::{
    PageError, PageSource, WriteEvent, WriteRequest, asset, change, facts, heads, live_html, pass, proofs, steps,
    train_working, training, working, write,
};

/// Bytes of a request.
const MAX_BODY: usize = 1 << 18;
/// Views that are computed at a time; the others wait.
const AT_A_TIME: usize = 2;
/// Events that a slow reader may be behind with.
const BEHIND: usize = 64;
/// A reader who takes nothing for so long has gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing is loaded from elsewhere, and nothing of a text is run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Page {
    source: RwLock<PageSource>,
    permits: Arc<Semaphore>,
    /// Where a model that the page trained is kept while the server runs.
    kept: TempDirs,
}

type TempDirs = RwLock<Vec<TempDir>>;
type Shared = State<Arc<Page>>;
type Body<T> = Result<Json<T>, JsonRejection>;

/// The page of a model: `GET /`, its assets under `/page/assets/`, and documents under `/page/`. Only the page itself and its
/// assets say nothing of a model: who guards others by a key guards all documents. The routes fit into a router of any state.
pub fn router<S: Clone + Send + Sync + 'static>(source: PageSource) -> Router<S> {
    let page =
        Page { source: RwLock::new(source), permits: Arc::new(Semaphore::new(AT_A_TIME)), kept: RwLock::default() };
    Router::new()
        .route("/", get(index))
        .route("/page/assets/{name}", get(assets))
        .route("/page/model", get(async |page: Shared| compute(page, |source| facts(&source)).await))
        .route("/page/training", get(async |page: Shared| compute(page, |source| training(&source.runs)).await))
        .route("/page/pass", post(async |page: Shared, body| of_text(page, body, pass).await))
        .route("/page/steps", post(async |page: Shared, body| of_text(page, body, steps).await))
        .route("/page/heads", post(async |page: Shared, body| of_text(page, body, heads).await))
        .route("/page/change", post(change_token))
        .route("/page/prove", post(prove))
        .route("/page/write", post(write_text))
        .route("/page/working", get(working_example).post(ask_working))
        .route("/page/working/train", post(train))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(Arc::new(page))
}

/// A text to look at.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfText {
    text: String,
}

/// A token to be replaced, by an id or by a text that is one token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfChange {
    text: String,
    position: usize,
    id: Option<u32>,
    replacement: Option<String>,
}

/// A text to prove on; the model writes one where none is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfProof {
    text: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfProblem {
    problem: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTraining {
    task: TaskKind,
}

/// What the view on chains of thought can begin with.
#[derive(Serialize)]
struct WorkingExample {
    task: String,
    problem: String,
}

/// How training goes.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum TrainEvent {
    Step { step: u64, steps: u64, loss: f64 },
    Done,
    Error { message: String },
}

async fn index() -> Response {
    with_type("text/html; charset=utf-8", live_html())
}

async fn assets(Path(name): Path<String>) -> Response {
    match asset(&name) {
        Some((content_type, text)) => with_type(content_type, text.to_owned()),
        None => (StatusCode::NOT_FOUND, Json(message_of(&format!("there is no asset {name:?}")))).into_response(),
    }
}

fn with_type(content_type: &'static str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, text).into_response()
}

async fn of_text<T: Serialize + Send + 'static>(
    page: Shared,
    body: Body<OfText>,
    view: impl FnOnce(&tril::Model, &str) -> Result<T, PageError> + Send + 'static,
) -> Response {
    match body {
        Ok(Json(asked)) => compute(page, move |source| view(&source.model, &asked.text)).await,
        Err(rejection) => rejected(&rejection),
    }
}

async fn change_token(page: Shared, body: Body<OfChange>) -> Response {
    let asked = match body {
        Ok(Json(asked)) => asked,
        Err(rejection) => return rejected(&rejection),
    };
    compute(page, move |source| {
        let id = match (asked.id, asked.replacement) {
            (Some(id), None) => id,
            (None, Some(text)) => single_token(&source.model, &text)?,
            _ => return Err(PageError::Request("give either an id or a replacement".into())),
        };
        change(&source.model, &asked.text, asked.position, id)
    })
    .await
}

async fn prove(page: Shared, body: Body<OfProof>) -> Response {
    match body {
        Ok(Json(asked)) => compute(page, move |source| proofs(&source.model, asked.text.as_deref())).await,
        Err(rejection) => rejected(&rejection),
    }
}

async fn working_example(page: Shared) -> Response {
    compute(page, |source| {
        let model = source.working.as_ref().ok_or(PageError::NoWorking)?;
        let info = LabModelInfo::of(model)?;
        let lengths = info.task.lengths();
        let length = lengths.get(2).or(lengths.first()).copied().unwrap_or(1);
        let problem = info.task.held_out(info.seed, length, 1).into_iter().next();
        let problem = problem.map(|problem| problem.question).unwrap_or_default();
        Ok(WorkingExample { task: info.task.name().to_owned(), problem })
    })
    .await
}

async fn ask_working(page: Shared, body: Body<OfProblem>) -> Response {
    match body {
        Ok(Json(asked)) => {
            let ask =
                move |source: PageSource| working(source.working.as_ref().ok_or(PageError::NoWorking)?, &asked.problem);
            compute(page, ask).await
        }
        Err(rejection) => rejected(&rejection),
    }
}

/// Computes a document on a thread of its own, when it is its turn.
async fn compute<T: Serialize + Send + 'static>(
    State(page): Shared,
    work: impl FnOnce(PageSource) -> Result<T, PageError> + Send + 'static,
) -> Response {
    let Ok(permit) = Arc::clone(&page.permits).acquire_owned().await else {
        return failed(StatusCode::SERVICE_UNAVAILABLE, "the server is closing");
    };
    let source = page.source();
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work(source)
    });
    match done.await {
        Ok(Ok(found)) => Json(found).into_response(),
        Ok(Err(error)) => refused(&error),
        Err(_) => failed(StatusCode::INTERNAL_SERVER_ERROR, "the view could not be computed"),
    }
}

async fn write_text(State(page): Shared, body: Body<WriteRequest>) -> Response {
    let asked = match body {
        Ok(Json(asked)) => asked,
        Err(rejection) => return rejected(&rejection),
    };
    stream(&page, move |source, send| {
        if let Err(error) = write(&source.model, &asked, &mut |event| deliver(&send, json!(event))) {
            deliver(&send, json!(WriteEvent::Error { message: error.to_string() }));
        }
    })
}

async fn train(State(page): Shared, body: Body<OfTraining>) -> Response {
    let task = match body {
        Ok(Json(asked)) => asked.task,
        Err(rejection) => return rejected(&rejection),
    };
    let trained = Arc::clone(&page);
    stream(&page, move |_, send| {
        let tell = |event: TrainEvent| deliver(&send, json!(event));
        let done = TempDir::new().map_err(PageError::from).and_then(|dir| {
            let model = train_working(task, dir.path(), &mut |step, steps, loss| {
                tell(TrainEvent::Step { step, steps, loss });
            })?;
            trained.kept.write().unwrap_or_else(PoisonError::into_inner).push(dir);
            Ok(model)
        });
        match done {
            Ok(model) => {
                trained.source.write().unwrap_or_else(PoisonError::into_inner).working = Some(model);
                tell(TrainEvent::Done)
            }
            Err(error) => tell(TrainEvent::Error { message: error.to_string() }),
        };
    })
}

/// Server-sent events from a thread of their own, each one JSON object. It ends when the reader has gone.
fn stream(page: &Arc<Page>, work: impl FnOnce(PageSource, mpsc::Sender<Value>) + Send + 'static) -> Response {
    let (send, receive) = mpsc::channel(BEHIND);
    let (source, permits) = (page.source(), Arc::clone(&page.permits));
    tokio::spawn(async move {
        let Ok(permit) = permits.acquire_owned().await else { return };
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(source, send);
        });
        let _ = done.await;
    });
    let events =
        ReceiverStream::new(receive).map(|value| Ok::<_, Infallible>(Event::default().data(value.to_string())));
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

/// Hands an event to a reader; false if there is none any more.
fn deliver(send: &mpsc::Sender<Value>, event: Value) -> bool {
    Handle::current().block_on(send.send_timeout(event, PATIENCE)).is_ok()
}

impl Page {
    fn source(&self) -> PageSource {
        self.source.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn message_of(message: &str) -> Value {
    json!({ "error": { "message": message } })
}

fn failed(status: StatusCode, message: &str) -> Response {
    (status, Json(message_of(message))).into_response()
}

fn refused(error: &PageError) -> Response {
    let status = match error {
        PageError::NoWorking => StatusCode::NOT_FOUND,
        error if error.is_user_error() => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    failed(status, &error.to_string())
}

fn rejected(rejection: &JsonRejection) -> Response {
    failed(rejection.status(), &rejection.body_text())
}
