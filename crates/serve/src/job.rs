//! What a request asks of a model, and what it is told: the channel between handlers and the worker that owns the model.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use tokio::sync::{mpsc as tokio_mpsc, oneshot};
use tril::infer::TokenLogprob;
use tril::{Draft, GenerateOptions, GeneratedText, GeneratedToken, Receipt, StopTexts};

use crate::ApiError;

/// A request to a model: some prompts, each continued so many times.
#[derive(Debug)]
pub struct Job {
    /// What is continued.
    pub prompts: Vec<JobPrompt>,
    /// How many texts of each prompt; the first has the sample index of `options`.
    pub samples: usize,
    /// How they are made.
    pub options: GenerateOptions,
    /// What ends them.
    pub stop: StopTexts,
    /// Whether the tokens of the prompts are scored too, with so many alternatives each.
    pub prompt_logprobs: Option<usize>,
    /// Whether there is to be a receipt.
    pub receipt: bool,
    /// When the request came.
    pub arrival: Instant,
    /// When its time is up.
    pub deadline: Option<Instant>,
}

/// A prompt as text and as tokens.
#[derive(Debug, Clone)]
pub struct JobPrompt {
    /// The text, without special tokens.
    pub text: String,
    /// The tokens.
    pub ids: Vec<u32>,
}

impl Job {
    /// How many texts it asks for.
    pub fn choices(&self) -> usize {
        self.prompts.len() * self.samples
    }
}

/// What happens to a job. Texts are numbered from 0, all of one prompt before those of the next.
#[derive(Debug)]
pub enum JobEvent {
    /// The tokens of a text's prompt have been scored, all but the first.
    PromptScored(usize, Vec<TokenLogprob>),
    /// A text has one token more.
    Token(usize, Box<GeneratedToken>),
    /// This much more of a text is certain.
    Text(usize, String),
    /// There is no more of a text, for the model's reasons or for this other one.
    Finished(usize, Box<GeneratedText>, Option<Cutoff>),
    /// How all texts came about.
    Receipt(Box<Receipt>),
    /// All texts have finished.
    Done,
    /// The job has failed as a whole.
    Failed(ApiError),
}

/// Why a text ends where the model would have gone on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cutoff {
    /// The request's time is up.
    TimeLimit,
    /// The server stops.
    Shutdown,
}

/// Names a job among those of its worker.
pub type JobId = u64;

/// What a worker is told.
pub enum Command {
    /// A new job; the reply is whether it was taken on.
    Submit { id: JobId, job: Box<Job>, events: EventSender, reply: oneshot::Sender<Result<(), ApiError>> },
    /// Nobody waits for a job any more.
    Abandon(JobId),
    /// Has next tokens guessed from now on. Comes before the first job.
    Guess(Draft),
    /// Ends all jobs where they are, and takes no more.
    Stop,
}

/// Hands jobs to a worker.
#[derive(Debug, Clone)]
pub struct JobQueue {
    commands: mpsc::Sender<Command>,
    next: Arc<AtomicU64>,
}

impl JobQueue {
    /// A queue, and the end of it that a worker reads.
    pub fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel();
        (Self { commands, next: Arc::default() }, receiver)
    }

    /// Hands a job over.
    ///
    /// # Errors
    /// If the worker does not take it, because too many wait or because it stops.
    pub async fn submit(&self, job: Job) -> Result<JobEvents, ApiError> {
        let (id, (events, receiver)) = (self.next.fetch_add(1, Ordering::Relaxed), channel());
        let (reply, answer) = oneshot::channel();
        let job = Box::new(job);
        let gone = || ApiError::server("the model's worker has ended; start the server again");
        self.commands.send(Command::Submit { id, job, events, reply }).map_err(|_| gone())?;
        // From here on it is abandoned if the client leaves.
        let events = JobEvents { id, receiver, commands: self.commands.clone(), is_done: false };
        answer.await.map_err(|_| gone())??;
        Ok(events)
    }

    /// Has next tokens guessed. No job may have been submitted yet.
    pub fn guess(&self, draft: Draft) {
        let _ = self.commands.send(Command::Guess(draft));
    }

    /// Ends all jobs, with what there is of them.
    pub fn stop(&self) {
        // A worker that has ended has no jobs.
        let _ = self.commands.send(Command::Stop);
    }
}

/// Events that a reader may leave unread before its texts are paused: at 30,000 tokens a second, more than an eighth of a second of
/// a handler that waits for a core.
const MANY_UNREAD: usize = 4096;
/// Unread events at which they go on.
const FEW_UNREAD: usize = 512;

/// The worker's end of a job. Nothing that is sent is lost; whoever sends looks at how much is unread.
#[derive(Debug, Clone)]
pub struct EventSender {
    sender: tokio_mpsc::UnboundedSender<JobEvent>,
    unread: Arc<AtomicUsize>,
}

/// A handler's receiver.
#[derive(Debug)]
struct EventReceiver {
    receiver: tokio_mpsc::UnboundedReceiver<JobEvent>,
    unread: Arc<AtomicUsize>,
}

fn channel() -> (EventSender, EventReceiver) {
    let (sender, receiver) = tokio_mpsc::unbounded_channel();
    let unread = Arc::new(AtomicUsize::new(0));
    (EventSender { sender, unread: Arc::clone(&unread) }, EventReceiver { receiver, unread })
}

impl EventSender {
    /// Tells of an event. Where nobody listens the job is about to be abandoned.
    pub fn send(&self, event: JobEvent) {
        self.unread.fetch_add(1, Ordering::Relaxed);
        let _ = self.sender.send(event);
    }

    /// Whether the reader is so far behind that it is better to wait.
    pub fn is_behind(&self) -> bool {
        self.unread.load(Ordering::Relaxed) >= MANY_UNREAD
    }

    /// Whether the reader has caught up.
    pub fn has_caught_up(&self) -> bool {
        self.unread.load(Ordering::Relaxed) <= FEW_UNREAD
    }
}

/// What happens to a job, for whoever waits for it. Dropped before the end, the job is given up.
#[derive(Debug)]
pub struct JobEvents {
    id: JobId,
    receiver: EventReceiver,
    commands: mpsc::Sender<Command>,
    is_done: bool,
}

impl JobEvents {
    /// The next event; none after the last.
    pub async fn next(&mut self) -> Option<JobEvent> {
        if self.is_done {
            return None;
        }
        let event = self.receiver.receiver.recv().await;
        self.receiver.unread.fetch_sub(usize::from(event.is_some()), Ordering::Relaxed);
        let failed = || JobEvent::Failed(ApiError::server("the model's worker failed; the server's log says more"));
        let event = event.unwrap_or_else(failed);
        self.is_done = matches!(event, JobEvent::Done | JobEvent::Failed(_));
        Some(event)
    }
}

impl Drop for JobEvents {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = self.commands.send(Command::Abandon(self.id));
        }
    }
}
