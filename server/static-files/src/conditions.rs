//! Preconditions of a request (RFC 9110 §13), in the order that §13.2.2 gives them.

use std::time::SystemTime;

use http::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};

use crate::range::Ranges;
use crate::validators::Validators;

/// What the preconditions of a GET or HEAD come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The file is sent.
    Send,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// Steps 1 to 4 of §13.2.2, for GET and HEAD.
pub(crate) fn check(fields: &HeaderMap, current: &Validators) -> Verdict {
    let tag = current.entity_tag.as_ref();
    let failed = match fields.contains_key(IF_MATCH) {
        // §13.1.1: by the strong comparison; `*` is true, as there is a file.
        true => !any_tag(fields, &IF_MATCH, |sent| tag.is_some_and(|tag| tag.is_strongly(sent))),
        // §13.1.4: ignored where it is no date, or the file's is not known.
        false => dates(fields, &IF_UNMODIFIED_SINCE, current)
            .is_some_and(|(sent, modified)| modified > sent),
    };
    if failed {
        return Verdict::Failed;
    }
    let has_it = match fields.contains_key(IF_NONE_MATCH) {
        // §13.1.2: by the weak comparison; If-Modified-Since is then not looked at.
        true => any_tag(fields, &IF_NONE_MATCH, |sent| tag.is_some_and(|tag| tag.is_weakly(sent))),
        false => dates(fields, &IF_MODIFIED_SINCE, current)
            .is_some_and(|(sent, modified)| modified <= sent),
    };
    if has_it { Verdict::NotModified } else { Verdict::Send }
}

/// Step 5 of §13.2.2, for GET: the ranges that are asked for, if they are of this very content.
pub(crate) fn ranges(fields: &HeaderMap, current: &Validators, size: u64) -> Ranges {
    let Some(range) = single(fields, &RANGE) else { return Ranges::Whole };
    let holds = match fields.contains_key(IF_RANGE) {
        false => true,
        true => single(fields, &IF_RANGE).is_some_and(|value| is_current(value, current)),
    };
    if holds { Ranges::parse(range.as_bytes(), size) } else { Ranges::Whole }
}

/// §13.1.5: a strong entity tag, or exactly the date of the last modification.
fn is_current(value: &HeaderValue, current: &Validators) -> bool {
    match value.as_bytes() {
        tag @ ([b'"', ..] | [b'W', b'/', ..]) => {
            current.entity_tag.as_ref().is_some_and(|current| current.is_strongly(tag))
        }
        _ => date(value).is_some_and(|sent| current.modified == Some(sent)),
    }
}

/// Whether a list of entity tags is `*` or has one that `is_it`.
fn any_tag(fields: &HeaderMap, name: &HeaderName, is_it: impl Fn(&[u8]) -> bool) -> bool {
    let mut values = fields.get_all(name).iter().map(HeaderValue::as_bytes);
    values.any(|value| value.trim_ascii() == b"*" || Tags(value).any(&is_it))
}

/// The entity tags of a list, each with its quotes and its `W/`. A tag may have commas in it, so
/// the list cannot be cut at those. What is no tag ends it.
struct Tags<'a>(&'a [u8]);

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let between = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
        let start = self.0.iter().position(|byte| !between(byte))?;
        let rest = &self.0[start..];
        let quote = if rest.starts_with(b"W/") { 2 } else { 0 };
        let opaque = rest.get(quote..)?.strip_prefix(b"\"")?;
        let end = quote + 1 + opaque.iter().position(|&byte| byte == b'"')? + 1;
        self.0 = &rest[end..];
        Some(&rest[..end])
    }
}

/// A date that was sent, and that of the file, where both are known.
fn dates(
    fields: &HeaderMap,
    name: &HeaderName,
    current: &Validators,
) -> Option<(SystemTime, SystemTime)> {
    Some((date(single(fields, name)?)?, current.modified?))
}

fn date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?).ok()
}

/// The value of a field that is no list; one that is sent twice says nothing.
fn single<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = fields.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_between_commas_that_are_none_of_theirs() {
        let tags = |value| Tags(value).collect::<Vec<_>>();
        assert_eq!(tags(b"\"a\", W/\"b,c\" ,\"\""), [&b"\"a\""[..], b"W/\"b,c\"", b"\"\""]);
        assert_eq!(tags(b"\"a\", b, \"c\""), [b"\"a\""]);
        assert_eq!(tags(b"w/\"a\""), [b""; 0]);
        assert_eq!(tags(b"\"a"), [b""; 0]);
        assert_eq!(tags(b""), [b""; 0]);
    }
}
