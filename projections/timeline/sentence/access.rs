//! What happened to applications, authorizations and tokens, in words.

use aggregates::application::{ApplicationEvent, ApplicationSettings, Provenance};
use aggregates::authorization::{AuthorizationEvent, AuthorizationRequest, ConsentBasis, IssuedToken};
use aggregates::authorization::{Reused, RevocationReason};
use aggregates::client_token::ClientTokenEvent;
use aggregates::values::{GrantType, RedirectUri, Resource, SecretRef};

use super::{SealKind, Sentence, listed, time};

pub(super) fn application(event: &ApplicationEvent) -> Sentence {
    match event {
        ApplicationEvent::ApplicationRegistered { client_id, owner, settings, secret, provenance, at: _ } => {
            let sentence = Sentence::new(SealKind::Live, registered_by(*provenance))
                .with("application", client_id)
                .with_optional("owner", owner.as_ref())
                .with_optional("secret", secret.as_ref().map(|secret| &secret.id));
            with_settings(sentence, settings)
        }
        ApplicationEvent::ApplicationUpdated { settings, at: _ } => {
            let text = "Application changed; the new settings count from here on.";
            with_settings(Sentence::new(SealKind::Neutral, text), settings)
        }
        ApplicationEvent::SecretRotated { secret, retired, at: _ } => {
            rotated(secret).with_optional("former secret", retired.as_ref())
        }
        ApplicationEvent::ApplicationDisabled { at: _ } => Sentence::new(
            SealKind::Revoked,
            "Application disabled; it is refused and its tokens count for nothing until it is enabled.",
        ),
        ApplicationEvent::ApplicationEnabled { at: _ } => {
            Sentence::new(SealKind::Live, "Application enabled; its tokens that have not ended count again.")
        }
        ApplicationEvent::ApplicationDeleted { retired, at: _ } => {
            Sentence::new(SealKind::Revoked, "Application deleted; everything it was given is dead.")
                .with_optional("former secret", retired.as_ref())
        }
    }
}

fn registered_by(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Form => "Application registered with the form.",
        Provenance::CommandLine => "Application registered at the command line.",
        Provenance::DynamicRegistration => "Application registered itself.",
        Provenance::MetadataDocument => "Application registered from its metadata document.",
    }
}

fn rotated(secret: &SecretRef) -> Sentence {
    Sentence::new(SealKind::Live, "Client secret replaced; the former one is refused from here on.")
        .with("secret", &secret.id)
}

fn with_settings(sentence: Sentence, settings: &ApplicationSettings) -> Sentence {
    let uris = settings.redirect_uris.iter().map(RedirectUri::as_str);
    let scope = settings.scope.as_ref().map(ToString::to_string);
    sentence
        .with("name", &settings.name)
        .with("client type", settings.client_type.as_str())
        .with_optional("grant types", listed(settings.grant_types.iter().map(|grant| grant.as_str())))
        .with_optional("redirect URIs", listed(uris))
        .with("scope", scope.unwrap_or_else(|| "the whole catalogue".to_owned()))
        .with_optional("serves", listed(settings.resources.iter().map(Resource::as_str)))
}

pub(super) fn authorization(event: &AuthorizationEvent) -> Sentence {
    match event {
        AuthorizationEvent::AuthorizationGranted {
            authorization_id,
            request,
            basis,
            code_expires_at,
            ..
        } => asked(Sentence::new(SealKind::Live, granted_by(*basis)), authorization_id, request)
            .with("code expires", time(*code_expires_at)),
        AuthorizationEvent::AuthorizationDenied { authorization_id, request, at: _ } => asked(
            Sentence::new(SealKind::Refused, "Authorization denied by the user; nothing was given."),
            authorization_id,
            request,
        ),
        AuthorizationEvent::CodeRedeemed { at: _ } => {
            Sentence::new(SealKind::Used, "Authorization code redeemed; the code cannot be used again.")
        }
        AuthorizationEvent::TokenIssued { issued, at: _ } => {
            token(Sentence::new(SealKind::Live, "Access token issued."), issued)
        }
        AuthorizationEvent::TokenRefreshed { issued, replaced_token_id, at: _ } => {
            let text = "Access token refreshed; the former access token and refresh token are dead.";
            token(Sentence::new(SealKind::Live, text), issued).with("former token", replaced_token_id)
        }
        AuthorizationEvent::ReuseDetected { reused, at: _ } => reuse(*reused),
        AuthorizationEvent::TokenRevoked { token_id, reason, at: _ } => {
            token_revoked(*reason).with("token", token_id)
        }
        AuthorizationEvent::AuthorizationRevoked { reason, at: _ } => {
            let text = format!("Authorization revoked {}; everything it gave is dead.", because(*reason));
            Sentence::new(SealKind::Revoked, text).with("reason", reason_name(*reason))
        }
    }
}

fn granted_by(basis: ConsentBasis) -> &'static str {
    match basis {
        ConsentBasis::Asked => "Authorization granted by the user; a code was sent to the application.",
        ConsentBasis::Remembered => {
            "Authorization granted by an earlier consent; a code was sent to the application."
        }
        ConsentBasis::Skipped => {
            "Authorization granted without asking, because the application is trusted; a code was sent to it."
        }
    }
}

fn asked(sentence: Sentence, authorization_id: &str, request: &AuthorizationRequest) -> Sentence {
    sentence
        .with("authorization", authorization_id)
        .with("application", &request.client_id)
        .with("user", &request.subject)
        .with("session", &request.session_id)
        .with("scope", request.scope.to_string())
        .with_optional("for", listed(request.resource.iter().map(Resource::as_str)))
        .with("sent to", &request.redirect_uri)
}

fn token(sentence: Sentence, issued: &IssuedToken) -> Sentence {
    let sentence = sentence
        .with("token", &issued.token.id)
        .with("application", &issued.client_id)
        .with("user", &issued.subject)
        .with("grant type", issued.grant_type.as_str())
        .with("scope", issued.scope.to_string())
        .with_optional("for", listed(issued.resource.iter().map(Resource::as_str)))
        .with("expires", time(issued.token.expires_at));
    match &issued.refresh {
        None => sentence,
        Some(refresh) => sentence
            .with("refresh token", format!("generation {}", refresh.generation))
            .with("refresh token expires unless used", time(refresh.terms.idle_expires_at))
            .with("refresh tokens end", time(refresh.terms.absolute_expires_at)),
    }
}

fn reuse(reused: Reused) -> Sentence {
    match reused {
        Reused::Code => Sentence::new(
            SealKind::Refused,
            "The authorization code was presented again; somebody else may have it.",
        ),
        Reused::RefreshToken { generation } => Sentence::new(
            SealKind::Refused,
            "A refresh token was presented again after its use; somebody else may have it.",
        )
        .with("generation", generation.to_string()),
    }
}

pub(super) fn client_token(event: &ClientTokenEvent) -> Sentence {
    match event {
        ClientTokenEvent::TokenIssued { client_id, token, grant_type, scope, resource, at: _ } => {
            Sentence::new(SealKind::Live, client_token_issued(*grant_type))
                .with("token", &token.id)
                .with("application", client_id)
                .with("grant type", grant_type.as_str())
                .with("scope", scope.to_string())
                .with_optional("for", listed(resource.iter().map(Resource::as_str)))
                .with("expires", time(token.expires_at))
        }
        ClientTokenEvent::TokenRevoked { reason, at: _ } => token_revoked(*reason),
    }
}

fn client_token_issued(grant_type: GrantType) -> &'static str {
    match grant_type {
        GrantType::ClientCredentials => "Access token issued to the application itself.",
        GrantType::AuthorizationCode | GrantType::RefreshToken => "Access token issued.",
    }
}

fn token_revoked(reason: RevocationReason) -> Sentence {
    let text = format!("Access token revoked {}.", because(reason));
    Sentence::new(SealKind::Revoked, text).with("reason", reason_name(reason))
}

fn because(reason: RevocationReason) -> &'static str {
    match reason {
        RevocationReason::Client => "by the application",
        RevocationReason::ResourceOwner => "by the user",
        RevocationReason::Superuser => "by a superuser",
        RevocationReason::CodeReplayed => "because its code was presented again",
        RevocationReason::RefreshTokenReused => "because a refresh token was presented again",
    }
}

/// The stored name, for people who search the log.
fn reason_name(reason: RevocationReason) -> &'static str {
    match reason {
        RevocationReason::Client => "client",
        RevocationReason::ResourceOwner => "resource_owner",
        RevocationReason::Superuser => "superuser",
        RevocationReason::CodeReplayed => "code_replayed",
        RevocationReason::RefreshTokenReused => "refresh_token_reused",
    }
}
