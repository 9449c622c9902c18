//! A strict reference: which requests a connection's bytes are, decided on the whole of them.
//!
//! It shares no code with the server: straight-line splitting instead of state machines, and every
//! rule written once more from RFC 9110 and 9112.

/// What the server has to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer with this body, or with anything where there is none.
    Answer(Option<Vec<u8>>),
    /// Refuse, and close.
    Refuse,
    /// Close; an answer that needs no body may have gone out before the body was seen to be broken.
    AnswerOrRefuse,
}

/// The verdicts on all of a connection's bytes, behind which the client's end comes.
pub(crate) fn judge(mut bytes: &[u8]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    loop {
        let mut blank = 0;
        while let Some(rest) = bytes.strip_prefix(b"\r\n") {
            (bytes, blank) = (rest, blank + 1);
        }
        if blank > 2 {
            verdicts.push(Verdict::Refuse);
            return verdicts;
        }
        if bytes.is_empty() || bytes == b"\r" {
            return verdicts;
        }
        let Some((head, rest)) = read_head(bytes) else {
            verdicts.push(Verdict::Refuse);
            return verdicts;
        };
        let Some((body, rest)) = read_body(&head, rest) else {
            verdicts.push(if head.echoes { Verdict::Refuse } else { Verdict::AnswerOrRefuse });
            return verdicts;
        };
        verdicts.push(Verdict::Answer(head.echoes.then_some(body)));
        if head.closes {
            return verdicts;
        }
        bytes = rest;
    }
}

struct Head {
    length: Option<usize>,
    chunked: bool,
    closes: bool,
    /// A POST to `/`, which the server answers with its body.
    echoes: bool,
}

fn read_head(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let end = find(bytes, b"\r\n\r\n")?;
    let lines = split(&bytes[..end], b"\r\n");
    let words: Vec<&[u8]> = lines[0].split(|&byte| byte == b' ').collect();
    let [method, target, version] = words[..] else { return None };
    let old = match version {
        b"HTTP/1.0" => true,
        // RFC 9110 §2.5: a higher minor version is processed as 1.1.
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => false,
        _ => return None,
    };
    if method.is_empty() || method.len() > 32 || !method.iter().all(|&byte| is_tchar(byte)) {
        return None;
    }
    let path = target_path(method, target)?;
    let fields = lines[1..].iter().map(|line| read_field(line)).collect::<Option<Vec<_>>>()?;
    let all = |name: &str| -> Vec<&[u8]> {
        let named = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| *value).collect()
    };
    match all("host")[..] {
        [] if old => {}
        [host] if is_authority(host, true) => {}
        _ => return None,
    }
    let members = |name: &str| -> Vec<Vec<u8>> {
        let values = all(name).into_iter().flat_map(|value| value.split(|&byte| byte == b','));
        values.map(|member| trim(member).to_ascii_lowercase()).collect()
    };
    if members("expect").iter().any(|member| !member.is_empty() && member != b"100-continue") {
        return None;
    }
    // RFC 9110 §5.6.1.2: empty members do not count, but a list of these alone says nothing.
    let mut codings = members("transfer-encoding");
    let says_nothing = !codings.is_empty();
    codings.retain(|coding| !coding.is_empty());
    if says_nothing && codings.is_empty() {
        return None;
    }
    let chunked = match codings[..] {
        [] => false,
        [ref coding] if coding == b"chunked" && !old => true,
        _ => return None,
    };
    let length = match all("content-length")[..] {
        [] => None,
        [value] if !chunked => Some(read_digits(value)?),
        _ => return None,
    };
    let connection = members("connection");
    let has = |token: &[u8]| connection.iter().any(|member| member == token);
    let closes = has(b"close") || old && !has(b"keep-alive");
    let echoes = method == b"POST" && path == b"/";
    Some((Head { length, chunked, closes, echoes }, &bytes[end + 4..]))
}

/// The path, if the target is one that this method may have.
fn target_path<'a>(method: &[u8], target: &'a [u8]) -> Option<&'a [u8]> {
    if method == b"CONNECT" {
        return None;
    }
    // A fragment is no part of a target (§3.2): it is cut off.
    let target = target.split(|&byte| byte == b'#').next()?;
    if target == b"*" {
        return (method == b"OPTIONS").then_some(target);
    }
    let path_and_query = match target.first()? {
        b'/' => target,
        _ => {
            let scheme = target.get(..7)?;
            let rest = scheme.eq_ignore_ascii_case(b"http://").then(|| &target[7..])?;
            let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
            if end == 0 || !is_authority(&rest[..end], false) {
                return None;
            }
            &rest[end..]
        }
    };
    let at = path_and_query.iter().position(|&byte| byte == b'?');
    let path = &path_and_query[..at.unwrap_or(path_and_query.len())];
    // What RFC 3986 has encoded and honest clients send raw is taken, as long as it ends neither a
    // target nor a line; so is a `%` before anything.
    let valid = path_and_query.iter().all(|byte| (b'!'..=b'~').contains(byte));
    let valid = valid && find(path, b"%00").is_none();
    valid.then_some(if path.is_empty() { b"/" } else { path })
}

/// `host [ ":" port ]`, as the hosts of this test are: names and one IPv6 address.
fn is_authority(bytes: &[u8], may_be_empty: bool) -> bool {
    let (host, port) = match bytes.strip_prefix(b"[::1]") {
        Some(rest) => (&b"v6"[..], rest),
        None => bytes.split_at(bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len())),
    };
    let port = match port {
        [] => return host.iter().all(is_host_byte) && (may_be_empty || !host.is_empty()),
        [b':', digits @ ..] => digits,
        _ => return false,
    };
    let number = String::from_utf8_lossy(port).parse::<u32>().unwrap_or(0);
    let digits = port.iter().all(u8::is_ascii_digit) && port.len() <= 9 && number < 65536;
    !host.is_empty() && host.iter().all(is_host_byte) && digits
}

fn is_host_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(byte)
}

fn read_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], trim(&line[colon + 1..]));
    let control = |byte: &u8| (*byte < 32 && *byte != b'\t') || *byte == 127;
    let disguised = [&b"content_length"[..], b"transfer_encoding"];
    let valid = !name.is_empty()
        && name.iter().all(|&byte| is_tchar(byte))
        && !disguised.iter().any(|disguised| name.eq_ignore_ascii_case(disguised));
    (valid && !value.iter().any(control)).then_some((name, value))
}

/// At most 19 digits and nothing else.
fn read_digits(value: &[u8]) -> Option<usize> {
    let valid = !value.is_empty() && value.len() <= 19 && value.iter().all(u8::is_ascii_digit);
    valid.then(|| std::str::from_utf8(value).ok()?.parse().ok())?
}

/// The body and what is behind it.
fn read_body<'a>(head: &Head, bytes: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
    if !head.chunked {
        let (body, rest) = bytes.split_at_checked(head.length.unwrap_or(0))?;
        return Some((body.to_vec(), rest));
    }
    let (mut body, mut bytes) = (Vec::new(), bytes);
    loop {
        let end = find(bytes, b"\r\n")?;
        let size = read_chunk_size(&bytes[..end])?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return read_trailers(bytes).map(|rest| (body, rest));
        }
        let (data, rest) = bytes.split_at_checked(size)?;
        body.extend_from_slice(data);
        bytes = rest.strip_prefix(b"\r\n")?;
    }
}

fn read_chunk_size(line: &[u8]) -> Option<usize> {
    let end = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let size = (1..=15).contains(&end).then(|| std::str::from_utf8(&line[..end]).ok())??;
    has_valid_extensions(&line[end..]).then(|| usize::from_str_radix(size, 16).ok())?
}

/// RFC 9112 §7.1.1, by trying each rule in turn on what is left of the line.
fn has_valid_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let Some(after) = skip_blanks(rest).strip_prefix(b";") else { return false };
        let Some(after) = skip_token(skip_blanks(after)) else { return false };
        rest = after;
        if let Some(value) = skip_blanks(rest).strip_prefix(b"=") {
            let value = skip_blanks(value);
            let Some(after) = skip_token(value).or_else(|| skip_quoted(value)) else {
                return false;
            };
            rest = after;
        }
    }
    true
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|byte| b" \t".contains(byte)).count();
    &bytes[blanks..]
}

fn skip_token(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.iter().take_while(|&&byte| is_tchar(byte)).count();
    (length > 0).then(|| &bytes[length..])
}

fn skip_quoted(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"\"")?;
    loop {
        let (&byte, after) = rest.split_first()?;
        let visible = |byte: u8| byte == b'\t' || byte >= 32 && byte != 127;
        rest = match byte {
            b'"' => return Some(after),
            b'\\' => after.split_first().filter(|(next, _)| visible(**next))?.1,
            byte if visible(byte) => after,
            _ => return None,
        };
    }
}

fn read_trailers(mut bytes: &[u8]) -> Option<&[u8]> {
    const NEVER: &str = "authorization connection content-length cookie expect host keep-alive \
        max-forwards proxy-authorization range te trailer transfer-encoding upgrade";
    loop {
        let end = find(bytes, b"\r\n")?;
        let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
        if line.is_empty() {
            return Some(rest);
        }
        let name = String::from_utf8_lossy(read_field(line)?.0).to_ascii_lowercase();
        if NEVER.split_whitespace().any(|never| never == name) {
            return None;
        }
        bytes = rest;
    }
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Spaces and tabs only.
fn trim(bytes: &[u8]) -> &[u8] {
    let bytes = skip_blanks(bytes);
    let blanks = bytes.iter().rev().take_while(|byte| b" \t".contains(byte)).count();
    &bytes[..bytes.len() - blanks]
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

fn split<'a>(bytes: &'a [u8], pattern: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, pattern) {
        parts.push(&rest[..at]);
        rest = &rest[at + pattern.len()..];
    }
    parts.push(rest);
    parts
}
