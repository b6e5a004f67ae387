//! What was refused and by which rule, in words.

use aggregates::refusal::{RefusedRequest, Rule};

use super::{SealKind, Sentence};
use crate::row::{Value, name};

pub(super) fn refused(refused: &RefusedRequest) -> Sentence {
    Sentence::new(seal(refused.rule), format!("Refused: {}.", why(refused.rule)))
        .with("rule", rule_name(refused.rule))
        .with("endpoint", &refused.endpoint)
        .with_optional("error", refused.error.as_ref())
        .with_optional("application", refused.client_id.as_ref())
        .with_optional("user", refused.subject.as_ref())
        .with_optional("authorization", refused.authorization_id.as_ref())
        .with_optional("token", refused.token_id.as_ref())
        .with("correlation", &refused.correlation_id)
}

/// The stored name: a public contract.
fn rule_name(rule: Rule) -> String {
    match name(&rule) {
        Value::Text(name) => name,
        Value::Null | Value::Int(_) => String::new(),
    }
}

fn seal(rule: Rule) -> SealKind {
    match rule {
        Rule::CodeExpired | Rule::RefreshTokenExpired | Rule::RequestExpired => SealKind::Expired,
        Rule::WrongSecret
        | Rule::UnknownClient
        | Rule::ApplicationDisabled
        | Rule::GrantNotAllowed
        | Rule::ScopeNotAllowed
        | Rule::ResourceNotAllowed
        | Rule::WrongClient
        | Rule::CodeReplayed
        | Rule::RedirectUriMismatch
        | Rule::VerifierMissing
        | Rule::VerifierWrong
        | Rule::VerifierUnexpected
        | Rule::RefreshTokenReused
        | Rule::AuthorizationRevoked
        | Rule::UserLocked
        | Rule::WrongPassword
        | Rule::TooManyAttempts
        | Rule::WrongSession
        | Rule::RequestForged
        | Rule::RedirectUriNotRegistered
        | Rule::PkceRequired
        | Rule::LoginRequired
        | Rule::ConsentRequired
        | Rule::NotPermitted
        | Rule::CrossSiteRequest
        | Rule::AlreadyUsed => SealKind::Refused,
    }
}

fn why(rule: Rule) -> &'static str {
    match rule {
        Rule::WrongSecret => "the client secret was wrong",
        Rule::UnknownClient => "no application has this client id",
        Rule::ApplicationDisabled => "the application is disabled",
        Rule::GrantNotAllowed => "the application may not use this grant type",
        Rule::ScopeNotAllowed => "the application may not have this scope",
        Rule::ResourceNotAllowed => "tokens for this resource are not given here",
        Rule::WrongClient => "what was presented belongs to another application",
        Rule::CodeExpired => "the authorization code had expired",
        Rule::CodeReplayed => "the authorization code had been used before",
        Rule::RedirectUriMismatch => "the redirect URI is not the one of the authorization request",
        Rule::VerifierMissing => "the code verifier was missing",
        Rule::VerifierWrong => "the code verifier does not match its challenge",
        Rule::VerifierUnexpected => "a code verifier was sent for a request without a challenge",
        Rule::RefreshTokenExpired => "the refresh token had expired",
        Rule::RefreshTokenReused => "the refresh token had been used before",
        Rule::AuthorizationRevoked => "the authorization was revoked",
        Rule::UserLocked => "the user is locked",
        Rule::WrongPassword => "user name and password do not belong together",
        Rule::TooManyAttempts => "there were too many attempts; the next one has to wait",
        Rule::WrongSession => "the form belongs to another session",
        Rule::RequestExpired => "the form was open for too long",
        Rule::RequestForged => "the form was not one of this server",
        Rule::RedirectUriNotRegistered => "the redirect URI is not registered for the application",
        Rule::PkceRequired => "the request had no code challenge, and the application needs one",
        Rule::LoginRequired => "the user was not logged in, and the application forbade asking",
        Rule::ConsentRequired => "the user had not consented, and the application forbade asking",
        Rule::NotPermitted => "the user may not do this",
        Rule::CrossSiteRequest => "the request came from another site",
        Rule::AlreadyUsed => "the request had been answered before",
    }
}
