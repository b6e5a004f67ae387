//! Events with defaults.

use aggregates::AnyEvent;
use aggregates::application::{ApplicationEvent, ApplicationSettings, ApplicationType, Provenance};
use aggregates::authorization::{AuthorizationEvent, AuthorizationRequest, ConsentBasis};
use aggregates::authorization::{IssuedToken, RefreshGeneration, RevocationReason};
use aggregates::client_token::ClientTokenEvent;
use aggregates::installation::InstallationEvent;
use aggregates::session::{EndReason, SessionEvent};
use aggregates::user::UserEvent;
use aggregates::values::{ClientType, GrantType, NewToken, RedirectUri, RefreshTerms};
use aggregates::values::{Resource, Scope, Sealed, SecretKind, SecretRef};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

/// The test clock: so many seconds after its start.
pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(seconds)
}

pub fn scope(names: &str) -> Scope {
    Scope::parse(names).unwrap()
}

pub fn settings(name: &str) -> ApplicationSettings {
    ApplicationSettings {
        name: name.to_owned(),
        client_type: ClientType::Confidential,
        application_type: ApplicationType::Web,
        grant_types: GrantType::ALL.to_vec(),
        redirect_uris: vec![RedirectUri::parse("https://app.example/cb", false).unwrap()],
        post_logout_redirect_uris: Vec::new(),
        allowed_origins: Vec::new(),
        scope: Some(scope("read write")),
        require_pkce: true,
        skip_authorization: false,
        ask_always: false,
        refresh_retry_window: 0,
        access_token_lifetime: None,
        id_token_algorithm: None,
        resources: vec![Resource::parse("https://api.example/").unwrap()],
        introspect_any: false,
    }
}

pub fn secret(id: &str) -> SecretRef {
    SecretRef { id: id.to_owned(), kind: SecretKind::KeyedSha256 }
}

pub fn application(client_id: &str, owner: Option<&str>, seconds: i64) -> AnyEvent {
    ApplicationEvent::ApplicationRegistered {
        client_id: client_id.to_owned(),
        owner: owner.map(str::to_owned),
        settings: settings(client_id),
        secret: Some(secret("secret-1")),
        provenance: Provenance::CommandLine,
        at: at(seconds),
    }
    .into()
}

pub fn user(subject: &str) -> AnyEvent {
    UserEvent::UserRegistered {
        subject: subject.to_owned(),
        username: Sealed::from_ciphertext(format!("sealed name of {subject}")),
        username_key: format!("name key of {subject}"),
        email: None,
        email_key: None,
        password: Some(SecretRef { id: "password-1".to_owned(), kind: SecretKind::Argon2id }),
        roles: Vec::new(),
        at: at(0),
    }
    .into()
}

/// Ends after 1,000 seconds, after 100 if idle.
pub fn session(session_id: &str, subject: &str, seconds: i64) -> AnyEvent {
    SessionEvent::SessionStarted {
        session_id: session_id.to_owned(),
        subject: subject.to_owned(),
        methods: vec!["pwd".to_owned()],
        auth_time: at(seconds),
        expires_at: at(seconds + 1_000),
        idle_expires_at: at(seconds + 100),
        at: at(seconds),
    }
    .into()
}

pub fn session_ended(seconds: i64) -> AnyEvent {
    SessionEvent::SessionEnded { reason: EndReason::LoggedOut, at: at(seconds) }.into()
}

pub fn password_changed(keep_session: Option<&str>, seconds: i64) -> AnyEvent {
    UserEvent::PasswordChanged {
        password: SecretRef { id: "password-2".to_owned(), kind: SecretKind::Argon2id },
        retired: Some("password-1".to_owned()),
        keep_session: keep_session.map(str::to_owned),
        at: at(seconds),
    }
    .into()
}

pub fn request(client_id: &str, subject: &str) -> AuthorizationRequest {
    AuthorizationRequest {
        client_id: client_id.to_owned(),
        subject: subject.to_owned(),
        session_id: "session-1".to_owned(),
        scope: scope("read write"),
        resource: vec![Resource::parse("https://api.example/").unwrap()],
        redirect_uri: "https://app.example/cb".to_owned(),
        redirect_uri_sent: true,
    }
}

/// Its code expires after 60 seconds.
pub fn granted(id: &str, client_id: &str, subject: &str, seconds: i64) -> AnyEvent {
    AuthorizationEvent::AuthorizationGranted {
        authorization_id: id.to_owned(),
        request: request(client_id, subject),
        code_challenge: None,
        nonce: None,
        auth_time: at(0),
        methods: vec!["pwd".to_owned()],
        basis: ConsentBasis::Asked,
        code_expires_at: at(seconds + 60),
        at: at(seconds),
    }
    .into()
}

fn issued(token_id: &str, expires: i64, refresh: Option<(u32, i64)>) -> IssuedToken {
    IssuedToken {
        client_id: "client".to_owned(),
        subject: "alice".to_owned(),
        token: NewToken { id: token_id.to_owned(), expires_at: at(expires), confirmation: None },
        grant_type: GrantType::AuthorizationCode,
        scope: scope("read"),
        resource: Vec::new(),
        auth_time: at(0),
        refresh: refresh.map(|(generation, end)| RefreshGeneration {
            generation,
            terms: RefreshTerms { idle_expires_at: at(end), absolute_expires_at: at(end) },
        }),
    }
}

/// To `client` for `alice`; `refresh` is generation and end.
pub fn token_issued(token_id: &str, seconds: i64, expires: i64, refresh: Option<(u32, i64)>) -> AnyEvent {
    AuthorizationEvent::TokenIssued { issued: issued(token_id, expires, refresh), at: at(seconds) }.into()
}

pub fn token_refreshed(former: &str, token_id: &str, seconds: i64, refresh: (u32, i64)) -> AnyEvent {
    AuthorizationEvent::TokenRefreshed {
        issued: issued(token_id, seconds + 100, Some(refresh)),
        replaced_token_id: former.to_owned(),
        at: at(seconds),
    }
    .into()
}

pub fn revoked(seconds: i64) -> AnyEvent {
    AuthorizationEvent::AuthorizationRevoked { reason: RevocationReason::ResourceOwner, at: at(seconds) }
        .into()
}

pub fn client_token(client_id: &str, token_id: &str, expires: i64) -> AnyEvent {
    client_token_at(client_id, token_id, 0, expires)
}

pub fn client_token_at(client_id: &str, token_id: &str, seconds: i64, expires: i64) -> AnyEvent {
    ClientTokenEvent::TokenIssued {
        client_id: client_id.to_owned(),
        token: NewToken { id: token_id.to_owned(), expires_at: at(expires), confirmation: None },
        grant_type: GrantType::ClientCredentials,
        scope: scope("read"),
        resource: Vec::new(),
        at: at(seconds),
    }
    .into()
}

pub fn horizon(seconds: i64) -> AnyEvent {
    InstallationEvent::HorizonAdvanced { horizon: at(seconds), at: at(seconds) }.into()
}

#[derive(Deserialize)]
struct Golden {
    aggregate_type: String,
    event_type: String,
    event_version: String,
    payload: serde_json::Value,
}

/// One event of every version that was ever stored, by file name.
pub fn corpus() -> Vec<(String, AnyEvent)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/events");
    let mut corpus: Vec<(String, AnyEvent)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let golden: Golden = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let Golden { aggregate_type, event_type, event_version, payload } = golden;
            let event = AnyEvent::decode(&aggregate_type, &event_type, &event_version, &payload).unwrap();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), event)
        })
        .collect();
    corpus.sort_by(|left, right| left.0.cmp(&right.0));
    corpus
}
