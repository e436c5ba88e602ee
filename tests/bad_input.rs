//! Every mistake gets one message that says what, where and what to do, exit code 2, and nothing on disk is touched.
//!
//! [`crate::commands::test_dir::TestDir::refused`] holds every command here to all of that but for the words, which the
//! tests give.
//!
//! | module | whose mistake |
//! |---|---|
//! | `texts` | texts to train on, prompts, texts to evaluate |
//! | `recipes` | recipes and `--set` |
//! | `arguments` | devices, threads, options that do not go together, directories |
//! | `damage` | checkpoints that are missing, cut, corrupted or do not fit together |
//! | `values` | numbers out of range, texts that nothing can write, settings that undo each other |
//! | `resumption` | runs that cannot be resumed, or not like that |

mod arguments;
mod damage;
mod recipes;
mod resumption;
mod texts;
mod values;
