//! The answer to a request: all of it at once, or as server-sent events while it is made.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tril::infer::TokenLogprob;
use tril::{GeneratedText, GeneratedToken};

use crate::choice::{Choice, Ending, Piece, Told, begin_of, characters};
use crate::job::{Cutoff, Job, JobEvent, JobEvents, JobPrompt};
use crate::logprobs::{TokenEntry, as_lists, as_objects};
use crate::sampling::Delivery;
use crate::{ApiError, ServedModel};

/// Events that wait for a slow client, beside what its connection holds.
const BUFFERED: usize = 16;

/// How often a client is told that it is not forgotten while nothing else can be told.
const REMINDER: Duration = Duration::from_secs(10);

/// Which of the two kinds of completions an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/v1/completions`.
    Text,
    /// `/v1/chat/completions`.
    Chat,
}

/// What is known of an answer before it is made.
#[derive(Debug)]
pub struct Answer {
    /// Which kind.
    pub form: Form,
    /// Who makes it.
    pub model: Arc<ServedModel>,
    /// What it is called.
    pub id: String,
    /// When it was begun.
    pub created: u64,
    /// The seed that was named or drawn.
    pub seed: u64,
    /// How it is sent.
    pub delivery: Delivery,
    /// What is told of its tokens.
    pub told: Told,
    /// The prompts, where they are part of it.
    pub echo: Option<Vec<JobPrompt>>,
}

/// What an answer took.
#[derive(Debug, Default, Clone, Copy)]
struct Usage {
    prompt: usize,
    cached: usize,
    made: usize,
}

/// An answer that is being made.
struct Progress {
    answer: Answer,
    choices: Vec<Choice>,
    /// Texts of each prompt.
    samples: usize,
    /// Whether each text has its first token.
    has_begun: Vec<bool>,
    are_prompts_scored: bool,
    left: usize,
    usage: Usage,
}

/// Has a job done and answers with it.
///
/// # Errors
/// If the job is not taken on, or fails before anything is sent.
pub async fn answer(job: Job, answer: Answer) -> Result<Response, ApiError> {
    let progress = Progress::new(answer, &job);
    let events = progress.answer.model.queue.submit(job).await?;
    if progress.answer.delivery.stream {
        let (sender, receiver) = mpsc::channel(BUFFERED);
        tokio::spawn(progress.stream(events, sender));
        let body = Body::from_stream(ReceiverStream::new(receiver));
        return Ok(([(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")], body).into_response());
    }
    Ok(Json(progress.collect(events).await?).into_response())
}

/// A text that is answered with as a whole.
#[derive(Default)]
struct Whole {
    text: String,
    tokens: Vec<TokenEntry>,
    ending: Option<Ending>,
}

impl Progress {
    fn new(answer: Answer, job: &Job) -> Self {
        let prompt = job.prompts.iter().map(|prompt| prompt.ids.len()).sum();
        let offset = |choice: usize| {
            let prompts = answer.echo.as_ref()?;
            Some(prompts[choice / job.samples].text.chars().count())
        };
        let choices: Vec<Choice> =
            (0..job.choices()).map(|choice| Choice::new(answer.told, offset(choice).unwrap_or(0))).collect();
        Self {
            has_begun: vec![false; choices.len()],
            left: choices.len(),
            choices,
            samples: job.samples,
            are_prompts_scored: job.prompt_logprobs.is_some(),
            usage: Usage { prompt, ..Usage::default() },
            answer,
        }
    }

    fn push(&mut self, choice: usize, token: &GeneratedToken) {
        let is_first = !std::mem::replace(&mut self.has_begun[choice], true);
        // What a score has computed is there for the text after it, and was not there before.
        if is_first && choice.is_multiple_of(self.samples) && !self.are_prompts_scored {
            let cached = token.context - token.computed.min(token.context);
            self.usage.cached += cached;
            self.answer.model.metrics.cached_tokens.fetch_add(cached as u64, Ordering::Relaxed);
        }
        self.choices[choice].push(token, self.answer.model.model().tokenizer());
    }

    fn end(&mut self, choice: usize, text: &GeneratedText, cutoff: Option<Cutoff>) -> (Piece, Ending) {
        let (piece, ending) = self.choices[choice].end(text, cutoff);
        self.usage.made += ending.tokens;
        self.left -= 1;
        (piece, ending)
    }

    /// What an answer with echo begins with: the prompt, and its tokens if they were scored.
    fn echoed(&self, choice: usize, scores: Option<&[TokenLogprob]>) -> Piece {
        let Some(prompts) = &self.answer.echo else { return Piece::default() };
        let JobPrompt { text, ids } = &prompts[choice / self.samples];
        let mut tokens = Vec::new();
        if let Some(scores) = scores {
            let tokenizer = self.answer.model.model().tokenizer();
            let scores = std::iter::once(None).chain(scores.iter().map(Some));
            let mut begun = 0;
            for (id, score) in ids.iter().zip(scores) {
                let bytes = tokenizer.token_bytes(*id);
                let (text_offset, logprob) = (begin_of(bytes, begun), score.map(|score| score.logprob));
                let top = score.map_or_else(Vec::new, |score| score.top_logprobs.clone());
                tokens.push(TokenEntry { id: *id, text_offset, logprob, top });
                begun += characters(bytes);
            }
        }
        Piece { text: text.clone(), tokens }
    }

    /// Waits for all texts.
    async fn collect(mut self, mut events: JobEvents) -> Result<Value, ApiError> {
        let mut wholes: Vec<Whole> = self.choices.iter().map(|_| Whole::default()).collect();
        let mut scores: Vec<Option<Vec<TokenLogprob>>> = vec![None; wholes.len().div_ceil(self.samples)];
        let mut receipt = None;
        while let Some(event) = events.next().await {
            match event {
                JobEvent::PromptScored(choice, scored) => scores[choice / self.samples] = Some(scored),
                JobEvent::Token(choice, token) => self.push(choice, &token),
                JobEvent::Text(choice, text) => {
                    let piece = self.choices[choice].show(text);
                    wholes[choice].text.push_str(&piece.text);
                    wholes[choice].tokens.extend(piece.tokens);
                }
                JobEvent::Finished(choice, text, cutoff) => {
                    let (piece, ending) = self.end(choice, &text, cutoff);
                    wholes[choice].tokens.extend(piece.tokens);
                    wholes[choice].ending = Some(ending);
                }
                JobEvent::Receipt(told) => receipt = Some(told),
                JobEvent::Done => {}
                JobEvent::Failed(error) => return Err(error),
            }
        }
        for (choice, whole) in wholes.iter_mut().enumerate() {
            let echoed = self.echoed(choice, scores[choice / self.samples].as_deref());
            whole.text.insert_str(0, &echoed.text);
            whole.tokens.splice(..0, echoed.tokens);
        }
        let choices: Vec<Value> =
            wholes.into_iter().enumerate().map(|(index, whole)| self.answer.whole_choice(index, whole)).collect();
        let mut response = self.answer.frame(self.answer.form.whole_object(), choices);
        response["usage"] = self.usage.to_json();
        if let Some(receipt) = receipt {
            response["receipt"] =
                serde_json::to_value(&*receipt).map_err(|error| ApiError::server(error.to_string()))?;
        }
        Ok(response)
    }

    /// Sends events while the texts are made, until the client leaves.
    async fn stream(mut self, mut events: JobEvents, sender: mpsc::Sender<Result<Bytes, Infallible>>) {
        for line in self.opening() {
            if sender.send(Ok(line)).await.is_err() {
                return;
            }
        }
        loop {
            let event = tokio::select! {
                biased;
                () = sender.closed() => return,
                event = events.next() => event,
                () = tokio::time::sleep(REMINDER) => {
                    if sender.send(Ok(Bytes::from_static(b": waiting\n\n"))).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let Some(event) = event else { break };
            let lines = self.lines(event);
            for line in lines {
                if sender.send(Ok(line)).await.is_err() {
                    return;
                }
            }
        }
        // The client has all of it, or has left.
        let _ = sender.send(Ok(Bytes::from_static(b"data: [DONE]\n\n"))).await;
    }

    /// What a stream begins with, before anything is made.
    fn opening(&self) -> Vec<Bytes> {
        let choices = 0..self.choices.len();
        match self.answer.form {
            Form::Chat => choices.map(|choice| self.chunk(vec![self.answer.role_chunk(choice)], None)).collect(),
            Form::Text if self.answer.echo.is_some() && !self.are_prompts_scored => {
                choices.map(|choice| self.piece(choice, self.echoed(choice, None), None)).collect()
            }
            Form::Text => Vec::new(),
        }
    }

    /// What is sent for an event.
    fn lines(&mut self, event: JobEvent) -> Vec<Bytes> {
        match event {
            JobEvent::PromptScored(choice, scores) => {
                vec![self.piece(choice, self.echoed(choice, Some(&scores)), None)]
            }
            JobEvent::Token(choice, token) => {
                self.push(choice, &token);
                Vec::new()
            }
            JobEvent::Text(choice, text) => {
                let piece = self.choices[choice].show(text);
                vec![self.piece(choice, piece, None)]
            }
            JobEvent::Finished(choice, text, cutoff) => {
                let (piece, ending) = self.end(choice, &text, cutoff);
                let mut lines = vec![self.piece(choice, piece, Some(ending))];
                let Delivery { include_usage, receipt, .. } = self.answer.delivery;
                if self.left == 0 && include_usage && !receipt {
                    lines.push(self.chunk(Vec::new(), Some(self.usage)));
                }
                lines
            }
            JobEvent::Receipt(receipt) => {
                let mut chunk = self.answer.frame(self.answer.form.chunk_object(), Vec::new());
                chunk["usage"] = self.usage.to_json();
                match serde_json::to_value(&*receipt) {
                    Ok(receipt) => chunk["receipt"] = receipt,
                    Err(error) => chunk["error"] = ApiError::server(error.to_string()).to_json()["error"].take(),
                }
                vec![data(&chunk)]
            }
            JobEvent::Done => Vec::new(),
            JobEvent::Failed(error) => vec![data(&error.to_json())],
        }
    }

    /// A chunk with more of one text. The last one has what all of them took, unless that has a chunk of its own.
    fn piece(&self, choice: usize, piece: Piece, ending: Option<Ending>) -> Bytes {
        let Delivery { include_usage, receipt, .. } = self.answer.delivery;
        let is_last = ending.is_some() && self.left == 0 && !include_usage && !receipt;
        self.chunk(vec![self.answer.chunk_choice(choice, piece, ending)], is_last.then_some(self.usage))
    }

    fn chunk(&self, choices: Vec<Value>, usage: Option<Usage>) -> Bytes {
        let mut chunk = self.answer.frame(self.answer.form.chunk_object(), choices);
        match usage {
            Some(usage) => chunk["usage"] = usage.to_json(),
            None if self.answer.delivery.include_usage => chunk["usage"] = Value::Null,
            None => {}
        }
        data(&chunk)
    }
}

impl Answer {
    /// What stands around choices.
    fn frame(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model.name(),
            "system_fingerprint": self.model.fingerprint(),
            "seed": self.seed,
            "choices": choices,
        })
    }

    fn logprobs(&self, tokens: &[TokenEntry]) -> Value {
        let tokenizer = self.model.model().tokenizer();
        match (self.told, self.form) {
            (Told::Text, _) => Value::Null,
            (_, Form::Text) => as_lists(tokens, tokenizer),
            (_, Form::Chat) => as_objects(tokens, tokenizer),
        }
    }

    fn whole_choice(&self, index: usize, whole: Whole) -> Value {
        let Whole { text, tokens, ending } = whole;
        let mut choice = json!({ "index": index, "logprobs": self.logprobs(&tokens) });
        match self.form {
            Form::Text => choice["text"] = text.into(),
            Form::Chat => choice["message"] = json!({ "role": "assistant", "content": text, "refusal": null }),
        }
        with_ending(choice, ending)
    }

    fn chunk_choice(&self, index: usize, piece: Piece, ending: Option<Ending>) -> Value {
        let logprobs = if piece.tokens.is_empty() { Value::Null } else { self.logprobs(&piece.tokens) };
        let mut choice = json!({ "index": index, "logprobs": logprobs });
        match self.form {
            Form::Text => choice["text"] = piece.text.into(),
            Form::Chat if piece.text.is_empty() => choice["delta"] = json!({}),
            Form::Chat => choice["delta"] = json!({ "content": piece.text }),
        }
        with_ending(choice, ending)
    }

    /// What a text of a chat begins with.
    fn role_chunk(&self, index: usize) -> Value {
        let delta = json!({ "role": "assistant", "content": "" });
        json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": null })
    }
}

fn with_ending(mut choice: Value, ending: Option<Ending>) -> Value {
    choice["finish_reason"] = ending.as_ref().map(Ending::reason).into();
    if let Some(ending) = ending {
        choice["finish_detail"] = ending.detail().into();
        if let Some(stop_text) = ending.stop_text {
            choice["stop_text"] = stop_text.into();
        }
    }
    choice
}

impl Form {
    fn whole_object(self) -> &'static str {
        match self {
            Self::Text => "text_completion",
            Self::Chat => "chat.completion",
        }
    }

    fn chunk_object(self) -> &'static str {
        match self {
            Self::Text => "text_completion",
            Self::Chat => "chat.completion.chunk",
        }
    }

    /// What the names of answers begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Text => "cmpl",
            Self::Chat => "chatcmpl",
        }
    }
}

impl Usage {
    fn to_json(self) -> Value {
        let Self { prompt, cached, made } = self;
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": made,
            "total_tokens": prompt + made,
            "prompt_tokens_details": { "cached_tokens": cached },
        })
    }
}

/// A server-sent event. JSON has no line breaks of its own.
fn data(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}
