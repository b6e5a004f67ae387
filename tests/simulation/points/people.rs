//! What people, operators and the server itself do besides: commands on streams of their own.

use aggregates::consent::{Consent, ConsentCommand};
use aggregates::installation::{Installation, InstallationCommand};
use aggregates::login_attempts::{LoginAttempts, LoginAttemptsCommand};
use aggregates::session::{EndReason, Session, SessionCommand};
use aggregates::user::{Role, User, UserCommand};
use aggregates::values::{Scope, Sealed, SecretKind, SecretRef};
use chancery::commands::{Actor, Origin, Stream};
use chancery::journal::store::Remembered;
use chancery::secret::new_id;
use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::Aggregate;

use super::Stage;

/// A command on the stream with this id.
type Asked<'a, A> = &'a dyn Fn(&str) -> <A as Aggregate>::Command;

impl Stage {
    /// What people do.
    pub(super) async fn people(&self) {
        let at = self.now();
        let start = |id: &str| SessionCommand::StartSession {
            session_id: id.to_owned(),
            subject: "subject".to_owned(),
            methods: vec!["pwd".to_owned()],
            auth_time: at,
            expires_at: at + TimeDelta::hours(2),
            idle_expires_at: at + TimeDelta::hours(1),
            at,
        };
        let renew = |_: &str| SessionCommand::RenewSession { idle_expires_at: at + TimeDelta::hours(2), at };
        let end = |_: &str| SessionCommand::EndSession { reason: EndReason::LoggedOut, at };
        self.whole::<Session>(&[], &start).await;
        self.whole::<Session>(&[&start], &renew).await;
        self.whole::<Session>(&[&start], &end).await;

        let attempt = |_: &str| LoginAttemptsCommand::RecordAttempt { free: 5, at };
        let take_back = |_: &str| LoginAttemptsCommand::TakeBack { at };
        let reset = |_: &str| LoginAttemptsCommand::Reset { at };
        self.whole::<LoginAttempts>(&[], &attempt).await;
        self.whole::<LoginAttempts>(&[&attempt], &take_back).await;
        self.whole::<LoginAttempts>(&[&attempt], &reset).await;

        let remember = |_: &str| ConsentCommand::RememberConsent {
            subject: "subject".to_owned(),
            client_id: "client".to_owned(),
            scope: Scope::parse("read").unwrap(),
            at,
        };
        let forget = |_: &str| ConsentCommand::ForgetConsent { at };
        self.whole::<Consent>(&[], &remember).await;
        self.whole::<Consent>(&[&remember], &forget).await;
    }

    /// What operators do.
    pub(super) async fn operators(&self) {
        let at = self.now();
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
        self.whole::<User>(&[], &create).await;
        self.whole::<User>(&[&create], &password).await;
        self.whole::<User>(&[&create], &lock).await;
        self.whole::<User>(&[&create, &lock], &unlock).await;
        self.whole::<User>(&[&create], &promote).await;
        self.whole::<User>(&[&create, &promote], &demote).await;
    }

    /// What the server does itself. The one stream it has is bound and configured since the world began, so
    /// each command has another here.
    pub(super) async fn installation(&self) {
        let at = self.now();
        let settings = [("issuer".to_owned(), "another".to_owned())];
        let configure =
            |_: &str| InstallationCommand::RecordConfiguration { settings: settings.clone().into(), at };
        let bind = |_: &str| InstallationCommand::BindRootSecret { fingerprint: "of one".to_owned(), at };
        let advance = |_: &str| InstallationCommand::AdvanceHorizon { horizon: at - TimeDelta::days(1), at };
        let accept = |_: &str| InstallationCommand::AcceptRollback { seen: 2, head: 1, at };
        self.whole::<Installation>(&[], &configure).await;
        self.whole::<Installation>(&[], &bind).await;
        self.whole::<Installation>(&[], &advance).await;
        // A server that reads of it must be started again.
        self.whole_after::<Installation>(async |_| self.restart().await, &accept).await;
        self.restart().await;
    }

    /// A command on a stream of its own, to which other commands have come before.
    async fn whole<A>(&self, before: &[Asked<'_, A>], command: Asked<'_, A>)
    where
        A: Remembered,
        A::Command: Clone + Send + Sync,
        A::Error: Send + Sync,
    {
        let prepare = async |id: &str| {
            for one in before {
                assert!(self.execute::<A>(id, one(id)).await);
            }
        };
        self.whole_after::<A>(prepare, command).await;
    }

    /// A command on a stream of its own: what was acknowledged is in the log.
    async fn whole_after<A>(&self, prepare: impl AsyncFn(&str), command: Asked<'_, A>)
    where
        A: Remembered,
        A::Command: Clone + Send + Sync,
        A::Error: Send + Sync,
    {
        let prepare = async || {
            let id = new_id(self.now());
            prepare(&id).await;
            id
        };
        let act = async |id: String| self.execute::<A>(&id, command(&id)).await;
        let look = async |_, is_done: bool, happened: bool| {
            assert!(happened || !is_done, "acknowledged, and not in the log");
        };
        self.at_every_call(prepare, act, look).await;
    }

    async fn execute<A>(&self, id: &str, command: A::Command) -> bool
    where
        A: Remembered,
        A::Command: Clone + Send + Sync,
        A::Error: Send + Sync,
    {
        let state = self.clients.nodes.state(0);
        let origin = Origin::internal(Actor::Operator, &state.clock);
        let executed = state.commands.execute::<A>(Stream::Existing(id.to_owned()), command, &origin).await;
        self.is_heard(executed.is_ok())
    }

    fn now(&self) -> DateTime<Utc> {
        self.clients.nodes.state(0).clock.now()
    }
}
