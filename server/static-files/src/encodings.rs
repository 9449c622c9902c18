//! Accept-Encoding (RFC 9110 §12.5.3): which variant of a file a client prefers.

use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

/// A coding that a file may lie beside its plain form in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Brotli,
    Zstd,
    Gzip,
}

/// The server's own order, where a client likes several as well.
const ALL: [Encoding; 3] = [Encoding::Brotli, Encoding::Zstd, Encoding::Gzip];

impl Encoding {
    /// What is appended to the plain file's name.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Encoding::Brotli => ".br",
            Encoding::Zstd => ".zst",
            Encoding::Gzip => ".gz",
        }
    }

    pub(crate) fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Encoding::Brotli => "br",
            Encoding::Zstd => "zstd",
            Encoding::Gzip => "gzip",
        })
    }

    fn named(name: &[u8]) -> Option<Self> {
        match () {
            () if name.eq_ignore_ascii_case(b"br") => Some(Encoding::Brotli),
            () if name.eq_ignore_ascii_case(b"zstd") => Some(Encoding::Zstd),
            // §8.4.1.3: x-gzip is the same.
            () if name.eq_ignore_ascii_case(b"gzip") => Some(Encoding::Gzip),
            () if name.eq_ignore_ascii_case(b"x-gzip") => Some(Encoding::Gzip),
            () => None,
        }
    }
}

/// What a client accepts: a weight for each coding, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accepts {
    weights: [u16; 3],
    identity: u16,
}

impl Accepts {
    /// The plain form only.
    pub(crate) const IDENTITY: Accepts = Accepts { weights: [0; 3], identity: 1000 };

    pub(crate) fn of(fields: &HeaderMap) -> Self {
        if !fields.contains_key(ACCEPT_ENCODING) {
            return Accepts::IDENTITY;
        }
        let (mut named, mut identity, mut others) = ([None; 3], None, None);
        let values = fields.get_all(ACCEPT_ENCODING).iter();
        for item in values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')) {
            let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let weight = parts.next().map_or(Some(1000), weight);
            let Some(weight) = weight else { continue };
            match Encoding::named(name) {
                Some(encoding) => named[encoding as usize] = Some(weight),
                None if name.eq_ignore_ascii_case(b"identity") => identity = Some(weight),
                None if name == b"*" => others = Some(weight),
                None => {}
            }
        }
        // Without a word of it the plain form is acceptable, if as the last choice.
        let identity = identity.unwrap_or(if others == Some(0) { 0 } else { 1 });
        Accepts { weights: named.map(|weight| weight.or(others).unwrap_or(0)), identity }
    }

    /// The codings to look for, the best first: those the client does not like less than none.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = Encoding> + use<> {
        let Accepts { weights, identity } = *self;
        let mut order = ALL;
        order.sort_by_key(|&encoding| std::cmp::Reverse(weights[encoding as usize]));
        let liked = move |weight: u16| weight > 0 && weight >= identity;
        order.into_iter().filter(move |&encoding| liked(weights[encoding as usize]))
    }

    /// Whether the plain form will do.
    pub(crate) fn identity(&self) -> bool {
        self.identity > 0
    }
}

/// `q=0.5` (§12.4.2) in thousandths; None where it is none.
fn weight(parameter: &[u8]) -> Option<u16> {
    let parameter = std::str::from_utf8(parameter).ok()?;
    let value = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok().filter(|_| digits)?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_orders_and_the_server_breaks_ties() {
        let check = |value: &'static str, expected: &[&str], identity: bool| {
            let mut fields = HeaderMap::new();
            fields.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            let accepts = Accepts::of(&fields);
            let order: Vec<_> = accepts.in_order().map(Encoding::suffix).collect();
            assert_eq!((&*order, accepts.identity()), (expected, identity), "{value}");
        };
        check("gzip, br", &[".br", ".gz"], true);
        check("gzip;q=1.0, br;q=0.9, zstd;q=0.95", &[".gz", ".zst", ".br"], true);
        check("GZIP ; q=0.001", &[".gz"], true);
        check("br;q=0", &[], true);
        check("*", &[".br", ".zst", ".gz"], true);
        check("*;q=0", &[], false);
        check("*;q=0, identity", &[], true);
        check("identity;q=0, gzip", &[".gz"], false);
        check("identity, gzip;q=0.5", &[], true);
        check("*, br;q=0", &[".zst", ".gz"], true);
        check("br;q=2, gzip;q=a, zstd;q=0.1234", &[], true);
        check("", &[], true);
        assert_eq!(Accepts::of(&HeaderMap::new()), Accepts::IDENTITY);
    }
}
