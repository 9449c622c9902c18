//! Clients that do not speak TLS, or speak it badly, or do not end what they begin.

use std::time::Instant;

use super::*;

fn read_all(mut socket: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes);
    bytes
}

/// The first bytes of a client's handshake.
fn hello(pem: &Pem) -> Vec<u8> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(pem.client(), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn plain_http_is_told_so_in_plain() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let mut client = socket(running.address());
    client.write_all(GET.as_bytes()).unwrap();
    let answer = String::from_utf8(read_all(&client)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("this port speaks TLS: use https"), "{answer}");
    end(running);
}

#[test]
fn nonsense_gets_an_alert_at_most_and_hurts_nobody_else() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let mut beside = connect(running.address(), &pem.client());
    let whole = hello(&pem);
    let mut torn = whole.clone();
    torn[20..60].fill(0xFF);
    let cases: [&[u8]; 6] = [
        b"\0\0\0\0\0\0\0\0",
        b"\x16\x03\x01\xFF\xFF nonsense",
        b"\x16\x03\x01\0\x04\x01\xFF\xFF\xFF",
        b"\x17\x03\x03\0\x05hello",
        &torn[..whole.len() / 2],
        &[0x80; 70_000],
    ];
    for bytes in cases {
        let mut client = socket(running.address());
        let _ = client.write_all(bytes);
        let _ = client.shutdown(std::net::Shutdown::Write);
        let said = read_all(&client);
        assert!(said.is_empty() || said[0] == 21 && said.len() == 7, "{bytes:?}: {said:?}");
        ask(&mut beside, GET);
    }
    end(running);
}

/// After the handshake a record that was tampered with ends the connection, nothing of it is served.
#[test]
fn a_forged_record_is_not_served() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let mut client = connect(running.address(), &pem.client());
    ask(&mut client, GET);
    client.sock.write_all(b"\x17\x03\x03\0\x20abcdefghijklmnopqrstuvwxyz012345").unwrap();
    let error = client.read(&mut [0; 100]).unwrap_err().to_string();
    assert!(error.contains("BadRecordMac"), "{error}");
    end(running);
}

#[test]
fn a_handshake_that_does_not_end_is_ended() {
    let pem = Pem::new();
    let limit = Duration::from_millis(400);
    let running = start_with(pem.certificates("own"), |config| {
        config.options.head_timeout_ms = limit.as_millis() as u64;
    });
    let hello = hello(&pem);
    let begin = std::time::Instant::now();
    let silent = socket(running.address());
    let mut half = socket(running.address());
    half.write_all(&hello[..hello.len() / 2]).unwrap();
    // A byte now and then renews nothing.
    let mut trickle = socket(running.address());
    trickle.write_all(&hello[..1]).unwrap();
    for byte in &hello[1..40] {
        std::thread::sleep(Duration::from_millis(20));
        if trickle.write_all(&[*byte]).is_err() {
            break;
        }
    }
    for client in [&silent, &half, &trickle] {
        assert!(read_all(client).is_empty());
    }
    assert!(begin.elapsed() >= limit && begin.elapsed() < Duration::from_secs(10));
    ask(&mut connect(running.address(), &pem.client()), GET);
    end(running);
}

/// Bytes may come one by one, as long as they come in time.
#[test]
fn a_slow_handshake_and_a_slow_request_are_served() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let mut client = connect(running.address(), &pem.client());
    // `complete_io` would write all at once: bytes are handed over one by one here.
    while client.conn.is_handshaking() || client.conn.wants_write() {
        let mut bytes = Vec::new();
        while client.conn.wants_write() {
            client.conn.write_tls(&mut bytes).unwrap();
        }
        for byte in bytes {
            client.sock.write_all(&[byte]).unwrap();
        }
        if client.conn.is_handshaking() {
            match client.conn.read_tls(&mut client.sock) {
                // A read with a time limit is not begun again by itself (signal(7)).
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.unwrap(),
            };
            client.conn.process_new_packets().unwrap();
        }
    }
    client.conn.writer().write_all(&post("/", b"slow")).unwrap();
    let mut bytes = Vec::new();
    while client.conn.wants_write() {
        client.conn.write_tls(&mut bytes).unwrap();
    }
    for byte in bytes {
        client.sock.write_all(&[byte]).unwrap();
    }
    assert_eq!(read_answer(&mut client).1, b"slow");
    end(running);
}

/// 200 kB a second for four times the limit, far less than the kernel's buffers hold.
#[test]
fn a_reader_that_is_slow_and_steady_keeps_its_connection() {
    let pem = Pem::new();
    let running = start_with(pem.certificates("own"), |config| {
        config.options.write_timeout_ms = 1500;
    });
    let mut client = connect(running.address(), &pem.client());
    client.write_all(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (start, mut bytes) = (Instant::now(), vec![0; 20_000]);
    while start.elapsed() < Duration::from_secs(6) {
        client.read_exact(&mut bytes).unwrap_or_else(|error| {
            panic!("{error} after {:?}", start.elapsed());
        });
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(client);
    end(running);
}

/// A peer that does not read is cut off, as without TLS.
#[test]
fn a_peer_that_takes_nothing_is_cut_off() {
    let pem = Pem::new();
    let running = start_with(pem.certificates("own"), |config| {
        config.options.write_timeout_ms = 300;
    });
    let mut client = connect(running.address(), &pem.client());
    client.write_all(GET.replace("/ ", "/big ").repeat(4).as_bytes()).unwrap();
    let served = || running.executor_stats().iter().map(|executor| executor.streams).sum::<u64>();
    sidecore_tests::wait_until("it is served", || served() == 1);
    sidecore_tests::wait_until("it is cut off", || served() == 0);
    let mut bytes = Vec::new();
    assert!(client.read_to_end(&mut bytes).is_err());
    assert!(bytes.len() < 4 * (8 << 20));
    end(running);
}
