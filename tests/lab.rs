//! The lab: a row is its prefix problems to the last bit, removing the mask is seen and saved nowhere, small experiments come
//! out as they are counted, and a generator is given ids and nothing that tells working from answer.

use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use tril::{ComputeDevice, Corpus, Document, ExistingFiles, HiddenParts, Model, TextEventKind, TextGenerator};
use tril_infer::{BatchGenerator, Event, GenerateOptions, InferError, LanguageModel, SamplerConfig};
use tril_lab::{
    CurvePoint, Experiment, Format, GivenStep, KeptModels, LabModelInfo, LabObserver, Mask, Task, TaskKind, WAIT,
    WORKING_MARKERS, WaitExperiment, attention, correction, is_right, prefix_problems, probe, remove_mask, request,
    routes, tokenizer, wait,
};
use tril_model::{Gpt, GptConfig, KvCache, checkpoint};
use tril_train::StepReport;

use crate::support::*;

/// An observer that counts.
#[derive(Default)]
struct Counts {
    begun: Vec<(Format, u64)>,
    steps: u64,
    scored: Vec<CurvePoint>,
}

impl LabObserver for Counts {
    fn begin(&mut self, format: Format, seed: u64, _steps: u64) {
        self.begun.push((format, seed));
    }
    fn step(&mut self, _report: &StepReport) {
        self.steps += 1;
    }
    fn scored(&mut self, score: &CurvePoint) {
        self.scored.push(*score);
    }
}

fn ids(seq_len: usize, vocab_size: usize) -> Vec<u32> {
    some_ids(1, seq_len, vocab_size).iter().map(|id| *id as u32).collect()
}

/// An experiment of a moment.
fn tiny(kind: TaskKind, formats: &[Format]) -> Experiment {
    let mut experiment = Experiment::quick(kind);
    experiment.formats = formats.to_vec();
    experiment.recipe.model.d_model = 16;
    experiment.recipe.model.n_layers = 1;
    experiment.recipe.train.batch_size = 4;
    experiment.tokens = 2500;
    (experiment.scorings, experiment.held_out, experiment.held_out_before) = (3, 4, 2);
    experiment
}

#[test]
fn a_row_is_its_prefix_problems_to_the_last_bit() {
    for (name, config) in all_configs() {
        let gpt = model(config, &Device::flex());
        let row = ids(14, gpt.config().vocab_size);
        let found = prefix_problems(&gpt, &row).expect("a row");
        assert!(found.equal_bits && found.largest_difference == 0.0, "{name}: {found:?}");
        assert_eq!(found.mean_loss.to_bits(), found.parallel_loss.to_bits(), "{name}");
        assert_eq!(found.problems.len(), 13);
        for (index, problem) in found.problems.iter().enumerate() {
            assert_eq!((problem.context, problem.target), (index + 1, row[index + 1]));
            assert!((problem.probability - (-f64::from(problem.loss)).exp()).abs() < 1e-12);
        }
        let sum: f64 = found.problems.iter().map(|problem| f64::from(problem.loss)).sum();
        assert!((found.mean_loss - sum / 13.0).abs() < 1e-12);
    }
}

#[test]
fn a_row_without_the_mask_is_not_its_prefix_problems() {
    for (name, config) in all_configs() {
        let gpt = model(config, &Device::flex()).without_mask();
        let found = prefix_problems(&gpt, &ids(14, gpt.config().vocab_size)).expect("a row");
        assert!(!found.equal_bits && found.largest_difference > 1e-3, "{name}: {found:?}");
    }
}

#[test]
fn rows_that_hold_no_problem_or_do_not_fit_are_refused() {
    let gpt = model(gpt2_config(), &Device::flex());
    for len in [0, 1, 26] {
        let message = prefix_problems(&gpt, &vec![1; len]).expect_err("refused").to_string();
        assert!(message.contains(&format!("{len} tokens")) && message.contains("2 to 25"), "{message}");
    }
    assert!(prefix_problems(&gpt, &[1; 25]).is_ok());
    assert!(prefix_problems(&gpt, &[1, 99]).is_err(), "no such token");
    assert!(attention(&gpt, &[1; 25]).is_err() && attention(&gpt, &[]).is_err());
}

#[test]
fn attention_to_later_tokens_is_exactly_zero_unless_the_mask_is_removed() {
    for (name, config) in all_configs() {
        let gpt = model(config, &Device::flex());
        let text = ids(11, gpt.config().vocab_size);
        let heads = attention(&gpt, &text).expect("a text");
        assert_eq!(heads.len(), gpt.config().n_layers * gpt.config().n_heads);
        assert!(heads.iter().all(|head| head.weight_on_later() == 0.0), "{name}");
        for weights in heads.iter().flat_map(|head| &head.weights) {
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{name}");
        }
        let heads = attention(&gpt.without_mask(), &text).expect("a text");
        assert!(heads.iter().all(|head| head.weight_on_later() > 0.1), "{name}");
    }
}

#[test]
fn a_checkpoint_has_its_mask_again_when_it_is_read() {
    let dir = tempfile::tempdir().expect("a directory");
    let gpt = model(llama_config(), &Device::flex());
    let logits = |gpt: &Gpt| values(gpt.forward(gpt.inputs(&[3, 1, 4, 1, 5], 1)));
    let masked = logits(&gpt);
    let removed = gpt.without_mask();
    assert_ne!(logits(&removed), masked);
    let files = checkpoint::model_files(&removed).expect("files");
    assert!(!String::from_utf8_lossy(&files[0].1).contains("mask"), "no field tells of it");
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).expect("written");
    }
    std::fs::write(dir.path().join(checkpoint::TOKENIZER), "{}").expect("written");
    let read = checkpoint::load_model(dir.path(), &Device::flex()).expect("a model");
    assert_eq!(logits(&read), masked);
}

#[test]
fn without_the_mask_the_training_loss_collapses_and_prediction_fails() {
    // Digits that nobody can predict, only copy.
    let digit = |i: u64| char::from(b'0' + (tril_model::random::hash([i, i >> 3, 7]) >> 40) as u8 % 10);
    let corpus = Corpus::new("digits", vec![Document::new("digits", (0..12_000).map(digit).collect::<String>())]);
    let mut steps = 0;
    let found = remove_mask(&corpus, "1", 120, &ComputeDevice::cpu(), &mut |_, _| steps += 1).expect("a report");
    assert_eq!((steps, found.runs.each_ref().map(|run| run.mask)), (240, [Mask::Causal, Mask::Removed]));
    let [with, without] = &found.runs;
    assert_eq!(with.curve.first().map(|point| point.0), Some(1));
    assert_eq!(with.curve.last().map(|point| point.0), Some(120));
    assert_eq!((with.weight_on_later, with.parallel_loss), (0.0, with.prefix_loss), "two ways to one number");
    assert!(without.weight_on_later > 0.2, "{found:?}");
    assert!(without.parallel_loss < 0.5 * with.parallel_loss, "{found:?}");
    assert!(without.prefix_loss > with.prefix_loss, "{found:?}");
    let short = Corpus::new("short", vec![Document::new("short", "too short")]);
    assert!(remove_mask(&short, "t", 1, &ComputeDevice::cpu(), &mut |_, _| {}).is_err());
}

#[test]
fn an_experiment_counts_its_tokens_and_runs_and_is_the_same_twice() {
    let experiment = Experiment { seeds: vec![7, 8], ..tiny(TaskKind::Sums, &[Format::Direct, Format::Worked]) };
    let mut counts = Counts::default();
    let report = experiment.run(None, &ComputeDevice::cpu(), &mut counts).expect("a report");
    let steps = 2500 / (4 * 128);
    assert_eq!((report.tokens, counts.steps), (steps * 4 * 128, 4 * steps));
    assert_eq!(counts.begun, [(Format::Direct, 7), (Format::Direct, 8), (Format::Worked, 7), (Format::Worked, 8)]);
    assert_eq!(counts.scored.len(), 4 * 3);
    for format in &report.formats {
        assert_eq!(format.runs.len(), 2);
        for run in &format.runs {
            assert_eq!(run.lengths.iter().map(|score| score.length).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
            assert!(run.lengths.iter().all(|score| score.asked == 4 && score.correct <= 4));
            assert_eq!(run.curve.last().map(|point| point.tokens), Some(report.tokens));
            assert!(run.loss > 0.0 && run.loss < 4.0);
            // A sum takes 5 to 19 tokens with its end, or 11 to 50 with the working.
            let tokens = report.tokens as f64 / run.problems as f64;
            let expected = if format.format == Format::Direct { 8.0..16.0 } else { 20.0..42.0 };
            assert!(expected.contains(&tokens), "{tokens} tokens a problem");
        }
    }
    let again = experiment.run(None, &ComputeDevice::cpu(), &mut Counts::default()).expect("a report");
    let json = |report| serde_json::to_string(report).expect("JSON");
    assert_eq!(json(&report), json(&again));
    assert!(Experiment { tokens: 3, ..experiment }.run(None, &ComputeDevice::cpu(), &mut counts).is_err());
}

#[test]
fn an_answer_counts_as_right_only_where_it_is_stated_in_the_format() {
    let problem = Task::Sums.parse("487+275").expect("a sum");
    for (format, text, right) in [
        (Format::Direct, "762", true),
        (Format::Direct, "267", false),
        (Format::Direct, "0762", false),
        (Format::Direct, "762]", false),
        (Format::Reversed, "267", true),
        (Format::Worked, "[75:12,87:16,42:07]762", true),
        (Format::Worked, "[nonsense]762", true),
        (Format::Worked, "762", false),
        (Format::Filler, "[..]762", true),
        (Format::Filler, "", false),
    ] {
        assert_eq!(is_right(format, &problem, text), right, "{format:?}: {text}");
    }
}

#[test]
fn a_task_says_itself_what_stands_before_its_texts_whatever_characters_they_have() {
    let tokenizer = tokenizer(&[Format::Worked]).expect("a vocabulary");
    let end = tokenizer.end_of_text().expect("one");
    for text in ["1+1=", "01="] {
        let ids = |task: &Task| request(&tokenizer, task, text, 1).expect("known characters").prompt_ids;
        let own = tokenizer.encode(text).expect("known characters");
        assert_eq!(ids(&Task::parity(1)), own, "a row begins with its text");
        assert_eq!(ids(&Task::Sums), [&[end][..], &own].concat(), "in a stream, texts stand behind an end of text");
    }
}

#[test]
fn workings_with_mistakes_are_of_sums_alone_and_the_letters_of_wait_are_in_no_other_vocabulary() {
    let with = tokenizer(&[Format::Worked, Format::Mended]).expect("a vocabulary");
    let without = tokenizer(&[Format::Worked, Format::Direct]).expect("a vocabulary");
    assert_eq!(with.vocab_size(), without.vocab_size() + 4, "w, a, i, t");
    assert!(with.encode(WAIT).is_ok() && without.encode(WAIT).is_err());
    let message = tiny(TaskKind::Parity, &[Format::Mended]).run(None, &ComputeDevice::cpu(), &mut Counts::default());
    assert!(message.expect_err("refused").to_string().contains("only the steps of sums"));
}

#[test]
fn models_are_asked_in_five_ways_whether_they_take_a_mistake_back() {
    let small = tiny(TaskKind::Sums, &[Format::Worked]);
    let experiment = WaitExperiment { seeds: vec![7], tokens: 2500, problems: 3, recipe: small.recipe };
    let run = || wait(&experiment, None, &ComputeDevice::cpu(), &mut Counts::default()).expect("a report");
    let report = run();
    assert_eq!(report.problems, 15);
    let formats: Vec<_> = report.runs.iter().map(|run| (run.format, run.seed)).collect();
    assert_eq!(formats, [(Format::Worked, 7), (Format::Mended, 7)]);
    for run in &report.runs {
        assert_eq!(run.counts.iter().map(|(given, _)| *given).collect::<Vec<_>>(), GivenStep::ALL);
        assert!(run.counts.iter().all(|(_, counts)| counts.asked == 15 && counts.waits <= 15 && counts.right <= 15));
    }
    let json = |report| serde_json::to_string(report).expect("JSON");
    assert_eq!(json(&report), json(&run()));
}

/// The ids of each pass that a generator asks for.
struct Recorder {
    gpt: Gpt,
    passes: Mutex<Vec<Vec<u32>>>,
}

impl Recorder {
    fn record(&self, ids: &[u32]) {
        self.passes.lock().expect("one thread").push(ids.to_vec());
    }
}

impl LanguageModel for Recorder {
    type Cache = KvCache;

    fn vocab_size(&self) -> usize {
        LanguageModel::vocab_size(&self.gpt)
    }
    fn context_limit(&self) -> Option<usize> {
        LanguageModel::context_limit(&self.gpt)
    }
    fn new_cache(&self) -> KvCache {
        LanguageModel::new_cache(&self.gpt)
    }
    fn position(&self, cache: &KvCache) -> usize {
        cache.position()
    }
    fn rewind(&self, cache: &mut KvCache, position: usize) -> bool {
        cache.rewind(position)
    }
    fn last_logits(&self, ids: &[u32], cache: Option<&mut KvCache>) -> Result<Vec<f32>, InferError> {
        self.record(ids);
        LanguageModel::last_logits(&self.gpt, ids, cache)
    }
    fn decode(&self, ids: &[u32], caches: &mut [KvCache]) -> Result<Vec<f32>, InferError> {
        self.record(ids);
        self.gpt.decode(ids, caches)
    }
}

#[test]
fn a_generator_is_given_ids_alone_whatever_of_them_is_thought_shown_or_hidden() {
    let tokenizer = tokenizer(&[Format::Worked]).expect("a vocabulary");
    let config = GptConfig { vocab_size: tokenizer.vocab_size(), max_seq_len: 60, ..llama_config() };
    let recorder = Arc::new(Recorder { gpt: model(config, &Device::flex()), passes: Mutex::default() });
    let prompt = tokenizer.encode("487+275=[75:1").expect("known characters");
    let sampler = SamplerConfig { seed: 3, ..SamplerConfig::default() };
    let options = GenerateOptions { sampler, max_tokens: 30, ..GenerateOptions::default() };
    let passes = || std::mem::take(&mut *recorder.passes.lock().expect("one thread"));

    let mut batch = BatchGenerator::new(Arc::clone(&recorder));
    batch.add(&prompt, options.clone()).expect("sound");
    let mut alone = Vec::new();
    while !batch.is_empty() {
        for (_, event) in batch.step().expect("no device") {
            if let Event::Token(token) = event {
                alone.push(token.sampled.token);
            }
        }
    }
    let by_ids = passes();
    assert_eq!(alone.len(), 30);
    let fed: Vec<u32> = by_ids.concat();
    assert_eq!(fed, [&prompt[..], &alone[..29]].concat(), "its own ids, and nothing else");

    for markers in [vec![], vec![WORKING_MARKERS]] {
        let mut request = tril::GenerateRequest::new("487+275=[75:1", &tokenizer).expect("known characters");
        request.options = options.clone();
        request.hidden = HiddenParts::new(markers).expect("markers");
        let mut generator = TextGenerator::new(Arc::clone(&recorder), Arc::clone(&tokenizer));
        generator.add(request).expect("sound");
        let mut tokens = Vec::new();
        for event in generator {
            if let TextEventKind::Token(token) = event.expect("sound").kind {
                tokens.push(token.sampled.token);
            }
        }
        assert_eq!((tokens, passes()), (alone.clone(), by_ids.clone()));
    }
}

#[test]
fn a_saved_model_is_an_ordinary_checkpoint_that_can_be_probed() {
    let dir = tempfile::tempdir().expect("a directory");
    let experiment = tiny(TaskKind::Parity, &[Format::Worked, Format::Direct]);
    let device = ComputeDevice::cpu();
    let kept = KeptModels { dir: dir.path(), existing: ExistingFiles::Keep };
    let report = experiment.run(Some(kept), &device, &mut Counts::default()).expect("a report");
    let path = report.formats[0].runs[0].checkpoint.clone().expect("saved");
    assert_eq!(path, dir.path().join("parity-worked-1337"));
    let saved = Model::open(&path, &device).expect("a checkpoint");
    let info = LabModelInfo::of(&saved).expect("of the lab");
    assert_eq!((&info.task, info.format, info.seed), (&Task::parity(1337), Format::Worked, 1337));

    let found = probe(&saved, "01101001101010010110").expect("a problem");
    assert!(found.hidden.same_tokens, "{found:?}");
    assert!(found.steps.iter().all(|step| step.answer_logprob < 0.0 && step.answer_logprob.is_finite()));
    let counted = correction(&saved, 12).expect("counts");
    let all = counted.both_right + counted.answer_wrong + counted.working_wrong + counted.both_wrong;
    assert_eq!((all, counted.problems), (12, 12));
    assert!(counted.in_place_right <= counted.changed && counted.and_on_right <= counted.changed);
    assert!(counted.changed <= counted.both_right + counted.answer_wrong, "right workings alone are changed");

    let names = |dir: &std::path::Path| -> Vec<_> {
        std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name()).collect()
    };
    let run = |kept| experiment.run(Some(kept), &device, &mut Counts::default());
    let message = run(kept).expect_err("it is there").to_string();
    assert!(message.contains("parity-worked-1337") && message.contains("--force"), "{message}");
    let replacing = KeptModels { existing: ExistingFiles::Replace, ..kept };
    run(replacing).expect("another in its place");
    std::fs::write(path.join("notes.txt"), "mine").expect("written");
    let mut counts = Counts::default();
    let message = experiment.run(Some(replacing), &device, &mut counts).expect_err("not the lab's").to_string();
    assert!(message.contains("left alone") && counts.begun.is_empty(), "{message}: nothing is trained for it");
    assert_eq!(names(&path).len(), 5);
    std::fs::remove_file(path.join("notes.txt")).expect("removed");

    assert!(probe(&saved, "487+275").expect_err("bits").to_string().contains("20 bits"));
    let direct = Model::open(dir.path().join("parity-direct-1337"), &device).expect("a checkpoint");
    assert!(probe(&direct, "01101001101010010110").expect_err("none").to_string().contains("no working"));
    std::fs::remove_file(path.join("lab.json")).expect("removed");
    let message = probe(&saved, "01101001101010010110").expect_err("none").to_string();
    assert!(message.contains("lab.json") && message.contains("--out"), "{message}");
}

#[test]
fn routes_are_shares_of_one_and_a_phrase_said_twice_is_looked_at_in_its_second_saying() {
    for (name, config) in all_configs() {
        let gpt = model(config, &Device::flex());
        let found = routes(&gpt, Some(0), &ids(12, gpt.config().vocab_size), &[5, 9, 2]).expect("routes");
        assert_eq!(found.heads.len(), gpt.config().n_layers * gpt.config().n_heads, "{name}");
        for head in &found.heads {
            assert!((head.by_distance.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{name}: {head:?}");
            assert_eq!(head.entropy.len(), 12);
            assert!(head.entropy.iter().enumerate().all(|(i, bits)| *bits <= ((i + 1) as f64).log2() + 1e-6));
            assert!((0.0..=1.0).contains(&head.induction) && (0.0..=1.0).contains(&head.previous));
        }
        assert_eq!(found.repeated, [0, 5, 9, 2, 5, 9, 2]);
        let places: Vec<_> = found.steps.iter().map(|step| (step.position, step.expected)).collect();
        let offset = found.induction_offset;
        assert!((1..=2).contains(&offset), "{name}: within the phrase");
        assert_eq!(places, [(4, 1 + offset), (5, 2 + offset)], "{name}");
        let best = found.heads.iter().map(|head| head.induction).fold(0.0, f64::max);
        let chosen = found.heads.iter().find(|h| (h.layer, h.head) == (found.induction_layer, found.induction_head));
        assert_eq!(chosen.map(|head| head.induction), Some(best));
        assert!(routes(&gpt, None, &[1, 2, 3], &[1]).is_err(), "a phrase of one token");
    }
}
