//! Heads against httparse: what is taken here httparse takes, with the same parts.

use std::mem::MaybeUninit;

use sidecore::codec::Reject;
use sidecore::codec::{
    HEADER_COUNT_CAP, HeadScan, Parsed, RequestHead, Target, Version, next_head,
};

use super::{Cuts, LIMITS};

/// A head has one verdict, however it arrives; one that is taken is what httparse reads, within
/// the limits, and is framed as its fields say.
pub fn head(data: &[u8]) {
    let (cuts, input) = Cuts::split_off(data);
    let mut slots = [MaybeUninit::uninit(); HEADER_COUNT_CAP];
    let whole = next_head(input, &mut HeadScan::default(), &mut slots, &LIMITS);
    let verdict = describe(&whole);
    if let Ok(Parsed::Complete(head)) = &whole {
        compare(head, input);
    }
    let (mut arrived, mut scan) = (0, HeadScan::default());
    for piece in cuts.pieces(input) {
        arrived += piece.len();
        let mut slots = [MaybeUninit::uninit(); HEADER_COUNT_CAP];
        let part = next_head(&input[..arrived], &mut scan, &mut slots, &LIMITS);
        if !matches!(part, Ok(Parsed::Incomplete)) {
            assert_eq!(describe(&part), verdict, "after {arrived} bytes");
            return;
        }
    }
    assert_eq!(verdict, "incomplete");
}

fn describe(parsed: &Result<Parsed<RequestHead<'_>>, Reject>) -> String {
    match parsed {
        Ok(Parsed::Complete(head)) => format!("{head:?}"),
        Ok(Parsed::Incomplete) => "incomplete".to_owned(),
        Err(reject) => format!("{reject:?}"),
    }
}

/// The same parts as httparse's, from which this server differs only where it refuses, and where it
/// cuts a fragment off.
fn compare(head: &RequestHead<'_>, input: &[u8]) {
    let mut slots = [httparse::EMPTY_HEADER; HEADER_COUNT_CAP];
    let mut request = httparse::Request::new(&mut slots);
    let status = request.parse(input).expect("httparse takes it");
    assert_eq!(status, httparse::Status::Complete(head.size_bytes));
    assert_eq!(request.method, Some(head.method));
    assert_eq!(request.version, Some(u8::from(head.version == Version::Http11)));
    assert_eq!(request.headers, head.fields);
    let sent = request.path.expect("a target");
    let target = sent.split('#').next().expect("what is before it");
    match head.target {
        Target::Origin(origin) => assert_eq!(origin, target),
        Target::Asterisk => assert_eq!(target, "*"),
        Target::Absolute { authority, path_and_query, .. } => {
            let rest = target.get(7..).expect("a scheme");
            assert_eq!(rest, format!("{authority}{path_and_query}"));
        }
    }
    assert!(sent.len() <= LIMITS.target_length_max_bytes);
    assert!(head.fields.len() <= LIMITS.header_count_max);
    // Blank lines before the head do not count.
    assert!(head.size_bytes <= LIMITS.size_max_bytes + 4);
    let bytes = &input[..head.size_bytes];
    let line_ends = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    let count = |wanted| bytes.iter().filter(|&&byte| byte == wanted).count();
    assert_eq!((count(b'\r'), count(b'\n')), (line_ends, line_ends), "every line ends with CRLF");
    assert!(bytes.ends_with(b"\r\n\r\n"));
}
