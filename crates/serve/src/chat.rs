//! `/v1/chat/completions`: what a request asks for.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::{Value, json};
use tril::GenerateOptions;

use crate::chat_prompt::{Message, Role, by_format, by_template};
use crate::choice::Told;
use crate::completions::check_prompts;
use crate::fields::{Fields, shown};
use crate::identity::{answer_id, unix_time};
use crate::job::Job;
use crate::options::MAX_TOP_LOGPROBS;
use crate::reply::{self, Answer, Form};
use crate::router::Shared;
use crate::sampling::{Delivery, Sampling};
use crate::{ApiError, ServedModel, body};

/// Answers a chat.
///
/// # Errors
/// For a request that is wrong, one that there is no room for, and one that fails.
pub async fn chat(State(shared): State<Arc<Shared>>, request: Request) -> Result<Response, ApiError> {
    let arrival = Instant::now();
    let bytes = body::read(request, shared.limits().body_bytes).await?;
    let (job, answer) = body::blocking(bytes, move |body| parse(body, &shared, arrival)).await?;
    reply::answer(job, answer).await
}

fn parse(body: &[u8], shared: &Shared, arrival: Instant) -> Result<(Job, Answer), ApiError> {
    let mut fields = Fields::parse(body)?;
    let model = Arc::clone(ServedModel::find(shared.models(), fields.text("model")?.as_deref())?);
    let delivery = Delivery::take(&mut fields)?;
    let older = fields.whole("max_tokens", Sampling::token_range())?;
    let max_tokens = fields.whole("max_completion_tokens", Sampling::token_range())?;
    if let (Some(older), Some(newer)) = (older, max_tokens)
        && older != newer
    {
        let why = format!("it is {newer}, and max_tokens, its older name, is {older}; give one of them");
        return Err(ApiError::param("max_completion_tokens", why));
    }
    let default_tokens = model.model().config().max_seq_len;
    let sampling = Sampling::take(&mut fields, &model, max_tokens.or(older), default_tokens)?;
    let messages = messages(&mut fields)?;
    let logprobs = fields.flag("logprobs")?;
    let top = fields.whole("top_logprobs", 0..=MAX_TOP_LOGPROBS as i64)?.and_then(|top| usize::try_from(top).ok());
    if top.is_some() && !logprobs {
        return Err(ApiError::param("top_logprobs", "it goes with logprobs: true"));
    }
    refuse_what_is_not_done(&mut fields)?;
    fields.finish()?;

    let tokenizer = model.model().tokenizer();
    let prompt = match model.template() {
        Some(template) => by_template(&messages, template, tokenizer)?,
        None => by_format(&messages, shared.chat_format(), tokenizer)?,
    };
    let prompts = vec![prompt];
    check_prompts(&prompts, &model, shared.limits(), sampling.may_cut_prompt)
        .map_err(|error| error.about("messages"))?;
    sampling.check_size(1, top.map_or(1, |top| top + 1), delivery)?;
    let answer = Answer {
        form: Form::Chat,
        id: answer_id(Form::Chat.prefix()),
        created: unix_time(),
        seed: sampling.options.sampler.seed,
        delivery,
        told: if logprobs { Told::Tokens } else { Told::Text },
        echo: None,
        model,
    };
    let job = Job {
        prompts,
        samples: sampling.samples,
        options: GenerateOptions { top_logprobs: top.unwrap_or(0), ..sampling.options },
        stop: sampling.stop,
        prompt_logprobs: None,
        receipt: delivery.receipt,
        arrival,
        deadline: (!sampling.is_endless).then(|| arrival + shared.limits().request_time),
    };
    Ok((job, answer))
}

/// What the API has and this server has not, unless a request asks for nothing by it.
fn refuse_what_is_not_done(fields: &mut Fields) -> Result<(), ApiError> {
    let tools = "the model can call no tools; leave it out";
    let only_text = "the model writes text, and nothing keeps it to a form; leave it out";
    fields.only("tools", &[json!([])], tools)?;
    fields.only("functions", &[json!([])], tools)?;
    fields.only("tool_choice", &["none".into(), "auto".into()], tools)?;
    fields.only("function_call", &["none".into(), "auto".into()], tools)?;
    fields.only("response_format", &[json!({ "type": "text" })], only_text)?;
    fields.only("modalities", &[json!(["text"])], only_text)?;
    // These say how tools are called, or how an answer may be made faster.
    fields.skip(&["parallel_tool_calls", "prediction"]);
    Ok(())
}

fn messages(fields: &mut Fields) -> Result<Vec<Message>, ApiError> {
    let values = fields.list("messages")?;
    let values = values.filter(|values| !values.is_empty());
    let values = values.ok_or_else(|| ApiError::param("messages", "give at least one message"))?;
    values.into_iter().enumerate().map(|(place, value)| message(place, value)).collect()
}

fn message(place: usize, value: Value) -> Result<Message, ApiError> {
    let name = format!("messages[{place}]");
    let mut outer = Fields::of_value(&name, value)?;
    let role = outer.text("role")?.ok_or_else(|| ApiError::param(format!("{name}.role"), "give the role"))?;
    let role = Role::parse(&role).ok_or_else(|| {
        let why = format!("it must be system, developer, user or assistant, and is {role:?}");
        ApiError::unsupported(format!("{name}.role"), why)
    })?;
    let content = content(&format!("{name}.content"), outer.value("content"))?;
    let speaker = outer.text("name")?;
    outer.only("tool_calls", &[json!([])], "the model can call no tools; leave it out")?;
    // Answers of earlier requests are sent back with it.
    outer.skip(&["refusal", "annotations", "audio", "function_call"]);
    outer.finish()?;
    Ok(Message { role, content, name: speaker })
}

/// A text, or texts in parts.
fn content(name: &str, value: Option<Value>) -> Result<String, ApiError> {
    let part = |(place, part): (usize, &Value)| match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text" | "input_text" | "output_text"), Some(text)) => Ok(text.to_owned()),
        (Some("refusal"), _) if part["refusal"].is_string() => {
            Ok(part["refusal"].as_str().unwrap_or_default().to_owned())
        }
        _ => {
            let why = format!(
                "only text can be read, such as {{\"type\": \"text\", \"text\": \"hi\"}}, and it is {}",
                shown(part)
            );
            Err(ApiError::unsupported(format!("{name}[{place}]"), why))
        }
    };
    match value {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(parts)) => parts.iter().enumerate().map(part).collect(),
        Some(other) => {
            Err(ApiError::param(name, format!("it must be a string or a list of parts, and is {}", shown(&other))))
        }
        None => Err(ApiError::param(name, "give the text of the message")),
    }
}
