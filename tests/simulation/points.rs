//! F2: each call of the database on the way of each command fails in each way, and the process ends before
//! and after it. What was acknowledged is so; what was not is wholly there or wholly absent.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use aggregates::application::{Application, ApplicationCommand};
use aggregates::consent::{Consent, ConsentCommand};
use aggregates::login_attempts::{LoginAttempts, LoginAttemptsCommand};
use aggregates::session::{EndReason, Session, SessionCommand};
use aggregates::user::{Role, User, UserCommand};
use aggregates::values::{Scope, Sealed, SecretKind, SecretRef};
use chancery::commands::{Actor, Origin, Stream};
use chancery::journal::Engine as _;
use chancery::journal::store::Remembered;
use chancery::journal::verify::verify;
use chancery::secret::new_id;
use chrono::TimeDelta;
use cqrs_es::Aggregate;
use serde_json::Value;
use tokio::time::sleep;

use super::client::{Clients, Mix, REDIRECT, Said, json, text};
use super::ledger::{App, Kind};
use super::world::{Fate, World};
use super::{application, begin, in_time_of_its_own};
use crate::faults::report::record;

const FATES: [Fate; 6] =
    [Fate::Refused, Fate::LostThere, Fate::LostBack, Fate::Late, Fate::CrashBefore, Fate::CrashAfter];
/// A command that calls the database more often has not been understood.
const MOST_CALLS: usize = 300;
/// Longer than anything late is on its way.
const LATER: Duration = Duration::from_secs(2);

#[test]
fn f2_a_fault_at_any_call_of_any_command_leaves_it_whole() {
    let points = in_time_of_its_own(2, async {
        let world = Arc::new(World::new(2));
        let clients = begin(&world, 1, Mix::Everything).await;
        let stage = Stage { clients, world };
        let mut points = BTreeMap::new();
        for fate in FATES {
            for (command, calls) in stage.every_command(fate).await {
                *points.entry(command).or_insert(0) += calls;
            }
            stage.judge().await;
        }
        points
    });
    // One that calls nothing would be whole whatever went wrong.
    for (command, calls) in &points {
        assert!(*calls >= FATES.len(), "{command}: {calls} calls went wrong");
    }
    let each: Vec<String> = points.iter().map(|(command, count)| format!("{command} {count}")).collect();
    record(
        "F2",
        &format!("{} faults, each at a call of its own: {}", points.values().sum::<usize>(), each.join(", ")),
    );
}

/// A command on the stream with this id.
type Asked<'a, A> = &'a dyn Fn(&str) -> <A as Aggregate>::Command;

/// One node, and nobody else who asks.
struct Stage {
    clients: Rc<Clients>,
    world: Arc<World>,
}

impl Stage {
    async fn every_command(&self, fate: Fate) -> Vec<(&'static str, usize)> {
        let mut points = self.tokens(fate).await;
        points.extend(self.ends(fate).await);
        points.push(("register", self.register(fate).await));
        points.extend(self.people(fate).await);
        points.extend(self.operators(fate).await);
        points
    }

    /// What gives something.
    async fn tokens(&self, fate: Fate) -> Vec<(&'static str, usize)> {
        let (web, machine) = (&self.clients.app(Kind::Web), &self.clients.app(Kind::Machine));
        let nothing = async || ();
        let issue = async |()| self.issue(machine).await;
        let issued =
            self.at_every_call(fate, nothing, issue, async |(), said| self.lives(machine, said).await);
        let issued = issued.await;

        let authorize = async |()| self.clients.code(0, web).await;
        let usable = async |(), code: Option<String>| {
            if let Some(code) = code {
                self.lives(web, self.redeem(web, &code).await).await;
            }
        };
        let authorized = self.at_every_call(fate, nothing, authorize, usable).await;

        let code = async || self.clients.code(0, web).await.unwrap();
        let redeem = async |code: String| self.redeem(web, &code).await;
        let once = async |code: String, said| match said {
            Said::Unclear => self.again(web, self.redeem(web, &code).await).await,
            said @ (Said::Yes(_) | Said::No(_)) => self.lives(web, said).await,
        };
        let redeemed = self.at_every_call(fate, code, redeem, once).await;

        let pair = async || self.pair(web).await;
        let refresh = async |pair: (String, String)| self.refresh(web, &pair.1).await;
        let once = async |pair: (String, String), said| match said {
            Said::Unclear => self.again(web, self.refresh(web, &pair.1).await).await,
            said @ (Said::Yes(_) | Said::No(_)) => self.lives(web, said).await,
        };
        let refreshed = self.at_every_call(fate, pair, refresh, once).await;
        vec![("issue", issued), ("authorize", authorized), ("redeem", redeemed), ("refresh", refreshed)]
    }

    /// What takes something away.
    async fn ends(&self, fate: Fate) -> Vec<(&'static str, usize)> {
        let (web, machine) = (&self.clients.app(Kind::Web), &self.clients.app(Kind::Machine));
        let own = async || text(&granted(self.issue(machine).await), "access_token").to_owned();
        let revoke = async |token: String| self.revoke(machine, &token).await;
        let dead = async |token: String, said| self.is_dead_if(said, machine, &token).await;
        let token = self.at_every_call(fate, own, revoke, dead).await;

        let pair = async || self.pair(web).await;
        let revoke = async |pair: (String, String)| self.revoke(web, &pair.1).await;
        let dead = async |pair: (String, String), said| self.is_dead_if(said, web, &pair.0).await;
        let family = self.at_every_call(fate, pair, revoke, dead).await;

        let app = async || {
            let (app, registered) = application(&self.clients.nodes.state(0), Kind::Machine).await;
            registered.unwrap();
            Rc::new(app)
        };
        let disable = async |app: Rc<App>| self.disable(&app).await;
        let shut_out = async |app: Rc<App>, was_done: bool| {
            let said = self.issue(&app).await;
            assert!(!was_done || matches!(said, Said::No(_)), "{said:?} after it was disabled");
        };
        let application = self.at_every_call(fate, app, disable, shut_out).await;
        vec![("revoke a token", token), ("revoke a family", family), ("disable", application)]
    }

    async fn register(&self, fate: Fate) -> usize {
        let register = async |()| application(&self.clients.nodes.state(0), Kind::Machine).await;
        let known = async |(), (app, registered): (App, Result<(), _>)| match self.issue(&app).await {
            said @ Said::Yes(_) => self.lives(&app, said).await,
            Said::No(error) => {
                assert_eq!(error, "invalid_client");
                assert!(registered.is_err(), "acknowledged, and unknown");
            }
            Said::Unclear => panic!("nothing goes wrong any more"),
        };
        self.at_every_call(fate, async || (), register, known).await
    }

    /// What people do besides.
    async fn people(&self, fate: Fate) -> Vec<(&'static str, usize)> {
        let at = self.clients.nodes.state(0).clock.now();
        let start = |id: &str| SessionCommand::StartSession {
            session_id: id.to_owned(),
            subject: "subject".to_owned(),
            methods: vec!["pwd".to_owned()],
            auth_time: at,
            expires_at: at + TimeDelta::hours(1),
            idle_expires_at: at + TimeDelta::hours(1),
            at,
        };
        let end = |_: &str| SessionCommand::EndSession { reason: EndReason::LoggedOut, at };
        let attempt = |_: &str| LoginAttemptsCommand::RecordAttempt { free: 5, at };
        let reset = |_: &str| LoginAttemptsCommand::Reset { at };
        let remember = |_: &str| ConsentCommand::RememberConsent {
            subject: "subject".to_owned(),
            client_id: "client".to_owned(),
            scope: Scope::parse("read").unwrap(),
            at,
        };
        let forget = |_: &str| ConsentCommand::ForgetConsent { at };
        vec![
            ("log in", self.whole::<Session>(fate, &[], &start).await),
            ("log out", self.whole::<Session>(fate, &[&start], &end).await),
            ("attempt", self.whole::<LoginAttempts>(fate, &[], &attempt).await),
            ("reset", self.whole::<LoginAttempts>(fate, &[&attempt], &reset).await),
            ("consent", self.whole::<Consent>(fate, &[], &remember).await),
            ("forget", self.whole::<Consent>(fate, &[&remember], &forget).await),
        ]
    }

    /// What operators do.
    async fn operators(&self, fate: Fate) -> Vec<(&'static str, usize)> {
        let at = self.clients.nodes.state(0).clock.now();
        let sealed = || Sealed::from_ciphertext("sealed".to_owned());
        let create = |id: &str| UserCommand::RegisterUser {
            subject: id.to_owned(),
            username: sealed(),
            username_key: format!("key of {id}"),
            email: None,
            email_key: None,
            password: None,
            roles: Vec::new(),
            at,
        };
        let secret = |id: &str| SecretRef { id: format!("secret of {id}"), kind: SecretKind::KeyedSha256 };
        let password =
            |id: &str| UserCommand::ChangePassword { password: secret(id), keep_session: None, at };
        let lock = |_: &str| UserCommand::LockUser { at };
        let unlock = |_: &str| UserCommand::UnlockUser { at };
        let promote = |_: &str| UserCommand::GrantRole { role: Role::Superuser, at };
        let demote = |_: &str| UserCommand::RevokeRole { role: Role::Superuser, at };
        vec![
            ("create a user", self.whole::<User>(fate, &[], &create).await),
            ("change a password", self.whole::<User>(fate, &[&create], &password).await),
            ("lock", self.whole::<User>(fate, &[&create], &lock).await),
            ("unlock", self.whole::<User>(fate, &[&create, &lock], &unlock).await),
            ("grant a role", self.whole::<User>(fate, &[&create], &promote).await),
            ("revoke a role", self.whole::<User>(fate, &[&create, &promote], &demote).await),
        ]
    }

    /// A command on a stream of its own, to which other things have happened before: all of its events are
    /// there, or none, and all if it was acknowledged.
    async fn whole<A>(&self, fate: Fate, before: &[Asked<'_, A>], command: Asked<'_, A>) -> usize
    where
        A: Remembered,
        A::Command: Clone + Send + Sync,
        A::Error: Send + Sync,
    {
        let execute = async |id: &str, command: A::Command| {
            let state = self.clients.nodes.state(0);
            let origin = Origin::internal(Actor::Operator, &state.clock);
            let executed =
                state.commands.execute::<A>(Stream::Existing(id.to_owned()), command, &origin).await;
            executed.is_ok() && self.clients.nodes.is_running(0)
        };
        let events = async |id: &str| self.world.database.0.load_stream(A::TYPE, id, 0).await.unwrap().len();
        let prepare = async || {
            let id = new_id(self.clients.nodes.state(0).clock.now());
            for one in before {
                assert!(execute(&id, one(&id)).await);
            }
            id
        };
        let act = async |id: String| execute(&id, command(&id)).await;
        let look = async |id: String, was_done: bool| {
            let found = events(&id).await;
            assert!(found == before.len() + 1 || (found == before.len() && !was_done), "{found} events");
        };
        self.at_every_call(fate, prepare, act, look).await
    }

    async fn disable(&self, app: &App) -> bool {
        let state = self.clients.nodes.state(0);
        let command = ApplicationCommand::DisableApplication { at: state.clock.now() };
        let origin = Origin::internal(Actor::Operator, &state.clock);
        let stream = Stream::Existing(app.client_id.clone());
        let executed = state.commands.execute_ending::<Application>(stream, command, &origin).await;
        executed.is_ok() && self.clients.nodes.is_running(0)
    }

    async fn issue(&self, app: &App) -> Said {
        self.post(app, "/o/token/", &[("grant_type", "client_credentials")]).await
    }

    async fn revoke(&self, app: &App, token: &str) -> Said {
        self.post(app, "/o/revoke_token/", &[("token", token)]).await
    }
}

impl Stage {
    /// Does a thing anew for each call of the database on its way, with that call going wrong; in the end
    /// nothing goes wrong any more, and it must succeed. Returns how many calls went wrong.
    async fn at_every_call<T: Clone, A>(
        &self,
        fate: Fate,
        prepare: impl AsyncFn() -> T,
        act: impl AsyncFn(T) -> A,
        look: impl AsyncFn(T, A),
    ) -> usize {
        for calls in 0..MOST_CALLS {
            let subject = prepare().await;
            self.world.script(calls, fate);
            let answer = act(subject.clone()).await;
            let is_over = self.world.end_script();
            sleep(LATER).await;
            if !self.clients.nodes.is_running(0) {
                self.clients.nodes.kill(0);
                self.clients.nodes.start(0).await;
            }
            look(subject, answer).await;
            if is_over {
                return calls;
            }
        }
        panic!("no end after {MOST_CALLS} calls");
    }

    async fn post(&self, app: &App, path: &str, pairs: &[(&str, &str)]) -> Said {
        self.clients.post(0, path, app, pairs).await
    }

    async fn redeem(&self, app: &App, code: &str) -> Said {
        let pairs = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT)];
        self.post(app, "/o/token/", &pairs).await
    }

    async fn refresh(&self, app: &App, token: &str) -> Said {
        self.post(app, "/o/token/", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// An access and a refresh token.
    async fn pair(&self, app: &App) -> (String, String) {
        let code = self.clients.code(0, app).await.unwrap();
        let answer = granted(self.redeem(app, &code).await);
        (text(&answer, "access_token").to_owned(), text(&answer, "refresh_token").to_owned())
    }

    /// What was given lives; nothing may have been given.
    async fn lives(&self, app: &App, said: Said) {
        match said {
            Said::Yes(answer) => assert!(self.is_active(app, text(&json(&answer), "access_token")).await),
            Said::No(error) => panic!("a fault of ours is called the client's: {error}"),
            Said::Unclear => {}
        }
    }

    /// A second try after one without an answer: it gives tokens, or the first one did.
    async fn again(&self, app: &App, said: Said) {
        match said {
            Said::No(error) => assert_eq!(error, "invalid_grant"),
            said @ Said::Yes(_) => self.lives(app, said).await,
            Said::Unclear => panic!("nothing goes wrong any more"),
        }
    }

    async fn is_dead_if(&self, said: Said, app: &App, token: &str) {
        let is_active = self.is_active(app, token).await;
        match said {
            Said::Yes(_) => assert!(!is_active, "alive after its end was acknowledged"),
            Said::No(error) => panic!("a fault of ours is called the client's: {error}"),
            Said::Unclear => {}
        }
    }

    async fn is_active(&self, app: &App, token: &str) -> bool {
        let answer = granted(self.post(app, "/o/introspect/", &[("token", token)]).await);
        answer["active"].as_bool().unwrap()
    }

    /// The chain holds, the read models are its fold, and no code was redeemed for nothing.
    async fn judge(&self) {
        let database = &self.world.database.0;
        verify(database, &|_, _| {}).await.unwrap();
        let batches = database.batches_after(0, i64::MAX).await.unwrap();
        let events: Vec<_> = batches.iter().flat_map(|batch| &batch.events).collect();
        for (index, row) in events.iter().enumerate() {
            if row.event.event_type == "authorization.code_redeemed" {
                let next = events[index + 1];
                assert_eq!(next.event.event_type, "authorization.token_issued");
                assert_eq!((&next.aggregate_id, next.sequence), (&row.aggregate_id, row.sequence + 1));
            }
        }
    }
}

#[track_caller]
fn granted(said: Said) -> Value {
    match said {
        Said::Yes(answer) => json(&answer),
        Said::No(_) | Said::Unclear => panic!("{said:?}"),
    }
}
