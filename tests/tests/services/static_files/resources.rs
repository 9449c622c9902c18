//! Large files, files that change, task workers that wait for the disk, and what is left behind.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use super::{MODIFIED_S, Site, set_modified};
use sidecore::tasks::TaskPool;
use sidecore::{Config, Server};
use sidecore_static_files::StaticFiles;
use sidecore_tests::{Client, Scratch, ServerProcess, example_command, wait_until};

const MIB: u64 = 1024 * 1024;

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A file without blocks, of zeros.
fn sparse(path: &std::path::Path, size: u64) {
    File::create(path).unwrap().set_len(size).unwrap();
    set_modified(path, MODIFIED_S);
}

#[test]
fn half_a_gigabyte_is_sent_in_constant_memory() {
    let root = Scratch::new("static-files");
    let size = 512 * MIB;
    sparse(&root.path().join("large.bin.txt"), size);
    let directory = root.path().to_str().unwrap();
    let variables = [("SIDECORE_WORKER_NUM", "1"), ("SIDECORE_TASK_WORKER_NUM", "0")];
    let mut command = example_command("static_files", &variables);
    let server = ServerProcess::spawn({
        command.arg(directory);
        command
    });
    let before = (server.resident_bytes(), server.descriptors());
    let mut grown = 0;
    for _ in 0..2 {
        let mut client = Client::connect(server.address());
        client.send("GET /large.bin.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let mut stream = client.stream();
        let (mut received, mut buffer) = (0, vec![0; MIB as usize]);
        loop {
            let count = stream.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            received += count as u64;
            grown = grown.max(server.resident_bytes().saturating_sub(before.0));
        }
        assert!(received > size && received < size + 1000, "{received} of {size}");
    }
    println!("memory grew by {grown} bytes");
    assert!(grown < 16 * MIB as usize, "{grown} bytes");
    wait_until("descriptors are left open", || server.descriptors() <= before.1);
    server.stop();
}

/// A file of which a client has asked for all, and has read nothing: the sockets' buffers are full
/// long before its end.
fn half_sent(site: &Site) -> (PathBuf, Client) {
    let path = site.root.path().join("a.txt");
    sparse(&path, 64 * MIB);
    let mut client = site.client();
    client.send("GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n");
    std::thread::sleep(Duration::from_millis(300));
    (path, client)
}

#[test]
fn a_file_that_shrinks_ends_the_connection_and_not_the_message() {
    let site = Site::start(|files| files);
    let (path, mut client) = half_sent(&site);
    File::options().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let received = client.rest();
    let head = String::from_utf8_lossy(&received[..200]).into_owned();
    assert!(head.contains(&format!("Content-Length: {}\r\n", 64 * MIB)), "{head}");
    assert!((received.len() as u64) < 64 * MIB, "{} bytes came", received.len());
    site.stop();
}

#[test]
fn a_file_that_is_written_to_is_not_sent_as_if_it_were_whole() {
    let site = Site::start(|files| files);
    let (path, mut client) = half_sent(&site);
    File::options().write(true).open(&path).unwrap().write_all_at(b"new", 60 * MIB).unwrap();
    let received = client.rest().len() as u64;
    assert!(received > 60 * MIB && received < 64 * MIB, "{received} bytes came");
    site.stop();
}

/// A log, for instance: what was there when its length was told is what was asked for.
#[test]
fn a_file_that_is_appended_to_is_sent_up_to_the_length_that_was_told() {
    let site = Site::start(|files| files);
    let (path, mut client) = half_sent(&site);
    File::options().append(true).open(&path).unwrap().write_all(b"appended").unwrap();
    let answer = client.answer();
    assert_eq!(answer.field("content-length"), Some(&*(64 * MIB).to_string()));
    assert!(answer.body.len() as u64 == 64 * MIB && answer.body.iter().all(|&byte| byte == 0));
    site.stop();
}

#[test]
fn a_file_that_is_replaced_is_sent_on_as_it_was_and_then_anew() {
    let site = Site::start(|files| files);
    let (path, mut client) = half_sent(&site);
    site.file("b.txt", "new");
    std::fs::rename(site.root.path().join("b.txt"), &path).unwrap();
    let answer = client.answer();
    assert!(answer.body.len() as u64 == 64 * MIB && answer.body.iter().all(|&byte| byte == 0));
    assert_eq!(client.request("GET", "/a.txt", "").body, b"new");
    site.stop();
}

/// As fast as it goes, with the same size, within one tick of the clock that stamps files.
#[test]
fn a_file_that_is_overwritten_in_place_is_never_sent_as_it_was() {
    let site = Site::start(|files| files);
    let mut client = site.client();
    for round in 0..300 {
        let content = format!("{round:05}");
        std::fs::write(site.root.path().join("a.txt"), &content).unwrap();
        let answer = client.request("GET", "/a.txt", "");
        assert_eq!(String::from_utf8(answer.body).unwrap(), content);
    }
    drop(client);
    site.stop();
}

/// With the same size and time, so that only the inode tells.
#[test]
fn a_held_file_that_is_replaced_is_seen_at_the_next_request() {
    let site = Site::start(|files| files);
    let mut client = site.client();
    let mut tags = Vec::new();
    for version in 0..3 {
        site.file("next.txt", format!("version {version}"));
        let at = |name: &str| site.root.path().join(name);
        std::fs::rename(at("next.txt"), at("a.txt")).unwrap();
        // It is held from when it has rested on.
        for wait_ms in [2100, 0] {
            std::thread::sleep(Duration::from_millis(wait_ms));
            let answer = client.request("GET", "/a.txt", "");
            assert_eq!(
                String::from_utf8(answer.body.clone()).unwrap(),
                format!("version {version}")
            );
            tags.push(answer.field("etag").unwrap().to_owned());
        }
    }
    tags.dedup();
    assert_eq!(tags.len(), 3, "{tags:?}");
    std::fs::remove_file(site.root.path().join("a.txt")).unwrap();
    assert_eq!(client.request("GET", "/a.txt", "").status, 418);
    drop(client);
    site.stop();
}

/// The kernel drops the file from its cache, so that reads would wait: they are done elsewhere,
/// as the pool's count of its tasks says.
#[test]
fn task_workers_wait_for_the_disk() {
    // The temporary directory may be in memory; the build's is on a disk.
    let root = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("static-files-cold");
    std::fs::create_dir_all(&root).unwrap();
    let content: Vec<u8> =
        (0..(4 * MIB / 8)).flat_map(|n| format!("{n:07}\n").into_bytes()).collect();
    std::fs::write(root.join("a.txt"), &content).unwrap();
    std::fs::write(root.join("small.txt"), &content[..1000]).unwrap();
    for name in ["a.txt", "small.txt"] {
        let file = File::open(root.join(name)).unwrap();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
    let readers = TaskPool::named("files").task_worker_num(1).on_closures().on_finish(|_, _| {});
    let readers = readers.build();
    let pool = readers.clone();
    let directory = root.clone();
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    let running = Server::new(config)
        .with_pool(&readers)
        .start(move |_| {
            let files = StaticFiles::of(&directory).waiting_on(pool.tasks());
            files.build().unwrap().service()
        })
        .unwrap();
    let mut client = Client::connect(running.address());
    for _ in 0..2 {
        assert!(client.request("GET", "/a.txt", "").body == content);
        assert!(client.request("GET", "/small.txt", "").body == content[..1000]);
        assert_eq!(client.request("GET", "/none.txt", "").status, 404);
    }
    drop(client);
    running.shutdown().raise();
    let report = running.wait().unwrap();
    println!("{} looks at the disk waited elsewhere", report.accepted);
    assert!(report.accepted > 0, "nothing was read by a task worker: is this a disk?");
    assert_eq!((report.finished, report.lost), (report.accepted, 0));
    std::fs::remove_dir_all(&root).unwrap();
}

/// Each request opens its file, and each way of ending closes it.
#[test]
fn no_descriptor_is_left_behind() {
    let site = Site::start(|files| files);
    site.file("a.txt", "hello");
    sparse(&site.root.path().join("large.txt"), 32 * MIB);
    assert_eq!(site.status("/a.txt", ""), 200);
    let before = descriptors();
    for round in 0..100 {
        assert_eq!(site.status("/a.txt", ""), 200);
        assert_eq!(site.ask("HEAD", "/large.txt", "")[9..12].parse(), Ok(200));
        assert_eq!(site.status("/large.txt", "Range: bytes=0-9,20-29\r\n"), 206);
        assert_eq!(site.status("/large.txt", "If-Match: \"x\"\r\n"), 412);
        assert_eq!(site.status("/none.txt", ""), 418, "round {round}");
        // A client that goes away in the middle.
        let mut client = site.client();
        client.send("GET /large.txt HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut some = [0; 1000];
        client.stream().read_exact(&mut some).unwrap();
    }
    // Other tests of this process have theirs, for a while.
    wait_until("descriptors are left open", || descriptors() < before + 50);
    site.stop();
}
