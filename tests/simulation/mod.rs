//! Does it hold whatever happens in whatever order? Three whole nodes, their clients and one database on a
//! single thread, in time that passes only when everybody waits. What is random follows from a seed, and a
//! failure names it: `CHANCERY_TEST_SEED=… tests/run simulation`.

mod client;
mod ledger;
mod node;
mod points;
mod wire;
mod world;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregates::application::Provenance;
use aggregates::session::{Session, SessionCommand};
use aggregates::user::{Role, User, UserCommand};
use chancery::commands::{Actor, Beside, Origin, Stream};
use chancery::extract::cookies::Cookie;
use chancery::journal::Engine as _;
use chancery::journal::replay::Replay;
use chancery::journal::verify::verify;
use chancery::keys::ClaimKind;
use chancery::personal::PersonalData;
use chancery::registration::{Bounds, Initial, RawApplication, RegisterError, read_registration, register};
use chancery::secret::{Secret, new_id, seeded};
use chancery::state::AppState;
use chancery::token::mint_session;
use chrono::TimeDelta;
use projections::EVENTUAL;
use tokio::task::LocalSet;
use tokio::time::sleep;

use self::client::{Clients, Mix, READER, REDIRECT, Tally};
use self::ledger::{App, Kind};
use self::node::Nodes;
use self::world::{CrashPoint, NODES, World};
use crate::faults::report::record;
use crate::harness::environment;

const CLIENTS: usize = 12;
/// Applications of each kind.
const APPS: usize = 4;
/// Requests of one world; then everything is looked at, and another begins.
const REQUESTS: usize = 4_000;
/// No trouble lasts so long.
const TROUBLE_IS_OVER: Duration = Duration::from_secs(10);
/// Longer than a world lasts.
const ALL_THE_TIME: Duration = Duration::from_hours(24);
/// What has been written is in every read model.
const PROJECTED: Duration = Duration::from_secs(2);
/// How long the short form goes on.
const SHORT: Duration = Duration::from_secs(110);
/// Requests of the long one.
const LONG: usize = 1_000_000;
/// What a long run of clients who mostly revoke comes to, and how long the short form goes on.
const ENDS: usize = 1_000_000;
const SHORT_ENDS: Duration = Duration::from_secs(30);

/// Every call that a node that serves makes of the database, for a command, its answer, or what follows: before and
/// after each of them somebody must have ended in a long run.
const CALLS: [&str; 16] = [
    "append",
    "find_batch",
    "load_stream",
    "find_state",
    "batches_after",
    "head",
    "pulse",
    "find_row",
    "living_rows",
    "query",
    "execute",
    "find_secret",
    "find_subject_key",
    "keep_subject_key",
    "checkpoint",
    "advance",
];
/// What else a node calls, before it serves.
const AT_A_START: [&str; 2] = ["pending_migrations", "migrate"];

#[test]
fn three_nodes_keep_their_word_whatever_happens() {
    let is_long = environment::is_long();
    let chosen = environment::seed();
    let (begun, first) = (Instant::now(), chosen.unwrap_or_else(|| fastrand::u64(..1 << 40)));
    let (mut total, mut points, mut worlds) = (Tally::default(), BTreeMap::<CrashPoint, usize>::new(), 0);
    for seed in first.. {
        let (tally, crashes) = run(seed, REQUESTS, Mix::Everything);
        total += &tally;
        for (point, count) in crashes {
            *points.entry(point).or_default() += count;
        }
        worlds += 1;
        let is_enough = if is_long { total.requests >= LONG } else { begun.elapsed() >= SHORT };
        if is_enough || chosen.is_some() {
            break;
        }
    }
    let crashes: usize = points.values().sum();
    record(
        "T5",
        &format!(
            "simulation: {worlds} worlds of three nodes from seed {first} on: {} requests, {} answered 503, {} not at \
             all; {} tokens given, {} ends acknowledged, {} answers on what was dead, none of them wrong; {} races of \
             three for a code; {crashes} processes ended before or after one of {} kinds of calls; {} polls looked at \
             when they were 500 to 900 ms old, {} hints 50 ms late or later; the slowest answer took {} ms",
            total.requests,
            total.unavailable,
            total.unanswered,
            total.issued,
            total.revoked,
            total.asked_dead,
            total.races,
            points.len(),
            total.late_polls,
            total.late_hints,
            total.slowest.as_millis(),
        ),
    );
    let is_known = |call| CALLS.contains(&call) || AT_A_START.contains(&call);
    let unknown: Vec<&CrashPoint> = points.keys().filter(|(call, _)| !is_known(*call)).collect();
    assert_eq!(unknown, [] as [&CrashPoint; 0], "a call of which nobody asks that somebody ends there");
    if is_long {
        let missed = CALLS.iter().flat_map(|&call| [(call, "before"), (call, "after")]);
        let missed: Vec<CrashPoint> = missed.filter(|point| !points.contains_key(point)).collect();
        assert_eq!(missed, [], "nobody ended there");
    }
    assert!(total.done > total.requests / 2, "most is done: {total:?}");
    // One world alone may have seen none of them.
    let counts = [total.revoked, total.asked_dead, total.races, total.late_polls, total.late_hints];
    assert!(worlds == 1 || counts.into_iter().all(|count| count > 0), "{total:?}");
}

#[test]
fn the_same_seed_is_the_same_run() {
    let run = |seed| run(seed, 600, Mix::Everything);
    assert_eq!(run(4), run(4));
    assert_ne!(run(4).0.trace, run(5).0.trace);
}

/// T5: the same nodes and the same troubles, and clients who mostly end what they were given.
#[test]
fn t5_nothing_is_told_as_alive_after_its_end() {
    let wanted = if environment::is_long() { ENDS } else { 0 };
    let chosen = environment::seed();
    let (begun, first) = (Instant::now(), chosen.unwrap_or_else(|| fastrand::u64(..1 << 40)));
    let (mut total, mut worlds) = (Tally::default(), 0);
    for seed in first.. {
        total += &run(seed, REQUESTS, Mix::Ends).0;
        worlds += 1;
        if chosen.is_some() || (total.revoked >= wanted && begun.elapsed() >= SHORT_ENDS) {
            break;
        }
    }
    record(
        "T5",
        &format!(
            "simulation: {worlds} worlds from seed {first} on in which clients mostly revoke: {} requests, {} answered \
             503, {} not at all; {} ends acknowledged, each of something else, {} answers on what was dead, none of them \
             wrong; {} polls looked at when they were 500 to 900 ms old",
            total.requests,
            total.unavailable,
            total.unanswered,
            total.revoked,
            total.asked_dead,
            total.late_polls,
        ),
    );
    assert!(worlds == 1 || total.revoked * 2 > total.issued, "most of what is given is ended: {total:?}");
    assert!(worlds == 1 || total.asked_dead > 0 && total.late_polls > 0, "{total:?}");
}

/// Says which seed it was if it ends badly.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        seeded::seed(None);
        if std::thread::panicking() {
            println!(
                "the simulation failed with seed {0}: CHANCERY_TEST_SEED={0} tests/run simulation",
                self.0
            );
        }
    }
}

/// A world from its beginning to its end.
fn run(seed: u64, requests: usize, mix: Mix) -> (Tally, BTreeMap<CrashPoint, usize>) {
    in_time_of_its_own(seed, live(seed, requests, mix))
}

/// Runs a world, random bytes and time included, on this thread.
fn in_time_of_its_own<T>(seed: u64, world: impl Future<Output = T>) -> T {
    let _named = Named(seed);
    seeded::seed(Some(seed));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(LocalSet::new().run_until(world))
}

async fn live(seed: u64, requests: usize, mix: Mix) -> (Tally, BTreeMap<CrashPoint, usize>) {
    let world = Arc::new(World::new(seed));
    let clients = begin(&world, NODES, mix).await;
    let nodes = Rc::clone(&clients.nodes);
    world.set_calm(false);
    // In some worlds one process never gets enough of its processor.
    if world.random().u32(..4) == 0 {
        world.starve(READER, ALL_THE_TIME);
    }
    let trouble = tokio::task::spawn_local(trouble(Rc::clone(&nodes), mix));
    let acting: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let clients = Rc::clone(&clients);
            tokio::task::spawn_local(async move {
                while clients.tally.borrow().requests < requests {
                    clients.act().await;
                    clients.pause().await;
                }
            })
        })
        .collect();
    for one in acting {
        one.await.unwrap();
    }
    trouble.abort();
    settle(&clients).await;
    let tally = Tally {
        late_polls: world.late_polls(),
        late_hints: world.late_hints(),
        ..clients.tally.borrow().clone()
    };
    (tally, world.crash_points())
}

/// So many nodes, the applications, and somebody who is logged in.
async fn begin(world: &Arc<World>, nodes: usize, mix: Mix) -> Rc<Clients> {
    world.database.0.migrate().await.unwrap();
    let running = Rc::new(Nodes::of(Arc::clone(world)));
    for node in 0..nodes {
        running.start(node).await;
    }
    let state = running.state(0);
    let mut apps = Vec::new();
    for _ in 0..APPS {
        for kind in [Kind::Web, Kind::Machine] {
            let app = App::minted(kind);
            register_app(&state, &app, apps.is_empty()).await.unwrap();
            apps.push(Rc::new(app));
        }
    }
    let cookie = session(&state).await;
    Rc::new(Clients {
        mix,
        nodes: running,
        apps: RefCell::new(apps),
        cookie,
        tokens: RefCell::default(),
        ended: RefCell::default(),
        families: RefCell::default(),
        tally: RefCell::default(),
    })
}

/// From time to time something happens to a node or to the database; who has ended is started again.
async fn trouble(nodes: Rc<Nodes>, mix: Mix) {
    let world = Arc::clone(&nodes.world);
    // Who ends something waits where a node is silent: with as much trouble little would come to an end.
    let rest = if mix == Mix::Ends { 10 } else { 1 };
    loop {
        let (pause, kind, node, lasting) = {
            let mut random = world.random();
            let lasting = Duration::from_millis(random.u64(100..3_000));
            (Duration::from_millis(random.u64(50..900)), random.u32(..12), random.usize(..NODES), lasting)
        };
        for _ in 0..rest {
            sleep(pause).await;
            start_who_has_ended(&nodes).await;
        }
        match kind {
            0 => nodes.kill(node),
            1 => world.freeze(node, lasting * 2),
            2 => world.cut_off(node, lasting),
            // What was asked last comes back late, and nothing after it.
            5 => {
                world.slow_down(node, lasting / 2);
                let world = Arc::clone(&world);
                tokio::task::spawn_local(async move {
                    sleep(lasting / 2).await;
                    world.cut_off(node, lasting);
                });
            }
            3 => world.take_database_down(lasting / 2),
            4 => {
                let hours = if lasting.as_millis() % 2 == 0 { 1 } else { -24 };
                world.jump(node, TimeDelta::hours(hours), lasting);
            }
            6 => world.starve(node, lasting * 2),
            _ => {}
        }
    }
}

async fn start_who_has_ended(nodes: &Nodes) {
    for node in 0..NODES {
        if !nodes.is_running(node) {
            nodes.kill(node);
            tokio::time::timeout(Duration::from_secs(2), nodes.start(node)).await.ok();
        }
    }
}

/// Everything is well again. Then every node says of every token what was promised, all say the same, and
/// refresh tokens are good or not as promised (L1, L2); the log is whole, and the read models are its fold,
/// those that only follow included (L4, L5).
async fn settle(clients: &Clients) {
    let (nodes, world) = (&clients.nodes, &clients.nodes.world);
    world.set_calm(true);
    for node in 0..NODES {
        if !nodes.is_running(node) {
            nodes.kill(node);
            nodes.start(node).await;
        }
    }
    // What is under way is still frozen, slow or lost as it was sent.
    sleep(TROUBLE_IS_OVER).await;
    let tokens = clients.tokens.borrow().clone();
    for token in &tokens {
        let first = clients.look_at(0, token).await;
        assert!(first.is_some(), "everything is well, and no answer");
        for node in 1..NODES {
            assert_eq!(
                clients.look_at(node, token).await,
                first,
                "node {node} says otherwise than the first"
            );
        }
    }
    let families = clients.families.borrow().clone();
    for (index, family) in families.iter().enumerate() {
        let is_given = clients.use_refresh(index % NODES, family).await;
        assert!(is_given.is_some(), "everything is well, and no answer");
    }
    let database = &world.database.0;
    verify(database, &|_, _| {}).await.unwrap();
    sleep(PROJECTED).await;
    let replayed = Replay::new(EVENTUAL.to_vec()).run(database, &|_, _| {}).await.unwrap();
    assert_eq!(replayed.repaired, Some(0), "rows that do not follow from events");
}

/// Registers an application; one that is curious may ask about every token.
async fn register_app(state: &AppState, app: &App, is_curious: bool) -> Result<(), RegisterError> {
    let (grant, redirect_uris) = match app.kind {
        Kind::Web | Kind::Asking => ("authorization-code", REDIRECT),
        Kind::Machine => ("client-credentials", ""),
    };
    let raw = RawApplication {
        name: "Simulated".to_owned(),
        client_id: app.client_id.clone(),
        client_secret: Some(Secret::new(app.secret.clone())),
        hash_client_secret: true,
        client_type: "confidential".to_owned(),
        authorization_grant_type: grant.to_owned(),
        redirect_uris: redirect_uris.to_owned(),
        scopes: vec!["read".to_owned()],
        skip_authorization: app.kind == Kind::Web,
        introspect_everything: is_curious,
        ..RawApplication::default()
    };
    let initial = Initial::generated_here();
    let registration = read_registration(&raw, Some(&initial), Bounds::of(state, true)).unwrap();
    let origin = Origin::internal(Actor::Operator, &state.clock);
    register(state, registration, None, Provenance::CommandLine, &origin).await
}

/// The cookie of somebody who is logged in. There is no password: nothing here is to take real time.
async fn session(state: &AppState) -> String {
    let (subject, session_id, at) = (new_id(state.clock.now()), new_id(state.clock.now()), state.clock.now());
    let (key_row, key) = state.personal.new_subject(&subject).unwrap();
    let command = UserCommand::RegisterUser {
        subject: subject.clone(),
        username: PersonalData::seal_with(&key, &subject, "ada").unwrap(),
        username_key: state.keys.claim(ClaimKind::Username, "ada"),
        email: None,
        email_key: None,
        password: None,
        roles: vec![Role::Superuser],
        at,
    };
    let origin = Origin::internal(Actor::Operator, &state.clock);
    let beside = Beside { subject_keys: vec![key_row], ..Beside::default() };
    let stream = Stream::Fresh(subject.clone());
    state.commands.execute_with::<User>(stream, command, &origin, beside).await.unwrap();
    let expires_at = at + TimeDelta::days(14);
    let command = SessionCommand::StartSession {
        session_id: session_id.clone(),
        subject,
        methods: vec!["pwd".to_owned()],
        auth_time: at,
        expires_at,
        idle_expires_at: expires_at,
        at,
    };
    let stream = Stream::Fresh(session_id.clone());
    state.commands.execute::<Session>(stream, command, &origin).await.unwrap();
    let value = mint_session(&state.keys, &session_id).unwrap();
    format!("{}={}", Cookie::Session.name(&state.config.issuer), value.expose())
}
