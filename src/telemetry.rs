//! Where do traces go? To an OpenTelemetry collector, when an operator asks for it. (OTLP over HTTP, W3C
//! Trace Context)
//!
//! A trace holds what the log holds and no more: methods, routes, statuses, kinds of commands, sizes of
//! batches, times. Never what stands in a path, a query, a header or a body. Nobody is believed to continue
//! a trace but a trusted proxy: else strangers would decide what is kept.

use axum::http::{HeaderMap, Method, StatusCode};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::config::Traces;
use crate::metrics::known;

/// What our spans are told apart by: the log has none of them, and a trace has nothing else.
pub(crate) const TARGET: &str = "chancery::spans";

/// What sends spans, if they go somewhere; until it is shut down it holds those that are not sent yet.
pub(crate) fn provider(traces: &Traces) -> Result<Option<SdkTracerProvider>, ExporterBuildError> {
    let Some(endpoint) = &traces.endpoint else { return Ok(None) };
    let endpoint = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build()?;
    let share = Sampler::TraceIdRatioBased(f64::from(traces.percent) / 100.0);
    let resource = Resource::builder()
        .with_service_name("chancery")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(share)))
        .with_resource(resource.build());
    Ok(Some(provider.build()))
}

/// What hands our spans to the provider.
pub(crate) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("chancery"))
        .with_location(false)
        .with_threads(false)
        .with_level(false)
        .with_target(false)
        .with_filter(Targets::new().with_target(TARGET, LevelFilter::TRACE))
}

/// A request, which continues the trace of whoever sent it if these are the headers of a trusted proxy.
pub(crate) fn request(
    method: &Method,
    route: Option<&str>,
    request_id: &str,
    trusted: Option<&HeaderMap>,
) -> Span {
    // What a client calls its method is no name for a span.
    let method = known(method);
    let span = tracing::trace_span!(
        target: TARGET,
        "request",
        otel.name = Empty,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        request.id = request_id,
    );
    if !span.is_disabled() {
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        span.record("otel.name", name);
        if let Some(headers) = trusted {
            // Fails only for a span that has begun, or that nobody wants.
            let _ = span.set_parent(TraceContextPropagator::new().extract(&HeaderExtractor(headers)));
        }
    }
    span
}

/// How the request was answered.
pub(crate) fn answered(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// A command on a stream of this kind, with its waiting for the writer and for the other nodes.
pub(crate) fn command(aggregate: &'static str) -> Span {
    tracing::trace_span!(target: TARGET, "command", otel.name = format!("command {aggregate}"), aggregate)
}

/// A batch of so many commands, from the first try to the last answer. It belongs to no one request.
pub(crate) fn batch(commands: usize) -> Span {
    tracing::trace_span!(target: TARGET, parent: None, "batch", commands)
}
