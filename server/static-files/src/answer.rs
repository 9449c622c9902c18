//! The answer for a file: its fields, and which of its bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED, LOCATION, RETRY_AFTER, VARY,
};
use http::{HeaderName, Method, Response, StatusCode, Uri};
use rustix::io::Errno;
use sidecore::lifecycle::stderr;

use crate::body::{FileBody, Part, Source};
use crate::conditions::{self, Verdict};
use crate::files::Settings;
use crate::lookup::{Content, Served};
use crate::range::Ranges;
use crate::rules::Policy;
use crate::validators::Validators;

const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// What is asked about a file.
pub(crate) struct RequestParts<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) fields: &'a HeaderMap,
}

/// The answer that sends a file, or says why not.
pub(crate) fn file(
    request: &RequestParts<'_>,
    served: Served,
    settings: &Settings,
) -> Response<FileBody> {
    match *request.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return without_body(StatusCode::NO_CONTENT, &[(ALLOW, ALLOWED)]),
        _ => return without_body(StatusCode::METHOD_NOT_ALLOWED, &[(ALLOW, ALLOWED)]),
    }
    let path = [b"/", &*served.name].concat();
    let policy = Policy::of(&path, &settings.rules);
    let validators = Validators::of(&served.identity, &policy, SystemTime::now());
    let mut answer = Response::new(FileBody::empty());
    let verdict = conditions::check(request.fields, &validators);
    if verdict == Verdict::Failed {
        *answer.status_mut() = StatusCode::PRECONDITION_FAILED;
        return answer;
    }
    insert_validators(answer.headers_mut(), &validators, &policy, settings);
    if verdict == Verdict::NotModified {
        // RFC 9110 §15.4.5: a 304 has what a cache goes by. A date does so without a tag only.
        if answer.headers().contains_key(ETAG) {
            answer.headers_mut().remove(LAST_MODIFIED);
        }
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return answer;
    }
    content(answer, request, served, &validators, settings)
}

/// Makes an answer one that sends the file, or the ranges of it that are asked for.
fn content(
    mut answer: Response<FileBody>,
    request: &RequestParts<'_>,
    served: Served,
    validators: &Validators,
    settings: &Settings,
) -> Response<FileBody> {
    let fields = answer.headers_mut();
    fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if let Some(encoding) = served.encoding {
        fields.insert(CONTENT_ENCODING, encoding.value());
    }
    let size = served.identity.size;
    // §14.2: a range is of GET alone.
    let ranges = match *request.method {
        Method::GET => conditions::ranges(request.fields, validators, size),
        _ => Ranges::Whole,
    };
    match ranges {
        Ranges::Unsatisfiable => {
            let range = value(format!("bytes */{size}"));
            return without_body(StatusCode::RANGE_NOT_SATISFIABLE, &[(CONTENT_RANGE, range)]);
        }
        Ranges::Whole => {
            fields.insert(CONTENT_TYPE, served.content_type.clone());
            if *request.method == Method::HEAD {
                fields.insert(CONTENT_LENGTH, size.into());
                return answer;
            }
            *answer.body_mut() = body(served, vec![(None, 0..size)], None, settings);
        }
        Ranges::Parts(parts) => {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            send_parts(&mut answer, served, parts, settings);
        }
    }
    answer
}

/// 206 (§15.3.7): one part as it is, several as multipart/byteranges.
fn send_parts(
    answer: &mut Response<FileBody>,
    served: Served,
    parts: Vec<Range<u64>>,
    settings: &Settings,
) {
    let size = served.identity.size;
    let content_range =
        |part: &Range<u64>| format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1));
    let fields = answer.headers_mut();
    if let [part] = &*parts {
        fields.insert(CONTENT_RANGE, value(content_range(part)));
        fields.insert(CONTENT_TYPE, served.content_type.clone());
        let parts = parts.into_iter().map(|part| (None, part)).collect();
        *answer.body_mut() = body(served, parts, None, settings);
        return;
    }
    let boundary = format!("{:016x}{:016x}", random(), random());
    fields.insert(CONTENT_TYPE, value(format!("multipart/byteranges; boundary={boundary}")));
    let content_type = served.content_type.to_str().unwrap_or_default();
    let parts = parts
        .into_iter()
        .map(|part| {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {}\r\n\r\n",
                content_range(&part)
            );
            (Some(head), part)
        })
        .collect();
    *answer.body_mut() = body(served, parts, Some(format!("\r\n--{boundary}--\r\n")), settings);
}

/// 64 bits that nobody who wrote the file can have known.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

/// Parts of a file, each behind its head.
fn body(
    served: Served,
    parts: Vec<(Option<String>, Range<u64>)>,
    end: Option<String>,
    settings: &Settings,
) -> FileBody {
    let mut given = VecDeque::new();
    for (head, part) in parts {
        given.extend(head.map(|head| Part::Held(head.into())));
        given.push_back(match &served.content {
            Content::Held(bytes) => Part::Held(slice(bytes, &part)),
            Content::Open(_) => Part::Read(part),
        });
    }
    given.extend(end.map(|end| Part::Held(end.into())));
    let source = match served.content {
        Content::Held(_) => None,
        Content::Open(file) => {
            let (name, disk_workers) = (served.name, settings.disk_workers.clone());
            Some(Source { name, file, identity: served.identity, disk_workers })
        }
    };
    FileBody::new(given, source)
}

/// The range lies within the bytes: it was made for their length.
fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    bytes.slice(range.start as usize..range.end as usize)
}

/// What clients and caches keep with their copies.
fn insert_validators(
    fields: &mut HeaderMap,
    validators: &Validators,
    policy: &Policy<'_>,
    settings: &Settings,
) {
    let tag = validators.entity_tag.as_ref().and_then(|tag| tag.value());
    let modified = validators.modified.map(|at| value(httpdate::fmt_http_date(at)));
    let vary = settings.precompressed.then(|| HeaderValue::from_static("accept-encoding"));
    let values = [
        (ETAG, tag),
        (LAST_MODIFIED, modified),
        (CACHE_CONTROL, policy.cache_control.cloned()),
        (VARY, vary),
    ];
    for (name, value) in values {
        value.and_then(|value| fields.insert(name, value));
    }
}

/// 301 to a directory's URL with its slash, so that what its index links to is found. The target
/// is relative: it holds below any prefix, and cannot lead to another host.
pub(crate) fn redirect_to_directory(request: &RequestParts<'_>) -> Response<FileBody> {
    let last = request.uri.path().rsplit('/').next().unwrap_or_default();
    let query = request.uri.query().map_or(String::new(), |query| format!("?{query}"));
    match HeaderValue::try_from(format!("./{last}/{query}")) {
        Ok(location) => without_body(StatusCode::MOVED_PERMANENTLY, &[(LOCATION, location)]),
        Err(_) => without_body(StatusCode::NOT_FOUND, &[]),
    }
}

/// 406
pub(crate) fn not_acceptable() -> Response<FileBody> {
    let vary = HeaderValue::from_static("accept-encoding");
    without_body(StatusCode::NOT_ACCEPTABLE, &[(VARY, vary)])
}

/// A file that is there but cannot be opened or read. Without descriptors it is worth a later try.
pub(crate) fn failed(error: &std::io::Error) -> Response<FileBody> {
    stderr::line(format_args!("a static file cannot be served: {error}"));
    // AGAIN: what leads to the file was renamed at each attempt to open it.
    let passing = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    match passing.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) {
        true => {
            let soon = HeaderValue::from_static("1");
            without_body(StatusCode::SERVICE_UNAVAILABLE, &[(RETRY_AFTER, soon)])
        }
        false => without_body(StatusCode::INTERNAL_SERVER_ERROR, &[]),
    }
}

fn without_body(status: StatusCode, fields: &[(HeaderName, HeaderValue)]) -> Response<FileBody> {
    let mut answer = Response::new(FileBody::empty());
    *answer.status_mut() = status;
    answer.headers_mut().extend(fields.iter().cloned());
    answer
}

/// Text of digits, letters and punctuation of the server's own.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
