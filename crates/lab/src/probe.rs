//! What a model's working does: the same problem with the working as the model writes it, changed, cut short, or of another
//! problem, and what becomes of the answer. The model is given token ids each time and writes the rest itself.

use std::sync::Arc;

use rand::RngExt;
use serde::Serialize;
use tril::{FinishReason, Model, TextEventKind, TextGenerator, Tokenizer};
use tril_model::random::{self, Purpose};
use tril_model::{ForwardContext, Gpt};
use tril_text::HiddenParts;
use tril_train::TrainError;

use crate::experiment::request;
use crate::mended::{SPARE, without_mistakes};
use crate::{Format, LabError, LabModelInfo, Problem, WORKING_MARKERS, ask, is_right};

/// A probe of one problem.
#[derive(Debug, Clone, Serialize)]
pub struct ProbeReport {
    /// What the model was trained on.
    pub info: LabModelInfo,
    /// The problem.
    pub problem: Problem,
    /// What the model writes by itself after the prompt.
    pub completion: String,
    /// Whether its answer is right.
    pub right: bool,
    /// How probable the true answer is after so much of the model's working, if the working ended there.
    pub steps: Vec<WorkingStep>,
    /// The answer with other workings.
    pub changes: Vec<ChangedWorking>,
    /// The same tokens, once shown and once with the working hidden.
    pub hidden: HiddenWorking,
}

/// The working up to some token.
#[derive(Debug, Clone, Serialize)]
pub struct WorkingStep {
    /// Its characters so far; each is a token.
    pub working: String,
    /// ln p of the true answer and the end of the text, given the prompt, this working and the closing bracket.
    pub answer_logprob: f64,
}

/// A working that the model did not write so.
#[derive(Debug, Clone, Serialize)]
pub struct ChangedWorking {
    /// What was done to it.
    pub change: Change,
    /// What stands after the prompt before the model goes on.
    pub given: String,
    /// All that stands after the prompt in the end.
    pub completion: String,
    /// The answer, if it states one.
    pub answer: Option<String>,
    /// Whether it is the true one.
    pub right: bool,
}

/// What was done to a working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// One digit is another, all the rest stands, and the model writes the answer.
    DigitInPlace,
    /// One digit is another, and the model goes on from there.
    DigitAndOn,
    /// It ends half-way, and the model writes the answer.
    CutShort,
    /// It is that of another problem of the same length, and the model writes the answer.
    OfAnother,
}

/// The display and the tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HiddenWorking {
    /// What is shown of question and answer.
    pub shown: String,
    /// How many of the tokens are not shown.
    pub hidden_tokens: usize,
    /// All tokens that were generated.
    pub tokens: usize,
    /// Whether they are those that were generated with everything shown.
    pub same_tokens: bool,
}

/// Many held-out problems at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CorrectionReport {
    /// How many problems.
    pub problems: usize,
    /// The model's own working was right, and its answer too.
    pub both_right: usize,
    /// Its working was right, its answer wrong.
    pub answer_wrong: usize,
    /// Its working was wrong, its answer right all the same.
    pub working_wrong: usize,
    /// Both were wrong.
    pub both_wrong: usize,
    /// One digit of each right working was changed and the rest left standing: the answer was right all the same.
    pub in_place_right: usize,
    /// One digit of each right working was changed and the model went on from there: the answer was right all the same.
    pub and_on_right: usize,
    /// How many workings were changed.
    pub changed: usize,
}

/// Probes one problem.
///
/// # Errors
/// [`LabError::NotOfTheLab`] for a model that the lab did not save, [`LabError::Setting`] for one that writes no working,
/// [`LabError::Problem`] for what is no problem of its task.
pub fn probe(model: &Model, text: &str) -> Result<ProbeReport, LabError> {
    let info = working_info(model)?;
    let (gpt, tokenizer, format) = (model.gpt(), model.tokenizer(), info.format);
    let problem = info.task.parse(text)?;
    let completion = ask(gpt, tokenizer, &info, std::slice::from_ref(&problem))?.remove(0);
    let own = format.read(&completion).map_or(problem.working.as_str(), |(working, _)| working).to_owned();
    let mut steps = Vec::new();
    for end in 0..=own.len() {
        let Some(working) = own.get(..end) else { continue };
        let answer_logprob = answer_logprob(gpt, tokenizer, &info, &problem, working)?;
        steps.push(WorkingStep { working: working.to_owned(), answer_logprob });
    }
    let (open, close) = WORKING_MARKERS;
    let mut given = Vec::new();
    for place in digit_places(&own) {
        let changed = with_other_digit(&own, place);
        given.push((Change::DigitInPlace, format!("{open}{changed}{close}")));
        given.push((Change::DigitAndOn, format!("{open}{}", &changed[..=place])));
    }
    given.push((Change::CutShort, format!("{open}{}{close}", &own[..own.len() / 2])));
    let others = info.task.held_out(info.seed, problem.length, 2);
    if let Some(other) = others.iter().find(|other| other.question != problem.question) {
        given.push((Change::OfAnother, format!("{open}{}{close}", other.working)));
    }
    let pairs: Vec<(&Problem, String)> = given.iter().map(|(_, given)| (&problem, given.clone())).collect();
    let completions = go_on(gpt, tokenizer, &info, &pairs)?;
    let changes = given.into_iter().zip(completions).map(|((change, given), completion)| ChangedWorking {
        change,
        given,
        answer: format.read(&completion).map(|(_, answer)| answer),
        right: is_right(format, &problem, &completion),
        completion,
    });
    let changes = changes.collect();
    let hidden = hide(model, &info, &problem)?;
    Ok(ProbeReport {
        right: is_right(format, &problem, &completion),
        info,
        completion,
        steps,
        changes,
        hidden,
        problem,
    })
}

/// How often a wrong working still ends in a right answer, over held-out problems of all lengths.
///
/// - count: problems of each length
///
/// # Errors
/// As [`probe`].
pub fn correction(model: &Model, count: usize) -> Result<CorrectionReport, LabError> {
    let info = working_info(model)?;
    let (gpt, tokenizer, format) = (model.gpt(), model.tokenizer(), info.format);
    let lengths = info.task.lengths();
    let problems: Vec<Problem> =
        lengths.iter().flat_map(|length| info.task.held_out(info.seed, *length, count)).collect();
    let mut report = CorrectionReport {
        problems: problems.len(),
        both_right: 0,
        answer_wrong: 0,
        working_wrong: 0,
        both_wrong: 0,
        in_place_right: 0,
        and_on_right: 0,
        changed: 0,
    };
    let (open, close) = WORKING_MARKERS;
    let (mut in_place, mut and_on) = (Vec::new(), Vec::new());
    for (number, (problem, completion)) in problems.iter().zip(ask(gpt, tokenizer, &info, &problems)?).enumerate() {
        let expected = format.completion(problem);
        let expected = format.read(&expected).map(|(working, _)| working);
        let found = format.read(&completion).map(|(working, _)| working);
        // What was taken back is no part of it.
        let right_working = found.is_some() && found.map(without_mistakes) == expected.map(without_mistakes);
        match (right_working, is_right(format, problem, &completion)) {
            (true, true) => report.both_right += 1,
            (true, false) => report.answer_wrong += 1,
            (false, true) => report.working_wrong += 1,
            (false, false) => report.both_wrong += 1,
        }
        let places = digit_places(found.unwrap_or_default());
        if let (true, Some(working), false) = (right_working, found, places.is_empty()) {
            let mut rng = random::generator(info.seed, Purpose::Problem, u64::MAX - 3, number as u64, 0);
            let place = places[rng.random_range(0..places.len())];
            let changed = with_other_digit(working, place);
            in_place.push((problem, format!("{open}{changed}{close}")));
            and_on.push((problem, format!("{open}{}", &changed[..=place])));
        }
    }
    let rights = |given: &[(&Problem, String)]| -> Result<usize, LabError> {
        let completions = go_on(gpt, tokenizer, &info, given)?;
        let right = |((problem, _), completion): &(&(&Problem, String), String)| is_right(format, problem, completion);
        Ok(given.iter().zip(completions).filter(right).count())
    };
    report.changed = in_place.len();
    report.in_place_right = rights(&in_place)?;
    report.and_on_right = rights(&and_on)?;
    Ok(report)
}

/// What the lab knows of a model that writes something between brackets.
fn working_info(model: &Model) -> Result<LabModelInfo, LabError> {
    let info = LabModelInfo::of(model)?;
    match info.format {
        Format::Worked | Format::Mended | Format::Filler => Ok(info),
        Format::Direct | Format::Reversed | Format::AnswerReversed => Err(LabError::Setting(format!(
            "{}: a model of the format {} writes no working to probe; name one of the format worked or filler",
            model.path().display(),
            info.format.name()
        ))),
    }
}

/// Where a working has digits.
fn digit_places(working: &str) -> Vec<usize> {
    working.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()).map(|(place, _)| place).collect()
}

/// The working with another digit at one place: 0 and 1 change places, others become one more, 9 becomes 8.
fn with_other_digit(working: &str, place: usize) -> String {
    let other = |(index, character): (usize, char)| match character {
        _ if index != place => character,
        '0' => '1',
        '1' => '0',
        '9' => '8',
        digit => char::from(digit as u8 + 1),
    };
    working.chars().enumerate().map(other).collect()
}

/// ln p of the true answer and the end of the text after a working.
fn answer_logprob(
    gpt: &Gpt,
    tokenizer: &Tokenizer,
    info: &LabModelInfo,
    problem: &Problem,
    working: &str,
) -> Result<f64, LabError> {
    let (open, close) = WORKING_MARKERS;
    let before = format!("{}{open}{working}{close}", info.format.prompt(problem));
    let mut ids = request(tokenizer, &info.task, &before, 0)?.prompt_ids;
    let begin = ids.len() - 1;
    ids.extend(tokenizer.encode_document(&problem.answer)?);
    let [inputs, targets] = [&ids[..ids.len() - 1], &ids[1..]].map(|ids| gpt.inputs(ids, 1));
    let losses = gpt.losses(inputs, targets, ForwardContext::default()).losses;
    let losses = losses.try_into_vec_as::<f32>().map_err(TrainError::device)?;
    Ok(0.0 - losses[begin..].iter().map(|loss| f64::from(*loss)).sum::<f64>())
}

/// All that stands after each problem's prompt once a model has gone on from what is given there.
pub(crate) fn go_on(
    gpt: &Arc<Gpt>,
    tokenizer: &Arc<Tokenizer>,
    info: &LabModelInfo,
    given: &[(&Problem, String)],
) -> Result<Vec<String>, LabError> {
    let mut generator = TextGenerator::new(Arc::clone(gpt), Arc::clone(tokenizer));
    for (problem, given) in given {
        let prompt = info.format.prompt(problem) + given;
        let most = info.format.completion(problem).len() + SPARE;
        generator.add(request(tokenizer, &info.task, &prompt, most)?)?;
    }
    let mut texts: Vec<String> = given.iter().map(|(_, given)| given.clone()).collect();
    for event in generator {
        let event = event?;
        match event.kind {
            TextEventKind::Text(more) => texts[event.request].push_str(&more),
            TextEventKind::Finished(finished) if finished.finish != FinishReason::EndOfText => {
                // What has no end has no answer.
                texts[event.request].push('…');
            }
            _ => {}
        }
    }
    Ok(texts)
}

/// The same problem twice, once with the working hidden from the display.
fn hide(model: &Model, info: &LabModelInfo, problem: &Problem) -> Result<HiddenWorking, LabError> {
    let format = info.format;
    let most = format.completion(problem).len() + 1;
    let plain = request(model.tokenizer(), &info.task, &format.prompt(problem), most)?;
    let mut hiding = plain.clone();
    hiding.hidden = HiddenParts::new([WORKING_MARKERS]).map_err(tril::Error::from)?;
    let (plain, hiding) = (model.generate(plain)?, model.generate(hiding)?);
    let ids = |completion: &tril::Completion| -> Vec<u32> {
        completion.tokens.iter().map(|token| token.sampled.token).collect()
    };
    Ok(HiddenWorking {
        shown: format!("{}{}", format.prompt(problem), hiding.text),
        hidden_tokens: hiding.generated.hidden_tokens,
        tokens: hiding.generated.tokens,
        same_tokens: ids(&plain) == ids(&hiding),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_digit_becomes_another_and_nothing_else_does() {
        assert_eq!(digit_places("75:12,8"), [0, 1, 3, 4, 6]);
        let changed: Vec<String> = [0, 3, 4].map(|place| with_other_digit("95:10", place)).to_vec();
        assert_eq!(changed, ["85:10", "95:00", "95:11"]);
        assert!(digit_places("....").is_empty());
    }
}
