//! A text without a receipt, held to what a checkpoint, settings and draws give: ids as they are, or a text whose tokens have
//! to be found.

use serde::Serialize;
use tril_infer::GenerateOptions;
use tril_prove::{BareText, TextGrade, Tolerance, grade};
use tril_text::{TextError, Tokenizer};

use crate::{Error, Model};

/// Why a text cannot be graded.
#[derive(Debug, thiserror::Error)]
pub enum BareTextError {
    /// It is not the text of that prompt.
    #[error(
        "the text does not begin with the prompt {prompt:?}: give all of it, as `tril sample` prints it, and the prompt that it continues"
    )]
    OtherPrompt {
        /// The prompt.
        prompt: String,
    },
    /// Where a token begins and ends in it cannot be told.
    #[error(
        "this model's tokenizer writes some texts otherwise than they were, so tokens cannot be told from a text: give the ids"
    )]
    NotSpelt,
}

/// The grade of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BareTextCheck {
    /// The grade of its tokens.
    #[serde(flatten)]
    pub grade: TextGrade,
    /// Whether the text ends inside the token that the draw gives there, which was not looked at.
    pub is_cut: bool,
    /// Whether the text has U+FFFD in it, which may stand for bytes that are no character: what these were is lost.
    pub has_replacements: bool,
    /// The tokens that were looked at.
    pub ids: Vec<u32>,
}

impl Model {
    /// Grades new tokens.
    ///
    /// - prompt: ids of what was continued
    ///
    /// # Errors
    /// As [`grade`].
    pub fn grade_ids(
        &self,
        prompt: Vec<u32>,
        tokens: Vec<u32>,
        options: &GenerateOptions,
        tolerance: Tolerance,
    ) -> Result<BareTextCheck, Error> {
        let text = BareText { prompt, options: options.clone(), tokens };
        let grade = grade(self.gpt(), &text, tolerance)?;
        Ok(BareTextCheck { grade, is_cut: false, has_replacements: false, ids: text.tokens })
    }

    /// Grades a text with its prompt. A text can be made of other tokens than it encodes to: where the token that the draw
    /// gives spells what stands there, or is one that no text shows, it is the one that was made.
    ///
    /// - text: as `tril sample` prints it, with or without the newline at its end
    ///
    /// # Errors
    /// [`BareTextError`]; [`Error::Text`] for what the tokenizer cannot encode; as [`grade`].
    pub fn grade_text(
        &self,
        prompt: &str,
        text: &str,
        options: &GenerateOptions,
        tolerance: Tolerance,
    ) -> Result<BareTextCheck, Error> {
        let tokenizer = self.tokenizer();
        let other = || BareTextError::OtherPrompt { prompt: prompt.to_owned() };
        let new = text.strip_prefix(prompt).ok_or_else(other)?;
        let new = new.strip_suffix('\n').unwrap_or(new);
        let prompt = tokenizer.encode_prompt(prompt)?;
        let tokens = tokenizer.encode_after(&prompt, new)?;
        if spelt(tokenizer, &tokens) != new.as_bytes() {
            return Err(BareTextError::NotSpelt.into());
        }
        let mut check = self.grade_ids(prompt.clone(), tokens, options, tolerance)?;
        let (mut place, mut offset, mut unseen) = (0, 0, 0);
        while let (Some(token), Some(expected)) =
            (check.ids.get(place).copied(), check.grade.expected.get(place).copied())
        {
            let rest = &new.as_bytes()[offset..];
            let own = tokenizer.token_bytes(expected);
            let is_whole = rest.starts_with(own);
            // A token that ends a document adds nothing to the text, and the text may go on behind it.
            let is_unseen = own.is_empty() && Some(expected) != options.stop_token && unseen < new.len();
            let fits = is_unseen || (!own.is_empty() && !rest.is_empty() && (is_whole || own.starts_with(rest)));
            if token != expected && fits {
                let mut tokens = check.ids[..place].to_vec();
                let mut known = true;
                if is_whole {
                    tokens.push(expected);
                    let before = [&prompt[..], &tokens].concat();
                    let after = encode_bytes(tokenizer, &before, &rest[own.len()..])?;
                    known = after.is_some();
                    tokens.extend(after.into_iter().flatten());
                }
                if known {
                    unseen += usize::from(is_unseen);
                    check = self.grade_ids(prompt.clone(), tokens, options, tolerance)?;
                    check.is_cut = !is_whole;
                }
            }
            offset += check.ids.get(place).map_or(0, |token| tokenizer.byte_len(*token));
            place += 1;
        }
        check.has_replacements = new.contains(char::REPLACEMENT_CHARACTER);
        Ok(check)
    }
}

fn spelt(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| tokenizer.token_bytes(*id)).copied().collect()
}

/// The ids of what follows others and may begin inside a character; none where the vocabulary has no token for such a byte.
fn encode_bytes(tokenizer: &Tokenizer, before: &[u32], bytes: &[u8]) -> Result<Option<Vec<u32>>, TextError> {
    let inside = bytes.iter().take_while(|byte| **byte & 0xc0 == 0x80).count();
    let single = |byte: &u8| (0..tokenizer.vocab_size() as u32).find(|id| tokenizer.token_bytes(*id) == [*byte]);
    let Some(mut ids) = bytes[..inside].iter().map(single).collect::<Option<Vec<u32>>>() else { return Ok(None) };
    let Ok(text) = std::str::from_utf8(&bytes[inside..]) else { return Ok(None) };
    ids.extend(tokenizer.encode_after(&[before, &ids].concat(), text)?);
    Ok((spelt(tokenizer, &ids) == bytes).then_some(ids))
}
