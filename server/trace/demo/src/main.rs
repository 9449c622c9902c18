//! Traces by OpenTelemetry: one goes on from a client's `traceparent` through the request and its
//! task to the finish, and is sent to a collector by OTLP.
//!
//! ```sh
//! docker run --rm -p 4318:4318 -p 16686:16686 jaegertracing/jaeger     # http://127.0.0.1:16686/
//! cargo run --release -p sidecore-trace-demo   
//! curl -X POST http://127.0.0.1:8080/mails/ada
//! curl -X POST http://127.0.0.1:8080/mails/nobody                      # its task fails
//! curl -X POST -H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' \
//!     http://127.0.0.1:8080/mails/eve
//! ```
//!
//! Spans end on executors and task workers, which put them into a queue and go on; a thread of the
//! exporter's sends what gathers, and Ctrl-C what is left. The standard variables are heeded:
//! OTEL_EXPORTER_OTLP_ENDPOINT (http://127.0.0.1:4318), OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER,
//! OTEL_BSP_SCHEDULE_DELAY, OTEL_BSP_MAX_QUEUE_SIZE (2048: more are dropped, and said to be) and so
//! on. An endpoint with https needs the feature `reqwest-rustls` of `opentelemetry-otlp`.

use std::error::Error;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry::Key;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use sidecore::tasks::Failure;
use sidecore::{Config, Incoming, Request, Server, TaskResult, Tasks};
use sidecore_trace::{InSpan, RequestSpans, finish_in_span, try_task_in_span};
use tower::{Layer, Service, service_fn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt};
use tracing_subscriber::{Registry, fmt};

/// A name of your own; OTEL_SERVICE_NAME has another.
const SERVICE_NAME: &str = "mails";
/// How long the end waits for a collector that does not answer.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let traces = start_traces()?;
    let served = Server::new(Config::load()?)
        .try_on_task(try_task_in_span(|_task, name: String| {
            std::thread::sleep(Duration::from_millis(300));
            if name == "nobody" {
                return Err(Failure::new("there is no such mailbox"));
            }
            tracing::info!(name, "the mail is sent");
            Ok(())
        }))
        .on_finish(finish_in_span(|_finish, sent: TaskResult<()>| {
            tracing::info!(sent = sent.is_ok(), "the end is noted");
        }))
        .serve(|executor| {
            let router = Router::new().route("/mails/{name}", post(send));
            continues_traces(RequestSpans.layer(router.with_state(executor.tasks())))
        });
    // Executors and task workers have ended, and so have their spans. What cannot be delivered is
    // told; it is no reason to fail.
    if let Err(error) = traces.shutdown_with_timeout(FLUSH_LIMIT) {
        eprintln!("the last spans are lost, is there a collector at the endpoint? {error}");
    }
    served?;
    Ok(())
}

/// The job takes the request's span along.
async fn send(
    State(tasks): State<Tasks<InSpan<String>, InSpan<()>>>,
    Path(name): Path<String>,
) -> (StatusCode, String) {
    match tasks.dispatch(InSpan::current(name)) {
        Ok(id) => (StatusCode::ACCEPTED, format!("task {id}\n")),
        Err(refused) => (StatusCode::SERVICE_UNAVAILABLE, format!("{refused}\n")),
    }
}

/// Has a service's spans be children of the span that the client names in `traceparent` (W3C Trace
/// Context), which says whether they are sampled too. Leave it out where clients are strangers.
fn continues_traces<S>(
    mut spanned: S,
) -> impl Service<Request<Incoming>, Response = S::Response, Error = S::Error, Future = S::Future> + Clone
where
    S: Service<Request<Incoming>> + Clone,
{
    let propagator = TraceContextPropagator::new();
    service_fn(move |request: Request<Incoming>| {
        let caller = propagator.extract(&HeaderExtractor(request.headers()));
        // `spanned` makes its span in `call`, and a span without a parent here takes this one.
        let _current = caller.attach();
        spanned.call(request)
    })
}

/// Sends the spans of this program and of sidecore to the collector, and tells on standard error
/// what keeps the exporter from it.
fn start_traces() -> Result<SdkTracerProvider, Box<dyn Error>> {
    // Its HTTP client blocks the exporter's own thread, nothing else.
    let exporter = SpanExporter::builder().with_http().build()?;
    let traces = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(resource())
        .build();
    let ours = Targets::new()
        .with_target("sidecore", LevelFilter::INFO)
        .with_target(module_path!(), LevelFilter::INFO);
    let spans = tracing_opentelemetry::layer().with_tracer(traces.tracer(SERVICE_NAME));
    let problems = fmt::layer().with_writer(io::stderr).with_filter(LevelFilter::WARN);
    let subscriber = Registry::default().with(spans.with_filter(ours)).with(problems);
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(traces)
}

/// Who the spans are of: by the environment, or this example's name.
fn resource() -> Resource {
    let resource = Resource::builder();
    let service_name = Key::from_static_str("service.name");
    let named = Resource::builder().build().get(&service_name);
    match named.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        true => resource.build(),
        false => resource.with_service_name(SERVICE_NAME).build(),
    }
}
