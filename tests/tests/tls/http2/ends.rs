//! The drain.

use std::time::Instant;

use super::raw::*;
use super::*;

#[test]
fn the_drain_answers_what_is_in_flight_and_tells_all_to_leave() {
    let served = Served::start();
    let pem_kept = block_on(async {
        let (busy, idle) = (served.connect().await, served.connect().await);
        assert_eq!(idle.get("/").await.unwrap().status, 200);
        let asked: Vec<_> = (0..8)
            .map(|_| {
                let busy = busy.clone();
                tokio::spawn(async move { busy.get("/slow").await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let start = Instant::now();
        served.running.shutdown().raise();
        idle.ended().await.expect("it ends well");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        for task in asked {
            let got = task.await.unwrap().expect("it is answered");
            assert_eq!((got.status.as_u16(), got.text()), (200, "late"));
        }
        busy.ended().await.expect("it ends well");
        served.running.wait().expect("it ends");
        served.pem
    });
    drop(pem_kept);
}

/// Under load: a request is answered, or its client knows that nobody has looked at it.
#[test]
fn what_a_handler_was_called_for_is_answered_over_the_drain() {
    let (pem, called) = (Pem::new(), Arc::new(AtomicU64::new(0)));
    let counted = called.clone();
    let running = server(pem.certificates("own"), |_| {})
        .start(move |_| {
            let called = counted.clone();
            tower::service_fn(move |_: Request<Incoming>| {
                called.fetch_add(1, Ordering::Relaxed);
                async {
                    sidecore_runtime::executor::sleep(Duration::from_millis(5)).await;
                    Ok::<_, Infallible>(Response::new("answered".to_owned()))
                }
            })
        })
        .unwrap();
    let mut config = pem.client_with("own", rustls::DEFAULT_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let (address, config) = (running.address(), Arc::new(config));
    let answered = block_on(async {
        let mut asking = Vec::new();
        for _ in 0..4 {
            let client = H2::connect(address, config.clone()).await;
            for _ in 0..16 {
                let client = client.clone();
                asking.push(tokio::spawn(async move {
                    let mut answered = 0;
                    loop {
                        match client.get("/").await {
                            Ok(got) => answered += u64::from(got.text() == "answered"),
                            // NO_ERROR: it was not looked at.
                            Err(error) => {
                                assert!(error.is_go_away() && error.is_remote(), "{error}");
                                assert_eq!(error.reason(), Some(h2::Reason::NO_ERROR));
                                break answered;
                            }
                        }
                    }
                }));
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        running.shutdown().raise();
        let mut answered = 0;
        for task in asking {
            answered += task.await.unwrap();
        }
        answered
    });
    running.wait().expect("it ends");
    assert!(answered > 100, "{answered}");
    assert_eq!(answered, called.load(Ordering::Relaxed));
}

/// What had been sent when the client was told is served; a client that does not answer the
/// server's PING, and goes on, is not.
#[test]
fn a_client_that_goes_on_after_goaway_is_not_served_for_ever() {
    let served = Served::start();
    let mut raw = served.raw();
    raw.begin(&[]);
    raw.send(&request(1, "/"));
    raw.until(HEADERS);
    served.running.shutdown().raise();
    let told = raw.until(GOAWAY);
    assert_eq!((told.code(), told.last_stream()), (NO_ERROR, u32::MAX >> 1));
    raw.send(&request(3, "/"));
    assert_eq!(raw.until(HEADERS).stream, 3);
    let mut answered = 0;
    while answered < 2000 && raw.try_send(&request(5 + 2 * answered, "/")) {
        let mut came = std::iter::from_fn(|| raw.next());
        if !came.any(|came| came.kind == HEADERS) {
            break;
        }
        answered += 1;
    }
    assert!((1000..1100).contains(&answered), "{answered}");
    served.running.wait().expect("it ends");
}

#[test]
fn the_drain_has_an_end_whatever_streams_wait_for() {
    let served = Served::start_with(|config| config.options.drain_timeout_ms = 400);
    let mut raw = served.raw();
    raw.begin(&[]);
    raw.send(&request(1, "/wait"));
    raw.ping([6; 8]);
    let start = Instant::now();
    served.running.shutdown().raise();
    served.running.wait().expect("it ends");
    assert!((400..5000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(served.dropped.load(Ordering::Relaxed), 1);
}
