//! A proxy's header before a connection, against a reading of its own places.

use std::net::{IpAddr, SocketAddr};

use sidecore::codec::{ProxyHeader, ProxySource, next_proxy_header};

use super::Cuts;

/// Fixed part and rest of the longest header that is taken.
const SIZE_MAX_BYTES: usize = 16 + 8 * 1024;

/// The verdict is the same however the bytes come and whatever follows it; it waits for no more
/// than a header has; and whom it names stands where the protocol says.
pub fn proxy_header(data: &[u8]) {
    let (cuts, input) = Cuts::split_off(data);
    let verdict = next_proxy_header(input);
    for pieces in [cuts.pieces(input), input.chunks(1).collect()] {
        assert_eq!(first_verdict(&pieces), verdict, "in pieces");
    }
    let followed = next_proxy_header(&[input, b" and more\r\n"].concat());
    match verdict {
        Ok(None) => assert!(input.len() < SIZE_MAX_BYTES, "more is waited for than there may be"),
        Ok(Some(header)) => {
            assert_eq!(followed, verdict, "what follows a header is not of it");
            check(input, header);
        }
        Err(_) => assert_eq!(followed, verdict, "what is no header does not become one"),
    }
}

/// As a connection reads: it looks after each piece, until there is something to know.
fn first_verdict(pieces: &[&[u8]]) -> Result<Option<ProxyHeader>, sidecore::codec::NotProxied> {
    let mut arrived = Vec::new();
    for piece in pieces {
        arrived.extend_from_slice(piece);
        match next_proxy_header(&arrived) {
            Ok(None) => {}
            verdict => return verdict,
        }
    }
    Ok(None)
}

fn check(input: &[u8], header: ProxyHeader) {
    let whole = input.get(..header.size_bytes).expect("a header is there before it is taken");
    assert_eq!(next_proxy_header(whole), Ok(Some(header)), "its size is its own");
    let short = &whole[..whole.len() - 1];
    assert_eq!(next_proxy_header(short), Ok(None), "it is taken with its last byte");
    let named = match whole.first() {
        Some(b'P') => of_text(whole),
        _ => of_binary(whole),
    };
    let ProxySource::Client(address) = header.source else {
        assert_eq!(named, None, "somebody is named");
        return;
    };
    assert_eq!(named, Some(address), "another is named");
}

/// Version 1: the third and the fifth word, where the second is a protocol.
fn of_text(line: &[u8]) -> Option<SocketAddr> {
    let line = std::str::from_utf8(line.strip_suffix(b"\r\n")?).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        ["PROXY", "TCP4" | "TCP6", source, _, port, _] => {
            Some(SocketAddr::new(source.parse().ok()?, port.parse().ok()?))
        }
        _ => None,
    }
}

/// Version 2: behind the fixed part, where command and family say that there is an address.
fn of_binary(header: &[u8]) -> Option<SocketAddr> {
    let (address, port): (IpAddr, _) = match (header[12] & 0xF, header[13] >> 4) {
        (1, 1) => (<[u8; 4]>::try_from(&header[16..20]).ok()?.into(), &header[24..26]),
        (1, 2) => (<[u8; 16]>::try_from(&header[16..32]).ok()?.into(), &header[48..50]),
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_be_bytes([port[0], port[1]])))
}
