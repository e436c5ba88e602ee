//! The binary as a user meets it: train, sample, data, verify, eval, score, prove, cost, bench, resume, Ctrl-C. What it refuses
//! is in `bad_input`.
//!
//! | module | what it holds the binary to |
//! |---|---|
//! | `test_dir` | no tests: a working directory, the binary in it, and one small run that is trained once |
//! | `training` | what `train` prints and leaves behind |
//! | `divergence` | a run whose numbers are no numbers any more stops, and what was saved is safe |
//! | `bits` | the hashes that `train` prints: what they are of, and what they do not depend on |
//! | `documents` | what a document is, and that training and `eval` measure the same whatever it is |
//! | `fine_tuning` | runs that begin from a model: what they keep of it, by all weights and by low-rank factors |
//! | `metrics_files` | metrics in other forms, and runs that end when they learn no more |
//! | `foreign` | tokenizer files of others: what they cannot write is told, continuations are written as one |
//! | `encodings` | texts with marks, in UTF-16, packed, through pipes and links: the same run; what is none is named |
//! | `data` | what `data` counts of a text, and that what it proposes can be run |
//! | `fetching` | corpora by name, and what `data fetch` does where a source, a network or a disk fails |
//! | `file_server` | no tests: a server that does what they tell it to |
//! | `large` | texts that are read in parts and kept as tokens end in the bits of texts in memory |
//! | `resuming` | a run that was stopped or killed ends in the same bytes as one that ran through |
//! | `sampling` | what `sample` prints |
//! | `tracing` | the steps that `sample --trace` shows |
//! | `verifying` | that receipts hold, and which are refused |
//! | `forging` | that what is changed or invented in a receipt is found |
//! | `grading` | what `verify` says of a text without a receipt |
//! | `guessing` | `--draft` changes no text, trace or receipt, and what cannot guess is refused |
//! | `hiding` | what `sample --hide` does not show, and that it changes nothing else |
//! | `chatting` | what `chat` answers, what its commands change, what it says about mistakes |
//! | `endless` | `sample` past the end of the context, and without an end of its own |
//! | `evaluation` | what `eval` measures |
//! | `held_out` | `eval --split`: the parts of a run's text that it was not trained on |
//! | `scoring` | what `score` shows of each token, in each of its forms |
//! | `proving` | what `prove` shows, and what it does not |
//! | `costing` | what `cost` counts, and that the routes agree |
//! | `essay` | every command of both essays prints what stands there |
//! | `exchanging` | what `import`, `export` and `info` print, keep and refuse |
//! | `experimenting` | what `lab` prints, keeps and refuses |
//! | `terminal` | no tests: a pseudo-terminal, and what stands on its screen in the end |
//! | `screens` | no line is wider than a terminal of 80 or 40 columns; screens that are kept |
//! | `helping` | what `--help`, completions and man pages hold |
//! | `rounding` | models with `--weights bf16` and `int8`: one function by every route, what it costs, what is refused |
//! | `benching` | what `bench` measures, however fast that is |

mod benching;
mod bits;
mod chatting;
mod costing;
mod data;
mod divergence;
mod documents;
mod encodings;
mod endless;
mod essay;
mod evaluation;
mod exchanging;
mod experimenting;
mod fetching;
mod file_server;
mod fine_tuning;
mod foreign;
mod forging;
mod grading;
mod guessing;
mod held_out;
mod helping;
mod hiding;
mod hostile;
mod large;
mod metrics_files;
mod outputs;
mod prompts;
mod proving;
mod resuming;
mod rounding;
mod sampling;
mod scoring;
#[cfg(unix)]
mod screens;
#[cfg(unix)]
mod terminal;
pub mod test_dir;
mod tracing;
mod training;
mod verifying;
