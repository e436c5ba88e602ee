//! `/v1/completions`: what a request asks for.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::Value;
use tril::GenerateOptions;

use crate::choice::Told;
use crate::fields::{Fields, shown};
use crate::identity::{answer_id, unix_time};
use crate::job::{Job, JobPrompt};
use crate::options::{Limits, MAX_TOP_LOGPROBS};
use crate::reply::{self, Answer, Form};
use crate::router::Shared;
use crate::sampling::{Delivery, Sampling, ids};
use crate::{ApiError, ServedModel, body};

/// Tokens of a text whose request does not say how many, as in OpenAI's API.
const DEFAULT_TOKENS: usize = 16;

/// Continues prompts.
///
/// # Errors
/// For a request that is wrong, one that there is no room for, and one that fails.
pub async fn completions(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, ApiError> {
    let arrival = Instant::now();
    let bytes = body::read(request, shared.limits().body_bytes).await?;
    let (job, answer) = body::blocking(bytes, move |body| parse(body, &shared, arrival)).await?;
    reply::answer(job, answer).await
}

fn parse(body: &[u8], shared: &Shared, arrival: Instant) -> Result<(Job, Answer), ApiError> {
    let mut fields = Fields::parse(body)?;
    let model = Arc::clone(ServedModel::find(shared.models(), fields.text("model")?.as_deref())?);
    let delivery = Delivery::take(&mut fields)?;
    let max_tokens = fields.whole("max_tokens", Sampling::token_range())?;
    let sampling = Sampling::take(&mut fields, &model, max_tokens, DEFAULT_TOKENS)?;
    let prompts = prompts(fields.value("prompt"), &model)?;
    let echo = fields.flag("echo")?;
    let top = fields.whole("logprobs", 0..=MAX_TOP_LOGPROBS as i64)?.and_then(|top| usize::try_from(top).ok());
    fields.only("best_of", &[1.into()], "only 1 text is made of each that is asked for; use n for more of them")?;
    fields.only("suffix", &["".into()], "text cannot be put between two others; leave it out")?;
    fields.finish()?;

    let prompt_logprobs = top.filter(|_| echo);
    check_prompts(&prompts, &model, shared.limits(), sampling.may_cut_prompt && prompt_logprobs.is_none())?;
    sampling.check_size(prompts.len(), top.map_or(1, |top| top + 1), delivery)?;
    if prompt_logprobs.is_some() && delivery.stream && sampling.samples > 1 {
        return Err(ApiError::param("n", "with echo, logprobs and stream it can only be 1"));
    }
    let answer = Answer {
        form: Form::Text,
        id: answer_id(Form::Text.prefix()),
        created: unix_time(),
        seed: sampling.options.sampler.seed,
        delivery,
        told: if top.is_some() { Told::AllTokens } else { Told::Text },
        echo: echo.then(|| prompts.clone()),
        model,
    };
    let job = Job {
        prompts,
        samples: sampling.samples,
        options: GenerateOptions { top_logprobs: top.unwrap_or(0), ..sampling.options },
        stop: sampling.stop,
        prompt_logprobs,
        receipt: delivery.receipt,
        arrival,
        deadline: (!sampling.is_endless).then(|| arrival + shared.limits().request_time),
    };
    Ok((job, answer))
}

/// The prompts in any of their four forms; none at all is an empty one.
fn prompts(value: Option<Value>, model: &ServedModel) -> Result<Vec<JobPrompt>, ApiError> {
    let wrong = |value: &Value| {
        let what = "a string, a list of strings, a list of token ids, or a list of such lists";
        ApiError::param("prompt", format!("it must be {what}, and holds {}", shown(value)))
    };
    match value {
        None => Ok(vec![of_text("", model)?]),
        Some(Value::String(text)) => Ok(vec![of_text(&text, model)?]),
        Some(Value::Array(values)) => match values.first() {
            None => Err(ApiError::param("prompt", "the list is empty; give at least one prompt")),
            Some(Value::Number(_)) => Ok(vec![of_ids(&values, model)?]),
            Some(_) => values
                .iter()
                .map(|value| match value {
                    Value::String(text) => of_text(text, model),
                    Value::Array(values) => of_ids(values, model),
                    value => Err(wrong(value)),
                })
                .collect(),
        },
        Some(value) => Err(wrong(&value)),
    }
}

fn of_text(text: &str, model: &ServedModel) -> Result<JobPrompt, ApiError> {
    let ids = model.model().tokenizer().encode_prompt(text);
    let ids = ids.map_err(|error| ApiError::param("prompt", error.in_text("the prompt")))?;
    Ok(JobPrompt { text: text.to_owned(), ids })
}

fn of_ids(values: &[Value], model: &ServedModel) -> Result<JobPrompt, ApiError> {
    if values.is_empty() {
        return Err(ApiError::param("prompt", "it has a list of ids that is empty; give at least one id"));
    }
    let ids = ids(values, "prompt", model)?;
    let text = model.model().tokenizer().decode(&ids).map_err(|error| ApiError::param("prompt", error))?;
    Ok(JobPrompt { text, ids })
}

/// Refuses prompts that are too long.
///
/// - may_cut: whether a context that is too small is made to do by leaving the oldest part of a prompt out
///
/// # Errors
/// About `prompt`.
pub fn check_prompts(
    prompts: &[JobPrompt],
    model: &ServedModel,
    limits: &Limits,
    may_cut: bool,
) -> Result<(), ApiError> {
    let longest = prompts.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(0);
    let most = limits.prompt_tokens;
    if longest > most {
        return Err(ApiError::too_long("prompt", format!("it has {longest} tokens, and this server takes {most}")));
    }
    match model.model().config().context_limit().filter(|limit| longest > *limit && !may_cut) {
        None => Ok(()),
        Some(limit) => Err(ApiError::too_long(
            "prompt",
            format!(
                "it has {longest} tokens, and the model's context holds {limit}; shorten it, or say \"on_overflow\": \"recompute\" to have its oldest part left out (not with echo and logprobs)"
            ),
        )),
    }
}
