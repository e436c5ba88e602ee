//! What a server counts, as Prometheus reads it.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What one model has done.
#[derive(Debug, Default)]
pub struct ModelMetrics {
    /// Requests that were taken on.
    pub requests: AtomicU64,
    /// Requests that were turned away because too many waited.
    pub refused: AtomicU64,
    /// Requests whose client left before their end.
    pub abandoned: AtomicU64,
    /// Texts in work.
    pub running: AtomicUsize,
    /// Requests of which some text has not begun.
    pub waiting: AtomicUsize,
    /// Texts that wait for a slow reader.
    pub paused: AtomicUsize,
    /// Tokens of prompts.
    pub prompt_tokens: AtomicU64,
    /// Those of them that an earlier text had left.
    pub cached_tokens: AtomicU64,
    /// Tokens that were made.
    pub tokens: AtomicU64,
    /// Tokens that were guessed and checked.
    pub guesses: AtomicU64,
    /// Those of them that were right.
    pub kept: AtomicU64,
    /// Texts whose keys and values are kept.
    pub prefixes: AtomicUsize,
    /// From a request's arrival to its first token.
    pub first_token: Histogram,
    /// From a request's arrival to its end.
    pub duration: Histogram,
}

/// Bounds of a histogram's buckets, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];

/// How many times were so long at most.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    microseconds: AtomicU64,
}

impl Histogram {
    /// Counts one more.
    pub fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(bucket) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, label: &str) {
        let mut sum = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            sum += bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{{label},le=\"{bound}\"}} {sum}");
        }
        let count = self.count.load(Ordering::Relaxed);
        let _ = writeln!(text, "{name}_bucket{{{label},le=\"+Inf\"}} {count}");
        let seconds = self.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "{name}_sum{{{label}}} {seconds}\n{name}_count{{{label}}} {count}");
    }
}

/// How a number of [`ModelMetrics`] is found.
type Read = fn(&ModelMetrics) -> u64;

/// How a histogram of [`ModelMetrics`] is found.
type ReadTimes = fn(&ModelMetrics) -> &Histogram;

/// All numbers: name, kind, what it is, where it is.
const NUMBERS: [(&str, &str, &str, Read); 12] = [
    ("tril_requests_total", "counter", "Requests that were taken on.", |m| m.requests.load(Ordering::Relaxed)),
    ("tril_requests_refused_total", "counter", "Requests turned away by a full queue.", |m| {
        m.refused.load(Ordering::Relaxed)
    }),
    ("tril_requests_abandoned_total", "counter", "Requests whose client left before their end.", |m| {
        m.abandoned.load(Ordering::Relaxed)
    }),
    ("tril_texts_running", "gauge", "Texts in work.", |m| m.running.load(Ordering::Relaxed) as u64),
    ("tril_texts_paused", "gauge", "Texts in work that wait for a slow reader.", |m| {
        m.paused.load(Ordering::Relaxed) as u64
    }),
    ("tril_requests_waiting", "gauge", "Requests of which some text has not begun.", |m| {
        m.waiting.load(Ordering::Relaxed) as u64
    }),
    ("tril_prompt_tokens_total", "counter", "Tokens of prompts.", |m| m.prompt_tokens.load(Ordering::Relaxed)),
    ("tril_prompt_tokens_cached_total", "counter", "Tokens of prompts that were not computed again.", |m| {
        m.cached_tokens.load(Ordering::Relaxed)
    }),
    ("tril_tokens_total", "counter", "Tokens that were made.", |m| m.tokens.load(Ordering::Relaxed)),
    ("tril_draft_tokens_total", "counter", "Tokens that were guessed and checked.", |m| {
        m.guesses.load(Ordering::Relaxed)
    }),
    ("tril_draft_tokens_kept_total", "counter", "Guessed tokens that were right.", |m| m.kept.load(Ordering::Relaxed)),
    ("tril_prefixes_kept", "gauge", "Texts whose keys and values are kept.", |m| {
        m.prefixes.load(Ordering::Relaxed) as u64
    }),
];

/// Both histograms: name, what it is, where it is.
const TIMES: [(&str, &str, ReadTimes); 2] = [
    ("tril_first_token_seconds", "From a request's arrival to its first token.", |m| &m.first_token),
    ("tril_request_seconds", "From a request's arrival to its end.", |m| &m.duration),
];

/// What all models have done, each by its name.
pub fn prometheus<'a>(models: impl Iterator<Item = (&'a str, &'a ModelMetrics)> + Clone) -> String {
    let mut text = String::new();
    let label =
        |name: &str| format!("model=\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    for (name, kind, help, read) in NUMBERS {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (model, metrics) in models.clone() {
            let _ = writeln!(text, "{name}{{{}}} {}", label(model), read(metrics));
        }
    }
    for (name, help, histogram) in TIMES {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (model, metrics) in models.clone() {
            histogram(metrics).write(&mut text, name, &label(model));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_all_that_took_no_longer_and_names_are_escaped() {
        let metrics = ModelMetrics::default();
        metrics.tokens.store(7, Ordering::Relaxed);
        for milliseconds in [3, 40, 400_000] {
            metrics.duration.observe(Duration::from_millis(milliseconds));
        }
        let text = prometheus([("a\"b", &metrics)].into_iter());
        for line in [
            "tril_tokens_total{model=\"a\\\"b\"} 7",
            "tril_request_seconds_bucket{model=\"a\\\"b\",le=\"0.001\"} 0",
            "tril_request_seconds_bucket{model=\"a\\\"b\",le=\"0.005\"} 1",
            "tril_request_seconds_bucket{model=\"a\\\"b\",le=\"300\"} 2",
            "tril_request_seconds_bucket{model=\"a\\\"b\",le=\"+Inf\"} 3",
            "tril_request_seconds_sum{model=\"a\\\"b\"} 400.043",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing in\n{text}");
        }
    }
}
