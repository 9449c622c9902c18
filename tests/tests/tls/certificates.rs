//! Certificates: by name, renewed, and refused with a reason.

use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;

use sidecore::config::Listen;

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

/// Has openssl make something in the tests' directory.
fn openssl(pem: &Pem, arguments: &[&str]) {
    let made = std::process::Command::new("openssl")
        .args(arguments)
        .current_dir(&pem.directory)
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// A certificate for `localhost` with a key of this kind.
fn openssl_made(pem: &Pem, file: &str, key: &[&str]) {
    let (out, keyout) = (format!("{file}.pem"), format!("{file}.key"));
    let (leaf, name) = ("basicConstraints=critical,CA:FALSE", "subjectAltName=DNS:localhost");
    let fixed = ["req", "-x509", "-nodes", "-subj", "/CN=localhost", "-addext", leaf];
    let files = ["-addext", name, "-out", &out, "-keyout", &keyout, "-newkey"];
    openssl(pem, &[&fixed[..], &files, key].concat());
}

const EC256: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// A client that verifies these signatures alone, by this version.
fn verifying(
    pem: &Pem,
    file: &str,
    kind: &str,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut provider = rustls::crypto::ring::default_provider();
    let mut algorithms = provider.signature_verification_algorithms;
    let mapping = algorithms.mapping.iter().copied();
    let kept: Vec<_> =
        mapping.filter(|(scheme, _)| format!("{scheme:?}").starts_with(kind)).collect();
    algorithms.mapping = kept.leak();
    provider.signature_verification_algorithms = algorithms;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pem.path(file, "pem")).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[version]).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[test]
fn of_two_certificates_of_a_name_a_client_gets_the_one_that_it_can_verify() {
    let pem = Pem::new();
    openssl_made(&pem, "rsa", &["rsa:2048"]);
    openssl_made(&pem, "ec", EC256);
    for order in [["ec", "rsa"], ["rsa", "ec"]] {
        let pairs = order.map(|file| (pem.path(file, "pem"), pem.path(file, "key")));
        let running = start(Certificates::from_pem_pairs(pairs).unwrap());
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            for (file, kind) in [("rsa", "RSA"), ("ec", "ECDSA")] {
                let client = verifying(&pem, file, kind, version);
                ask(&mut connect_as(running.address(), &client, "localhost"), GET);
            }
        }
        // Who can verify both gets the first.
        ask(&mut connect_as(running.address(), &pem.client_of(order[0]), "localhost"), GET);
        end(running);
    }
}

#[test]
fn a_key_or_certificate_that_cannot_be_used_is_named_with_the_cure() {
    let pem = Pem::new();
    openssl_made(&pem, "p521", &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"]);
    openssl_made(&pem, "rsa1024", &["rsa:1024"]);
    openssl_made(&pem, "ed448", &["ed448"]);
    openssl_made(&pem, "ec", EC256);
    let (request, one) = (["req", "-new", "-key", "ec.key", "-subj", "/CN=localhost"], "one.csr");
    openssl(&pem, &[&request[..], &["-out", one]].concat());
    openssl(&pem, &["x509", "-req", "-in", one, "-signkey", "ec.key", "-out", "version1.pem"]);
    std::fs::copy(pem.path("ec", "key"), pem.path("version1", "key")).unwrap();
    let encrypt = ["-in", "ec.key", "-aes128", "-passout", "pass:secret", "-out"];
    for (file, how) in [("pkcs8", "pkey"), ("older", "ec")] {
        std::fs::copy(pem.path("ec", "pem"), pem.path(file, "pem")).unwrap();
        openssl(&pem, &[&[how], &encrypt[..], &[&*format!("{file}.key")]].concat());
    }
    for (file, expected, cure) in [
        ("p521", "p521.key cannot be used, a key of ECDSA P-521", "ECDSA P-256 or P-384"),
        ("rsa1024", "rsa1024.key cannot be used, a key of RSA 1024", "RSA of 2048"),
        ("ed448", "ed448.key cannot be used, a key of Ed448", "Ed25519"),
        ("version1", "version1.pem is a certificate of X.509 version 1", "subjectAltName"),
        ("pkcs8", "pkcs8.key is encrypted", "openssl pkey"),
        ("older", "older.key is encrypted", "openssl pkey"),
    ] {
        let error = Certificates::from_pem_files(pem.path(file, "pem"), pem.path(file, "key"));
        let error = error.expect_err(file).to_string();
        assert!(error.contains(expected) && error.contains(cure), "{error:?}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn what_clients_will_refuse_is_told_at_the_start_and_at_a_reload() {
    let pem = Pem::new();
    let warnings = |certificates: &Certificates| certificates.warnings().join("\n");
    let make = |file: &str, from: (i32, u8), until: (i32, u8), names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(from.0, from.1, 1);
        params.not_after = rcgen::date_time_ymd(until.0, until.1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        std::fs::write(pem.path(file, "pem"), made.pem()).unwrap();
        std::fs::write(pem.path(file, "key"), key.serialize_pem()).unwrap();
    };
    make("good", (2020, 1), (4096, 1), &["localhost"]);
    let good = pem.certificates("good");
    assert_eq!(good.warnings(), [""; 0]);
    make("expired", (2020, 1), (2021, 2), &["localhost"]);
    let expired = warnings(&pem.certificates("expired"));
    assert!(expired.contains("expired.pem expired on Mon, 01 Feb 2021 00:00:00 GMT"), "{expired}");
    make("early", (2090, 3), (4096, 1), &["localhost"]);
    let early = warnings(&pem.certificates("early"));
    assert!(early.contains("early.pem is valid from Wed, 01 Mar 2090 00:00:00 GMT on"), "{early}");
    make("nameless", (2020, 1), (4096, 1), &[]);
    let nameless = warnings(&pem.certificates("nameless"));
    assert!(nameless.contains("nameless.pem has no subjectAltName"), "{nameless}");
    // One behind it in the chain, found at a reload.
    let chain = ["good", "expired"].map(|file| std::fs::read(pem.path(file, "pem")).unwrap());
    std::fs::write(pem.path("good", "pem"), chain.concat()).unwrap();
    let running = start(good.clone());
    running.reload().certificates().unwrap();
    let reloaded = warnings(&good);
    assert!(reloaded.starts_with("certificate 2 of ") && reloaded.contains("2021"), "{reloaded}");
    assert_eq!(reloaded.lines().count(), 1);
    end(running);
}

/// The quickest of some handshakes, as a client sees it.
fn quickest(address: SocketAddr, client: &Arc<ClientConfig>, name: &str) -> Duration {
    let one = || {
        let begin = std::time::Instant::now();
        ask(&mut connect_as(address, &pem_of(client), name), GET);
        begin.elapsed()
    };
    (0..10).map(|_| one()).min().expect("some")
}

/// The names are gathered at the load: no handshake goes through all certificates. The quickest of
/// many handshakes are compared, for more of them where others use the machine.
#[test]
fn a_handshake_costs_the_same_among_five_hundred_certificates() {
    let pem = Pem::new();
    let files: Vec<_> = (0..500).map(|at| format!("host{at}")).collect();
    for file in &files {
        pem.make(file, &[&*format!("{file}.test"), &*format!("*.{file}.test")]);
    }
    let servers = [&files[499..], &files].map(|files| {
        let pairs = files.iter().map(|file| (pem.path(file, "pem"), pem.path(file, "key")));
        start(Certificates::from_pem_pairs(pairs).unwrap())
    });
    let client = pem.client_of("host499");
    for name in ["host499.test", "any.host499.test"] {
        let mut times = [Duration::MAX; 2];
        let is_alike = (0..30).any(|_| {
            for (time, running) in times.iter_mut().zip(&servers) {
                *time = (*time).min(quickest(running.address(), &client, name));
            }
            times[1] < times[0] * 3 / 2
        });
        println!("{name}: {times:?}, alone and among many");
        assert!(is_alike, "{name}: {times:?}");
    }
    servers.into_iter().for_each(end);
}
