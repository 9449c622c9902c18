//! The router of direct answers: without an allocation, and through a server's sockets.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::mem::MaybeUninit;

use sidecore::app::{DirectParams, DirectRequest, DirectRouter, Plain};
use sidecore::codec::{HeadLimits, HeadScan, Parsed, next_head};
use sidecore::test_server::TestServer;
use sidecore::{Config, Incoming, Request, Response, Server};

use super::alone;

const LIMITS: HeadLimits = HeadLimits {
    size_max_bytes: 4096,
    header_count_max: 8,
    target_length_max_bytes: 4096,
    is_secured: false,
    takes_raw_utf8: false,
};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all is the system's allocator; the count beside it is a plain cell of the thread, which
// allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on: it came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations<T>(call: impl FnOnce() -> T) -> (u64, T) {
    let before = ALLOCATED.get();
    let returned = call();
    (ALLOCATED.get() - before, returned)
}

fn ok(_: &DirectRequest<'_>, _: &DirectParams<'_>) -> Plain {
    Plain::text("OK")
}

fn routes() -> DirectRouter {
    DirectRouter::new()
        .get("/", ok)
        .get("/users/me", ok)
        .get("/users/{id}", |_, params| match params.get("id") {
            Some("ada") => Plain::text("Ada"),
            _ => Plain::text("somebody"),
        })
        .on("DELETE", "/users/{id}", ok)
        .get("/of/{a}/{b}/in/{c}", ok)
        .get("/files/{*rest}", ok)
        .on("PUT", "/left", |_, _| None::<Plain>)
}

#[test]
fn a_direct_answer_allocates_nothing_from_the_first_request_on() {
    let _alone = alone();
    assert_eq!(allocations(|| Box::new(1)).0, 1, "the counter counts");
    let routes = routes();
    let check = |method: &str, path: &str, expected: Option<(u16, &str)>| {
        let bytes = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut slots = [MaybeUninit::uninit(); 8];
        let parsed = next_head(bytes.as_bytes(), &mut HeadScan::default(), &mut slots, &LIMITS);
        let Ok(Parsed::Complete(head)) = parsed else { panic!("{bytes}: {parsed:?}") };
        let (count, answer) = allocations(|| routes.answer(&head, b""));
        let told = answer.as_ref().map(|plain| {
            (plain.status.as_u16(), std::str::from_utf8(&plain.body).expect("a text"))
        });
        assert_eq!((told, count), (expected, 0), "{method} {path}");
        assert_eq!(allocations(|| drop(answer)).0, 0);
    };
    check("PATCH", "/users/ada", Some((405, "")));
    check("GET", "/", Some((200, "OK")));
    check("GET", "/users/me", Some((200, "OK")));
    check("GET", "/users/ada?long=1", Some((200, "Ada")));
    check("HEAD", "/users/mel", Some((200, "somebody")));
    check("GET", "/of/1/2/in/3", Some((200, "OK")));
    check("GET", "/files/a/b/c", Some((200, "OK")));
    check("PUT", "/left", None);
    check("GET", "/nowhere", None);
}

#[test]
fn what_the_routes_leave_goes_to_the_service() {
    let _alone = alone();
    let mut config = Config::default();
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(0);
    let server = TestServer::start(Server::new(config), |_| {
        routes().before(tower::service_fn(async |request: Request<Incoming>| {
            let said = format!("service {} {}", request.method(), request.uri());
            Ok::<_, Infallible>(Response::new(said))
        }))
    })
    .unwrap();
    let ask = |method, path| server.request(method, path, &[], b"").unwrap();
    assert_eq!(ask("GET", "/users/ada").text(), "Ada");
    assert_eq!(ask("PUT", "/left").text(), "service PUT /left");
    assert_eq!(ask("GET", "/nowhere?a").text(), "service GET /nowhere?a");
    assert_eq!(ask("OPTIONS", "/users/ada").text(), "service OPTIONS /users/ada");
    let head = ask("HEAD", "/users/ada");
    assert_eq!((head.header("content-length"), head.body.len()), (Some("3"), 0));
    let refused = ask("POST", "/users/ada");
    assert_eq!(
        (refused.status.as_u16(), refused.header("allow")),
        (405, Some("GET, HEAD, DELETE"))
    );
    server.stop().unwrap();
}

#[test]
fn routes_that_cannot_be_keep_the_server_from_starting() {
    let _alone = alone();
    let mut config = Config::default();
    config.options.task_worker_num = Some(0);
    let failed = TestServer::start(Server::new(config), |_| {
        DirectRouter::new().get("/{a", |_, _| Plain::text("")).before(tower::service_fn(
            async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(String::new())),
        ))
    });
    assert!(failed.is_err());
}
