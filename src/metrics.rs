//! How is the server doing, in numbers? Counted here, shown in the OpenMetrics text format on a listener
//! of its own (`--metrics-listen`): numbers of one installation are nobody else's business.
//!
//! No label holds anything that a client sent: routes are patterns, and what is not known is `other`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::health::is_ready;
use crate::logging::dropped_lines;
use crate::state::AppState;

/// Labels of an answered request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProjectionName {
    projection: &'static str,
}

/// What the HTTP side counts. Clones count the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    answers: Family<Answered, Counter>,
    latency: Family<Route, Histogram, fn() -> Histogram>,
    shed: Family<Limit, Counter>,
    /// Connections that are open.
    pub connections: Gauge,
    /// Refusals that were counted and not kept.
    pub refusals_dropped: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            answers: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_25, 2.0, 16))),
            shed: Family::default(),
            connections: Gauge::default(),
            refusals_dropped: Counter::default(),
        }
    }
}

impl Metrics {
    /// A request was answered. `route` is the pattern it matched, if any.
    pub fn answered(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let route = route.unwrap_or("other").to_owned();
        let answered = Answered { route: route.clone(), method: known(method), status: status.as_u16() };
        self.answers.get_or_create(&answered).inc();
        self.latency.get_or_create(&Route { route }).observe(took.as_secs_f64());
    }

    /// Something was turned away because of a limit.
    pub fn shed(&self, limit: &'static str) {
        self.turned_away(limit).inc();
    }

    /// What counts those that a limit turns away.
    #[must_use]
    pub fn turned_away(&self, limit: &'static str) -> Counter {
        self.shed.get_or_create(&Limit { limit }).clone()
    }
}

pub(crate) fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// `GET /metrics`.
pub async fn get(State(state): State<AppState>) -> Response {
    let is_ready = is_ready(&state).await;
    let registry = registry(&state, is_ready);
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

fn registry(state: &AppState, is_ready: bool) -> Registry {
    let mut registry = Registry::with_prefix("chancery");
    registry.register("build", "The running program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    let metrics = &state.metrics;
    registry.register("http_answers", "Requests that were answered", metrics.answers.clone());
    registry.register_with_unit(
        "http_latency",
        "Time from a request's head to its answer",
        Unit::Seconds,
        metrics.latency.clone(),
    );
    registry.register("shed", "Requests and connections turned away, by limit", metrics.shed.clone());
    registry.register("connections", "Connections that are open", metrics.connections.clone());
    registry.register(
        "refusals_dropped",
        "Refusals that were counted and not kept, as there were too many of the same",
        metrics.refusals_dropped.clone(),
    );
    state.journal.metrics().register(&mut registry);
    let dropped = Counter::<u64>::default();
    dropped.inc_by(u64::try_from(dropped_lines()).unwrap_or(u64::MAX));
    registry.register(
        "log_lines_dropped",
        "Log lines that found no room, in memory or where they are written",
        dropped,
    );
    now(state, is_ready, &mut registry);
    registry
}

/// What is read off at this moment.
fn now(state: &AppState, is_ready: bool, registry: &mut Registry) {
    let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let mut show = |name: &str, help: &str, value: i64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    let lease = state.journal.lease();
    show("ready", "Whether the server answers", i64::from(is_ready));
    show("commands_in_progress", "Commands admitted and not ended", whole(state.commands.in_progress()));
    show(
        "passwords_waiting",
        "Passwords that are being checked or wait for it",
        whole(state.passwords.waiting()),
    );
    show(
        "client_secrets_waiting",
        "Chosen client secrets that are being checked or wait for it",
        whole(state.client_secrets.waiting()),
    );
    show("log_position", "The position applied to memory", state.journal.applied());
    let age = Gauge::<f64, AtomicU64>::default();
    age.set(lease.and_then(crate::journal::Lease::age).map_or(f64::INFINITY, |age| age.as_secs_f64()));
    registry.register_with_unit(
        "lease_age",
        "Since when the database has not been asked whether memory is up to date",
        Unit::Seconds,
        age,
    );
    let lag = Family::<ProjectionName, Gauge>::default();
    let stopped = Family::<ProjectionName, Gauge>::default();
    for (projection, progress) in state.journal.progress() {
        let name = ProjectionName { projection };
        lag.get_or_create(&name).set((state.journal.applied() - progress.position).max(0));
        stopped.get_or_create(&name).set(i64::from(progress.trouble.is_some()));
    }
    registry.register("projection_lag_events", "Events that an eventual projection has yet to take", lag);
    registry.register("projection_stopped", "Whether a projection stands still at an event", stopped);
}
