//! Which things is an event about? Its own, and those it names.
//!
//! An event that does not name a thing is not about it, even if an earlier one of its stream does: what
//! became of an authorization is on the authorization's own roll.

use std::collections::BTreeSet;

use aggregates::AnyEvent;
use aggregates::application::ApplicationEvent;
use aggregates::authorization::AuthorizationEvent;
use aggregates::authorization::{AuthorizationRequest, IssuedToken};
use aggregates::client_token::ClientTokenEvent;
use aggregates::consent::ConsentEvent;
use aggregates::installation::InstallationEvent;
use aggregates::login_attempts::LoginAttemptsEvent;
use aggregates::refusal::{RefusalEvent, RefusedRequest};
use aggregates::session::SessionEvent;
use aggregates::user::UserEvent;
use chrono::{DateTime, Utc};

use crate::consents::consent_parties;

/// The things an event is about, each once: `application:…`, `authorization:…`, `user:…`,
/// `session:…`, `token:…`, `consent:…`, `refusal:…`, `login_attempts:…`, `installation`.
#[must_use]
pub fn subjects(aggregate_id: &str, event: &AnyEvent) -> BTreeSet<String> {
    let mut about = About(BTreeSet::new());
    match event {
        AnyEvent::Application(event) => about.application_event(aggregate_id, event),
        AnyEvent::User(_) => about.user(aggregate_id),
        AnyEvent::Session(event) => about.session_event(aggregate_id, event),
        AnyEvent::LoginAttempts(_) => about.add("login_attempts", aggregate_id),
        AnyEvent::Authorization(event) => {
            about.add("authorization", aggregate_id);
            about.authorization_event(event);
        }
        AnyEvent::ClientToken(event) => about.client_token_event(aggregate_id, event),
        AnyEvent::Consent(_) => {
            about.add("consent", aggregate_id);
            if let Some((subject, client_id)) = consent_parties(aggregate_id) {
                about.user(subject);
                about.application(client_id);
            }
        }
        AnyEvent::Refusal(RefusalEvent::RefusalRecorded { refused, .. }) => {
            about.add("refusal", aggregate_id);
            about.refused(refused);
        }
        AnyEvent::Installation(_) => {
            about.0.insert("installation".to_owned());
        }
    }
    about.0
}

struct About(BTreeSet<String>);

impl About {
    fn add(&mut self, kind: &str, id: &str) {
        self.0.insert(format!("{kind}:{id}"));
    }

    fn application(&mut self, client_id: &str) {
        self.add("application", client_id);
    }

    fn user(&mut self, subject: &str) {
        self.add("user", subject);
    }

    fn application_event(&mut self, client_id: &str, event: &ApplicationEvent) {
        self.application(client_id);
        match event {
            ApplicationEvent::ApplicationRegistered { owner: Some(owner), .. } => self.user(owner),
            ApplicationEvent::ApplicationRegistered { owner: None, .. }
            | ApplicationEvent::ApplicationUpdated { .. }
            | ApplicationEvent::SecretRotated { .. }
            | ApplicationEvent::ApplicationDisabled { .. }
            | ApplicationEvent::ApplicationEnabled { .. }
            | ApplicationEvent::ApplicationDeleted { .. } => {}
        }
    }

    fn session_event(&mut self, session_id: &str, event: &SessionEvent) {
        self.add("session", session_id);
        match event {
            SessionEvent::SessionStarted { subject, .. } => self.user(subject),
            SessionEvent::SessionRenewed { .. } | SessionEvent::SessionEnded { .. } => {}
        }
    }

    fn authorization_event(&mut self, event: &AuthorizationEvent) {
        match event {
            AuthorizationEvent::AuthorizationGranted { request, .. }
            | AuthorizationEvent::AuthorizationDenied { request, .. } => self.request(request),
            AuthorizationEvent::TokenIssued { issued, .. } => self.issued(issued),
            AuthorizationEvent::TokenRefreshed { issued, replaced_token_id, .. } => {
                self.issued(issued);
                self.add("token", replaced_token_id);
            }
            AuthorizationEvent::TokenRevoked { token_id, .. } => self.add("token", token_id),
            AuthorizationEvent::CodeRedeemed { .. }
            | AuthorizationEvent::ReuseDetected { .. }
            | AuthorizationEvent::AuthorizationRevoked { .. } => {}
        }
    }

    fn request(&mut self, request: &AuthorizationRequest) {
        self.application(&request.client_id);
        self.user(&request.subject);
        self.add("session", &request.session_id);
    }

    fn issued(&mut self, issued: &IssuedToken) {
        self.application(&issued.client_id);
        self.user(&issued.subject);
        self.add("token", &issued.token.id);
    }

    fn client_token_event(&mut self, token_id: &str, event: &ClientTokenEvent) {
        self.add("token", token_id);
        match event {
            ClientTokenEvent::TokenIssued { client_id, .. } => self.application(client_id),
            ClientTokenEvent::TokenRevoked { .. } => {}
        }
    }

    fn refused(&mut self, refused: &RefusedRequest) {
        let named = [
            ("application", &refused.client_id),
            ("user", &refused.subject),
            ("authorization", &refused.authorization_id),
            ("token", &refused.token_id),
        ];
        for (kind, id) in named {
            if let Some(id) = id {
                self.add(kind, id);
            }
        }
    }
}

/// When an event happened.
pub(super) fn time(event: &AnyEvent) -> DateTime<Utc> {
    match event {
        AnyEvent::Application(event) => application_time(event),
        AnyEvent::User(
            UserEvent::UserRegistered { at, .. }
            | UserEvent::PasswordChanged { at, .. }
            | UserEvent::UserLocked { at }
            | UserEvent::UserUnlocked { at }
            | UserEvent::RoleGranted { at, .. }
            | UserEvent::RoleRevoked { at, .. },
        )
        | AnyEvent::Session(
            SessionEvent::SessionStarted { at, .. }
            | SessionEvent::SessionRenewed { at, .. }
            | SessionEvent::SessionEnded { at, .. },
        )
        | AnyEvent::LoginAttempts(
            LoginAttemptsEvent::LoginAttempted { at, .. }
            | LoginAttemptsEvent::AttemptTakenBack { at, .. }
            | LoginAttemptsEvent::LoginAttemptsReset { at },
        )
        | AnyEvent::ClientToken(
            ClientTokenEvent::TokenIssued { at, .. } | ClientTokenEvent::TokenRevoked { at, .. },
        )
        | AnyEvent::Consent(
            ConsentEvent::ConsentRemembered { at, .. } | ConsentEvent::ConsentForgotten { at },
        )
        | AnyEvent::Refusal(RefusalEvent::RefusalRecorded { at, .. })
        | AnyEvent::Installation(
            InstallationEvent::ConfigurationChanged { at, .. }
            | InstallationEvent::RootSecretBound { at, .. }
            | InstallationEvent::RollbackAccepted { at, .. }
            | InstallationEvent::HorizonAdvanced { at, .. },
        ) => *at,
        AnyEvent::Authorization(event) => authorization_time(event),
    }
}

fn application_time(event: &ApplicationEvent) -> DateTime<Utc> {
    match event {
        ApplicationEvent::ApplicationRegistered { at, .. }
        | ApplicationEvent::ApplicationUpdated { at, .. }
        | ApplicationEvent::SecretRotated { at, .. }
        | ApplicationEvent::ApplicationDisabled { at }
        | ApplicationEvent::ApplicationEnabled { at }
        | ApplicationEvent::ApplicationDeleted { at, .. } => *at,
    }
}

fn authorization_time(event: &AuthorizationEvent) -> DateTime<Utc> {
    match event {
        AuthorizationEvent::AuthorizationGranted { at, .. }
        | AuthorizationEvent::AuthorizationDenied { at, .. }
        | AuthorizationEvent::CodeRedeemed { at }
        | AuthorizationEvent::TokenIssued { at, .. }
        | AuthorizationEvent::TokenRefreshed { at, .. }
        | AuthorizationEvent::ReuseDetected { at, .. }
        | AuthorizationEvent::TokenRevoked { at, .. }
        | AuthorizationEvent::AuthorizationRevoked { at, .. } => *at,
    }
}
