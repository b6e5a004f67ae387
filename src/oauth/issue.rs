//! What may a token allow, how long does it live, and what does the answer look like?
//!
//! RFC 6749 §3.3 (scope), §5.1 (answer); RFC 8707 §2 (resource); RFC 9700 §4.14.2 (refresh tokens end).

use std::time::Duration;

use aggregates::application::ApplicationSettings;
use aggregates::authorization::IssuedToken;
use aggregates::values::{NewToken, RefreshTerms, Resource, Scope};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::config::Config;
use crate::error::{ErrorCode, OAuthError};
use crate::json;
use crate::keys::Keys;
use crate::secret::{Secret, new_id};
use crate::token::{mint_access_token, mint_refresh_token};

/// Every scope of the catalogue.
#[must_use]
pub fn catalogue(config: &Config) -> Scope {
    named(config.scopes.iter().map(|scope| scope.name.as_str()))
}

/// What this application may ask for today: its own list, as far as the catalogue still has it.
#[must_use]
pub fn allowed_scope(config: &Config, settings: &ApplicationSettings) -> Scope {
    let catalogue = catalogue(config);
    settings.scope.as_ref().map_or_else(|| catalogue.clone(), |own| own.intersect(&catalogue))
}

/// What a request asks for. Without `scope` that is the defaults (RFC 6749 §3.3); an unknown scope, or
/// one that is not this application's, is refused and never dropped.
pub fn requested_scope(
    config: &Config,
    settings: &ApplicationSettings,
    asked: Option<&str>,
) -> Result<Scope, OAuthError> {
    let refused = |description| OAuthError::new(ErrorCode::InvalidScope, description);
    let allowed = allowed_scope(config, settings);
    let Some(scope) = parse_scope(asked)? else {
        let defaults = named(config.scopes.iter().filter(|one| one.default).map(|one| one.name.as_str()));
        let scope = defaults.intersect(&allowed);
        let is_left = !scope.is_empty();
        return is_left.then_some(scope).ok_or_else(|| refused("The request must name a scope."));
    };
    if allowed.contains_all(&scope) {
        Ok(scope)
    } else {
        Err(refused("A requested scope is unknown, or the application may not ask for it."))
    }
}

/// A `scope` parameter; one of blanks alone names nothing and is absent.
pub fn parse_scope(asked: Option<&str>) -> Result<Option<Scope>, OAuthError> {
    let malformed = |_| OAuthError::new(ErrorCode::InvalidScope, "The scope is malformed.");
    let scope = asked.map(Scope::parse).transpose().map_err(malformed)?;
    Ok(scope.filter(|scope| !scope.is_empty()))
}

fn named<'a>(names: impl Iterator<Item = &'a str>) -> Scope {
    // Names of the catalogue were checked when it was read.
    Scope::parse(&names.collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

/// The `resource` parameters of a request, each once. Where the installation lists its resources,
/// others are refused; without a list any is taken, as it only narrows.
pub fn requested_resources<'a>(
    config: &Config,
    asked: impl Iterator<Item = &'a str>,
) -> Result<Vec<Resource>, OAuthError> {
    let refused = |description| OAuthError::new(ErrorCode::InvalidTarget, description);
    let known = known_resources(config);
    let mut resources: Vec<Resource> = Vec::new();
    for text in asked {
        let resource = Resource::parse(text).map_err(|_| refused("A resource is malformed."))?;
        if !known.is_empty() && !known.iter().any(|one| one.same_as(&resource)) {
            return Err(refused("A resource is unknown."));
        }
        if !resources.iter().any(|one| one.same_as(&resource)) {
            resources.push(resource);
        }
        let length: usize = resources.iter().map(|one| one.as_str().len()).sum();
        if resources.len() > MOST_RESOURCES || length > MOST_OF_RESOURCES {
            return Err(refused("There are too many resources."));
        }
    }
    Ok(resources)
}

/// Comparing each with each is quadratic, and nobody needs more.
const MOST_RESOURCES: usize = 32;
/// Bytes of all of them together: they are written with every token, and every node remembers them.
const MOST_OF_RESOURCES: usize = 4 * 1024;

/// The configured ones and our own; empty when none are configured.
fn known_resources(config: &Config) -> Vec<Resource> {
    if config.resources.is_empty() {
        return Vec::new();
    }
    let own = crate::resource::identifiers(config);
    config.resources.iter().filter_map(|text| Resource::parse(text).ok()).chain(own).collect()
}

/// A new access token: the installation's lifetime, or the application's when that is shorter.
#[must_use]
pub fn new_access_token(config: &Config, settings: &ApplicationSettings, now: DateTime<Utc>) -> NewToken {
    let ours = delta(config.lifetimes.access_token);
    let theirs = settings.access_token_lifetime.map(|seconds| TimeDelta::seconds(i64::from(seconds)));
    let lifetime = theirs.map_or(ours, |theirs| theirs.min(ours));
    NewToken { id: new_id(now), expires_at: now + lifetime, confirmation: None }
}

/// How long a new family of refresh tokens lives.
#[must_use]
pub fn refresh_terms(config: &Config, now: DateTime<Utc>) -> RefreshTerms {
    RefreshTerms {
        idle_expires_at: now + delta(config.lifetimes.refresh_token_idle),
        absolute_expires_at: now + delta(config.lifetimes.refresh_token),
    }
}

/// A century where the configuration says more than a time can hold.
fn delta(lifetime: Duration) -> TimeDelta {
    let century = TimeDelta::days(36_525);
    TimeDelta::from_std(lifetime).map_or(century, |delta| delta.min(century))
}

/// A successful answer of the token endpoint (RFC 6749 §5.1).
#[derive(Debug)]
pub struct TokenAnswer {
    access_token: Secret,
    expires_in: i64,
    scope: Scope,
    refresh_token: Option<Secret>,
}

impl TokenAnswer {
    /// For a client's own token.
    pub fn for_client(
        keys: &Keys,
        token: &NewToken,
        scope: Scope,
        now: DateTime<Utc>,
    ) -> Result<Self, OAuthError> {
        let expires_in = (token.expires_at - now).num_seconds();
        Ok(Self { access_token: mint_access_token(keys, &token.id)?, expires_in, scope, refresh_token: None })
    }

    /// For what an authorization gave last. The same state gives the same answer, which is how a lost
    /// one is given again.
    pub fn for_authorization(
        keys: &Keys,
        authorization_id: &str,
        issued: &IssuedToken,
        now: DateTime<Utc>,
    ) -> Result<Self, OAuthError> {
        let answer = Self::for_client(keys, &issued.token, issued.scope.clone(), now)?;
        let refresh = issued.refresh.as_ref();
        let refresh_token = refresh
            .map(|refresh| mint_refresh_token(keys, authorization_id, refresh.generation))
            .transpose()?;
        Ok(Self { refresh_token, ..answer })
    }

    /// The answer as it goes out.
    #[must_use]
    pub fn into_response(self) -> Response {
        let body = TokenBody {
            access_token: self.access_token.expose(),
            expires_in: self.expires_in,
            token_type: "Bearer",
            scope: self.scope.to_string(),
            refresh_token: self.refresh_token.as_ref().map(Secret::expose),
        };
        json::answer(StatusCode::OK, &body)
    }
}

/// Members in the order the tutorial prints them.
#[derive(Serialize)]
struct TokenBody<'a> {
    access_token: &'a str,
    expires_in: i64,
    token_type: &'static str,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::body::to_bytes;

    use super::*;
    use crate::clock::{Clock, TestClock};
    use crate::config::Environment;
    use crate::keys::RootSecret;

    #[tokio::test]
    async fn an_answer_reads_like_the_tutorials() {
        let keys = Keys::derive(&RootSecret::generate()).unwrap();
        let now = TestClock::default().now();
        let token =
            NewToken { id: new_id(now), expires_at: now + TimeDelta::seconds(36_000), confirmation: None };
        let scope = Scope::parse("read write").unwrap();
        let answer = TokenAnswer::for_client(&keys, &token, scope, now).unwrap();
        let text = answer.access_token.expose().to_owned();
        let body = to_bytes(answer.into_response().into_body(), 1 << 16).await.unwrap();
        let expected = format!(
            r#"{{"access_token": "{text}", "expires_in": 36000, "token_type": "Bearer", "scope": "read write"}}"#
        );
        assert_eq!(String::from_utf8(body.to_vec()).unwrap(), expected);
    }

    #[test]
    fn resources_are_bounded_in_number_and_together_in_length() {
        let home = Environment::from_iter([("HOME", "/nonexistent")]);
        let config = Config::load(&BTreeMap::new(), &home).unwrap();
        let are_taken = |length: usize, count: usize| {
            let texts: Vec<String> = (0..count)
                .map(|number| format!("https://api.example/{number:02}{}", "x".repeat(length - 22)))
                .collect();
            requested_resources(&config, texts.iter().map(String::as_str))
                .map(|resources| resources.len())
                .map_err(|error| error.code)
        };
        let too_many = Err(ErrorCode::InvalidTarget);
        assert_eq!((are_taken(60, 32), are_taken(60, 33)), (Ok(32), too_many));
        assert_eq!((are_taken(2_048, 2), are_taken(2_048, 3)), (Ok(2), too_many));
    }

    #[test]
    fn a_scope_of_blanks_is_absent_and_a_malformed_one_refused() {
        assert_eq!(parse_scope(Some("  ")), Ok(None));
        assert_eq!(parse_scope(Some("a\"b")).unwrap_err().code, ErrorCode::InvalidScope);
        assert_eq!(parse_scope(Some("a  b a")).unwrap().unwrap().to_string(), "a b");
    }
}
