//! What a line says: a format string with Apache's directives, read once.

use std::fmt;

use http::HeaderName;

use crate::escape::Escape;
use crate::time::TimeFormat;

/// The format of a log's lines.
///
/// | directive | writes |
/// |---|---|
/// | `%%` | a percent sign |
/// | `%a`, `%h`, `%{remote}p` | the peer's address (names are not looked up) and port |
/// | `%b`, `%B` | bytes of the answer's body that were handed to the connection; `%b` has `-` for none |
/// | `%D`, `%T`, `%{ms}T`, `%{us}T`, `%{s}T` | time from the request's head to the end of its answer, in microseconds, seconds, … |
/// | `%H`, `%m`, `%r`, `%U`, `%q` | protocol, method, request line, path, query with its `?` |
/// | `%{Name}i`, `%{Name}o` | a field of the request, of the answer |
/// | `%l`, `%u` | `-`: nobody asks ident, and who a user is only the application knows |
/// | `%P` | the process id |
/// | `%s`, `%>s`, `%<s` | the status, `-` where the application gave no answer |
/// | `%t`, `%{sec}t`, `%{msec}t`, `%{usec}t` | when the request came, in UTC |
/// | `%v`, `%V`, `%p` | host and port that the request was for, by its Host |
///
/// Other directives are refused by [`parse`](Self::parse): what they mean is not known here.
#[derive(Clone, Debug)]
pub struct Format {
    pub(crate) items: Vec<Item>,
    pub(crate) escape: Escape,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Text(Vec<u8>),
    Request(RequestItem),
    Response(ResponseItem),
    End(EndItem),
}

/// Known when the request is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RequestItem {
    PeerAddress,
    PeerPort,
    Method,
    Line,
    Path,
    Query,
    Protocol,
    Host,
    Port,
    Field(HeaderName),
    Time(TimeFormat),
}

/// Known when the answer's head is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResponseItem {
    Status,
    Field(HeaderName),
}

/// Known at the end of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndItem {
    Bytes,
    /// With a dash for none.
    BytesOrDash,
    Microseconds,
    Milliseconds,
    Seconds,
}

/// A format string that cannot be used.
#[derive(Clone, PartialEq, Eq)]
pub struct FormatError {
    directive: String,
    problem: &'static str,
}

impl Format {
    /// Apache's `common`: `%h %l %u %t "%r" %>s %b`.
    pub fn common() -> Self {
        Format::fixed(r#"%h %l %u %t "%r" %>s %b"#)
    }

    /// `common` after the host that was asked for.
    pub fn vhost_common() -> Self {
        Format::fixed(r#"%v %h %l %u %t "%r" %>s %b"#)
    }

    /// `common` with Referer and User-Agent.
    pub fn combined() -> Self {
        Format::fixed(r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#)
    }

    /// Where requests came from: `%{Referer}i -> %U`.
    pub fn referer() -> Self {
        Format::fixed("%{Referer}i -> %U")
    }

    /// What sent them: `%{User-Agent}i`.
    pub fn agent() -> Self {
        Format::fixed("%{User-Agent}i")
    }

    /// An object of JSON a line, with `time` (ISO 8601), `peer`, `method`, `path`, `query`,
    /// `protocol`, `host`, `status` (null where there was no answer), `bytes`, `elapsed_us`, `referer`,
    /// `user_agent` and `request_id`.
    pub fn json() -> Self {
        let mut items = Vec::new();
        let text = |items: &mut Vec<Item>, text: &str| items.push(Item::Text(text.into()));
        let string = |name: &str, item: RequestItem| (name.to_owned(), true, Item::Request(item));
        let field = |name: &'static str| RequestItem::Field(HeaderName::from_static(name));
        let members = [
            string("time", RequestItem::Time(TimeFormat::Iso)),
            string("peer", RequestItem::PeerAddress),
            string("method", RequestItem::Method),
            string("path", RequestItem::Path),
            string("query", RequestItem::Query),
            string("protocol", RequestItem::Protocol),
            string("host", RequestItem::Host),
            ("status".to_owned(), false, Item::Response(ResponseItem::Status)),
            ("bytes".to_owned(), false, Item::End(EndItem::Bytes)),
            ("elapsed_us".to_owned(), false, Item::End(EndItem::Microseconds)),
            string("referer", field("referer")),
            string("user_agent", field("user-agent")),
            string("request_id", field("x-request-id")),
        ];
        for (at, (name, quoted, item)) in members.into_iter().enumerate() {
            let quote = if quoted { "\"" } else { "" };
            let before = if at == 0 { "{" } else { "," };
            text(&mut items, &format!("{before}\"{name}\":{quote}"));
            items.push(item);
            text(&mut items, quote);
        }
        text(&mut items, "}");
        Format { items, escape: Escape::Json }
    }

    /// Reads a format string.
    ///
    /// ```
    /// use sidecore_access_log::Format;
    ///
    /// assert!(Format::parse(r#"%h "%r" %>s %D %{X-Request-Id}i"#).is_ok());
    /// let refused = Format::parse("%h %I").unwrap_err();
    /// assert!(refused.to_string().contains("`%I`"));
    /// ```
    ///
    /// # Errors
    /// [`FormatError`], which names the word that is none.
    pub fn parse(format: &str) -> Result<Self, FormatError> {
        let (mut items, mut rest) = (Vec::new(), format);
        while let Some(at) = rest.find('%') {
            items.push(Item::Text(rest[..at].into()));
            let (item, after) = directive(&rest[at..])?;
            items.push(item);
            rest = after;
        }
        items.push(Item::Text(rest.into()));
        items.retain(|item| !matches!(item, Item::Text(text) if text.is_empty()));
        if items.iter().any(|item| matches!(item, Item::Text(text) if text.contains(&b'\n'))) {
            let problem = "a format is one line: the line's end is added to it";
            return Err(FormatError { directive: "a line break".to_owned(), problem });
        }
        Ok(Format { items, escape: Escape::Apache })
    }

    /// One of this module's own, whose directives are all known: its tests say so.
    fn fixed(format: &str) -> Self {
        Format::parse(format).unwrap_or(Format { items: Vec::new(), escape: Escape::Apache })
    }
}

/// The directive that `text` begins with, and what follows it.
fn directive(text: &str) -> Result<(Item, &str), FormatError> {
    let (argument, after) = match text[1..].strip_prefix('{') {
        None => (None, &text[1..]),
        Some(argument) => match argument.split_once('}') {
            Some((argument, after)) => (Some(argument), after),
            None => return Err(error(text, "its brace is not closed")),
        },
    };
    // Of a request that is redirected internally Apache has two statuses; here there is one.
    let after = match after.strip_prefix(['>', '<']) {
        Some(after) if after.starts_with('s') => after,
        _ => after,
    };
    let Some(letter) = after.chars().next() else {
        return Err(error(text, "the format ends within it; a percent sign is `%%`"));
    };
    let after = &after[letter.len_utf8()..];
    let whole = &text[..text.len() - after.len()];
    item(letter, argument, whole).map(|item| (item, after))
}

fn item(letter: char, argument: Option<&str>, whole: &str) -> Result<Item, FormatError> {
    let name = |argument: &str| {
        HeaderName::try_from(argument).map_err(|_| error(whole, "this is no name of a field"))
    };
    let text = |text: &str| Item::Text(text.into());
    let time = |format| Item::Request(RequestItem::Time(format));
    Ok(match (letter, argument) {
        ('%', None) => text("%"),
        ('l' | 'u', None) => text("-"),
        ('P', None) => text(&std::process::id().to_string()),
        ('a' | 'h', None) => Item::Request(RequestItem::PeerAddress),
        ('p', Some("remote")) => Item::Request(RequestItem::PeerPort),
        ('m', None) => Item::Request(RequestItem::Method),
        ('r', None) => Item::Request(RequestItem::Line),
        ('U', None) => Item::Request(RequestItem::Path),
        ('q', None) => Item::Request(RequestItem::Query),
        ('H', None) => Item::Request(RequestItem::Protocol),
        ('v' | 'V', None) => Item::Request(RequestItem::Host),
        ('p', None) => Item::Request(RequestItem::Port),
        ('i', Some(field)) => Item::Request(RequestItem::Field(name(field)?)),
        ('t', None) => time(TimeFormat::Common),
        ('t', Some("sec")) => time(TimeFormat::Seconds),
        ('t', Some("msec")) => time(TimeFormat::Milliseconds),
        ('t', Some("usec")) => time(TimeFormat::Microseconds),
        ('t', Some(_)) => {
            return Err(error(whole, "of the formats of times, sec, msec and usec are written"));
        }
        ('s', None) => Item::Response(ResponseItem::Status),
        ('o', Some(field)) => Item::Response(ResponseItem::Field(name(field)?)),
        ('B', None) => Item::End(EndItem::Bytes),
        ('b', None) => Item::End(EndItem::BytesOrDash),
        ('D', None) | ('T', Some("us")) => Item::End(EndItem::Microseconds),
        ('T', Some("ms")) => Item::End(EndItem::Milliseconds),
        ('T', None | Some("s")) => Item::End(EndItem::Seconds),
        ('I' | 'O' | 'S', None) => {
            return Err(error(whole, "bytes on the wire are not counted; `%B` is the body's"));
        }
        ('i' | 'o', None) => return Err(error(whole, "it needs a field's name, as in `%{Host}i`")),
        _ => return Err(error(whole, "there is no such directive here")),
    })
}

fn error(directive: &str, problem: &'static str) -> FormatError {
    FormatError { directive: directive.to_owned(), problem }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FormatError { directive, problem } = self;
        write!(f, "the access log cannot write `{directive}`: {problem}")
    }
}

/// As it is displayed, for a `main` that returns it.
impl fmt::Debug for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for FormatError {}

#[cfg(feature = "sidecore")]
impl From<FormatError> for sidecore::Error {
    fn from(error: FormatError) -> Self {
        sidecore::Error::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_of_this_module_have_all_their_parts() {
        assert_eq!(Format::common().items.len(), 13);
        assert_eq!(Format::vhost_common().items.len(), 15);
        assert_eq!(Format::combined().items.len(), 18);
        assert_eq!(Format::referer().items.len(), 3);
        assert_eq!(Format::agent().items.len(), 1);
        assert!(!Format::json().items.is_empty());
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let check = |format: &str, directive: &str| {
            let error = Format::parse(format).expect_err(format);
            assert_eq!(error.directive, directive);
        };
        check("%h %I", "%I");
        check("%O %h", "%O");
        check("a %Z b", "%Z");
        check("%", "%");
        check("a %{Referer", "%{Referer");
        check("%{a b}i", "%{a b}i");
        check("%i", "%i");
        check("%{%Y}t", "%{%Y}t");
        check("%{c}a", "%{c}a");
        check("%>b", "%>");
        check("%404i", "%4");
        check("%h\n%h", "a line break");
        assert_eq!(Format::parse("100%%").unwrap().items.len(), 2);
    }
}
