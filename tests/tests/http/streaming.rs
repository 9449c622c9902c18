//! Bodies of any size in constant memory, both ways, at the reader's pace, with their trailers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use sidecore_tests::{Client, ServerProcess, example_command, wait_until};

const MIB: usize = 1024 * 1024;
/// What resident memory may grow by, whatever passes through.
const GROWTH_MAX_BYTES: usize = 16 * MIB;

/// The echo: it streams a body back while it comes.
fn echo() -> ServerProcess {
    let variables = [("SIDECORE_BODY_SIZE_MAX_BYTES", "8000000000"), ("SIDECORE_WORKER_NUM", "1")];
    let server = ServerProcess::spawn(example_command("conformance", &variables));
    // Buffers that any traffic fills are there before memory is measured.
    pass_through(&server, "Content-Length", 32 * MIB);
    server
}

/// Sends `size` bytes framed as told and reads them back; what resident memory grew by meanwhile.
fn pass_through(server: &ServerProcess, framing: &'static str, size: usize) -> usize {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let before = server.resident_bytes();
    let chunked = framing == "Transfer-Encoding";
    let value = if chunked { "chunked".to_owned() } else { size.to_string() };
    let sender = std::thread::spawn(move || {
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{framing}: {value}");
        writer.write_all(format!("{head}\r\n\r\n").as_bytes()).unwrap();
        let data = vec![b'x'; MIB];
        for _ in 0..size / MIB {
            if chunked {
                writer.write_all(b"100000\r\n").unwrap();
            }
            writer.write_all(&data).unwrap();
            if chunked {
                writer.write_all(b"\r\n").unwrap();
            }
        }
        if chunked {
            writer.write_all(b"0\r\nX-Sum: 7\r\n\r\n").unwrap();
        }
    });
    let (mut received, mut grown, mut last) = (0, 0, Vec::new());
    let mut buffer = vec![0; MIB];
    loop {
        let count = stream.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        received += buffer[..count].iter().filter(|&&byte| byte == b'x').count();
        last = buffer[count.saturating_sub(64)..count].to_vec();
        grown = grown.max(server.resident_bytes().saturating_sub(before));
    }
    sender.join().unwrap();
    // The head and the sizes of chunks have no `x`, but the trailer's name may keep its own.
    assert!(received >= size && received <= size + 8, "{received} of {size} bytes came back");
    if chunked {
        let last = String::from_utf8_lossy(&last).to_lowercase();
        assert!(last.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{last:?}");
    }
    grown
}

#[test]
fn two_gigabytes_pass_both_ways_in_constant_memory() {
    let server = echo();
    let start = Instant::now();
    let grown = pass_through(&server, "Content-Length", 2048 * MIB);
    println!("2 GiB up and down: {:?}, memory grew by {grown} bytes", start.elapsed());
    assert!(grown < GROWTH_MAX_BYTES, "{grown} bytes");
    let grown = pass_through(&server, "Transfer-Encoding", 256 * MIB);
    assert!(grown < GROWTH_MAX_BYTES, "{grown} bytes in chunks");
    server.stop();
}

/// Clients that send without end and never read are stopped by TCP's window.
#[test]
fn a_peer_that_does_not_read_stops_its_own_upload() {
    let server = echo();
    let before = server.resident_bytes();
    let block = vec![b'x'; MIB];
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4000000000\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            let blocked = (0..200).find_map(|_| stream.write_all(&block).err());
            let kind = blocked.expect("200 MiB were taken that nobody reads back").kind();
            assert!(matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{kind}");
            stream
        })
        .collect();
    let grown = server.resident_bytes().saturating_sub(before);
    println!("8 peers that do not read: memory grew by {grown} bytes");
    assert!(grown < GROWTH_MAX_BYTES, "{grown} bytes for 8 peers that do not read");
    drop(clients);
    server.stop();
}

/// Chunks of one byte cost more than their bytes: their number is bounded too.
#[test]
fn a_stream_of_tiny_chunks_is_bounded() {
    let server = echo();
    let before = server.resident_bytes();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            let block = "1\r\nx\r\n".repeat(100_000);
            let blocked = (0..200).find_map(|_| stream.write_all(block.as_bytes()).err());
            assert!(blocked.is_some(), "120 MB were taken that nobody reads back");
            stream
        })
        .collect();
    let grown = server.resident_bytes().saturating_sub(before);
    println!("8 streams of tiny chunks: memory grew by {grown} bytes");
    assert!(grown < GROWTH_MAX_BYTES, "{grown} bytes for 8 streams of tiny chunks");
    drop(clients);
    server.stop();
}

/// Closing ends a connection whose receive the kernel is busy with.
#[test]
fn a_peer_that_sends_on_after_a_refusal_is_cut_off() {
    let server = echo();
    let before = server.descriptors();
    let block = vec![b'x'; MIB];
    for round in 0..20 {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000000\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let ended = (0..2000).find_map(|_| stream.write_all(&block).err());
        let kind = ended.unwrap_or_else(|| panic!("round {round}: 2 GiB were taken")).kind();
        assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind}");
    }
    wait_until("descriptors are left open", || server.descriptors() <= before);
    server.stop();
}

#[test]
fn trailers_pass_through_and_what_only_describes_is_dropped() {
    let server = echo();
    let mut client = Client::connect(server.address());
    client.send(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Sum: 7\r\nContent-Type: a/b\r\n\r\n",
    );
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(answer.contains("Transfer-Encoding: chunked\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");
    server.stop();
}

/// What breaks a body's framing is refused as long as its answer has not begun, and cuts the
/// answer off where it has.
#[test]
fn a_body_that_breaks_its_framing_is_never_echoed_as_whole() {
    let server = echo();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = Client::connect(server.address());
    client.send(format!("{head}3\r\nabc\r\n"));
    std::thread::sleep(Duration::from_millis(50));
    client.send("zz\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (400, Some("close")));
    assert!(client.rest().is_empty());

    let mut client = Client::connect(server.address());
    client.send(format!("{head}20000\r\n{}\r\n", "x".repeat(0x20000)));
    std::thread::sleep(Duration::from_millis(50));
    client.send("zz\r\n");
    client.stream().shutdown(Shutdown::Write).unwrap();
    let answer = client.rest();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(!answer.ends_with(b"0\r\n\r\n"), "a broken body was ended as if it were whole");
    server.stop();
}
