//! Certificates: by name, renewed, and refused with a reason.

use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;

use sidecore::Listen;

use super::*;

#[test]
fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let pem = Pem::new();
    pem.make("other", &["other.test", "*.wild.test"]);
    let pairs = ["own", "other"].map(|file| (pem.path(file, "pem"), pem.path(file, "key")));
    let running = start(Certificates::from_pem_pairs(pairs).unwrap());
    for (trusts, name) in
        [("own", "localhost"), ("other", "other.test"), ("other", "any.wild.test")]
    {
        ask(&mut connect_as(running.address(), &pem.client_of(trusts), name), GET);
    }
    // An unknown name gets the first one, which is not valid for it.
    let mut unknown = connect_as(running.address(), &pem.client(), "unknown.test");
    let error = unknown.write_all(GET.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
    end(running);
}

#[test]
fn a_reload_is_for_new_connections_and_a_failed_one_for_none() {
    let pem = Pem::new();
    let (running, first) = (start(pem.certificates("own")), pem.client());
    let mut open = connect(running.address(), &first);
    ask(&mut open, GET);
    pem.make("own", &["localhost"]);
    let second = pem.client();
    // Not before it is asked for.
    ask(&mut connect(running.address(), &first), GET);
    running.reload().certificates().unwrap();
    for _ in 0..4 {
        ask(&mut connect(running.address(), &second), GET);
    }
    assert!(connect(running.address(), &pem_of(&first)).write_all(GET.as_bytes()).is_err());
    ask(&mut open, GET);

    std::fs::write(pem.path("own", "pem"), "no certificate").unwrap();
    let error = running.reload().certificates().unwrap_err().to_string();
    assert!(error.contains("own.pem has no certificate"), "{error}");
    ask(&mut connect(running.address(), &second), GET);
    end(running);
}

/// The same trust without the tickets, which would resume and see no certificate.
fn pem_of(config: &Arc<ClientConfig>) -> Arc<ClientConfig> {
    let mut fresh = ClientConfig::clone(config);
    fresh.resumption = rustls::client::Resumption::disabled();
    Arc::new(fresh)
}

#[test]
fn reloads_under_load_lose_no_connection() {
    let pem = Pem::new();
    let running = start(pem.certificates("own"));
    let (address, client) = (running.address(), pem_of(&pem.client()));
    let (over, served) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let mut connection = connect(address, &client);
                    for _ in 0..3 {
                        assert_eq!(ask(&mut connection, post("/", b"load")), b"load");
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for _ in 0..50 {
            running.reload().certificates().unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
    });
    let served = served.into_inner();
    println!("{served} requests");
    assert!(served > 50);
    end(running);
}

/// `serve` reloads at SIGHUP and drains at SIGTERM; here over a Unix socket.
#[test]
fn sighup_reloads() {
    use rustix::process::{Signal, getpid, kill_process};
    let pem = Pem::new();
    let path = pem.path("listen", "sock");
    let server = server(pem.certificates("own"), |_| {}).listen(Listen::unix(&path).secure());
    let serving = std::thread::spawn(|| server.serve(|_| tower::service_fn(answer)));
    let is_served = |config: &Arc<ClientConfig>| {
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(pem_of(config), name).unwrap();
        let Ok(socket) = UnixStream::connect(&path) else { return false };
        let mut client = StreamOwned::new(connection, socket);
        client.write_all(GET.as_bytes()).is_ok() && read_answer(&mut client).0.contains("200 OK")
    };
    let until = |config: &Arc<ClientConfig>| {
        let begin = std::time::Instant::now();
        while !is_served(config) {
            assert!(begin.elapsed() < LIMIT);
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    let first = pem.client();
    until(&first);
    pem.make("own", &["localhost"]);
    kill_process(getpid(), Signal::HUP).unwrap();
    until(&pem.client());
    assert!(!is_served(&first));
    kill_process(getpid(), Signal::TERM).unwrap();
    serving.join().unwrap().unwrap();
}

#[test]
fn what_cannot_be_used_is_named() {
    let pem = Pem::new();
    pem.make("other", &["localhost"]);
    std::fs::write(pem.path("empty", "pem"), "").unwrap();
    std::fs::write(pem.path("torn", "pem"), "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    std::fs::write(
        pem.path("false", "pem"),
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let own = |extension| pem.path("own", extension);
    let cases = [
        (pem.path("missing", "pem"), own("key"), "missing.pem cannot be read"),
        (own("pem"), pem.path("missing", "key"), "missing.key cannot be read"),
        (pem.path("empty", "pem"), own("key"), "empty.pem has no certificate"),
        (pem.path("torn", "pem"), own("key"), "torn.pem is no PEM file"),
        (pem.path("false", "pem"), own("key"), "false.pem cannot be used"),
        (own("pem"), own("pem"), "own.pem has no private key"),
        (own("pem"), pem.path("other", "key"), "other.key is not the key of"),
    ];
    for (chain, key, expected) in cases {
        let error = Certificates::from_pem_files(chain, key).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        assert_eq!(error.lines().count(), 1);
    }
    let none: [(PathBuf, PathBuf); 0] = [];
    assert!(Certificates::from_pem_pairs(none).is_err());
}

/// By the configuration alone, and what it lacks.
#[test]
fn the_configuration_names_the_files() {
    let pem = Pem::new();
    let load = |text: &str| {
        let none: [(&str, &str); 0] = [];
        let text =
            format!("port = 0\nscheme = \"https\"\n{text}\n[options]\ntask_worker_num = 0\n");
        Config::loader().file_text("sidecore.toml", text).variables(none).load().unwrap()
    };
    let (chain, key) = (pem.path("own", "pem"), pem.path("own", "key"));
    let named = load(&format!("tls_certificate = {chain:?}\ntls_key = {key:?}"));
    let running = Server::new(named).start(|_| tower::service_fn(answer)).unwrap();
    ask(&mut connect(running.address(), &pem.client()), GET);
    end(running);
    let error = Server::new(load("")).start(|_| tower::service_fn(answer)).err().unwrap();
    assert!(error.is_config() && error.to_string().contains("set tls_certificate"), "{error}");
    let swapped = load(&format!("tls_certificate = {key:?}\ntls_key = {chain:?}"));
    let error = Server::new(swapped).start(|_| tower::service_fn(answer)).err().unwrap();
    assert!(error.is_config() && error.to_string().contains("no certificate"), "{error}");
}
