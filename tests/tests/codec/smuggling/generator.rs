//! Hostile requests: framing in every spelling that has desynchronised some server, around a body
//! that is itself a request, and one more request behind it.

use sidecore_tests::Random;

/// A request within a body: its answer on the wire is a smuggled request.
pub(crate) const MARKER: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nSMUGGLED";
/// The body that the marker is answered with where it counts as a request.
pub(crate) const SMUGGLED: &[u8] = b"SMUGGLED";
const FOLLOWING: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nfollowing";

const LINES: [&str; 7] = [
    "POST / HTTP/1.1",
    "POST / HTTP/1.1",
    "POST / HTTP/1.1",
    "POST /?a HTTP/1.1",
    "POST http://other/ HTTP/1.1",
    "GET / HTTP/1.1",
    "POST / HTTP/1.0",
];
const STRANGE_LINES: [&str; 18] = [
    "POST  / HTTP/1.1",
    "POST /  HTTP/1.1",
    "POST / HTTP/1.1 ",
    "POST /",
    "POST / HTTP/1.2",
    "post / HTTP/1.1",
    "POST\t/ HTTP/1.1",
    "POST * HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "POST http:///x HTTP/1.1",
    "POST http://u@h/ HTTP/1.1",
    "POST https://h/ HTTP/1.1",
    "POST /a b HTTP/1.1",
    "POST /%0d%0aX HTTP/1.1",
    "POST /% HTTP/1.1",
    "POST //other/ HTTP/1.1",
    "POST http://other?x HTTP/1.1",
    "CONNECT h:80 HTTP/1.1",
];
const HOSTS: [&str; 12] = [
    "Host: h",
    "Host: h",
    "Host: h",
    "Host: h:80",
    "host:h",
    "Host: [::1]",
    "Host: a,b",
    "Host : h",
    "Host: u@h",
    "Host: h\r\nHost: h",
    "Host:",
    "X: no host",
];
const CODINGS: [&str; 36] = [
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked",
    "transfer-encoding: CHUNKED",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: ,chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: chunked\x0b",
    "Transfer-Encoding: chunked\x0c",
    "Transfer-Encoding: \0chunked",
    "Transfer-Encoding: chun\x00ked",
    "Transfer-Encoding: chunked;a=b",
    "Transfer-Encoding: chunked\rX: y",
    "Transfer-Encoding: chunked\nX: y",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "Transfer_Encoding: chunked",
    "TransferEncoding: chunked",
    "Transfer-Encoding",
    " Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
];
/// `@` stands for a number.
const LENGTHS: [&str; 30] = [
    "Content-Length: @",
    "Content-Length: @",
    "Content-Length: @",
    "Content-Length: @",
    "content-length:@",
    "Content-Length:\t@ ",
    "Content-Length: +@",
    "Content-Length: -@",
    "Content-Length: 0@",
    "Content-Length: @, @",
    "Content-Length: @,",
    "Content-Length: ,@",
    "Content-Length: @ @",
    "Content-Length: 0x@",
    "Content-Length: @.0",
    "Content-Length: @e0",
    "Content-Length: \"@\"",
    "Content-Length : @",
    "Content-Length\0: @",
    "Content-Length: @\0",
    "Content-Length: \x0b@",
    "Content-Length:\r\n @",
    "Content-Length: @\r\n 0",
    "Content-Length:",
    "Content-Length: @\r\nContent-Length: @",
    "Content-Length: @\r\nContent-Length: 0",
    "Content_Length: @",
    "X: y\nContent-Length: @",
    "X: y\rContent-Length: @",
    "Content-Length: 1844674407370955161@",
];
const OTHERS: [&str; 16] = [
    "Connection: close",
    "Connection: keep-alive",
    "Connection: Content-Length",
    "X: y",
    "A:",
    ": x",
    "x",
    " folded",
    "X: \x7f",
    "X: \u{e9}",
    "Expect: 100-continue",
    "Expect: x",
    "Upgrade: h2c",
    "Connection: Transfer-Encoding, close",
    "X: y\r",
    "X(: y",
];
const SIZES: [&str; 14] = [
    "@",
    "@",
    "@",
    "@",
    "@",
    "0@",
    "+@",
    "-@",
    "0x@",
    " @",
    "@ ",
    "1000000000000000@",
    "@h",
    "@\t",
];
const EXTENSIONS: [&str; 20] = [
    "",
    "",
    "",
    "",
    "",
    ";a",
    ";a=b",
    ";a=\"b;c\"",
    " ;a",
    ";",
    ";a=",
    ";a=\"",
    ";a\n",
    ";\r",
    ";a=\"\\",
    "; a = b",
    ";\0",
    ";a b",
    ";a=\"\r\n\"",
    ";a=b=c",
];
const ENDS: [&str; 10] =
    ["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "", "\r\n\r\n"];
const TRAILERS: [&str; 10] = [
    "",
    "",
    "",
    "X: y\r\n",
    "Content-Length: 9\r\n",
    "Transfer-Encoding: chunked\r\n",
    "X : y\r\n",
    "X: y\n",
    " x\r\n",
    "GET / HTTP/1.1\r\n",
];

/// One connection's bytes.
pub(crate) fn generate(random: &mut Random) -> Vec<u8> {
    let body = body(random);
    let mut text = String::new();
    if random.one_in(4) {
        text += FOLLOWING;
    }
    text += blank_lines(random);
    text += if random.one_in(12) { random.pick(&STRANGE_LINES) } else { random.pick(&LINES) };
    let mut fields = vec![match random.one_in(8) {
        true => random.pick(&HOSTS).to_owned(),
        false => "Host: h".to_owned(),
    }];
    fields.extend(framing(random, &body));
    if random.one_in(4) {
        fields.push(random.pick(&OTHERS).to_owned());
    }
    let first = random.below(fields.len());
    fields.rotate_left(first);
    for field in fields {
        text += if random.one_in(60) { random.pick(&ENDS) } else { "\r\n" };
        text += &field;
    }
    text += if random.one_in(60) { random.pick(&ENDS) } else { "\r\n" };
    text += if random.one_in(60) { random.pick(&ENDS) } else { "\r\n" };
    text += &body;
    text += FOLLOWING;
    let mut bytes = text.into_bytes();
    if random.one_in(5) {
        mutate(random, &mut bytes);
    }
    bytes
}

/// The fields that frame the body: as they should be, in a strange spelling, or several of them.
fn framing(random: &mut Random, body: &str) -> Vec<String> {
    let plain = match body.starts_with('P') {
        true => format!("Content-Length: {}", body.len()),
        false => "Transfer-Encoding: chunked".to_owned(),
    };
    let strange = match random.one_in(2) {
        true => random.pick(&CODINGS).to_owned(),
        false => random.pick(&LENGTHS).replace('@', &near(random, body.len()).to_string()),
    };
    match random.below(6) {
        0 | 1 => vec![plain],
        2 => vec![plain, strange],
        _ => vec![strange],
    }
}

/// A body with the marker in it: plain, chunked, or behind an end that only some would see.
fn body(random: &mut Random) -> String {
    match random.below(4) {
        0 => MARKER.to_owned(),
        1 => format!("0\r\n\r\n{MARKER}"),
        _ => {
            let mut body = chunk(random, MARKER);
            if random.one_in(3) {
                body += &chunk(random, "abc");
            }
            let strange = random.one_in(4);
            let extension = if strange { random.pick(&EXTENSIONS) } else { "" };
            let trailer = if strange { random.pick(&TRAILERS) } else { "" };
            body + "0" + extension + "\r\n" + trailer + "\r\n"
        }
    }
}

fn chunk(random: &mut Random, data: &str) -> String {
    let size = match random.one_in(6) {
        true => near(random, data.len()),
        false => data.len(),
    };
    let strange = random.one_in(3);
    let size = if strange { random.pick(&SIZES) } else { "@" }.replace('@', &format!("{size:x}"));
    let extension = if strange { random.pick(&EXTENSIONS) } else { "" };
    let ends = |random: &mut Random| if random.one_in(16) { random.pick(&ENDS) } else { "\r\n" };
    size + extension + ends(random) + data + ends(random)
}

/// Often the number itself, else one that is a little off.
fn near(random: &mut Random, number: usize) -> usize {
    match random.below(6) {
        0 => number + 1 + random.below(3),
        1 => number.saturating_sub(1 + random.below(3)),
        2 => random.below(10),
        _ => number,
    }
}

fn blank_lines(random: &mut Random) -> &'static str {
    match random.one_in(8) {
        true => random.pick(&["\r\n", "\r\n\r\n", "\r\n\r\n\r\n", "\n", "\r", " \r\n", "\0"]),
        false => "",
    }
}

/// Changes one to three bytes where framing is sensitive to them.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    const SHARP: &[u8] = b"\r\n\t :;,=0\0\x0b\x7f\xff";
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let byte = SHARP[random.below(SHARP.len())];
        match random.below(3) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
    }
}
