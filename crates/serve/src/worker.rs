//! The thread that owns a model's generator: it takes jobs, begins with their texts as places fall free, and tells each job
//! what happens to it. Between any two steps it looks at what it is told, so that a text whose reader has left is gone within a
//! token.

mod admission;
mod failure;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tril::infer::PromptScorer;
use tril::model::{Gpt, memory};
use tril::{
    ComputeDevice, Draft, DraftTally, FinishReason, GeneratedText, Model, ReceiptRecorder, RequestError, TextEvent,
    TextEventKind, TextGenerator,
};

use crate::ApiError;
use crate::job::{Command, Cutoff, EventSender, Job, JobEvent, JobId};
use crate::metrics::ModelMetrics;
use crate::options::Limits;
use crate::prefix_store::PrefixStore;
use failure::{of_model, stopping};

/// A shorter prompt is computed sooner than its keys and values are copied.
const MIN_KEPT_PROMPT: usize = 16;

/// How often a worker looks whether slow readers have caught up, where it has nothing else to do.
const GLANCE: Duration = Duration::from_millis(5);

/// What a worker works with.
pub struct Worker {
    model: Model,
    sha256: String,
    device: ComputeDevice,
    limits: Limits,
    metrics: Arc<ModelMetrics>,
    commands: Receiver<Command>,
    generator: TextGenerator,
    /// What guesses next tokens, if anything does.
    draft: Option<Draft>,
    /// How the generator's guesses had fared when they were last counted.
    counted: DraftTally,
    prefixes: PrefixStore<Arc<Gpt>>,
    jobs: BTreeMap<JobId, ActiveJob>,
    /// Jobs of which some text has not begun, in turn.
    waiting: VecDeque<JobId>,
    /// Prompts that are being scored before their texts begin.
    scoring: VecDeque<(Place, PromptScorer)>,
    /// Texts in work, by their numbers in the generator.
    running: BTreeMap<usize, Place>,
    /// Those of them that wait for their readers.
    paused: BTreeSet<usize>,
    is_stopping: bool,
}

/// A text of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    job: JobId,
    choice: usize,
}

/// A job that was taken on.
struct ActiveJob {
    job: Job,
    events: EventSender,
    /// The first text that has not begun.
    next: usize,
    /// Texts that have not finished.
    left: usize,
    recorder: Option<ReceiptRecorder>,
    has_token: bool,
    cutoff: Option<Cutoff>,
}

/// Whether there is work.
enum Load {
    /// A step can be taken.
    Work,
    /// Readers are behind.
    Behind,
    /// Nothing is asked for.
    Idle,
}

impl Worker {
    /// A worker for a model.
    ///
    /// - sha256: of the weights, as they were read
    pub fn new(
        model: Model,
        sha256: String,
        device: ComputeDevice,
        limits: &Limits,
        metrics: Arc<ModelMetrics>,
        commands: Receiver<Command>,
    ) -> Self {
        let prefixes = PrefixStore::new(limits.prefix_bytes, memory::cache_bytes(model.config()));
        Self {
            generator: generator(&model, None),
            draft: None,
            counted: DraftTally::default(),
            prefixes,
            model,
            sha256,
            device,
            limits: limits.clone(),
            metrics,
            commands,
            jobs: BTreeMap::new(),
            waiting: VecDeque::new(),
            scoring: VecDeque::new(),
            running: BTreeMap::new(),
            paused: BTreeSet::new(),
            is_stopping: false,
        }
    }

    /// Works until nobody can ask for anything any more. A panic ends the jobs at hand, and those alone.
    pub fn work(mut self) {
        while catch_unwind(AssertUnwindSafe(|| self.serve())).is_err() {
            // Whoever waits sees the end of the channel.
            self.jobs.clear();
            self.waiting.clear();
            self.scoring.clear();
            self.running.clear();
            self.paused.clear();
            self.begin_anew();
            self.count();
        }
    }

    /// A generator without a text.
    fn begin_anew(&mut self) {
        self.generator = generator(&self.model, self.draft.as_ref());
        self.counted = DraftTally::default();
    }

    fn serve(&mut self) {
        while self.listen() {
            self.end_late_jobs();
            self.wake();
            self.admit();
            self.score();
            self.count();
            self.generator.advance();
            while let Some(event) = self.generator.take_event() {
                match event {
                    Ok(event) => self.tell(event),
                    Err(error) => self.fail(error),
                }
            }
        }
    }

    /// Counts what there is, does what it is told; waits to be told something where there is nothing to do. False once nobody is left to tell it.
    fn listen(&mut self) -> bool {
        self.count();
        let first = match self.load() {
            Load::Work => None,
            Load::Behind => match self.commands.recv_timeout(GLANCE) {
                Err(RecvTimeoutError::Disconnected) => return false,
                received => received.ok(),
            },
            Load::Idle => match self.commands.recv() {
                Ok(command) => Some(command),
                Err(_) => return false,
            },
        };
        first.into_iter().for_each(|command| self.follow(command));
        while let Ok(command) = self.commands.try_recv() {
            self.follow(command);
        }
        true
    }

    fn load(&self) -> Load {
        let is_free = self.places() > 0 && !self.waiting.is_empty();
        if is_free || !self.scoring.is_empty() || self.running.len() > self.paused.len() {
            Load::Work
        } else if self.jobs.is_empty() {
            Load::Idle
        } else {
            Load::Behind
        }
    }

    fn follow(&mut self, command: Command) {
        match command {
            Command::Submit { id, job, events, reply } => {
                let taken = self.check_room(&job);
                if taken.is_ok() {
                    self.take(id, *job, events);
                }
                // If nobody waits for the reply, it is abandoned next.
                let _ = reply.send(taken);
            }
            Command::Abandon(id) => {
                if self.jobs.remove(&id).is_some() {
                    self.metrics.abandoned.fetch_add(1, Ordering::Relaxed);
                    self.drop_texts(id);
                }
            }
            Command::Guess(draft) => {
                self.draft = Some(draft);
                self.begin_anew();
            }
            Command::Stop => {
                self.is_stopping = true;
                let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
                jobs.into_iter().for_each(|id| self.cut(id, Cutoff::Shutdown));
            }
        }
    }

    /// Places in the batch that are free. A text that waits for its reader takes none, as long as there is memory for it.
    fn places(&self) -> usize {
        let texts = self.running.len() + self.scoring.len();
        let room = self.limits.max_texts().saturating_sub(texts);
        room.min(self.limits.max_batch.get().saturating_sub(texts - self.paused.len()))
    }

    fn check_room(&self, job: &Job) -> Result<(), ApiError> {
        if self.is_stopping {
            return Err(stopping());
        }
        let begins_at_once = self.waiting.is_empty() && job.choices() <= self.places();
        if begins_at_once || self.waiting.len() < self.limits.queue {
            return Ok(());
        }
        self.metrics.refused.fetch_add(1, Ordering::Relaxed);
        Err(ApiError::busy(self.waiting.len()))
    }

    fn take(&mut self, id: JobId, job: Job, events: EventSender) {
        self.metrics.requests.fetch_add(1, Ordering::Relaxed);
        let prompt_tokens: usize = job.prompts.iter().map(|prompt| prompt.ids.len()).sum();
        self.metrics.prompt_tokens.fetch_add(prompt_tokens as u64, Ordering::Relaxed);
        let recorder = job.receipt.then(ReceiptRecorder::default);
        let left = job.choices();
        self.jobs.insert(id, ActiveJob { job, events, next: 0, left, recorder, has_token: false, cutoff: None });
        self.waiting.push_back(id);
    }

    /// Gives up what there is of a job in work.
    fn drop_texts(&mut self, id: JobId) {
        self.waiting.retain(|job| *job != id);
        self.scoring.retain(|(place, _)| place.job != id);
        let numbers: Vec<usize> = self.running_of(id).collect();
        for number in numbers {
            self.generator.remove(number);
            self.running.remove(&number);
            self.paused.remove(&number);
        }
    }

    fn running_of(&self, id: JobId) -> impl Iterator<Item = usize> {
        self.running.iter().filter(move |(_, place)| place.job == id).map(|(number, _)| *number)
    }

    /// Ends a job where it is. Texts that have begun finish; if some have not, the job fails.
    fn cut(&mut self, id: JobId, cutoff: Cutoff) {
        let Some(active) = self.jobs.get_mut(&id) else { return };
        active.cutoff = Some(cutoff);
        if active.next < active.job.choices() || self.scoring.iter().any(|(place, _)| place.job == id) {
            self.end(id, JobEvent::Failed(cutoff.into_error()));
            return;
        }
        let numbers: Vec<usize> = self.running_of(id).collect();
        numbers.into_iter().for_each(|number| {
            self.generator.interrupt(number);
        });
    }

    fn end_late_jobs(&mut self) {
        if self.jobs.values().all(|active| active.job.deadline.is_none()) {
            return;
        }
        let now = Instant::now();
        let is_late =
            |active: &ActiveJob| active.cutoff.is_none() && active.job.deadline.is_some_and(|deadline| deadline <= now);
        let late: Vec<JobId> = self.jobs.iter().filter(|(_, active)| is_late(active)).map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.cut(id, Cutoff::TimeLimit));
    }

    /// Goes on with texts whose readers have caught up, as places fall free.
    fn wake(&mut self) {
        let mut places = self.limits.max_batch.get().saturating_sub(self.running.len() - self.paused.len());
        let (generator, running, jobs) = (&mut self.generator, &self.running, &self.jobs);
        self.paused.retain(|number| {
            let active = running.get(number).and_then(|place| jobs.get(&place.job));
            let wakes = places > 0 && active.is_none_or(|active| active.events.has_caught_up());
            if wakes {
                places -= 1;
                generator.resume(*number);
            }
            !wakes
        });
    }

    fn tell(&mut self, event: TextEvent) {
        let number = event.request;
        let Some(&place) = self.running.get(&number) else { return };
        let Some(active) = self.jobs.get_mut(&place.job) else { return };
        if let Some(recorder) = &mut active.recorder {
            recorder.record(&event);
        }
        match event.kind {
            TextEventKind::Token(token) => {
                self.metrics.tokens.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut active.has_token, true) {
                    self.metrics.first_token.observe(active.job.arrival.elapsed());
                }
                // A window's cache cannot be taken back far from the end of a text: its prompt is kept by itself.
                let prompt = &active.job.prompts[place.choice / active.job.samples];
                if token.position == prompt.ids.len()
                    && prompt.ids.len() >= MIN_KEPT_PROMPT
                    && self.model.config().window().is_some()
                    && let Some(prefix) = self.generator.prefix_cache(number)
                {
                    self.prefixes.keep(prefix, self.model.gpt());
                }
                active.events.send(JobEvent::Token(place.choice, token));
                if active.events.is_behind() && self.paused.insert(number) {
                    self.generator.pause(number);
                }
            }
            TextEventKind::Text(text) => active.events.send(JobEvent::Text(place.choice, text)),
            TextEventKind::Hidden(_) => {}
            TextEventKind::Finished(mut text) => {
                self.running.remove(&number);
                self.paused.remove(&number);
                if let Some(prefix) = text.prefix_cache.take() {
                    self.prefixes.keep(prefix, self.model.gpt());
                }
                self.finish(place, text);
            }
        }
    }

    fn finish(&mut self, place: Place, text: Box<GeneratedText>) {
        let Some(active) = self.jobs.get_mut(&place.job) else { return };
        let cutoff = active.cutoff.filter(|_| text.finish == FinishReason::Interrupted);
        active.events.send(JobEvent::Finished(place.choice, text, cutoff));
        active.left -= 1;
        if active.left > 0 {
            return;
        }
        let recorder = active.recorder.take();
        if let Some(recorder) = recorder {
            match recorder.into_receipt_of(&self.model, self.sha256.clone(), &self.device) {
                Ok(receipt) => active.events.send(JobEvent::Receipt(Box::new(receipt))),
                Err(error) => return self.end(place.job, JobEvent::Failed(of_model(&error))),
            }
        }
        self.end(place.job, JobEvent::Done);
    }

    /// A text that could not be made ends its job.
    fn fail(&mut self, error: RequestError) {
        if let Some(place) = self.running.remove(&error.request) {
            self.paused.remove(&error.request);
            self.end(place.job, JobEvent::Failed(of_model(&error.source)));
        }
    }

    /// Tells a job its last event, and gives up what is left of it.
    fn end(&mut self, id: JobId, last: JobEvent) {
        if let Some(active) = self.jobs.remove(&id) {
            active.events.send(last);
            self.metrics.duration.observe(active.job.arrival.elapsed());
            self.drop_texts(id);
        }
    }

    fn count(&mut self) {
        let ModelMetrics { running, waiting, paused, prefixes, guesses, kept, .. } = &*self.metrics;
        running.store(self.running.len() + self.scoring.len(), Ordering::Relaxed);
        waiting.store(self.waiting.len(), Ordering::Relaxed);
        paused.store(self.paused.len(), Ordering::Relaxed);
        prefixes.store(self.prefixes.len(), Ordering::Relaxed);
        let tally = self.generator.draft_tally();
        guesses.fetch_add(tally.guesses - self.counted.guesses, Ordering::Relaxed);
        kept.fetch_add(tally.kept - self.counted.kept, Ordering::Relaxed);
        self.counted = tally;
    }
}

/// The worker decides how many go together.
fn generator(model: &Model, draft: Option<&Draft>) -> TextGenerator {
    let generator = model.generator().with_batch_size(std::num::NonZeroUsize::MAX);
    match draft {
        Some(draft) => generator.with_draft(draft),
        None => generator,
    }
}
