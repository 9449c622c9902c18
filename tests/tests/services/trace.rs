//! Spans from a request through its task, on another thread, to its finish.

use std::cell::RefCell;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidecore::tasks::async_tasks::glommio::timer;
use sidecore::tasks::closures::Closures;
use sidecore::tasks::{Failure, TaskPool};
use sidecore::{Config, Incoming, Request, Response, Server, TaskResult};
use sidecore_request_id::RequestIds;
use sidecore_tests::{Client, wait_until};
use sidecore_trace::{
    InSpan, RequestSpans, async_task_in_span, call_in_span, finish_in_span, task_in_span,
};
use tower::Layer;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_core::span::Current;

/// Keeps all spans, and each event with the names of the spans around it, outermost first.
#[derive(Clone, Default)]
struct Recorder {
    spans: Arc<Mutex<Vec<Recorded>>>,
    events: Arc<Mutex<Vec<(String, String)>>>,
    entered: Arc<AtomicU64>,
}

struct Recorded {
    metadata: &'static Metadata<'static>,
    parent: Option<Id>,
    fields: String,
}

thread_local! {
    static ENTERED: RefCell<Vec<Id>> = const { RefCell::new(Vec::new()) };
}

/// Fields as `name=value`, a message as itself.
struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.0.push_str(&format!("{value:?}")),
            name => self.0.push_str(&format!(" {name}={value:?}")),
        }
    }
}

impl Recorder {
    fn path(&self, id: Option<Id>) -> String {
        let spans = self.spans.lock().unwrap();
        let (mut names, mut next) = (Vec::new(), id);
        while let Some(id) = next {
            let span = &spans[id.into_u64() as usize - 1];
            names.push(format!("{}{}", span.metadata.name(), span.fields));
            next = span.parent.clone();
        }
        names.reverse();
        names.join(" > ")
    }

    fn event(&self, message: &str) -> Option<String> {
        let events = self.events.lock().unwrap();
        events.iter().find(|(text, _)| text.starts_with(message)).map(|(_, path)| path.clone())
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("sidecore") || metadata.target() == module_path!()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let current = ENTERED.with_borrow(|entered| entered.last().cloned());
        let parent = span.parent().cloned().or(current.filter(|_| span.is_contextual()));
        let mut fields = String::new();
        span.record(&mut Text(&mut fields));
        let mut spans = self.spans.lock().unwrap();
        spans.push(Recorded { metadata: span.metadata(), parent, fields });
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut spans = self.spans.lock().unwrap();
        values.record(&mut Text(&mut spans[span.into_u64() as usize - 1].fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut Text(&mut text));
        let path = self.path(ENTERED.with_borrow(|entered| entered.last().cloned()));
        self.events.lock().unwrap().push((text, path));
    }

    fn enter(&self, span: &Id) {
        self.entered.fetch_add(1, Ordering::Relaxed);
        ENTERED.with_borrow_mut(|entered| entered.push(span.clone()));
    }

    fn exit(&self, span: &Id) {
        self.entered.fetch_sub(1, Ordering::Relaxed);
        let last = ENTERED.with_borrow_mut(Vec::pop);
        assert_eq!(last.as_ref(), Some(span), "spans are left in their order");
    }

    fn current_span(&self) -> Current {
        let id = ENTERED.with_borrow(|entered| entered.last().cloned());
        id.map_or(Current::none(), |id| {
            let metadata = self.spans.lock().unwrap()[id.into_u64() as usize - 1].metadata;
            Current::new(id, metadata)
        })
    }
}

#[test]
fn a_trace_goes_from_the_request_through_its_tasks_to_their_finishes() {
    let recorder = Recorder::default();
    tracing::subscriber::set_global_default(recorder.clone()).expect("it is the first");
    let closures = TaskPool::named("calls").task_worker_num(1).on_closures().on_finish(|_, _| {});
    let closures = closures.build();
    let naps = TaskPool::named("naps")
        .task_worker_num(1)
        .on_async_task(
            4,
            async_task_in_span(|_, fails: bool| async move {
                timer::sleep(Duration::from_millis(2)).await;
                tracing::info!("the nap runs");
                if fails { Err(Failure::new("a bad dream")) } else { Ok(()) }
            }),
        )
        .on_finish(finish_in_span(|_, ended: TaskResult<()>| {
            if ended.is_ok() {
                tracing::info!("the nap has ended");
            }
        }))
        .build();
    let mut config = Config::default();
    config.port = 0;
    config.options.worker_num = Some(1);
    config.options.task_worker_num = Some(1);
    let (pool, nap_pool) = (closures.clone(), naps.clone());
    let running = Server::new(config)
        .with_pool(&closures)
        .with_pool(&naps)
        .on_task(task_in_span(|_, job: &'static str| {
            assert!(job != "panics", "as this test means it to");
            tracing::info!("the task runs");
            job.len()
        }))
        .on_finish(finish_in_span(|_, ended: TaskResult<usize>| match ended {
            Ok(length) => tracing::info!("the task has ended with {length}"),
            Err(error) => tracing::info!("the task has no output: {error}"),
        }))
        .start(move |executor| {
            let (tasks, calls, naps) = (executor.tasks(), pool.tasks(), nap_pool.tasks());
            let answer = move |_: Request<Incoming>| {
                let (tasks, calls, naps) = (tasks.clone(), calls.clone(), naps.clone());
                async move {
                    tasks.dispatch(InSpan::current("a job")).expect("there is room");
                    tasks.dispatch(InSpan::current("panics")).expect("there is room");
                    naps.dispatch(InSpan::current(false)).expect("there is room");
                    naps.dispatch(InSpan::current(true)).expect("there is room");
                    let called = calls.call(call_in_span(|_| tracing::info!("the call runs")));
                    called.await.expect("it returns");
                    tracing::info!("the call has returned");
                    Ok::<_, std::convert::Infallible>(Response::new(String::new()))
                }
            };
            RequestIds::new().layer(RequestSpans.layer(tower::service_fn(answer)))
        })
        .expect("the server starts");
    let mut client = Client::connect(running.address());
    client.send("GET /a?b HTTP/1.1\r\nHost: h\r\nX-Request-Id: abc\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    wait_until("the finish comes", || recorder.event("the task has ended").is_some());
    wait_until("the other does", || recorder.event("the task has no output").is_some());
    wait_until("that of the nap does", || recorder.event("the nap has ended").is_some());
    drop(client);
    running.shutdown().raise();
    running.wait().unwrap();
    // With its status, if it was told when the event came, which is after the answer or before.
    let request = "request otel.kind=\"server\" method=\"GET\" path=\"/a\" request_id=\"abc\"";
    let check = |event: &str, child: &str| {
        let path = recorder.event(event).unwrap_or_else(|| panic!("no event `{event}`"));
        let path = path.replace(" status=200", "");
        assert!(path.starts_with(request), "{event}: {path}");
        let rest = path.strip_prefix(request).unwrap().to_owned();
        assert!(rest.starts_with(child) && rest.is_empty() == child.is_empty(), "{event}: {path}");
    };
    check("the call has returned", "");
    check("the task runs", " > task id=1 pool=\"default\" attempt=1");
    check("the call runs", " > task id=17592186044417 pool=\"calls\" attempt=1");
    check("the nap runs", " > task id=35184372088833 pool=\"naps\" attempt=1");
    check("the nap has ended", " > finish id=35184372088833");
    // Beside the task, in a span of its own: that of the request has ended and stays so.
    check("the task has ended with 5", " > finish id=1");
    assert!(recorder.path(Some(Id::from_u64(1))).ends_with(" status=200"));
    let spans = recorder.spans.lock().unwrap();
    let failed = spans.iter().filter(|span| span.fields.contains("status_code=\"ERROR\""));
    let failed: Vec<_> = failed.map(|span| span.fields.as_str()).collect();
    let is_failed = |id: u64, pool: &str| {
        let fields = format!(" id={id} pool={pool:?} attempt=1 otel.status_code=\"ERROR\"");
        failed.contains(&fields.as_str())
    };
    assert!(is_failed(2, "default") && is_failed(35184372088834, "naps"), "{failed:?}");
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert_eq!(recorder.entered.load(Ordering::Relaxed), 0, "a span was entered and never left");
}
