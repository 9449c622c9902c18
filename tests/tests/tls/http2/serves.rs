//! What is served over HTTP/2 is what is served over HTTP/1.1, many at once.

use std::process::Command;
use std::time::Instant;

use super::raw::{DATA, GOAWAY, HTTP_1_1_REQUIRED, request};
use super::*;

#[test]
fn many_streams_of_a_connection_are_served_at_once() {
    let served = Served::start();
    block_on(async {
        let client = served.connect().await;
        let start = Instant::now();
        let asked: Vec<_> = (0..100)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move {
                    let path = if n % 2 == 0 { "/slow" } else { "/" };
                    (n, client.post(path, format!("body {n}").into_bytes()).await.unwrap())
                })
            })
            .collect();
        for task in asked {
            let (n, got) = task.await.unwrap();
            let expected = if n % 2 == 0 { "late".to_owned() } else { format!("body {n}") };
            assert_eq!((got.status.as_u16(), got.text()), (200, &*expected));
        }
        // One after the other, the slow ones would take 15 seconds.
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    });
    served.end();
}

#[test]
fn large_bodies_go_both_ways_within_the_windows() {
    let served = Served::start();
    block_on(async {
        let client = served.connect().await;
        let tasks: Vec<_> = ["/", "/mirror", "/big", "/mirror"]
            .map(|path| {
                let client = client.clone();
                tokio::spawn(async move {
                    let got = client.post(path, pattern(3 << 20)).await.unwrap();
                    let expected = if path == "/big" { 8 << 20 } else { 3 << 20 };
                    assert!(got.body == pattern(expected), "{path}: {} bytes", got.body.len());
                })
            })
            .into_iter()
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(client.post("/", b"after".to_vec()).await.unwrap().text(), "after");
    });
    served.end();
}

#[test]
fn an_application_sees_what_it_knows_from_http1() {
    let served = Served::start();
    block_on(async {
        let client = served.connect().await;
        let fields = [("cookie", "a=1"), ("cookie", "b=2")];
        let got = client.ask(Method::GET, "/describe?q", &fields, Vec::new()).await.unwrap();
        assert_eq!(
            got.text(),
            "GET HTTP/2.0 https://localhost/describe?q host=localhost cookie=a=1; b=2 \
             peer=127.0.0.1 upgrade=false hint=Some(0) end=true"
        );
        let got =
            client.ask(Method::POST, "/describe", &[("content-length", "5")], b"12345".into());
        assert!(got.await.unwrap().text().ends_with("hint=Some(5) end=false"));
        let got = client.post("/describe", b"12345".into()).await.unwrap();
        assert!(got.text().ends_with("hint=None end=false"), "{}", got.text());
    });
    served.end();
}

#[test]
fn trailers_go_both_ways_without_those_that_may_be_none() {
    let served = Served::start();
    block_on(async {
        let client = served.connect().await;
        let ask = async |trailers: &[(&'static str, &str)]| {
            let request = Request::post("https://localhost/trailers").body(()).unwrap();
            let mut send = client.send.clone().ready().await.unwrap();
            let (answer, mut stream) = send.send_request(request, false).unwrap();
            stream.send_data(Bytes::from_static(b"body"), false).unwrap();
            let trailers = trailers.iter().map(|(name, value)| {
                (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
            });
            stream.send_trailers(trailers.collect()).unwrap();
            receive(answer).await.unwrap()
        };
        let got = ask(&[("x-sum", "1"), ("content-type", "late")]).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, "body"));
        let trailers = got.trailers.expect("trailers");
        assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &"1".parse().unwrap()));
        // As in HTTP/1.1, who routes by a trailer is refused.
        let got = ask(&[("x-sum", "1"), ("host", "other")]).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST);
    });
    served.end();
}

#[test]
fn an_answer_is_framed_by_the_server_alone() {
    let served = Served::start();
    block_on(async {
        let client = served.connect().await;
        let got = client.get("/fields").await.unwrap();
        assert_eq!((got.text(), &got.fields["content-length"]), ("hello", &"5".parse().unwrap()));
        assert!(got.fields.contains_key("date") && got.fields.contains_key("x-kept"));
        for absent in ["connection", "x-named", "keep-alive", "transfer-encoding"] {
            assert!(!got.fields.contains_key(absent), "{absent}");
        }
        let head = client.ask(Method::HEAD, "/fields", &[], Vec::new()).await.unwrap();
        assert_eq!((head.text(), &head.fields["content-length"]), ("", &"5".parse().unwrap()));
        for (status, length) in [("204", None), ("205", Some("0")), ("304", Some("4"))] {
            let got = client.get(&format!("/status/{status}")).await.unwrap();
            let said = got.fields.get("content-length").map(|length| length.to_str().unwrap());
            assert_eq!((got.status.as_str(), got.text(), said), (status, "", length));
        }
        // A length that only the application knows is told, and held to.
        let said = client.get("/said/9").await.unwrap();
        assert_eq!(
            (said.text(), &said.fields["content-length"]),
            ("begunmore", &"9".parse().unwrap())
        );
        for wrong in ["/said/8", "/said/10"] {
            let error = client.get(wrong).await.unwrap_err();
            assert!(error.is_reset(), "{wrong}: {error}");
        }
        for interim in ["/status/103", "/switch"] {
            assert_eq!(client.get(interim).await.unwrap().status, 500, "{interim}");
        }
    });
    served.end();
}

#[test]
fn a_panic_costs_its_stream_and_no_other() {
    let served = Served::start();
    block_on(async {
        let client = served.connect().await;
        let beside = tokio::spawn({
            let client = client.clone();
            async move { client.get("/slow").await.unwrap() }
        });
        for _ in 0..3 {
            let got = client.get("/panic").await.unwrap();
            assert_eq!((got.status.as_u16(), got.text()), (500, "the handler failed"));
            let error = client.get("/panic/body").await.unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{error}");
            let error = client.get("/broken").await.unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{error}");
        }
        assert_eq!(beside.await.unwrap().text(), "late");
        assert_eq!(client.get("/frames").await.unwrap().text(), "begunmore");
    });
    served.end();
}

#[test]
fn the_protocol_is_the_clients_choice_unless_it_is_off() {
    let agreed = |served: &Served, protocols: &[&[u8]]| {
        let mut client = connect(served.address(), &served.client_config(protocols));
        client.flush().unwrap();
        while client.conn.is_handshaking() {
            client.conn.complete_io(&mut client.sock).unwrap();
        }
        client.conn.alpn_protocol().map(<[u8]>::to_vec)
    };
    let served = Served::start();
    assert_eq!(agreed(&served, &[b"http/1.1", b"h2"]), Some(b"h2".to_vec()));
    assert_eq!(agreed(&served, &[b"http/1.1"]), Some(b"http/1.1".to_vec()));
    assert_eq!(agreed(&served, &[]), None);
    let mut client = connect(served.address(), &served.client_config(&[b"http/1.1"]));
    assert_eq!(ask(&mut client, super::super::post("/", b"x")), b"x");
    // Over a reload too.
    served.running.reload().certificates().unwrap();
    assert_eq!(agreed(&served, &[b"h2"]), Some(b"h2".to_vec()));
    served.end();

    let served = Served::start_with(|config| config.options.http2 = Some(false));
    assert_eq!(agreed(&served, &[b"h2", b"http/1.1"]), Some(b"http/1.1".to_vec()));
    served.end();
}

/// What comes before is the same for all protocols.
#[test]
fn a_proxy_says_who_the_peer_is() {
    let pem = Pem::new();
    let mut config = Config::default();
    config.port = 0;
    config.options.task_worker_num = Some(0);
    let running = Server::new(config)
        .tls_certificates(pem.certificates("own"))
        .listen("127.0.0.1:0 tls proxy".parse().unwrap())
        .start(|_| WithPeers(tower::service_fn(|request| respond(request, Arc::default()))))
        .unwrap();
    let mut behind = socket(running.addresses()[1]);
    behind.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 49374 443\r\n").unwrap();
    let mut config = pem.client_with("own", rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut raw = Raw { client: StreamOwned::new(tls, behind) };
    raw.begin(&[]);
    raw.send(&request(1, "/describe"));
    let said = String::from_utf8(raw.until(DATA).payload).unwrap();
    assert!(said.contains("peer=192.0.2.7 "), "{said}");
    drop(raw);
    end(running);
}

/// Over TLS, where it was not agreed upon it is not spoken (RFC 9113 §3.2).
#[test]
fn a_preface_out_of_place_is_refused() {
    let served = Served::start();
    let mut raw = Raw::connect(served.address(), &served.client_config(&[]));
    raw.begin(&[]);
    assert_eq!(raw.until(GOAWAY).code(), HTTP_1_1_REQUIRED);
    served.end();
}

/// Where it is installed: nghttp2 is another's reading of the protocol.
#[test]
fn curl_is_served() {
    let served = Served::start();
    let url = |path: &str| format!("https://{}{path}", served.address());
    let file = served.pem.path("upload", "bin");
    std::fs::write(&file, pattern(1 << 20)).unwrap();
    let curl = |arguments: &[&str]| {
        Command::new("curl").args(["--silent", "--insecure", "--http2"]).args(arguments).output()
    };
    let upload = format!("@{}", file.display());
    match curl(&["--data-binary", &upload, "--write-out", "%{http_version}", &url("/mirror")]) {
        Ok(output) => {
            let (body, version) = output.stdout.split_at(output.stdout.len().saturating_sub(1));
            assert!(body == pattern(1 << 20) && version == b"2", "{:?}", output.stderr);
            let both = curl(&[&url("/describe"), &url("/frames")]).unwrap().stdout;
            let both = String::from_utf8(both).unwrap();
            assert!(both.starts_with("GET HTTP/2.0 https://127.0.0.1:"), "{both}");
            assert!(both.ends_with("begunmore"), "{both}");
        }
        Err(error) => println!("curl is not tried: {error}"),
    }
    served.end();
}

/// The project's own layers: what they say of a request is the same as in HTTP/1.1.
#[test]
fn logs_ids_files_and_triggers_know_such_a_request() {
    use sidecore_access_log::{AccessLog, Format};
    use sidecore_request_id::RequestIds;
    use sidecore_static_files::StaticFiles;
    use tower::Layer;
    let scratch = sidecore_tests::Scratch::new("http2-layers");
    let root = scratch.path().join("files");
    std::fs::create_dir_all(root.join("directory")).unwrap();
    std::fs::write(root.join("directory/index.html"), "found").unwrap();
    let format = Format::parse("%h \"%r\" %v %p %>s %b %{x-request-id}o").unwrap();
    let log = AccessLog::to_file(scratch.path().join("access.log"), format).unwrap();
    let files = StaticFiles::of(&root).build().unwrap();
    let (logging, pem) = (log.clone(), Pem::new());
    let triggered = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = triggered.clone();
    let running = server(pem.certificates("own"), |config| {
        config.options.worker_num = Some(1);
        config.options.task_worker_num = Some(1);
        config.options.body_size_max_bytes = 8;
    })
    .on_task(move |_, path: String| seen.lock().unwrap().push(path))
    .awaited()
    .start(move |executor| {
        let job = |request: &Request<Incoming>| Some(request.uri().path().to_owned());
        let trigger = sidecore::tasks::trigger::TriggerTask::before(executor.tasks(), job);
        let made = tower::service_fn(async |request: Request<Incoming>| {
            let path = request.uri().path().to_owned();
            let _ = request.into_body().collect().await;
            Ok::<_, Infallible>(Response::new(path))
        });
        let app = RequestIds::new().layer(trigger.layer(files.clone().layer(made)));
        logging.app(WithPeers(app))
    })
    .unwrap();
    let mut config = pem.client_with("own", rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    block_on(async {
        let client = H2::connect(running.address(), Arc::new(config)).await;
        let id = [("x-request-id", "mine")];
        let ask = async |path| client.ask(Method::GET, path, &id, Vec::new()).await.unwrap();
        assert_eq!(ask("/directory/").await.text(), "found");
        let moved = ask("/directory?q").await;
        assert_eq!(
            (moved.status.as_u16(), &moved.fields["location"]),
            (301, &"./directory/?q".parse().unwrap())
        );
        assert_eq!(ask("/made?q").await.text(), "/made");
        // What reaches no service, and what one had begun to serve.
        let other = client.ask(Method::GET, "/other", &[("host", "other")], Vec::new());
        assert_eq!(other.await.unwrap().status, 400);
        // What h2 refuses, once with all of the status and once with a number for it.
        let long = "x".repeat(70_000);
        let long = [("x-long", &*long)];
        for _ in 0..2 {
            let large = client.ask(Method::GET, "/large", &long, Vec::new());
            assert_eq!(large.await.unwrap().status, 431);
        }
        let late = client.ask(Method::POST, "/late", &id, b"too large".into());
        assert_eq!(late.await.unwrap().status, 413);
    });
    end(running);
    drop(log);
    let log = std::fs::read_to_string(scratch.path().join("access.log")).unwrap();
    let expected = [
        "127.0.0.1 \"GET /directory/ HTTP/2.0\" localhost 443 200 5 mine",
        "127.0.0.1 \"GET /directory?q HTTP/2.0\" localhost 443 301 - mine",
        "127.0.0.1 \"GET /made?q HTTP/2.0\" localhost 443 200 5 mine",
        "127.0.0.1 \"GET /other HTTP/2.0\" - 443 400 34 -",
        "127.0.0.1 \"-\" - 443 431 - -",
        "127.0.0.1 \"-\" - 443 431 - -",
        "127.0.0.1 \"POST /late HTTP/2.0\" localhost 443 413 41 -",
    ];
    assert_eq!(log.lines().collect::<Vec<_>>(), expected);
    assert_eq!(*triggered.lock().unwrap(), ["/directory/", "/directory", "/made", "/late"]);
}

#[test]
fn an_axum_router_is_served() {
    use axum::Router;
    use axum::routing::{get, post};
    let pem = Pem::new();
    let server = server(pem.certificates("own"), |_| {});
    let running = server
        .start(|_| {
            Router::new()
                .route("/hello/{name}", get(async |name: axum::extract::Path<String>| name.0))
                .route("/sum", post(async |body: Bytes| body.len().to_string()))
        })
        .unwrap();
    let mut config = pem.client_with("own", rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    block_on(async {
        let client = H2::connect(running.address(), Arc::new(config)).await;
        assert_eq!(client.get("/hello/ada").await.unwrap().text(), "ada");
        assert_eq!(client.post("/sum", pattern(100_000)).await.unwrap().text(), "100000");
        assert_eq!(client.get("/none").await.unwrap().status, 404);
    });
    end(running);
}

/// Each is done once, whichever stream it was of.
#[test]
fn tasks_are_dispatched_and_awaited_within_streams() {
    let pem = Pem::new();
    let finished = Arc::new(AtomicU64::new(0));
    let counted = finished.clone();
    let running = server(pem.certificates("own"), |config| {
        config.options.worker_num = Some(1);
        config.options.task_worker_num = Some(1);
    })
    .on_task(|_, n: u64| n * 2)
    .on_finish(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    })
    .start(|executor| {
        let tasks = executor.tasks();
        tower::service_fn(move |request: Request<Incoming>| {
            let tasks = tasks.clone();
            async move {
                let n: u64 = request.uri().path()[1..].parse().unwrap();
                tasks.dispatch(n).expect("there is room");
                let doubled = tasks.run(n).await.expect("an output");
                Ok::<_, Infallible>(Response::new(doubled.to_string()))
            }
        })
    })
    .unwrap();
    let mut config = pem.client_with("own", rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    block_on(async {
        let client = H2::connect(running.address(), Arc::new(config)).await;
        let asked: Vec<_> = (0..100_u64)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move {
                    let got = client.get(&format!("/{n}")).await.unwrap();
                    assert_eq!(got.text(), (2 * n).to_string());
                })
            })
            .collect();
        for task in asked {
            task.await.unwrap();
        }
    });
    running.shutdown().raise();
    let report = running.wait().unwrap();
    assert_eq!((report.accepted, report.finished, report.lost), (200, 200, 0));
    assert_eq!(finished.load(Ordering::Relaxed), 100);
}
