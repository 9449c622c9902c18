//! Listeners as users write them, right and wrong.

use super::*;

fn parse(text: &str) -> Result<Listen, String> {
    text.parse::<Listen>().map_err(|error| error.to_string())
}

#[test]
fn what_is_written_is_what_is_shown() {
    for text in [
        "127.0.0.1:8081",
        "[::1]:0",
        "unix:/run/app.sock",
        "unix:a.sock mode=600 tls",
        "[::]:443 tls proxy",
        "127.0.0.1:1 proxy",
        "systemd",
        "systemd:web.socket tls proxy",
    ] {
        assert_eq!(parse(text).map(|listen| listen.to_string()), Ok(text.to_owned()));
    }
    assert_eq!(parse(" localhost:1  "), parse("127.0.0.1:1"));
}

#[test]
fn nonsense_says_what_to_write_instead() {
    for (text, expected) in [
        ("systemd:", "give systemd: a name, such as systemd:web"),
        ("", "give 127.0.0.1:8081, [::1]:8081, unix:/run/app.sock or systemd"),
        ("8081", "give 127.0.0.1:8081"),
        ("example.org:80", "give 127.0.0.1:8081"),
        ("127.0.0.1", "give a port as well"),
        ("::1", "give a port as well"),
        ("127.0.0.1:65536", "give 127.0.0.1:8081"),
        ("localhost:", "give 127.0.0.1:8081"),
        ("unix:", "give unix: a path"),
        ("unix:/x mode=999", "give a mode of three octal digits"),
        ("unix:/x mode=1777", "give a mode of three octal digits"),
        ("127.0.0.1:1 mode=660", "a mode is for the file of a unix: listener only"),
        ("127.0.0.1:1 fast", "fast is no word about a listener"),
    ] {
        let error = parse(text).expect_err(text);
        assert!(error.contains(expected), "{text:?}: {error:?} does not say {expected:?}");
    }
}
