//! Problems asked of a model, and what it answers.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tril::{FinishReason, GenerateOptions, GenerateRequest, SamplerConfig, TextEventKind, TextGenerator, Tokenizer};
use tril_model::Gpt;

use super::LengthScore;
use crate::mended::SPARE;
use crate::{Format, LabError, LabModelInfo, Layout, Problem, Task};

/// Texts that are made together; it changes the time and nothing else.
const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// Asks held-out problems of each length.
pub(super) fn score_lengths(
    gpt: &Gpt,
    tokenizer: &Arc<Tokenizer>,
    info: &LabModelInfo,
    count: usize,
) -> Result<Vec<LengthScore>, LabError> {
    let lengths = info.task.lengths();
    let problems: Vec<Problem> =
        lengths.iter().flat_map(|length| info.task.held_out(info.seed, *length, count)).collect();
    let answers = ask(gpt, tokenizer, info, &problems)?;
    let mut scores: Vec<LengthScore> =
        lengths.iter().map(|length| LengthScore { length: *length, correct: 0, asked: 0 }).collect();
    for (problem, answer) in problems.iter().zip(answers) {
        for score in scores.iter_mut().filter(|score| score.length == problem.length) {
            score.asked += 1;
            score.correct += usize::from(is_right(info.format, problem, &answer));
        }
    }
    Ok(scores)
}

/// Whether what a model wrote after a prompt states the right answer and nothing after it.
pub fn is_right(format: Format, problem: &Problem, completion: &str) -> bool {
    format.read(completion).is_some_and(|(_, answer)| answer == problem.answer)
}

/// What a model writes after each problem's prompt when it always takes the most probable token; empty where it did not
/// end its text itself. The generator is given ids and makes ids: what of them is working and what answer, it does not
/// know.
///
/// # Errors
/// [`LabError::Tril`].
pub fn ask(
    gpt: &Gpt,
    tokenizer: &Arc<Tokenizer>,
    info: &LabModelInfo,
    problems: &[Problem],
) -> Result<Vec<String>, LabError> {
    let format = info.format;
    let mut generator = TextGenerator::new(Arc::new(gpt.clone()), Arc::clone(tokenizer)).with_batch_size(BATCH_SIZE);
    for problem in problems {
        let most = format.completion(problem).len() + SPARE;
        generator.add(request(tokenizer, &info.task, &format.prompt(problem), most)?)?;
    }
    let mut texts = vec![String::new(); problems.len()];
    for event in generator {
        let event = event?;
        match event.kind {
            TextEventKind::Text(more) => texts[event.request].push_str(&more),
            TextEventKind::Finished(finished) if finished.finish != FinishReason::EndOfText => {
                texts[event.request].clear();
            }
            _ => {}
        }
    }
    Ok(texts)
}

/// A request to continue a problem's text greedily, with what stands before it in training.
///
/// # Errors
/// [`LabError::Tril`] for a text that the tokenizer cannot write.
pub fn request(
    tokenizer: &Tokenizer,
    task: &Task,
    prompt: &str,
    max_tokens: usize,
) -> Result<GenerateRequest, LabError> {
    let mut request = GenerateRequest::new(prompt, tokenizer)?;
    if task.layout() == Layout::Stream {
        request.prompt_ids.splice(0..0, tokenizer.end_of_text());
    }
    let sampler = SamplerConfig { temperature: 0.0, ..SamplerConfig::default() };
    request.options = GenerateOptions { sampler, max_tokens, ..request.options };
    Ok(request)
}
