//! A line as it comes about: what the request says at once, and holes for what the answer will.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use crate::escape::Escape;
use crate::format::{EndItem, Format, Item, RequestItem, ResponseItem};
use crate::request::{RequestInfo, cut, split_host};

/// A line with holes.
#[derive(Default)]
pub(crate) struct Line {
    text: Vec<u8>,
    /// Where in `text` which item of the format goes, in order.
    holes: Vec<(usize, usize)>,
}

impl Line {
    /// Writes what is known of the request.
    pub(crate) fn begin(format: &Format, request: &impl RequestInfo, now: SystemTime) -> Self {
        let mut line = Line { text: Vec::with_capacity(256), holes: Vec::new() };
        for (index, item) in format.items.iter().enumerate() {
            match item {
                Item::Text(text) => line.text.extend_from_slice(text),
                Item::Request(item) => {
                    write_request_item(&mut line.text, item, format, request, now)
                }
                Item::Response(_) | Item::End(_) => line.holes.push((line.text.len(), index)),
            }
        }
        line
    }

    /// Fills in what is known with the answer's head; with None there is no answer.
    pub(crate) fn answer(&mut self, format: &Format, answer: Option<(StatusCode, &HeaderMap)>) {
        self.fill(format, |out, item| match item {
            Item::Response(ResponseItem::Status) => {
                match (answer, format.escape) {
                    (Some((status, _)), _) => out.extend_from_slice(status.as_str().as_bytes()),
                    (None, Escape::Apache) => out.push(b'-'),
                    (None, Escape::Json) => out.extend_from_slice(b"null"),
                }
                true
            }
            Item::Response(ResponseItem::Field(name)) => {
                let value = answer.and_then(|(_, fields)| fields.get(name));
                text(out, format.escape, value.map(|value| value.as_bytes()));
                true
            }
            _ => false,
        });
    }

    /// Fills in the rest; the line with its end.
    pub(crate) fn end(mut self, format: &Format, bytes: u64, elapsed: Duration) -> Vec<u8> {
        self.answer(format, None);
        self.fill(format, |out, item| {
            let Item::End(item) = item else { return false };
            let number = match item {
                EndItem::BytesOrDash if bytes == 0 => {
                    out.push(b'-');
                    return true;
                }
                EndItem::Bytes | EndItem::BytesOrDash => u128::from(bytes),
                EndItem::Microseconds => elapsed.as_micros(),
                EndItem::Milliseconds => elapsed.as_millis(),
                EndItem::Seconds => u128::from(elapsed.as_secs()),
            };
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            true
        });
        self.text.push(b'\n');
        self.text
    }

    /// Fills the holes for which `write` says that it has written.
    fn fill(&mut self, format: &Format, mut write: impl FnMut(&mut Vec<u8>, &Item) -> bool) {
        if self.holes.is_empty() {
            return;
        }
        let old = std::mem::take(self);
        self.text.reserve(old.text.len() + 32);
        let mut copied = 0;
        for (at, index) in old.holes {
            self.text.extend_from_slice(&old.text[copied..at]);
            copied = at;
            if !write(&mut self.text, &format.items[index]) {
                self.holes.push((self.text.len(), index));
            }
        }
        self.text.extend_from_slice(&old.text[copied..]);
    }
}

fn write_request_item(
    out: &mut Vec<u8>,
    item: &RequestItem,
    format: &Format,
    request: &impl RequestInfo,
    now: SystemTime,
) {
    let (owned, marked): (Option<String>, Vec<u8>);
    let value: Option<&[u8]> = match item {
        RequestItem::PeerAddress => {
            owned = request.peer().map(|peer| peer.ip().to_canonical().to_string());
            owned.as_ref().map(String::as_bytes)
        }
        RequestItem::PeerPort => {
            owned = request.peer().map(|peer| peer.port().to_string());
            owned.as_ref().map(String::as_bytes)
        }
        RequestItem::Method => Some(request.method()),
        RequestItem::Line => match &*request.line() {
            b"" => None,
            line => return format.escape.text(out, line),
        },
        RequestItem::Path => Some(request.path()),
        // Without a query it is nothing, and no dash: it goes behind a path.
        RequestItem::Query => match request.query() {
            None => return,
            Some(query) => {
                marked = [b"?", query].concat();
                Some(&*marked)
            }
        },
        RequestItem::Protocol => Some(request.protocol()),
        RequestItem::Host => request.field(&header::HOST).map(|host| split_host(host).0),
        RequestItem::Port => Some(port(request)),
        RequestItem::Field(name) => request.field(name),
        RequestItem::Time(time) => {
            let mut written = String::new();
            time.write(&mut written, now);
            return out.extend_from_slice(written.as_bytes());
        }
    };
    text(out, format.escape, value);
}

/// The port that a request was for, by its Host or else its scheme.
fn port(request: &impl RequestInfo) -> &[u8] {
    let said = request.field(&header::HOST).and_then(|host| split_host(host).1);
    said.unwrap_or(if request.is_https() { b"443" } else { b"80" })
}

/// A text of the client's, or a dash for none; a long one is cut.
fn text(out: &mut Vec<u8>, escape: Escape, value: Option<&[u8]>) {
    match value {
        None | Some(b"") => out.push(b'-'),
        Some(value) => escape.text(out, cut(value)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::Request;

    use super::*;
    use crate::request::TEXT_MAX_BYTES;
    use crate::server;

    fn line(format: Format, answer: Option<StatusCode>, bytes: u64) -> String {
        let mut request = Request::get("/a%20b?c='d'")
            .header("host", "h.example:8080")
            .header("user-agent", "x\"\\\t")
            .body(())
            .unwrap();
        server::set_peer_address(request.extensions_mut(), "192.0.2.7:1234".parse().unwrap());
        let mut line = Line::begin(&format, &request, UNIX_EPOCH);
        let mut fields = HeaderMap::new();
        fields.insert("x-a", "1".parse().unwrap());
        if let Some(status) = answer {
            line.answer(&format, Some((status, &fields)));
        }
        String::from_utf8(line.end(&format, bytes, Duration::from_micros(1_234_567))).unwrap()
    }

    #[test]
    fn formats_write_what_their_directives_say() {
        let check = |format: &str, expected: &str| {
            let got = line(Format::parse(format).unwrap(), Some(StatusCode::OK), 7);
            assert_eq!(got, format!("{expected}\n"), "{format}");
        };
        check("%h %a %{remote}p", "192.0.2.7 192.0.2.7 1234");
        check("%l %u %% 100%%", "- - % 100%");
        check("%m %U%q %H", "GET /a%20b?c='d' HTTP/1.1");
        check("%v %V %p", "h.example h.example 8080");
        check("%s %>s %<s %b %B", "200 200 200 7 7");
        check("%D %T %{ms}T %{us}T %{s}T", "1234567 1 1234 1234567 1");
        check("%{sec}t %t", "0 [01/Jan/1970:00:00:00 +0000]");
        check("%{X-A}o %{x-b}o %{X-C}i", "1 - -");
        check("%>s%D%>s", "2001234567200");
    }

    #[test]
    fn a_line_without_an_answer_says_so() {
        let common = line(Format::common(), None, 0);
        assert!(common.ends_with("HTTP/1.1\" - -\n"), "{common}");
        let json = line(Format::json(), None, 0);
        let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
        assert!(json["status"].is_null() && json["bytes"] == 0, "{json}");
        assert_eq!(json["user_agent"], "x\"\\\t");
        assert_eq!(json["path"], "/a%20b");
    }

    #[test]
    fn a_long_text_is_cut_and_the_line_goes_on() {
        let request = Request::get("/").header("referer", "r".repeat(9000)).body(()).unwrap();
        let format = Format::parse("%{Referer}i %>s").unwrap();
        let line = Line::begin(&format, &request, UNIX_EPOCH).end(&format, 0, Duration::ZERO);
        assert_eq!(line.len(), TEXT_MAX_BYTES + " -\n".len());
    }
}
