//! The loop that makes text, with a model of some lines.

use std::thread;

use tril_text::{HiddenParts, StopTexts, TokenizerConfig, TokenizerKind};

use super::*;

/// Says the bytes of a text, one after another, from where it stands in it.
#[derive(Clone)]
struct Recites(&'static str);

impl Recites {
    fn logits(&self, position: usize) -> Vec<f32> {
        let next = self.0.as_bytes()[position % self.0.len()];
        (0..256).map(|id| if id == usize::from(next) { 1.0 } else { 0.0 }).collect()
    }
}

impl LanguageModel for Recites {
    type Cache = usize;

    fn vocab_size(&self) -> usize {
        256
    }

    fn context_limit(&self) -> Option<usize> {
        None
    }

    fn new_cache(&self) -> usize {
        0
    }

    fn position(&self, cache: &usize) -> usize {
        *cache
    }

    fn rewind(&self, cache: &mut usize, position: usize) -> bool {
        *cache = position;
        true
    }

    fn last_logits(&self, ids: &[u32], cache: Option<&mut usize>) -> Result<Vec<f32>, tril_infer::InferError> {
        let Some(cache) = cache else { return Ok(self.logits(ids.len())) };
        *cache += ids.len();
        Ok(self.logits(*cache))
    }

    fn decode(&self, ids: &[u32], caches: &mut [usize]) -> Result<Vec<f32>, tril_infer::InferError> {
        let rows = ids.iter().zip(caches).map(|(id, cache)| self.last_logits(&[*id], Some(cache)));
        Ok(rows.collect::<Result<Vec<_>, _>>()?.concat())
    }
}

const TEXT: &str = "one (two) three. 猫和狗。";

fn tokenizer() -> Arc<Tokenizer> {
    let config = TokenizerConfig { kind: TokenizerKind::Byte, ..TokenizerConfig::default() };
    Arc::new(Tokenizer::build(&config, &[]).expect("bytes"))
}

fn generator() -> TextGenerator<Recites> {
    TextGenerator::new(Recites(TEXT), tokenizer())
}

fn request(prompt: &str, max_tokens: usize) -> GenerateRequest<usize> {
    let mut request = GenerateRequest::new(prompt, &tokenizer()).expect("bytes");
    request.options.max_tokens = max_tokens;
    request.options.sampler.temperature = 0.0;
    request
}

/// The shown text of each request, and why it ended.
fn run(generator: &mut TextGenerator<Recites>) -> BTreeMap<usize, (String, Option<FinishReason>)> {
    let mut texts: BTreeMap<usize, (String, Option<FinishReason>)> = BTreeMap::new();
    for event in generator {
        let TextEvent { request, kind } = event.expect("sound");
        let text = texts.entry(request).or_default();
        match kind {
            TextEventKind::Text(piece) => text.0.push_str(&piece),
            TextEventKind::Finished(finished) => text.1 = Some(finished.finish),
            TextEventKind::Token(_) | TextEventKind::Hidden(_) => {}
        }
    }
    texts
}

#[test]
fn texts_are_what_they_are_alone_however_many_go_together_and_it_may_run_on_another_thread() {
    for batch_size in [1, 2, 7] {
        let mut generator = generator().with_batch_size(NonZeroUsize::new(batch_size).expect("not zero"));
        for len in 1..=5 {
            assert_eq!(generator.add(request(&TEXT[..len], 3)).expect("sound"), len - 1);
        }
        let texts = thread::spawn(move || run(&mut generator)).join().expect("no panic");
        for (number, (text, finish)) in texts {
            assert_eq!((text.as_str(), finish), (&TEXT[number + 1..number + 4], Some(FinishReason::MaxTokens)));
        }
    }
}

#[test]
fn requests_are_added_and_removed_while_it_runs_and_after_it_was_done() {
    let mut generator = generator();
    let first = generator.add(request("o", 50)).expect("sound");
    let piece = |generator: &mut TextGenerator<Recites>| loop {
        let event = generator.next().expect("more").expect("sound");
        if let TextEventKind::Text(text) = event.kind {
            return (event.request, text);
        }
    };
    assert_eq!(piece(&mut generator), (first, "n".into()));
    let second = generator.add(request("on", 50)).expect("sound");
    assert_eq!(piece(&mut generator), (first, "e".into()));
    assert_eq!(piece(&mut generator), (second, "e".into()));
    assert!(generator.remove(first) && !generator.remove(first));
    assert_eq!(piece(&mut generator), (second, " ".into()));
    assert!(generator.interrupt(second) && !generator.interrupt(second));
    assert_eq!(run(&mut generator)[&second], (String::new(), Some(FinishReason::Interrupted)));
    assert!(generator.next().is_none());
    let third = generator.add(request("one", 2)).expect("sound");
    assert_eq!(run(&mut generator)[&third], (" (".into(), Some(FinishReason::MaxTokens)));
}

#[test]
fn an_interruption_ends_those_in_work_and_names_those_that_never_began() {
    let mut generator = generator().with_batch_size(NonZeroUsize::MIN);
    for _ in 0..3 {
        generator.add(request("o", 50)).expect("sound");
    }
    generator.next().expect("a token").expect("sound");
    assert_eq!(generator.interrupt_all(), [1, 2]);
    assert_eq!(
        run(&mut generator).into_iter().collect::<Vec<_>>(),
        [(0, ("n".into(), Some(FinishReason::Interrupted)))]
    );
}

#[test]
fn a_stop_text_ends_a_text_and_hidden_parts_are_told_apart() {
    let stop = StopTexts::new(["th", "狗"]).expect("not empty");
    let hidden = HiddenParts::new([("(", ")")]).expect("a pair");
    let asked = GenerateRequest { stop, hidden, ..request("on", 50) };
    let completion = generator().complete(asked).expect("sound");
    assert_eq!(completion.text, "e  ");
    let GeneratedText { finish, stop_text, tokens, hidden_tokens, .. } = completion.generated;
    assert_eq!((finish, stop_text.as_deref()), (FinishReason::StopText, Some("th")));
    assert_eq!((tokens, hidden_tokens), ("e (two) th".len(), "(two)".len()));
    assert_eq!(completion.tokens.len(), tokens);
}

#[test]
fn a_character_that_was_cut_is_replaced_or_left_out() {
    let at = TEXT.find('猫').expect("it is there");
    for (cut_character, expected) in [(CutCharacter::Replace, "\u{FFFD}"), (CutCharacter::LeaveOut, "")] {
        let asked = GenerateRequest { cut_character, ..request(&TEXT[..at], 2) };
        assert_eq!(generator().complete(asked).expect("sound").text, expected);
    }
}

#[test]
fn what_no_model_can_continue_is_refused_at_once() {
    let mut generator = generator();
    let empty = GenerateRequest { prompt_ids: vec![], ..request("o", 1) };
    assert!(generator.add(empty).is_err());
    let unknown = GenerateRequest { prompt_ids: vec![256], ..request("o", 1) };
    assert!(generator.add(unknown).is_err());
    assert!(generator.next().is_none());
}
