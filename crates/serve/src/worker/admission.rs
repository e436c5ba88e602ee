//! How texts begin: one of each waiting job in turn, after its prompt is scored where that was asked for.

use tril::infer::{PREFILL_CHUNK, PromptScorer};
use tril::{GenerateOptions, GenerateRequest, PrefixCache};

use super::failure::{of_inference, of_model};
use super::{Place, Worker};
use crate::ApiError;
use crate::job::{Job, JobEvent};

impl Worker {
    /// Begins with texts that wait, as many as there are places for: one of each job in turn.
    pub(super) fn admit(&mut self) {
        while self.places() > 0
            && let Some(id) = self.waiting.pop_front()
        {
            let Some(active) = self.jobs.get_mut(&id) else { continue };
            let choice = active.next;
            active.next += 1;
            if active.next < active.job.choices() {
                self.waiting.push_back(id);
            }
            let place = Place { job: id, choice };
            let prompt = &active.job.prompts[choice / active.job.samples];
            let is_first = choice % active.job.samples == 0;
            match active.job.prompt_logprobs.filter(|_| is_first) {
                Some(top) => match PromptScorer::new(self.model.gpt(), prompt.ids.clone(), top) {
                    Ok(scorer) => self.scoring.push_back((place, scorer)),
                    Err(error) => self.end(id, JobEvent::Failed(of_inference(&error))),
                },
                None => {
                    let prefix = self.prefixes.find(&prompt.ids, self.model.gpt());
                    self.begin(place, prefix);
                }
            }
        }
    }

    /// Computes a chunk of a prompt that is to be scored, the one that has waited longest.
    pub(super) fn score(&mut self) {
        let Some((place, scorer)) = self.scoring.front_mut() else { return };
        let place = *place;
        match scorer.step(self.model.gpt(), PREFILL_CHUNK.get()) {
            Ok(false) => {}
            Ok(true) => {
                let Some((_, scorer)) = self.scoring.pop_front() else { return };
                let (scores, prefix) = scorer.finish();
                if let Some(active) = self.jobs.get(&place.job) {
                    active.events.send(JobEvent::PromptScored(place.choice, scores));
                }
                self.begin(place, Some(prefix));
            }
            Err(error) => self.end(place.job, JobEvent::Failed(of_inference(&error))),
        }
    }

    /// Hands a text to the generator.
    fn begin(&mut self, place: Place, prefix_cache: Option<PrefixCache>) {
        let Some(active) = self.jobs.get_mut(&place.job) else { return };
        let Job { prompts, samples, options, stop, .. } = &active.job;
        let prompt = &prompts[place.choice / samples];
        let sample_index = options.sample_index.wrapping_add((place.choice % samples) as u64);
        let request = GenerateRequest {
            prompt: prompt.text.clone(),
            prompt_ids: prompt.ids.clone(),
            options: GenerateOptions { sample_index, ..options.clone() },
            stop: stop.clone(),
            hidden: tril::HiddenParts::default(),
            prefix_cache,
            cut_character: tril::CutCharacter::default(),
        };
        let recorded = active.recorder.is_some().then(|| GenerateRequest { prefix_cache: None, ..request.clone() });
        match self.generator.add(request) {
            Ok(number) => {
                if let (Some(recorder), Some(request)) = (&mut active.recorder, &recorded)
                    && let Err(error) = recorder.add(number, request)
                {
                    self.end(place.job, JobEvent::Failed(ApiError::server(error.to_string())));
                    return;
                }
                self.running.insert(number, place);
            }
            Err(error) => self.end(place.job, JobEvent::Failed(of_model(&error))),
        }
    }
}
