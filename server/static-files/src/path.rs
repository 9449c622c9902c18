//! From the path of a URL to the name of a file below the root.
//!
//! What is no plain name is refused here, before the kernel is asked; the kernel then keeps what
//! is left beneath the root (`tree.rs`), symbolic links included.

use percent_encoding::percent_decode;

/// A name below the root, without a leading slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePath {
    pub(crate) name: Vec<u8>,
    /// The URL ends with a slash, or is that of the root.
    pub(crate) is_directory: bool,
    /// A segment begins with a dot, and such are not served.
    pub(crate) is_hidden: bool,
}

/// What begins with a dot and is public all the same (RFC 8615): `security.txt`, the challenges of
/// ACME. It is the first segment or none of it.
const WELL_KNOWN: &[u8] = b".well-known";

impl FilePath {
    /// Decodes the path of a URL; None where it can name no file that may be served.
    ///
    /// Refused are NUL, a slash or backslash that was encoded, the segments `.` and `..`, empty
    /// segments (of which `//host` would be read as an authority by some). Hidden, unless
    /// `dotfiles`, is what has a segment that begins with a dot.
    pub(crate) fn decode(url_path: &str, dotfiles: bool) -> Option<Self> {
        let path = url_path.strip_prefix('/')?;
        let (path, is_directory) = match path.strip_suffix('/') {
            Some(path) => (path, true),
            None => (path, path.is_empty()),
        };
        let mut name = Vec::with_capacity(path.len());
        let mut is_hidden = false;
        for segment in path.split('/').filter(|_| !path.is_empty()) {
            if !name.is_empty() {
                name.push(b'/');
            }
            let start = name.len();
            decode_segment(segment.as_bytes(), &mut name)?;
            match &name[start..] {
                b"" | b"." | b".." => return None,
                WELL_KNOWN if start == 0 => {}
                [b'.', ..] => is_hidden |= !dotfiles,
                _ => {}
            }
        }
        (!url_path.ends_with("//")).then_some(FilePath { name, is_directory, is_hidden })
    }

    /// The directory that is served itself, by a URL without its slash.
    pub(crate) fn of_mount() -> Self {
        FilePath { name: Vec::new(), is_directory: false, is_hidden: false }
    }

    /// Its last segment's extension, without the dot.
    pub(crate) fn extension(name: &[u8]) -> Option<&[u8]> {
        let file = name.rsplit(|&byte| byte == b'/').next()?;
        let dot = file.iter().rposition(|&byte| byte == b'.').filter(|&dot| dot > 0)?;
        Some(&file[dot + 1..])
    }
}

fn decode_segment(segment: &[u8], into: &mut Vec<u8>) -> Option<()> {
    // `percent_decode` leaves an escape that is none as it is.
    let mut escapes = segment.split(|&byte| byte == b'%').skip(1).map(|rest| rest.get(..2));
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    if !escapes.all(|digits| digits.is_some_and(is_hex)) {
        return None;
    }
    let start = into.len();
    into.extend(percent_decode(segment));
    let is_plain = |byte: &u8| !matches!(byte, 0 | b'/' | b'\\');
    into[start..].iter().all(is_plain).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_come_through() {
        let check = |url: &str, expected: Option<(&str, bool)>| {
            let path = FilePath::decode(url, false).filter(|path| !path.is_hidden);
            let got = path.as_ref().map(|path| {
                (std::str::from_utf8(&path.name).expect("these are text"), path.is_directory)
            });
            assert_eq!(got, expected, "{url}");
        };
        check("/", Some(("", true)));
        check("/a.css", Some(("a.css", false)));
        check("/a/b%20c.css", Some(("a/b c.css", false)));
        check("/a/", Some(("a", true)));
        check("/a%2Ecss", Some(("a.css", false)));
        check("/b../c..d", Some(("b../c..d", false)));
        check("/.well-known/security.txt", Some((".well-known/security.txt", false)));
        check("/%2ewell-known/acme-challenge/x", Some((".well-known/acme-challenge/x", false)));
        for hostile in [
            "",
            "a",
            "*",
            "//",
            "///",
            "//etc/passwd",
            "/a//b",
            "/a//",
            "/..",
            "/../x",
            "/a/../x",
            "/a/..",
            "/%2e%2e/x",
            "/%2e%2E/x",
            "/.%2e/x",
            "/a/%2e/x",
            "/./x",
            "/..%2fx",
            "/%2fetc",
            "/a%2fb",
            "/a%5cb",
            "/..%5c..%5cx",
            "/a\\b",
            "/a%00.css",
            "/%",
            "/%4",
            "/%zz",
            "/%+1",
            "/...a/b..",
            "/.git/config",
            "/a/.htaccess",
            "/%2egit/config",
            "/a/.well-known/x",
            "/.well-known/.htpasswd",
            "/.well-knownx/x",
            "/.well-known/../x",
        ] {
            check(hostile, None);
        }
        let shown = FilePath::decode("/.git/x", true).expect("dotfiles are shown");
        assert!(shown.name == b".git/x" && !shown.is_hidden);
        assert_eq!(FilePath::decode("/../x", true), None);
    }

    #[test]
    fn an_extension_is_of_the_last_segment_and_follows_a_name() {
        let check = |name: &str, expected: Option<&str>| {
            let extension = FilePath::extension(name.as_bytes());
            assert_eq!(extension, expected.map(str::as_bytes), "{name}");
        };
        check("a.tar.gz", Some("gz"));
        check("a.b/c", None);
        check(".css", None);
        check("a.", Some(""));
    }
}
