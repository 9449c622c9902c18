//! How connections end: what is said of the end, and what an end that is not said means.

use std::net::Shutdown;

use super::*;

/// Reads to the end; whether the end was said (`close_notify`).
fn to_the_end(client: &mut Client) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Ok(_) => (bytes, true),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
            (bytes, false)
        }
    }
}

#[test]
fn an_answer_that_ends_with_the_connection_is_said_to_have_ended() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    for (path, whole) in [("/frames", true), ("/broken", false)] {
        let mut client = connect(running.address(), &pem.client());
        client.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let (bytes, said) = to_the_end(&mut client);
        let end: &[u8] = if whole { b"\r\n\r\nbegunmore" } else { b"\r\n\r\nbegun" };
        assert!(bytes.ends_with(end), "{:?}", String::from_utf8_lossy(&bytes));
        // One that was cut off must not pass for a whole one.
        assert_eq!(said, whole, "{path}");
    }
    end(running);
}

#[test]
fn close_notify_of_the_client_is_answered_after_what_it_asked_for() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let mut client = connect(running.address(), &pem.client());
    client.write_all(GET.replace("/ ", "/slow ").as_bytes()).unwrap();
    client.conn.send_close_notify();
    client.flush().unwrap();
    let (bytes, said) = to_the_end(&mut client);
    assert!(bytes.ends_with(b"\r\n\r\nlate") && said, "{:?}", String::from_utf8_lossy(&bytes));
    end(running);
}

/// Whichever end it says: whether somebody still reads is not known, so it is waited for a while.
#[test]
fn a_client_that_has_ended_is_waited_for_no_longer_than_its_limit() {
    let pem = Pem::new();
    let ways = [(true, false), (false, true), (true, true)];
    for (limit_ms, expected) in [(50, ""), (5000, "late")] {
        let running = start_with(pem.certificates("own"), |config| {
            config.options.half_close_timeout_ms = limit_ms;
        });
        for (says, ends) in ways {
            let mut client = connect(running.address(), &pem.client());
            client.write_all(GET.replace("/ ", "/slow ").as_bytes()).unwrap();
            if says {
                client.conn.send_close_notify();
            }
            client.flush().unwrap();
            if ends {
                client.sock.shutdown(Shutdown::Write).unwrap();
            }
            let text = String::from_utf8(to_the_end(&mut client).0).unwrap();
            let body = text.split("\r\n\r\n").nth(1).unwrap_or_default();
            assert_eq!(body, expected, "{text} {limit_ms} {says} {ends}");
        }
        end(running);
    }
}

/// RFC 9112 §9.8: a request that is whole is answered, one that is not is not taken for whole.
#[test]
fn an_end_without_close_notify_cuts_off_a_body_and_no_request() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let ends = |request: &[u8]| {
        let mut client = connect(running.address(), &pem.client());
        client.write_all(request).unwrap();
        client.sock.shutdown(Shutdown::Write).unwrap();
        String::from_utf8(to_the_end(&mut client).0).unwrap()
    };
    assert!(ends(&post("/", b"whole")).ends_with("\r\n\r\nwhole"));
    let whole = post("/", &pattern(1000));
    let cut = ends(&whole[..whole.len() - 1]);
    assert!(cut.is_empty() || cut.starts_with("HTTP/1.1 400 "), "{cut}");
    let chunked = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let cut = ends(chunked.as_bytes());
    assert!(cut.is_empty() || cut.starts_with("HTTP/1.1 400 "), "{cut}");
    end(running);
}

/// What it is upgraded to may have no lengths: there an end that was not said is an error.
#[test]
fn an_upgraded_connection_tells_an_end_from_a_cut() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let request = "GET /capitals HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n\
                   Upgrade: capitals\r\n\r\nat once";
    for (says, expected) in [(true, "AT ONCEended"), (false, "AT ONCEUnexpectedEof")] {
        let mut client = connect(running.address(), &pem.client());
        client.write_all(request.as_bytes()).unwrap();
        if says {
            client.conn.send_close_notify();
            client.flush().unwrap();
        }
        client.sock.shutdown(Shutdown::Write).unwrap();
        let text = String::from_utf8(to_the_end(&mut client).0).unwrap();
        assert!(text.starts_with("HTTP/1.1 101 ") && text.ends_with(expected), "{text}");
    }
    end(running);
}

#[test]
fn the_drain_answers_what_was_asked_and_says_the_end_to_all() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let (address, config) = (running.address(), pem.client());
    let mut idle = connect(address, &config);
    ask(&mut idle, GET);
    let mut busy: Vec<_> = (0..8).map(|_| connect(address, &config)).collect();
    for client in &mut busy {
        client.write_all(GET.replace("/ ", "/slow ").as_bytes()).unwrap();
    }
    // One that has not said a word, and has not to be waited for.
    let silent = socket(address);
    std::thread::sleep(Duration::from_millis(100));
    let begin = std::time::Instant::now();
    end(running);
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    assert_eq!(to_the_end(&mut idle), (Vec::new(), true));
    for mut client in busy {
        let (bytes, said) = to_the_end(&mut client);
        assert!(bytes.ends_with(b"\r\n\r\nlate") && said, "{:?}", String::from_utf8_lossy(&bytes));
    }
    drop(silent);
}
