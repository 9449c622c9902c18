//! Content types by extension: those that are said here, then those of `mime_guess`'s table.
//!
//! What is in neither goes out as bytes of no known type, as it does from other servers; who wants a
//! list of what may go out gives one (`only`). Never meant to go out, and found in trees that are
//! served nevertheless, are sources that another server runs and what editors leave behind.

use std::borrow::Cow;
use std::collections::HashMap;

use http::HeaderValue;

use crate::path::FilePath;

/// Types that browsers agree on, texts with the encoding that is meant today.
const KNOWN: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apng", "image/apng"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("eot", "application/vnd.ms-fontobject"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    // RFC 8216 §4; the table has an older name.
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mid", "audio/midi"),
    ("midi", "audio/midi"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpeg", "video/mpeg"),
    ("odp", "application/vnd.oasis.opendocument.presentation"),
    ("ods", "application/vnd.oasis.opendocument.spreadsheet"),
    ("odt", "application/vnd.oasis.opendocument.text"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("rar", "application/vnd.rar"),
    ("rtf", "application/rtf"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("ts", "video/mp2t"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("weba", "audio/webm"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// Not served unless somebody says so.
const UNSERVED: &[&str] =
    &["asp", "aspx", "bak", "cgi", "jsp", "orig", "phar", "php", "phps", "phtml", "swo", "swp"];

const UNKNOWN: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Which extensions are served, and with which types. All are in lower case.
pub(crate) struct Types {
    known: HashMap<&'static [u8], &'static str>,
    /// Said by the owner: served in any case.
    chosen: HashMap<Vec<u8>, HeaderValue>,
    only: Option<Vec<Vec<u8>>>,
    any: bool,
}

impl Types {
    pub(crate) fn known() -> Self {
        let entry = |&(extension, value): &(&'static str, _)| (extension.as_bytes(), value);
        let known = KNOWN.iter().map(entry).collect();
        Types { known, chosen: HashMap::new(), only: None, any: false }
    }

    /// Keeps these extensions only.
    pub(crate) fn keep(&mut self, extensions: Vec<String>) {
        let lower = |extension: String| extension.to_ascii_lowercase().into_bytes();
        self.only = Some(extensions.into_iter().map(lower).collect());
    }

    pub(crate) fn add(&mut self, extension: &str, value: HeaderValue) {
        self.chosen.insert(extension.to_ascii_lowercase().into_bytes(), value);
    }

    /// Serves the rest too.
    pub(crate) fn add_all(&mut self) {
        self.any = true;
    }

    /// Whether the owner has said which there are, so that nobody wonders about others.
    pub(crate) fn are_chosen(&self) -> bool {
        self.only.is_some()
    }

    /// The type of a file; None: it is not served.
    pub(crate) fn of(&self, name: &[u8]) -> Option<HeaderValue> {
        let extension = FilePath::extension(name).unwrap_or_default();
        let extension = match extension.iter().any(u8::is_ascii_uppercase) {
            true => Cow::Owned(extension.to_ascii_lowercase()),
            false => Cow::Borrowed(extension),
        };
        if let Some(chosen) = self.chosen.get(&*extension) {
            return Some(chosen.clone());
        }
        let is_unserved = name.ends_with(b"~")
            || UNSERVED.iter().any(|kept| kept.as_bytes() == &*extension)
            || self.only.as_ref().is_some_and(|only| !only.iter().any(|one| **one == *extension));
        (self.any || !is_unserved).then(|| self.type_of(&extension))
    }

    fn type_of(&self, extension: &[u8]) -> HeaderValue {
        if let Some(known) = self.known.get(extension) {
            return HeaderValue::from_static(known);
        }
        let extension = std::str::from_utf8(extension).unwrap_or_default();
        match mime_guess::from_ext(extension).first_raw() {
            // Browsers would take it for Windows-1252.
            Some(text) if text.starts_with("text/") => {
                HeaderValue::try_from(format!("{text}; charset=utf-8")).unwrap_or(UNKNOWN)
            }
            Some(guessed) => HeaderValue::from_static(guessed),
            None => UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_has_its_type_whatever_its_case_and_one_that_nobody_knows_has_none() {
        let types = Types::known();
        for (name, expected) in [
            ("a.css", "text/css; charset=utf-8"),
            ("d/a.CSS", "text/css; charset=utf-8"),
            ("a.ts", "video/mp2t"),
            ("a.m3u8", "application/vnd.apple.mpegurl"),
            ("a.vtt", "text/vtt; charset=utf-8"),
            ("a.mov", "video/quicktime"),
            ("a.dmg", "application/octet-stream"),
            ("a.bin", "application/octet-stream"),
            ("a.log", "text/plain; charset=utf-8"),
            ("LICENSE", "application/octet-stream"),
            ("a.", "application/octet-stream"),
            ("a.nobody-knows", "application/octet-stream"),
        ] {
            let found = types.of(name.as_bytes());
            assert_eq!(found, Some(HeaderValue::from_static(expected)), "{name}");
        }
        for kept_back in ["index.php", "a.PHP", "a.css.bak", "a.css~", "Makefile~", ".a.css.swp"] {
            assert_eq!(types.of(kept_back.as_bytes()), None, "{kept_back}");
        }
    }

    #[test]
    fn who_owns_the_files_has_the_last_word() {
        let (mut only, mut any) = (Types::known(), Types::known());
        only.keep(vec!["CSS".to_owned(), "m3u8".to_owned()]);
        only.add("Php", HeaderValue::from_static("text/x-php"));
        any.add_all();
        for (name, by_only, by_any) in [
            ("a.css", true, true),
            ("a.m3u8", true, true),
            ("a.php", true, true),
            ("a.txt", false, true),
            ("a.css~", false, true),
            ("a", false, true),
        ] {
            let is_served = |types: &Types| types.of(name.as_bytes()).is_some();
            assert_eq!((is_served(&only), is_served(&any)), (by_only, by_any), "{name}");
        }
    }
}
