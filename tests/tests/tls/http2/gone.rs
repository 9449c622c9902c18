//! Peers that are gone: nobody answers them, nor keeps anything for them.

use std::net::Shutdown;

use rustix::net::sockopt::set_socket_linger;

use super::plain::start_plain_counted;
use super::raw::*;
use super::*;

/// How a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    /// It resets the stream, and stays.
    FromStream,
    /// It says that TLS is over, and nothing more.
    WithNotice,
    /// It ends its side.
    Ends,
    /// It closes.
    Closes,
    /// It resets the connection.
    Resets,
}

/// Has a request wait, and goes; what is returned keeps the socket.
fn ask_and_go<S: Read + Write>(
    mut raw: Raw<S>,
    path: &str,
    goes: Goes,
    socket: impl Fn(&S) -> &TcpStream,
) -> Option<Raw<S>> {
    raw.begin(&[]);
    raw.send(&request(1, path));
    // The request was looked at, and of an answer that goes on the first part has come.
    raw.ping([1; 8]);
    if path == "/endless" {
        raw.send(&request(3, "/unread"));
        while raw.until(DATA).stream != 3 {}
    }
    match goes {
        Goes::FromStream => raw.send(&reset(1)),
        Goes::WithNotice => {}
        Goes::Ends => socket(&raw.client).shutdown(Shutdown::Write).unwrap(),
        Goes::Closes => return None,
        Goes::Resets => {
            set_socket_linger(socket(&raw.client), Some(Duration::ZERO)).unwrap();
            return None;
        }
    }
    Some(raw)
}

/// A connection beside it has its executor tell counts, which it does with its turns.
fn until_connections<S: Read + Write>(running: &Running, beside: &mut Raw<S>, count: u64) {
    let beside = std::cell::RefCell::new(beside);
    until("the others are closed", || {
        beside.borrow_mut().ping([0; 8]);
        running.executor_stats()[0].streams == count
    });
}

#[test]
fn a_plain_client_that_is_gone_is_not_waited_for() {
    let (running, dropped) = start_plain_counted(|_| {});
    let mut beside = Raw::plain(running.address());
    beside.begin(&[]);
    let mut expected = 0;
    for path in ["/wait", "/endless"] {
        for goes in [Goes::FromStream, Goes::Ends, Goes::Closes, Goes::Resets] {
            let kept = ask_and_go(Raw::plain(running.address()), path, goes, |socket| socket);
            expected += 1;
            until(&format!("{path} is dropped for one that goes {goes:?}"), || {
                dropped.load(Ordering::Relaxed) == expected
            });
            let open = u64::from(goes == Goes::FromStream);
            until_connections(&running, &mut beside, 1 + open);
            drop(kept);
            until_connections(&running, &mut beside, 1);
        }
    }
    drop(beside);
    end(running);
}

#[test]
fn a_client_of_tls_that_is_gone_is_not_waited_for() {
    let served = Served::start();
    let mut beside = served.raw();
    beside.begin(&[]);
    let mut expected = 0;
    for path in ["/wait", "/endless"] {
        for goes in [Goes::FromStream, Goes::WithNotice, Goes::Ends, Goes::Closes, Goes::Resets] {
            let mut kept = ask_and_go(served.raw(), path, goes, |client| &client.sock);
            if let (Goes::WithNotice, Some(raw)) = (goes, &mut kept) {
                raw.client.conn.send_close_notify();
                raw.client.flush().unwrap();
            }
            expected += 1;
            until(&format!("{path} is dropped for one that goes {goes:?}"), || {
                served.dropped() == expected
            });
            let open = u64::from(goes == Goes::FromStream);
            until_connections(&served.running, &mut beside, 1 + open);
            drop(kept);
            until_connections(&served.running, &mut beside, 1);
        }
    }
    drop(beside);
    served.end();
}
