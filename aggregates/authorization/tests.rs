//! Given these events, when this is asked, then that happens (`tests/attacks` B, C, D as decisions).

mod granting;
mod model;
mod redeeming;
mod refreshing;
mod retrying;
mod revoking;
mod stories;

use super::code::CodeUse;
use super::token::RefreshTokenUse;
use super::*;
use crate::given::{at, given, resources, scope, state, terms, token};
use crate::values::{CodeVerifier, GrantType, RefreshTerms, Scope};

const CALLBACK: &str = "https://app.example/cb";
const CODE_ENDS: i64 = 60;
const IDLE_ENDS: i64 = 2_592_000;
const FAMILY_ENDS: i64 = 15_552_000;

fn challenge(seed: &str) -> CodeChallenge {
    CodeVerifier::parse(&seed.repeat(43)).unwrap().challenge()
}

fn request() -> AuthorizationRequest {
    AuthorizationRequest {
        client_id: "client".to_owned(),
        subject: "subject".to_owned(),
        session_id: "session".to_owned(),
        scope: scope("read write"),
        resource: Vec::new(),
        redirect_uri: CALLBACK.to_owned(),
        redirect_uri_sent: true,
    }
}

fn granted_with(request: AuthorizationRequest, code_challenge: Option<CodeChallenge>) -> AuthorizationEvent {
    AuthorizationEvent::AuthorizationGranted {
        authorization_id: "authorization".to_owned(),
        request,
        code_challenge,
        nonce: Some("nonce".to_owned()),
        auth_time: at(-10),
        methods: vec!["pwd".to_owned()],
        basis: ConsentBasis::Asked,
        code_expires_at: at(CODE_ENDS),
        at: at(0),
    }
}

fn granted() -> AuthorizationEvent {
    granted_with(request(), Some(challenge("v")))
}

fn denied() -> AuthorizationEvent {
    AuthorizationEvent::AuthorizationDenied {
        authorization_id: "authorization".to_owned(),
        request: request(),
        at: at(0),
    }
}

fn issued(id: &str, grant_type: GrantType, refresh: Option<(u32, RefreshTerms)>) -> IssuedToken {
    IssuedToken {
        client_id: "client".to_owned(),
        subject: "subject".to_owned(),
        token: token(id, 36_000),
        grant_type,
        scope: scope("read write"),
        resource: Vec::new(),
        auth_time: at(-10),
        refresh: refresh.map(|(generation, terms)| RefreshGeneration { generation, terms }),
    }
}

/// Granted, redeemed, a first pair issued.
fn redeemed() -> Vec<AuthorizationEvent> {
    let first = issued("access-1", GrantType::AuthorizationCode, Some((1, terms(IDLE_ENDS, FAMILY_ENDS))));
    vec![
        granted(),
        AuthorizationEvent::CodeRedeemed { at: at(5) },
        AuthorizationEvent::TokenIssued { issued: first, at: at(5) },
    ]
}

/// Redeemed, then refreshed at 100.
fn refreshed() -> Vec<AuthorizationEvent> {
    let second = issued("access-2", GrantType::RefreshToken, Some((2, terms(IDLE_ENDS + 100, FAMILY_ENDS))));
    let replaced_token_id = "access-1".to_owned();
    after(redeemed(), AuthorizationEvent::TokenRefreshed { issued: second, replaced_token_id, at: at(100) })
}

fn after(mut events: Vec<AuthorizationEvent>, event: AuthorizationEvent) -> Vec<AuthorizationEvent> {
    events.push(event);
    events
}

fn revoked(reason: RevocationReason) -> AuthorizationEvent {
    AuthorizationEvent::AuthorizationRevoked { reason, at: at(110) }
}

fn code_use() -> CodeUse {
    CodeUse {
        client_id: "client".to_owned(),
        redirect_uri: Some(CALLBACK.to_owned()),
        verifier: Some(challenge("v")),
        resource: Vec::new(),
        access: token("access-1", 36_000),
        refresh: Some(terms(IDLE_ENDS, FAMILY_ENDS)),
        at: at(5),
    }
}

fn refresh_use(generation: u32, seconds: i64) -> RefreshTokenUse {
    RefreshTokenUse {
        client_id: "client".to_owned(),
        generation,
        scope: None,
        allowed_scope: scope("read write admin"),
        resource: Vec::new(),
        access: token("access-next", seconds + 36_000),
        idle_expires_at: at(seconds + IDLE_ENDS),
        retry_window: 0,
        at: at(seconds),
    }
}

impl From<CodeUse> for AuthorizationCommand {
    fn from(code_use: CodeUse) -> Self {
        let CodeUse { client_id, redirect_uri, verifier, resource, access, refresh, at } = code_use;
        AuthorizationCommand::RedeemCode { client_id, redirect_uri, verifier, resource, access, refresh, at }
    }
}

impl From<RefreshTokenUse> for AuthorizationCommand {
    #[rustfmt::skip]
    fn from(token_use: RefreshTokenUse) -> Self {
        let RefreshTokenUse {
            client_id, generation, scope, allowed_scope, resource, access, idle_expires_at, retry_window, at,
        } = token_use;
        AuthorizationCommand::RefreshToken {
            client_id, generation, scope, allowed_scope, resource, access, idle_expires_at, retry_window, at,
        }
    }
}

fn decide(events: Vec<AuthorizationEvent>, command: impl Into<AuthorizationCommand>) -> Decision {
    given::<Authorization>(events).when(command.into()).inspect_result()
}

fn refusal(events: Vec<AuthorizationEvent>, command: impl Into<AuthorizationCommand>) -> AuthorizationError {
    decide(events, command).unwrap_err()
}

/// The access token that the command leads to.
fn token_of(events: Vec<AuthorizationEvent>, command: impl Into<AuthorizationCommand>) -> IssuedToken {
    let last = decide(events, command).unwrap().pop();
    state::<Authorization>(last.into_iter().collect()).current().expect("a token").clone()
}
