//! All tests that need more than one crate, in one binary. Where to find what:
//!
//! | module | what it holds the project to |
//! |---|---|
//! | `equivalence` | one parallel pass = step by step, with the cache and without; the future does not matter |
//! | `proofs` | every proof of `tril prove` holds for every kind of model, or does not apply |
//! | `faults` | each proof can fail: mistakes planted in a twin of the model, one at a time, are found and located |
//! | `properties` | random small configs pass the proofs; `PROPTEST_CASES=5000` tries more of them |
//! | `generation` | the generator: cache or not, overflow, greedy, draws |
//! | `averaging` | the average of weights is what is measured and saved; training is as without it, and resumes to the last bit |
//! | `batches` | sequences that grow together are what they are alone; going on from what is remembered |
//! | `scores` | a token's probability, rank and entropy are those of the logits before it |
//! | `costs` | the routes that `tril cost` compares agree, and are counted pass by pass |
//! | `drafts` | guesses, right or wrong, change nothing that is told of any token |
//! | `verification` | what was generated holds in one parallel pass; what was changed afterwards is found |
//! | `inspection` | what an observer is shown is what the model computes, and looking changes no bit |
//! | `lab` | a row is its prefix problems; without the mask it is not; experiments, probes and routes count as they say |
//! | `learning` | initial loss, learning by heart, micro-batches, dropout, resuming |
//! | `low_rank` | factors have the gradients and the merged weights of their definition; all else keeps its bits |
//! | `muon` | several steps of Muon are those of a small implementation in f64 |
//! | `recomputation` | gradient checkpointing changes no bit; losses that are read late hide no mistake |
//! | `reference` | a trained GPT-2-layout model gives the logits and activations of other implementations |
//! | `reference_training` | gradients of every parameter and ten steps of training are those of PyTorch |
//! | `formats` | models of other tools: what comes in is the same function or is refused, what goes out comes back |
//! | `gpu` | with `--features wgpu`: what is computed there is what the CPU computes, and every command works |
//! | `remote` | with `--features remote`, by hand: a device behind a WebSocket, a broken connection, a wrong peer |
//! | `checkpoints` | what is saved comes back; what is damaged is refused |
//! | `commands` | the binary as a user meets it: train, sample, data, eval, score, prove, cost, bench, resume, Ctrl-C |
//! | `server` | `tril serve` over real connections: the API, equal bits in any company, limits and faults |
//! | `page` | the page: its numbers are the library's, and a browser shows them, live and from a file |
//! | `packaging` | crates can be published: what they embed lies in them, and they say what a registry asks for |
//! | `bad_input` | every mistake gets one message, exit code 2, and nothing is lost |
//!
//! `support` holds small models, devices and the way to the shared data. Tests that need the shared data find it by
//! `TRIL_SHARED`, else beside the repository, and say so when they are skipped.

#![allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests say what they skip")]

mod averaging;
mod bad_input;
mod batches;
mod checkpoints;
mod commands;
mod costs;
mod drafts;
mod equivalence;
mod faults;
mod formats;
mod generation;
#[cfg(feature = "wgpu")]
mod gpu;
mod inspection;
mod lab;
mod learning;
mod low_rank;
mod muon;
mod packaging;
mod page;
mod proofs;
mod properties;
mod recomputation;
mod reference;
mod reference_training;
#[cfg(feature = "remote")]
mod remote;
mod scores;
mod server;
mod support;
mod verification;
