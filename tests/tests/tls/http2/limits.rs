//! What a client may send, and how long it may take.

use std::cell::RefCell;
use std::time::Instant;

use super::raw::*;
use super::*;

#[test]
fn a_body_that_is_too_large_gets_413() {
    let served = Served::start_with(|config| config.options.body_size_max_bytes = 100_000);
    block_on(async {
        let client = served.connect().await;
        let length = [("content-length", "100001")];
        for path in ["/", "/mirror"] {
            let got = client.post(path, pattern(100_000)).await.unwrap();
            assert!(got.status == 200 && got.body == pattern(100_000));
            let got = client.ask(Method::POST, path, &length, pattern(100_001)).await.unwrap();
            assert_eq!((got.status.as_u16(), path), (413, path));
        }
        // Not known before it is read: then it is too late for a mirror to take its answer back.
        let got = client.post("/", pattern(100_001)).await.unwrap();
        assert_eq!(got.status, 413);
        assert!(client.post("/mirror", pattern(200_000)).await.is_err());
        assert_eq!(client.post("/unread", pattern(200_000)).await.unwrap().text(), "not read");
        assert_eq!(client.post("/", b"after".into()).await.unwrap().text(), "after");
    });
    served.end();
}

/// The body is read by tokio's thread: what its exchange has to know wakes it.
#[test]
fn the_limits_of_a_body_hold_wherever_it_is_read() {
    let pem = Pem::new();
    let running = server(pem.certificates("own"), |config| {
        config.options.worker_num = Some(1);
        config.options.body_size_max_bytes = 100_000;
        config.options.body_timeout_ms = 400;
    })
    .with_tokio()
    .start(|_| {
        tower::service_fn(async |request: Request<Incoming>| {
            let read = tokio::spawn(async {
                let body = request.into_body().collect().await;
                // Late, so that the exchange is asleep when the body has failed.
                tokio::time::sleep(Duration::from_millis(100)).await;
                body.map_or_else(
                    |error| error.to_string(),
                    |body| body.to_bytes().len().to_string(),
                )
            });
            Ok::<_, Infallible>(Response::new(read.await.expect("no panic")))
        })
    })
    .unwrap();
    let mut config = pem.client_with("own", rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    block_on(async {
        let client = H2::connect(running.address(), Arc::new(config)).await;
        assert_eq!(client.post("/", pattern(100_000)).await.unwrap().text(), "100000");
        assert_eq!(client.post("/", pattern(100_001)).await.unwrap().status, 413);
        let request = Request::post("https://localhost/").body(()).unwrap();
        let mut send = client.send.clone().ready().await.unwrap();
        let (answer, _stream) = send.send_request(request, false).unwrap();
        assert_eq!(receive(answer).await.unwrap().status, 408);
    });
    end(running);
}

/// Windows open as handlers read, and what comes beyond them is not taken.
#[test]
fn what_no_handler_reads_is_bounded() {
    let served = Served::start();
    let mut raw = served.raw();
    raw.begin(&[]);
    let told = raw.until(SETTINGS).payload;
    // SETTINGS_INITIAL_WINDOW_SIZE
    let window = told.chunks(6).find(|one| one[..2] == [0, 4]).expect("a window");
    let window = u32::from_be_bytes(window[2..].try_into().unwrap()) as usize;
    let opened = u32::from_be_bytes(raw.until(WINDOW_UPDATE).payload.try_into().unwrap());
    assert_eq!((window, opened), (256 << 10, (1 << 20) - 65_535));
    // Until then the window is that of the protocol.
    raw.send(&frame(SETTINGS, ACK, 0, b""));
    raw.send(&upload(1, "/wait"));
    for _ in 0..window / 16_384 {
        raw.send(&frame(DATA, 0, 1, &[0; 16_384]));
    }
    raw.send(&frame(PING, 0, 0, &[7; 8]));
    while let Some(came) = raw.next().filter(|came| came.kind != PING) {
        assert!(came.kind != WINDOW_UPDATE && came.kind != RST_STREAM, "{came:?}");
    }
    raw.send(&frame(DATA, 0, 1, b"x"));
    let told = raw.until(RST_STREAM);
    // FLOW_CONTROL_ERROR
    assert_eq!((told.stream, told.code()), (1, 3));
    until("its handler is dropped", || served.dropped() == 1);
    served.end();
}

/// Of a peer that opens no window, or reads nothing, an application is asked for one piece.
#[test]
fn an_answer_is_made_no_faster_than_it_is_taken() {
    struct Pieces(Arc<AtomicU64>);
    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[7; 1000])))))
        }
    }
    let (pem, made) = (Pem::new(), Arc::new(AtomicU64::new(0)));
    let counted = made.clone();
    let running = server(pem.certificates("own"), |config| config.options.worker_num = Some(1))
        .start(move |_| {
            let counted = counted.clone();
            tower::service_fn(move |_: Request<Incoming>| {
                let pieces = Pieces(counted.clone());
                async { Ok::<_, Infallible>(Response::new(pieces)) }
            })
        })
        .unwrap();
    let mut config = pem.client_with("own", rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut raw = Raw::connect(running.address(), &Arc::new(config));
    raw.begin(&[(4, 0)]);
    raw.send(&request(1, "/"));
    raw.ping([1; 8]);
    assert_eq!(made.load(Ordering::Relaxed), 1);
    raw.send(&frame(WINDOW_UPDATE, 0, 1, &2500_u32.to_be_bytes()));
    for length in [1000, 1000, 500] {
        assert_eq!(raw.until(DATA).payload.len(), length);
    }
    raw.ping([2; 8]);
    assert_eq!(made.load(Ordering::Relaxed), 3);
    drop(raw);
    end(running);
}

#[test]
fn heads_have_limits_and_a_refusal_says_which() {
    let served = Served::start_with(|config| {
        config.options.head_size_max_bytes = 4000;
        config.options.target_length_max_bytes = 100;
        config.options.header_count_max = 10;
    });
    block_on(async {
        let client = served.connect().await;
        let status = async |method, path: &str, fields: &[(&str, &str)]| {
            client.ask(method, path, fields, Vec::new()).await.unwrap().status.as_u16()
        };
        let long = "x".repeat(5000);
        let many: Vec<_> = (0..11).map(|n| format!("x-{n}")).collect();
        let many: Vec<_> = many.iter().map(|name| (&**name, "1")).collect();
        assert_eq!(status(Method::GET, "/", &[("x-long", &long)]).await, 431);
        assert_eq!(status(Method::GET, "/", &many).await, 431);
        assert_eq!(status(Method::GET, &format!("/{}", "a".repeat(100)), &[]).await, 414);
        assert_eq!(status(Method::GET, "/", &[("host", "other")]).await, 400);
        assert_eq!(status(Method::GET, "/", &[("expect", "miracles")]).await, 417);
        assert_eq!(status(Method::GET, "/", &[("x-blank", " 1")]).await, 400);
        assert_eq!(status(Method::GET, "/%00", &[]).await, 400);
        assert_eq!(status(Method::GET, "/", &[]).await, 200);
    });
    served.end();
}

#[test]
fn streams_beyond_the_limit_are_refused_unheard() {
    let served = Served::start_with(|config| config.options.http2_streams_max = 3);
    let mut raw = served.raw();
    raw.begin(&[]);
    let told = raw.until(SETTINGS).payload;
    // SETTINGS_MAX_CONCURRENT_STREAMS
    assert!(told.chunks(6).any(|one| one == [0, 3, 0, 0, 0, 3]), "{told:?}");
    for stream in [1, 3, 5, 7] {
        raw.send(&request(stream, "/wait"));
    }
    let refused = raw.until(RST_STREAM);
    assert_eq!((refused.stream, refused.code()), (7, REFUSED_STREAM));
    // One that is over makes room.
    raw.send(&reset(3));
    raw.send(&request(9, "/"));
    assert_eq!(raw.until(HEADERS).stream, 9);
    until("its handler is dropped", || served.dropped() == 1);
    drop(raw);
    until("the others are dropped", || served.dropped() == 3);
    served.end();
}

#[test]
fn a_request_that_takes_too_long_is_refused_or_reset() {
    let served = Served::start_with(|config| config.options.request_timeout_ms = 300);
    block_on(async {
        let client = served.connect().await;
        let start = Instant::now();
        let got = client.get("/wait").await.unwrap();
        assert_eq!((got.status.as_u16(), got.text()), (503, "the request took too long"));
        assert!(start.elapsed() >= Duration::from_millis(300));
        assert!(client.get("/endless").await.unwrap_err().is_reset());
        assert_eq!(client.get("/").await.unwrap().status, 200);
    });
    until("both are dropped", || served.dropped() == 2);
    served.end();
}

/// A body has to come at its least rate; more of it renews the time.
#[test]
fn a_body_that_does_not_come_gets_408() {
    let served = Served::start_with(|config| {
        config.options.body_timeout_ms = 400;
        config.options.body_rate_min_bytes_per_s = 0;
    });
    block_on(async {
        let client = served.connect().await;
        let begin = async |path: &str| {
            let request = Request::post(format!("https://localhost{path}")).body(()).unwrap();
            let mut send = client.send.clone().ready().await.unwrap();
            send.send_request(request, false).unwrap()
        };
        let (answer, mut stream) = begin("/").await;
        let start = Instant::now();
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stream.send_data(Bytes::from_static(b"x"), false).unwrap();
        }
        let got = receive(answer).await.unwrap();
        assert_eq!((got.status.as_u16(), got.text()), (408, "the body took too long"));
        assert!(start.elapsed() >= Duration::from_millis(1400), "{:?}", start.elapsed());
        // Within an answer there is only the reset.
        let (answer, _stream) = begin("/mirror").await;
        assert!(receive(answer).await.unwrap_err().is_reset());
        assert_eq!(client.get("/").await.unwrap().status, 200);
    });
    served.end();
}

#[test]
fn an_idle_connection_is_told_to_leave_and_closed() {
    let served = Served::start_with(|config| config.options.keep_alive_timeout_ms = 500);
    let mut raw = served.raw();
    raw.begin(&[]);
    raw.send(&request(1, "/slow"));
    assert_eq!(raw.until(DATA).payload, b"late");
    let start = Instant::now();
    // A PING is no request.
    for n in 0..3 {
        std::thread::sleep(Duration::from_millis(100));
        raw.ping([n; 8]);
    }
    let told = raw.until(GOAWAY);
    assert_eq!((told.code(), told.last_stream()), (NO_ERROR, u32::MAX >> 1));
    assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
    // Though it does not say that it has understood.
    raw.rest();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    served.end();
}

/// It answers no PING; one that does is left alone.
#[test]
fn a_peer_that_is_gone_is_found_while_it_waits() {
    let served = Served::start_with(|config| config.options.keep_alive_timeout_ms = 400);
    let start = Instant::now();
    block_on(async {
        let kept = served.connect().await;
        let asked = tokio::spawn({
            let kept = kept.clone();
            async move { kept.get("/wait").await }
        });
        let gone = tokio::task::spawn_blocking({
            let mut raw = served.raw();
            move || {
                raw.begin(&[]);
                raw.send(&request(1, "/wait"));
                assert_eq!(raw.until(PING).flags, 0);
                raw.rest();
            }
        });
        gone.await.expect("it is closed");
        assert!((800..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert_eq!((served.dropped(), asked.is_finished()), (1, false));
    });
    served.end();
}

#[test]
fn a_connection_without_a_request_has_the_time_of_a_head() {
    let served = Served::start_with(|config| config.options.head_timeout_ms = 1000);
    let start = Instant::now();
    let (mut silent, mut begun) = (served.raw(), served.raw());
    silent.client.flush().unwrap();
    begun.begin(&[]);
    for raw in [&mut silent, &mut begun] {
        raw.rest();
    }
    assert!((1000..8000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    served.end();
}

#[test]
fn the_last_request_of_a_connection_is_said_to_be() {
    let served = Served::start_with(|config| config.options.requests_per_connection_max = 3);
    block_on(async {
        let client = served.connect().await;
        for n in 0..3 {
            assert_eq!(client.get("/").await.unwrap().status, 200, "{n}");
        }
        client.ended().await.expect("it ends well");
        let client = served.connect().await;
        assert_eq!(client.get("/close").await.unwrap().text(), "bye");
        client.ended().await.expect("it ends well");
    });
    served.end();
}

#[test]
fn a_full_server_says_so() {
    let served = Served::start_with(|config| {
        config.options.connections_max = 1;
        config.options.accept_timeout_ms = 50;
    });
    block_on(async {
        let kept = served.connect().await;
        assert_eq!(kept.get("/").await.unwrap().status, 200);
        let refused = served.connect().await;
        let got = refused.get("/").await.unwrap();
        assert_eq!((got.status.as_u16(), &got.fields["retry-after"]), (503, &"1".parse().unwrap()));
        assert_eq!(got.text(), "this server has no room for a connection");
        refused.ended().await.expect("it ends well");
        assert_eq!(kept.get("/").await.unwrap().status, 200);
    });
    served.end();
}

/// Its window stays shut: it is reset, and the others of its connection go on.
#[test]
fn a_stream_whose_answer_is_not_taken_is_reset_alone() {
    let served = Served::start_with(|config| config.options.write_timeout_ms = 400);
    let mut raw = served.raw();
    // SETTINGS_INITIAL_WINDOW_SIZE
    raw.begin(&[(4, 0)]);
    raw.send(&request(1, "/big"));
    let start = Instant::now();
    raw.send(&request(3, "/big"));
    // Some of this one is taken, and then no more.
    raw.send(&frame(WINDOW_UPDATE, 0, 3, &1000_u32.to_be_bytes()));
    let mut reset = [raw.until(RST_STREAM).stream, raw.until(RST_STREAM).stream];
    reset.sort_unstable();
    assert_eq!(reset, [1, 3]);
    assert!((400..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    raw.send(&request(5, "/frames"));
    raw.send(&frame(WINDOW_UPDATE, 0, 5, &1000_u32.to_be_bytes()));
    assert_eq!(raw.until(DATA).stream, 5);
    served.end();
}

/// What is left of a small one has ended its stream, which cannot be reset any more.
#[test]
fn a_connection_whose_last_pieces_are_not_taken_is_ended() {
    let served = Served::start_with(|config| config.options.write_timeout_ms = 400);
    let mut raw = served.raw();
    raw.begin(&[(4, 2)]);
    raw.send(&request(1, "/unread"));
    let start = Instant::now();
    assert_eq!(raw.until(DATA).payload, b"no");
    raw.rest();
    assert!((400..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    served.end();
}

#[test]
fn a_peer_that_reads_nothing_is_cut_off() {
    let served = Served::start_with(|config| config.options.write_timeout_ms = 300);
    let mut raw = served.raw();
    let window = u32::MAX >> 1;
    raw.begin(&[(4, window)]);
    raw.send(&frame(WINDOW_UPDATE, 0, 0, &(window - 65_535).to_be_bytes()));
    for stream in [1, 3, 5, 7] {
        raw.send(&request(stream, "/big"));
    }
    let beside = RefCell::new(served.raw());
    beside.borrow_mut().begin(&[]);
    until("it is closed", || {
        // An executor tells its counts with its turns.
        beside.borrow_mut().ping([0; 8]);
        served.running.executor_stats()[0].streams == 1
    });
    let received: usize = raw.rest().iter().map(|came| came.payload.len()).sum();
    assert!(received < 4 * (8 << 20), "{received}");
    served.end();
}
