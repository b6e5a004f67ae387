//! F2: each call of the database on the way of each command fails in each way, the process ends before and
//! after it, and whoever asked leaves there. What was acknowledged is so; what was not is wholly there or
//! wholly absent.

mod clients;
mod people;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aggregates::AnyEvent;
use aggregates::application::ApplicationCommand;
use aggregates::authorization::AuthorizationCommand;
use aggregates::client_token::ClientTokenCommand;
use aggregates::consent::ConsentCommand;
use aggregates::installation::InstallationCommand;
use aggregates::login_attempts::LoginAttemptsCommand;
use aggregates::refusal::RefusalCommand;
use aggregates::session::SessionCommand;
use aggregates::user::UserCommand;
use chancery::introduction::introduce;
use chancery::journal::Engine as _;
use chancery::journal::verify::verify;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::client::{Clients, Mix};
use super::ledger::{App, Kind};
use super::world::{Fate, World};
use super::{begin, in_time_of_its_own, register_app};
use crate::faults::report::record;

/// Every command there is, and the first event that it leads to: what no line names does not compile.
macro_rules! commands {
    ($($command:ident: { $($variant:ident => $event:literal,)+ })+) => {
        const COMMANDS: &[(&str, &str)] = &[$($((stringify!($variant), $event)),+),+];
        $(const _: fn(&$command) = |command| match command { $($command::$variant { .. })|+ => () };)+
    };
}

commands! {
    ApplicationCommand: {
        RegisterApplication => "application.registered",
        UpdateApplication => "application.updated",
        RotateSecret => "application.secret_rotated",
        DisableApplication => "application.disabled",
        EnableApplication => "application.enabled",
        DeleteApplication => "application.deleted",
    }
    AuthorizationCommand: {
        GrantAuthorization => "authorization.granted",
        DenyAuthorization => "authorization.denied",
        RedeemCode => "authorization.code_redeemed",
        RefreshToken => "authorization.token_refreshed",
        ReportReuse => "authorization.reuse_detected",
        RevokeAccessToken => "authorization.token_revoked",
        RevokeAuthorization => "authorization.revoked",
    }
    ClientTokenCommand: {
        IssueToken => "client_token.issued",
        RevokeToken => "client_token.revoked",
    }
    ConsentCommand: {
        RememberConsent => "consent.remembered",
        ForgetConsent => "consent.forgotten",
    }
    InstallationCommand: {
        RecordConfiguration => "installation.configuration_changed",
        BindRootSecret => "installation.root_secret_bound",
        AcceptRollback => "installation.rollback_accepted",
        AdvanceHorizon => "installation.horizon_advanced",
    }
    LoginAttemptsCommand: {
        RecordAttempt => "login_attempts.attempted",
        TakeBack => "login_attempts.taken_back",
        Reset => "login_attempts.reset",
    }
    RefusalCommand: {
        RecordRefusal => "refusal.recorded",
    }
    SessionCommand: {
        StartSession => "session.started",
        RenewSession => "session.renewed",
        EndSession => "session.ended",
    }
    UserCommand: {
        RegisterUser => "user.registered",
        ChangePassword => "user.password_changed",
        LockUser => "user.locked",
        UnlockUser => "user.unlocked",
        GrantRole => "user.role_granted",
        RevokeRole => "user.role_revoked",
    }
}

/// What happens at a call. That all goes well there is for whoever asked to leave.
const FAULTS: [Fate; 7] = [
    Fate::Refused,
    Fate::LostThere,
    Fate::LostBack,
    Fate::Late,
    Fate::CrashBefore,
    Fate::CrashAfter,
    Fate::Done,
];
/// A command that calls the database more often has not been understood.
const MOST_CALLS: usize = 100;
/// Longer than anything late is on its way.
const LATER: Duration = Duration::from_millis(600);
/// Longer than projections gather what was written before.
const GATHERED: Duration = Duration::from_millis(300);
/// A node that has just looked at the log does not do so again before.
const QUIET: Duration = Duration::from_millis(35);
/// What all pairs may take of one processor.
const IN_TIME: Duration = Duration::from_mins(1);

#[test]
fn f2_a_fault_at_any_call_of_any_command_leaves_it_whole() {
    let begun = processor_time();
    let stage = in_time_of_its_own(2, async {
        let stage = Stage::new().await;
        for (fault, forgets) in FAULTS.into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
            stage.fault.set(fault);
            stage.forgets.set(forgets);
            stage.tokens().await;
            stage.ends().await;
            stage.applications().await;
            stage.people().await;
            stage.operators().await;
            stage.installation().await;
            verify(&stage.world.database.0, &|_, _| {}).await.unwrap();
        }
        stage
    });
    let took = processor_time().saturating_sub(begun);
    let points = stage.points.take();
    let missed = COMMANDS.iter().filter(|(_, event)| !points.contains_key(*event));
    assert_eq!(missed.collect::<Vec<_>>(), [] as [&(&str, &str); 0], "no fault befell them");
    let left = stage.left.take();
    for event in AnyEvent::TYPES.iter().flat_map(|(_, events)| *events) {
        assert!(left.contains(*event), "{event}: nothing that was driven led to it");
    }
    let each: Vec<String> = points.iter().map(|(event, count)| format!("{event} {count}")).collect();
    record(
        "F2",
        &format!(
            "{} faults in {:.1} s of a processor, each at a call of its own, by what they befell: {}",
            points.values().sum::<usize>(),
            took.as_secs_f64(),
            each.join(", ")
        ),
    );
    assert!(took <= IN_TIME, "{took:?}");
}

/// How long this thread has been on a processor, which does not depend on what else the machine does: the
/// world is on one thread.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// One node, and nobody else who asks.
struct Stage {
    clients: Rc<Clients>,
    world: Arc<World>,
    /// An application that gets a code only when somebody says so.
    asking: App,
    /// What goes wrong, and whether the node has been started after what came before.
    fault: Cell<Fate>,
    forgets: Cell<bool>,
    /// How many calls of what went wrong, by the first event that it leads to.
    points: RefCell<BTreeMap<String, usize>>,
    /// Every event that something led to when nothing went wrong.
    left: RefCell<BTreeSet<String>>,
}

/// A command of the log: its id, and the events it led to.
type Written = (String, Vec<String>);

impl Stage {
    async fn new() -> Self {
        let world = Arc::new(World::new(2));
        let clients = begin(&world, 1, Mix::Everything).await;
        let (asking, state) = (App::minted(Kind::Asking), clients.nodes.state(0));
        register_app(&state, &asking, false).await.unwrap();
        // Else it would be the first thing that somebody's request leads to.
        introduce(&state).await.unwrap();
        Self {
            clients,
            world,
            asking,
            fault: Cell::new(Fate::Done),
            forgets: Cell::default(),
            points: RefCell::default(),
            left: RefCell::default(),
        }
    }

    /// Does a thing anew for each call of the database on its way, with that call going wrong; in the end
    /// nothing goes wrong any more, and what that leaves in the log is the whole of it. `look` is told what
    /// was prepared, what whoever asked was told, and whether the log says that it happened.
    async fn at_every_call<T: Clone, A: Default>(
        &self,
        prepare: impl AsyncFn() -> T,
        act: impl AsyncFn(T) -> A,
        look: impl AsyncFn(T, A, bool),
    ) {
        let mut tries: Vec<Vec<Vec<String>>> = Vec::new();
        let whole = loop {
            let subject = prepare().await;
            if self.forgets.get() {
                self.restart().await;
            }
            self.is_quiet().await;
            let (before, begun) = (self.head().await, Instant::now());
            self.world.script(tries.len(), self.fault.get());
            let answer = self.act_or_leave(act(subject.clone())).await;
            let (is_over, took) = (self.world.end_script(), begun.elapsed());
            sleep(LATER).await;
            if !self.clients.nodes.is_running(0) {
                self.restart().await;
            }
            let left: Vec<_> =
                self.written_after(before).await.into_iter().map(|(_, events)| events).collect();
            look(subject, answer, !left.is_empty()).await;
            if is_over {
                assert!(took < QUIET, "{left:?} took {took:?}, and other calls came between");
                break left;
            }
            tries.push(left);
            assert!(tries.len() < MOST_CALLS, "no end of calls: {:?}", tries.last());
        };
        let first = whole.first().and_then(|events| events.first()).expect("it leads to something");
        assert!(!tries.is_empty(), "{first}: nothing could go wrong");
        for command in tries.iter().flatten() {
            assert!(whole.contains(command), "{command:?} is no command of {whole:?}");
        }
        *self.points.borrow_mut().entry(first.clone()).or_default() += tries.len();
        self.left.borrow_mut().extend(whole.into_iter().flatten());
    }

    /// Who leaves in the middle has heard nothing.
    async fn act_or_leave<A: Default>(&self, act: impl Future<Output = A>) -> A {
        if self.fault.get() != Fate::Done {
            return act.await;
        }
        tokio::select! {
            biased;
            answer = act => answer,
            () = self.world.scripted_call() => A::default(),
        }
    }

    /// Waits until the node has just looked at the log of its own accord: for a while all calls are of what is
    /// asked of it.
    async fn is_quiet(&self) {
        sleep(GATHERED).await;
        let (mut calls, mut has_called) = (self.world.calls(), false);
        loop {
            sleep(Duration::from_millis(5)).await;
            let now = self.world.calls();
            if has_called && now == calls {
                return;
            }
            (has_called, calls) = (now != calls, now);
        }
    }

    /// Whether whoever asked was told that it was done: one who is dead tells nobody.
    fn is_heard(&self, is_done: bool) -> bool {
        is_done && self.clients.nodes.is_running(0)
    }

    /// Starts the node anew, as if the one before had been counted out: nobody waits for it any more.
    async fn restart(&self) {
        self.clients.nodes.kill(0);
        self.world.database.0.execute("DELETE FROM nodes", &[]).await.unwrap();
        self.clients.nodes.start(0).await;
    }

    async fn head(&self) -> i64 {
        self.world.database.0.head().await.unwrap().position
    }

    /// What was written after this position, command by command.
    async fn written_after(&self, position: i64) -> Vec<Written> {
        let batches = self.world.database.0.batches_after(position, i64::MAX).await.unwrap();
        let mut written: Vec<Written> = Vec::new();
        for row in batches.into_iter().flat_map(|batch| batch.events) {
            let metadata: Value = serde_json::from_str(&row.event.metadata).unwrap();
            let command = metadata["command_id"].as_str().unwrap();
            match written.last_mut() {
                Some((last, events)) if last == command => events.push(row.event.event_type),
                _ => written.push((command.to_owned(), vec![row.event.event_type])),
            }
        }
        written
    }
}
