//! What a run begins with, made from a recipe and a text: all that can be refused is refused here, and nothing is written.

use tril_data::{DocumentFormat, EncodedCorpus, TextEvent, TextSource};
use tril_infer::{GenerateOptions, SamplerConfig};
use tril_model::{Gpt, GptConfig};
use tril_text::{TextBounds, Tokenizer};
use tril_train::{LowRankFactors, Trainer, TrainingText};

use crate::advice;
use crate::fine_tuning::check_fresh;
use crate::generate::GenerateRequest;
use crate::recipe::{Recipe, SampleConfig};
use crate::{ComputeDevice, Error};

/// All parts of a run but its directory.
pub(crate) struct Beginning {
    /// With the vocabulary that the text has, and every field as it is used.
    pub recipe: Recipe,
    pub trainer: Trainer,
    pub training: TrainingText,
    pub text: EncodedCorpus,
    pub tokenizer: Tokenizer,
    pub bounds: TextBounds,
    pub sample: GenerateRequest,
}

impl Beginning {
    /// With fresh weights.
    ///
    /// # Errors
    /// As [`crate::Training::begin_on`].
    pub fn of(
        source: &TextSource,
        mut recipe: Recipe,
        device: &ComputeDevice,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Self, Error> {
        check_fresh(&recipe.lora)?;
        let tokenizer = source.tokenizer(&recipe.tokenizer, watch)?;
        let text = source.encode(&tokenizer, recipe.data.held_out(), watch)?;
        let (asked, tokens) = (recipe.model.vocab_size, tokenizer.vocab_size());
        if asked != 0 && asked != tokens {
            return Err(Error::VocabSize { asked, tokens });
        }
        recipe.model = GptConfig { vocab_size: tokens, ..recipe.model }.resolve()?;
        recipe.check_memory()?;
        let gpt = Gpt::new(recipe.model.clone(), recipe.train.seed, device.inner())?;
        let bounds = bounds(&tokenizer, &text);
        Self::from_parts(recipe, gpt, text, tokenizer, bounds)
    }

    /// With these weights.
    ///
    /// - bounds: what the model will have learnt that texts begin and end with
    ///
    /// # Errors
    /// As [`crate::Training::begin_on`].
    pub fn from_parts(
        recipe: Recipe,
        gpt: Gpt,
        text: EncodedCorpus,
        tokenizer: Tokenizer,
        bounds: TextBounds,
    ) -> Result<Self, Error> {
        recipe.check_memory()?;
        let factors = match recipe.lora.is_used() {
            true => Some(LowRankFactors::new(&gpt, &recipe.lora, recipe.train.seed)?),
            false => None,
        };
        let mut trainer = Trainer::new(gpt, Default::default(), 0, recipe.train.clone(), recipe.optimizer.clone())?;
        if let Some(factors) = factors {
            trainer = trainer.with_factors(factors)?;
        }
        let training = training_text(&text, &recipe)?;
        check_validation(&text)?;
        let tokenizer = tokenizer.with_bounds(bounds)?;
        let sample = sample(&recipe, &tokenizer)?;
        Ok(Self { recipe, trainer, training, text, tokenizer, bounds, sample })
    }

    /// What is allowed and seldom meant, each in a sentence: of the recipe, of the text, and of both together.
    pub fn doubts(&self, source: &TextSource) -> Vec<String> {
        let Self { recipe, text, tokenizer, .. } = self;
        let odd = source.oddities().doubts();
        let fit = advice::doubts(recipe, text, tokenizer);
        let documents = doubts_of_documents(source, recipe, tokenizer);
        let sample = source.doubt_of_sample(&recipe.tokenizer);
        let all = recipe.doubts().into_iter().chain(doubt_of_unknown(text)).chain(sample).chain(fit).chain(documents);
        all.chain(odd).chain(source.skipped().iter().cloned()).collect()
    }
}

/// The side that trains.
pub(crate) fn training_text(text: &EncodedCorpus, recipe: &Recipe) -> Result<TrainingText, Error> {
    Ok(TrainingText::new(text.train.ids.clone(), recipe.train.seq_len)?.with_key(text.train.key))
}

/// What texts begin and end with, as far as the training side shows it.
pub(crate) fn bounds(tokenizer: &Tokenizer, text: &EncodedCorpus) -> TextBounds {
    let stands_in_it = |id: u32| text.train.counts.get(id as usize).is_some_and(|count| *count > 0);
    TextBounds::learnt_from(tokenizer, text.train.ids.first().copied(), stands_in_it)
}

/// What to say where documents were asked for and the model cannot learn where they end, or where lines of JSON are read as
/// plain text.
pub(crate) fn doubts_of_documents(source: &TextSource, recipe: &Recipe, built: &Tokenizer) -> Vec<String> {
    let Recipe { data, tokenizer, .. } = recipe;
    let mut doubts = Vec::new();
    let is_asked_for = data.format().is_ok_and(|format| format != DocumentFormat::Files);
    if is_asked_for && built.end_of_text().is_none() {
        doubts.push(match tokenizer.end_of_text {
            false => format!(
                "{} documents follow one another without a mark: tokenizer.end_of_text=true has a token end each",
                source.documents()
            ),
            true => "no document ends in the training part, so the model cannot learn where documents end".to_owned(),
        });
    }
    let is_named_json = |name: &str| name.ends_with(".jsonl") || name.ends_with(".ndjson");
    if data.field.is_empty() && is_named_json(&data.source) {
        doubts.push(format!(
            "{} is read as plain text; with data.field=text the field `text` of each line would be a document",
            source.name()
        ));
    }
    doubts
}

pub(crate) fn check_validation(text: &EncodedCorpus) -> Result<(), Error> {
    match text.validation.ids.len() {
        tokens @ 0..2 => Err(Error::NothingToValidate { tokens }),
        _ if text.validation.predicted_bytes == 0 => Err(Error::NothingSpelt),
        _ => Ok(()),
    }
}

pub(crate) fn sample(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<GenerateRequest, Error> {
    let SampleConfig { prompt, max_tokens, temperature, top_k, seed, .. } = &recipe.sample;
    let sampler = SamplerConfig { temperature: *temperature, top_k: *top_k, seed: *seed, ..SamplerConfig::default() };
    sampler.check(tokenizer.vocab_size()).map_err(|error| Error::from(error).at("[sample]"))?;
    let request = GenerateRequest::new(prompt, tokenizer).map_err(|error| error.in_text("[sample] prompt"))?;
    let options = GenerateOptions { sampler, max_tokens: *max_tokens, ..request.options };
    Ok(GenerateRequest { options, ..request })
}

/// What to say of characters that one token stands for, whatever they are.
pub(crate) fn doubt_of_unknown(corpus: &EncodedCorpus) -> Option<String> {
    let mut unknown = corpus.train.unknown.clone();
    unknown.add(corpus.validation.unknown.clone());
    (unknown.count() > 0).then(|| {
        format!(
            "the tokenizer does not know {} characters of the text, {unknown}: one token stands for them all, the model cannot write them, and bits per byte leave them out; kinds `byte` and `bpe` write any text",
            unknown.count()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tril_data::{Corpus, Document};
    use tril_text::TokenizerKind;
    use tril_train::MAX_EVAL_TOKENS;

    #[test]
    fn what_is_counted_of_a_text_while_it_is_encoded_is_what_its_ids_say() {
        let mut recipe = Recipe::shipped("smoke").expect("shipped");
        recipe.tokenizer.kind = TokenizerKind::Bpe;
        recipe.tokenizer.end_of_text = true;
        let documents = (0..40).map(|i| Document::new("x", format!("some words, {i} of them é"))).collect();
        let corpus = Corpus::new("x", documents);
        let source = TextSource::from(&corpus);
        let tokenizer = source.tokenizer(&recipe.tokenizer, &mut |_| ()).expect("built");
        let text = source.encode(&tokenizer, 0.2, &mut |_| ()).expect("encoded");
        let read = TrainingText::new(text.train.ids.to_vec(), 8).expect("long enough");
        assert_eq!(training_text(&text, &recipe).map(|text| text.key()).ok(), Some(read.key()));
        assert_eq!(bounds(&tokenizer, &text), TextBounds::learnt(&tokenizer, &text.train.ids));
        let sum: u64 = text.train.counts.iter().sum();
        assert_eq!(sum as usize, text.train.ids.len());
        let held_out = &text.validation;
        assert_eq!(held_out.predicted_bytes_of(held_out.ids.len()), Some(held_out.predicted_bytes));
        for tokens in 1..held_out.ids.len() {
            let written: usize = held_out.ids[1..tokens].iter().map(|id| tokenizer.byte_len(*id)).sum();
            assert_eq!(held_out.predicted_bytes_of(tokens), Some(written), "the first {tokens}");
        }
        const { assert!(MAX_EVAL_TOKENS < tril_data::SPELT_KEPT, "what is measured is known") };
    }
}
