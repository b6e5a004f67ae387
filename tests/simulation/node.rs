//! What is a node? A whole server but its sockets: real handlers, real journal, over the simulated wire.
//! It starts, is asked, freezes and ends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use chancery::config::{Config, Environment};
use chancery::extract::request_context::Peer;
use chancery::journal::Lease;
use chancery::open::open_on;
use chancery::router::router;
use chancery::state::AppState;
use tokio::time::{Instant, sleep, sleep_until};
use tower::ServiceExt;

use super::wire::{Life, Wire};
use super::world::{DriftingUptime, NODES, WallClock, World};
use crate::harness::Directory;

pub const ISSUER: &str = "http://127.0.0.1:8000";
/// Longer than any command may try.
const PATIENCE: Duration = Duration::from_mins(1);

/// The processes of an installation.
pub struct Nodes {
    pub world: Arc<World>,
    config: Arc<Config>,
    running: [RefCell<Option<Node>>; NODES],
    _home: Directory,
}

#[derive(Clone)]
struct Node {
    state: AppState,
    router: Router,
    life: Arc<Life>,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// When the node gave it.
    pub at: Instant,
}

impl Nodes {
    /// None runs yet.
    pub fn of(world: Arc<World>) -> Self {
        let home = Directory::new();
        let flags = [
            ("data-dir", home.text()),
            ("issuer", ISSUER),
            ("requests-per-address", "0"),
            ("requests-per-client", "0"),
            // Little is remembered, so much is asked for.
            ("row-cache", "100"),
            ("aggregate-cache", "50"),
        ];
        let flags: BTreeMap<_, _> =
            flags.into_iter().map(|(key, value)| (key, vec![value.to_owned()])).collect();
        let secret = ("CHANCERY_ROOT_SECRET".to_owned(), "0123456789abcdef".repeat(4));
        let environment: Environment = [secret].into_iter().collect();
        let config = Arc::new(Config::load(&flags, &environment).unwrap());
        Self { world, config, running: [const { RefCell::new(None) }; NODES], _home: home }
    }

    /// Starts a node, as often as it takes.
    pub async fn start(&self, node: usize) {
        while !self.try_start(node).await {
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn try_start(&self, node: usize) -> bool {
        let life = Arc::new(Life::default());
        let wire = Wire { world: Arc::clone(&self.world), node, life: Arc::clone(&life) };
        let wall = Arc::new(WallClock(Arc::clone(&self.world), node));
        let opened = open_on(Arc::new(wire), Arc::clone(&self.config), Arc::clone(&wall) as _).await;
        let Ok(state) = opened else { return false };
        let uptime = Arc::new(DriftingUptime(Arc::clone(&self.world), node));
        let name = state.commands.node().to_owned();
        // It runs all the same when it may not answer yet.
        drop(state.journal.start_answering(Lease::new(name, self.config.lease, uptime, wall)).await);
        state.journal.start_projecting();
        if life.is_over() {
            return false;
        }
        let router = router(state.clone());
        *self.running[node].borrow_mut() = Some(Node { state, router, life });
        true
    }

    /// Ends a node in the middle of whatever it does.
    pub fn kill(&self, node: usize) {
        if let Some(node) = self.running[node].borrow_mut().take() {
            node.life.end();
        }
    }

    /// Whether it runs; one that ended in the middle of a call does not.
    pub fn is_running(&self, node: usize) -> bool {
        self.running[node].borrow().as_ref().is_some_and(|node| !node.life.is_over())
    }

    pub fn state(&self, node: usize) -> AppState {
        self.running[node].borrow().as_ref().unwrap().state.clone()
    }

    /// Asks a node; `None` when it ended or was not there.
    pub async fn ask(&self, node: usize, request: Request<Body>) -> Option<Answer> {
        sleep(self.world.delay()).await;
        let running = self.running[node].borrow().clone()?;
        let (mut parts, body) = request.into_parts();
        parts.extensions.insert(Peer([127, 0, 0, 1].into()));
        let begun = Instant::now();
        let mut answering = pin!(running.router.oneshot(Request::from_parts(parts, body)));
        let mut thaw = pin!(sleep_until(begun));
        let answer = poll_fn(|context| {
            if running.life.is_over() {
                return Poll::Ready(None);
            }
            if let Some(until) = self.world.frozen_until(node) {
                thaw.as_mut().reset(until);
                if thaw.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
            answering.as_mut().poll(context).map(Some)
        })
        .await?
        .unwrap();
        let (at, waited) = (Instant::now(), begun.elapsed());
        assert!(waited < PATIENCE, "answered after {waited:?}");
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        sleep(self.world.delay()).await;
        (!running.life.is_over()).then_some(Answer { status: parts.status, headers: parts.headers, body, at })
    }
}
