//! Content types by extension. What has no type is not served: a list of what may go out is safer
//! than one of what may not, beside sources, backups and configuration.

use std::collections::HashMap;

use http::HeaderValue;

/// The list that is served unless it is changed.
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

/// The extensions that are served, in lower case, with their types.
pub(super) struct Types {
    by_extension: HashMap<Vec<u8>, HeaderValue>,
    other: Option<HeaderValue>,
}

impl Types {
    pub(super) fn known() -> Self {
        let entry = |&(extension, value): &(&str, &'static str)| {
            (extension.as_bytes().to_vec(), HeaderValue::from_static(value))
        };
        Types { by_extension: KNOWN.iter().map(entry).collect(), other: None }
    }

    /// Keeps these extensions only.
    pub(super) fn keep(&mut self, extensions: &[String]) {
        let kept = |extension: &Vec<u8>| {
            extensions.iter().any(|kept| kept.as_bytes().eq_ignore_ascii_case(extension))
        };
        self.by_extension.retain(|extension, _| kept(extension));
    }

    pub(super) fn add(&mut self, extension: &str, value: HeaderValue) {
        self.by_extension.insert(extension.to_ascii_lowercase().into_bytes(), value);
    }

    /// Serves the rest too, as bytes of no known type.
    pub(super) fn add_all(&mut self) {
        self.other = Some(HeaderValue::from_static("application/octet-stream"));
    }

    /// The type of an extension; None: such files are not served.
    pub(super) fn of(&self, extension: Option<&[u8]>) -> Option<&HeaderValue> {
        let known = extension.and_then(|extension| {
            self.by_extension.get(extension).or_else(|| {
                let upper = extension.iter().any(u8::is_ascii_uppercase);
                self.by_extension.get(&extension.to_ascii_lowercase()).filter(|_| upper)
            })
        });
        known.or(self.other.as_ref())
    }
}
