//! Self-correction: a model that was trained on mistakes which are taken back, beside one that never saw a mistake. Each is
//! asked by itself, and made to go on from steps that were given to it.

use std::sync::Arc;

use rand::RngExt;
use serde::Serialize;
use tril::{ComputeDevice, Recipe, TextEventKind, TextGenerator};
use tril_model::GptConfig;
use tril_model::random::{self, Purpose};

use crate::experiment::{TrainedModel, request};
use crate::mended::{SPARE, WAIT, with_last_digit_moved};
use crate::probe::go_on;
use crate::{
    Experiment, Format, KeptModels, LabError, LabObserver, Problem, Task, TaskKind, WORKING_MARKERS, ask, is_right,
};

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct WaitExperiment {
    /// Names first weights and training problems of a run; each of the two formats has one for each.
    pub seeds: Vec<u64>,
    /// Tokens that each run learns from.
    pub tokens: u64,
    /// Held-out problems of each length.
    pub problems: usize,
    /// Model, batches and optimizer.
    pub recipe: Recipe,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct WaitReport {
    /// Tokens that each run learnt from.
    pub tokens: u64,
    /// Parameters of each model.
    pub parameters: usize,
    /// Held-out problems that each was asked in each way.
    pub problems: usize,
    /// A problem in each format.
    pub examples: Vec<(Format, String)>,
    /// All models.
    pub runs: Vec<WaitRun>,
}

/// One model.
#[derive(Debug, Clone, Serialize)]
pub struct WaitRun {
    /// Whether it saw mistakes in training.
    pub format: Format,
    /// Its seed.
    pub seed: u64,
    /// What it did, by what it was given.
    pub counts: Vec<(GivenStep, StepCounts)>,
}

/// What stands after the question before the model goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenStep {
    /// Nothing, and it writes the most probable tokens.
    Nothing,
    /// Nothing, and its tokens are drawn at temperature 1, so that it makes mistakes of its own.
    Drawn,
    /// The working up to some step, all of it right.
    Right,
    /// The same with another last digit in the last step: the mistake that training texts take back.
    WrongDigit,
    /// The same with another carry in the last step: no training text has that mistake.
    WrongCarry,
}

impl GivenStep {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Drawn, Self::Right, Self::WrongDigit, Self::WrongCarry];
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct StepCounts {
    /// Problems.
    pub asked: usize,
    /// The model wrote `wait`: anywhere, or as the next step where a step was given.
    pub waits: usize,
    /// Its answer was right.
    pub right: usize,
}

impl WaitExperiment {
    /// At its full size.
    pub fn new() -> Self {
        let Experiment { seeds, mut recipe, .. } = Experiment::new(TaskKind::Sums);
        // What these models were tried with: their texts are longer, and their tokens more.
        recipe.model.rope_theta = GptConfig::default().rope_theta;
        recipe.train.batch_size = 16;
        Self { seeds, tokens: 3_000_000, problems: 40, recipe }
    }

    /// The same in about a minute.
    pub fn quick() -> Self {
        Self { seeds: vec![1337], tokens: 1_500_000, ..Self::new() }
    }

    /// The models to be trained.
    pub fn experiment(&self) -> Experiment {
        Experiment {
            formats: vec![Format::Worked, Format::Mended],
            seeds: self.seeds.clone(),
            tokens: self.tokens,
            recipe: self.recipe.clone(),
            scorings: 1,
            held_out: self.problems,
            ..Experiment::new(TaskKind::Sums)
        }
    }
}

impl Default for WaitExperiment {
    fn default() -> Self {
        Self::new()
    }
}

/// Trains the models and asks them.
///
/// - out: where each model is saved as a checkpoint
///
/// # Errors
/// As [`Experiment::run`].
pub fn wait(
    experiment: &WaitExperiment,
    out: Option<KeptModels<'_>>,
    device: &ComputeDevice,
    observer: &mut dyn LabObserver,
) -> Result<WaitReport, LabError> {
    let (mut runs, mut problems) = (Vec::new(), 0);
    let mut see = |model: &TrainedModel<'_>| -> Result<(), LabError> {
        let task = &model.info.task;
        let held_out = |length: &usize| task.held_out(model.info.seed, *length, experiment.problems);
        let asked: Vec<Problem> = task.lengths().iter().flat_map(held_out).collect();
        let mut counts = Vec::new();
        for given in GivenStep::ALL {
            counts.push((given, count(model, &asked, given)?));
        }
        problems = asked.len();
        runs.push(WaitRun { format: model.info.format, seed: model.info.seed, counts });
        Ok(())
    };
    let report = experiment.experiment().run_and_see(out, device, observer, &mut see)?;
    // The first that shows the difference.
    let mut shown = Task::Sums.held_out(0, 3, 50).into_iter();
    let shown = shown.find(|problem| Format::Mended.document(problem).contains(WAIT));
    let example = |format: Format| shown.as_ref().map(|problem| (format, format.document(problem)));
    let examples = [Format::Worked, Format::Mended].into_iter().filter_map(example).collect();
    Ok(WaitReport { tokens: report.tokens, parameters: report.parameters, problems, examples, runs })
}

/// Asks one model all problems in one way.
fn count(model: &TrainedModel<'_>, problems: &[Problem], given: GivenStep) -> Result<StepCounts, LabError> {
    let info = model.info;
    let prefixes: Vec<String> =
        problems.iter().enumerate().map(|(number, problem)| prefix(problem, number, given)).collect();
    let completions = match given {
        GivenStep::Nothing => ask(model.gpt, model.tokenizer, info, problems)?,
        GivenStep::Drawn => draw(model, problems)?,
        GivenStep::Right | GivenStep::WrongDigit | GivenStep::WrongCarry => {
            let pairs: Vec<(&Problem, String)> = problems.iter().zip(prefixes.iter().cloned()).collect();
            go_on(&Arc::new(model.gpt.clone()), model.tokenizer, info, &pairs)?
        }
    };
    let mut counts = StepCounts { asked: problems.len(), ..StepCounts::default() };
    for ((problem, prefix), completion) in problems.iter().zip(&prefixes).zip(completions) {
        let own = completion.strip_prefix(prefix.as_str()).unwrap_or(&completion);
        let waits = if prefix.is_empty() { own.contains(WAIT) } else { own.starts_with(&format!(",{WAIT}")) };
        counts.waits += usize::from(waits);
        counts.right += usize::from(is_right(info.format, problem, &completion));
    }
    Ok(counts)
}

/// What a model is given after the question: the same steps of the same problems to all.
fn prefix(problem: &Problem, number: usize, given: GivenStep) -> String {
    let steps: Vec<&str> = problem.working.split(',').collect();
    let mut rng = random::generator(0, Purpose::Problem, u64::MAX - 5, number as u64, 0);
    let place = rng.random_range(0..steps.len());
    let moved = rng.random_range(1..10);
    let last = match given {
        GivenStep::Nothing | GivenStep::Drawn => return String::new(),
        GivenStep::Right => steps[place].to_owned(),
        GivenStep::WrongDigit => with_last_digit_moved(steps[place], moved),
        GivenStep::WrongCarry => with_other_carry(steps[place]),
    };
    let before = steps[..place].iter().map(|step| format!("{step},")).collect::<String>();
    format!("{}{before}{last}", WORKING_MARKERS.0)
}

/// A step with the other one of the two carries that there are.
fn with_other_carry(step: &str) -> String {
    let carry = step.len() - 2;
    let other = if step.as_bytes()[carry] == b'0' { '1' } else { '0' };
    format!("{}{other}{}", &step[..carry], &step[carry + 1..])
}

/// What a model writes when its tokens are drawn, each problem by draws of its own.
fn draw(model: &TrainedModel<'_>, problems: &[Problem]) -> Result<Vec<String>, LabError> {
    let info = model.info;
    let mut generator = TextGenerator::new(Arc::new(model.gpt.clone()), Arc::clone(model.tokenizer));
    for (number, problem) in problems.iter().enumerate() {
        let most = info.format.completion(problem).len() + 2 * SPARE;
        let mut request = request(model.tokenizer, &info.task, &info.format.prompt(problem), most)?;
        request.options.sampler.temperature = 1.0;
        request.options.sampler.seed = info.seed;
        request.options.sample_index = number as u64;
        generator.add(request)?;
    }
    let mut texts = vec![String::new(); problems.len()];
    for event in generator {
        let event = event?;
        if let TextEventKind::Text(more) = event.kind {
            texts[event.request].push_str(&more);
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_the_working_up_to_a_step_which_is_right_or_wrong_in_one_digit() {
        let problem = Task::Sums.parse("487+275").expect("a sum");
        for number in 0..40 {
            let [nothing, drawn, right, digit, carry] = GivenStep::ALL.map(|given| prefix(&problem, number, given));
            assert!(nothing.is_empty() && drawn.is_empty());
            assert!(format!("[{}]", problem.working).starts_with(&right), "{right}");
            for (wrong, from_end) in [(digit, 1), (carry, 2)] {
                let differ: Vec<usize> =
                    (0..right.len()).filter(|at| right.as_bytes()[*at] != wrong.as_bytes()[*at]).collect();
                assert_eq!((wrong.len(), differ), (right.len(), vec![right.len() - from_end]), "{wrong}");
            }
        }
    }
}
