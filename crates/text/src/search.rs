//! Where one of some texts first appears in text that is still arriving.

/// What has been taken from text that is still arriving.
pub(crate) struct Taken {
    /// The text that is certainly not part of any of those searched for.
    pub text: String,
    /// Which of them followed it and was taken too.
    pub found: Option<usize>,
}

/// Takes from the front of `held` what can be told by now: everything up to the text that is complete first and that
/// text (the longest, if several are complete with the same character), or everything that none of them can begin with.
pub(crate) fn take<T: AsRef<str>>(held: &mut String, texts: &[T]) -> Taken {
    let texts = || texts.iter().map(AsRef::as_ref).enumerate();
    let appeared = texts().filter_map(|(index, text)| Some((held.find(text)?, text.len(), index)));
    if let Some((begin, len, index)) = appeared.min_by_key(|(begin, len, _)| (begin + len, *begin)) {
        let rest = held.split_off(begin + len);
        let mut text = std::mem::replace(held, rest);
        text.truncate(begin);
        return Taken { text, found: Some(index) };
    }
    let is_beginning = |begin: &usize| texts().any(|(_, text)| text.starts_with(&held[*begin..]));
    let begins = held.char_indices().map(|(begin, _)| begin);
    let certain = begins.filter(is_beginning).min().unwrap_or(held.len());
    Taken { text: held.drain(..certain).collect(), found: None }
}
