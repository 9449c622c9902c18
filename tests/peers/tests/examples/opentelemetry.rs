//! The demo of traces against a collector: what it sends is decoded and looked at.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use prost::Message;
use sidecore::{Config, Incoming, Request, Response, Running, Server};
use sidecore_tests::{ServerProcess, binary_command, wait_until};

use crate::{Example, ONE, says, text};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
/// Longer than a test runs: what arrives is what the end has flushed.
const NEVER: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "600000");

/// Takes `POST /v1/traces` as a collector does (OTLP/HTTP, binary protobuf).
struct Collector {
    running: Running,
    received: Arc<Mutex<Vec<ResourceSpans>>>,
}

impl Collector {
    fn start() -> Collector {
        let mut config = Config::default();
        config.port = 0;
        config.options.worker_num = Some(1);
        config.options.task_worker_num = Some(0);
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = received.clone();
        let running = Server::new(config).start(move |_| {
            let kept = kept.clone();
            tower::service_fn(move |request: Request<Incoming>| {
                let kept = kept.clone();
                async move {
                    let answer = Response::builder().header("content-type", PROTOBUF);
                    let status = match take(request).await {
                        Some(spans) => {
                            kept.lock().unwrap().extend(spans);
                            200
                        }
                        None => 400,
                    };
                    // An empty ExportTraceServiceResponse has no bytes: all was accepted.
                    Ok::<_, Infallible>(answer.status(status).body(String::new()).unwrap())
                }
            })
        });
        Collector { running: running.expect("the collector starts"), received }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.running.address())
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let scopes = received.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The spans by name, when all is over.
    fn end(self) -> Traces {
        self.running.shutdown().raise();
        let spans = self.spans();
        let resources = std::mem::take(&mut *self.received.lock().unwrap());
        self.running.wait().expect("the collector ends");
        Traces { resources, spans }
    }
}

const PROTOBUF: &str = "application/x-protobuf";

async fn take(request: Request<Incoming>) -> Option<Vec<ResourceSpans>> {
    let is_binary = request.headers().get("content-type").is_some_and(|kind| kind == PROTOBUF);
    let is_export = request.method() == "POST" && request.uri().path() == "/v1/traces";
    let body = request.into_body().collect().await.ok()?.to_bytes();
    let export = ExportTraceServiceRequest::decode(body).ok()?;
    (is_binary && is_export).then_some(export.resource_spans)
}

struct Traces {
    resources: Vec<ResourceSpans>,
    spans: Vec<Span>,
}

impl Traces {
    /// The one span of this name in the trace.
    fn one(&self, trace_id: &[u8], name: &str) -> &Span {
        let mut found = self.spans.iter().filter(|s| s.name == name && s.trace_id == trace_id);
        let span = found.next().unwrap_or_else(|| panic!("no `{name}` in {:?}", self.spans));
        assert!(found.next().is_none(), "more than one `{name}` in {:?}", self.spans);
        span
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> &'a Value {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref());
    value.unwrap_or_else(|| panic!("no {key} in {attributes:?}"))
}

fn string(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn unix_ns(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

fn start(endpoint: &str, more: &[(&str, &str)]) -> Example {
    let mut variables = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)];
    variables.extend(ONE.iter().chain(more));
    Example(ServerProcess::spawn(binary_command("sidecore-trace-demo", &variables)))
}

/// The answer to a mail of a client that is within a trace.
fn post(example: &Example, name: &str, traceparent: &str) -> (u16, String) {
    let mut client = example.client();
    client.send(format!(
        "POST /mails/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n{traceparent}\r\n"
    ));
    let answer = client.answer();
    (answer.status, text(&answer))
}

#[test]
fn a_trace_of_the_client_goes_through_request_task_and_finish_and_is_flushed_at_the_end() {
    let collector = Collector::start();
    let example = start(&collector.endpoint(), &[NEVER]);
    let before = unix_ns(SystemTime::now());
    let sampled = format!("traceparent: 00-{TRACE}-{CALLER}-01\r\n");
    assert_eq!(post(&example, "ada", &sampled), (202, "task 1\n".into()));
    let answered = unix_ns(SystemTime::now());
    // Its task runs, or waits to: the end waits for it, and sends its spans too.
    let other = TRACE.replace('0', "1");
    let unsampled = format!("traceparent: 00-{other}-{CALLER}-00\r\n");
    assert_eq!(post(&example, "eve", &unsampled).0, 202);
    assert_eq!(post(&example, "nobody", "").0, 202);
    assert!(collector.spans().is_empty(), "it was not flushed by the end");
    example.end();
    let after = unix_ns(SystemTime::now());
    let traces = collector.end();

    for resource in &traces.resources {
        let attributes = &resource.resource.as_ref().expect("a resource").attributes;
        assert_eq!(attribute(attributes, "service.name"), &string("mails"));
    }
    let trace_id = bytes(TRACE);
    let [request, task, finish] = ["request", "task", "finish"].map(|n| traces.one(&trace_id, n));
    assert_eq!(request.parent_span_id, bytes(CALLER));
    assert_eq!(task.parent_span_id, request.span_id);
    assert_eq!(finish.parent_span_id, request.span_id);

    assert_eq!(request.kind(), SpanKind::Server);
    assert_eq!(attribute(&request.attributes, "method"), &string("POST"));
    assert_eq!(attribute(&request.attributes, "path"), &string("/mails/ada"));
    assert_eq!(attribute(&request.attributes, "status"), &Value::IntValue(202));
    assert_eq!(attribute(&task.attributes, "id"), &Value::IntValue(1));
    assert_eq!(attribute(&task.attributes, "pool"), &string("default"));
    assert_eq!(attribute(&task.attributes, "thread.name"), &string("task-0"));
    assert_eq!(attribute(&finish.attributes, "id"), &Value::IntValue(1));
    let events = |span: &Span| span.events.iter().map(|e| e.name.clone()).collect::<Vec<_>>();
    assert_eq!(events(task), ["the mail is sent"]);
    assert_eq!(events(finish), ["the end is noted"]);

    // The request ended with its answer, not with its task, which takes 300 ms.
    let times = [
        before,
        request.start_time_unix_nano,
        task.start_time_unix_nano,
        task.end_time_unix_nano,
        finish.start_time_unix_nano,
        finish.end_time_unix_nano,
        after,
    ];
    assert!(times.is_sorted(), "{times:?}");
    assert!(task.end_time_unix_nano - task.start_time_unix_nano >= 300_000_000, "{task:?}");
    assert!(request.end_time_unix_nano > request.start_time_unix_nano, "{request:?}");
    assert!(request.end_time_unix_nano < task.end_time_unix_nano, "{request:?} {task:?}");
    assert!(request.end_time_unix_nano <= answered, "{request:?}");

    // Without a caller a trace begins. Its task fails, and nobody knows the span of that finish.
    let begun = traces.spans.iter().find(|span| span.trace_id != trace_id).expect("another");
    let [request, failed] = ["request", "task"].map(|name| traces.one(&begun.trace_id, name));
    assert_eq!(request.parent_span_id, Vec::<u8>::new());
    let code = |span: &Span| span.status.as_ref().map_or(StatusCode::Unset, |s| s.code());
    assert_eq!((code(request), code(failed)), (StatusCode::Unset, StatusCode::Error));
    assert_eq!(code(task), StatusCode::Unset);
    // Of the trace that is not sampled nothing is sent.
    assert_eq!(traces.spans.len(), 5, "{:?}", traces.spans);
}

#[test]
fn spans_are_sent_while_it_serves_under_the_name_of_the_environment() {
    let collector = Collector::start();
    let variables = [("OTEL_BSP_SCHEDULE_DELAY", "20"), ("OTEL_SERVICE_NAME", "post office")];
    let example = start(&collector.endpoint(), &variables);
    assert_eq!(post(&example, "ada", "").0, 202);
    wait_until("three spans come", || collector.spans().len() == 3);
    example.end();
    let traces = collector.end();
    let resource = traces.resources[0].resource.as_ref().expect("a resource");
    assert_eq!(attribute(&resource.attributes, "service.name"), &string("post office"));
}

/// One that takes connections and never answers.
#[test]
fn a_collector_that_hangs_delays_no_answer_and_the_end_for_a_limited_time() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let example = start(&endpoint, &[("OTEL_BSP_SCHEDULE_DELAY", "1")]);
    for _ in 0..20 {
        let start = Instant::now();
        assert_eq!(post(&example, "ada", "").0, 202);
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    let start = Instant::now();
    let ended = example.end();
    // 20 mails of 300 ms, and the limit of the flush.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    says(&ended, "the last spans are lost");
}
