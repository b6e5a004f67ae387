//! Which refusals are kept? (A refused command leaves no events, so keeping one is a second command.)
//!
//! A refusal that reached something of ours (a genuine code or token, a user, an authenticated client)
//! is always kept: it is what an auditor and the person with the correlation id will look for. What
//! reached nothing is noise: kept up to a budget a minute, then only counted, or a stranger could fill
//! the log. Keeping never makes a request fail.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use aggregates::refusal::{Refusal, RefusalCommand, RefusedRequest, Rule};
use chrono::{DateTime, Utc};

use crate::commands::{Actor, Origin, Stream};
use crate::error::OAuthError;
use crate::secret::new_id;
use crate::state::AppState;

/// Refusals of strangers kept a minute and node.
const NOISE_A_MINUTE: u32 = 60;

/// How much noise this node has kept in the current minute.
#[derive(Debug, Default)]
pub struct Budget {
    minute: AtomicI64,
    seen: AtomicU32,
}

impl Budget {
    /// Whether one more may be kept. Threads that meet at the turn of a minute may keep a few more.
    fn admits(&self, now: DateTime<Utc>) -> bool {
        let minute = now.timestamp().div_euclid(60);
        let former = self.minute.swap(minute, Ordering::Relaxed);
        if former != minute {
            let seen = self.seen.swap(0, Ordering::Relaxed);
            if seen > NOISE_A_MINUTE {
                let dropped = seen - NOISE_A_MINUTE;
                tracing::warn!(refusals.dropped = dropped, "refusals of strangers were only counted");
            }
        }
        self.seen.fetch_add(1, Ordering::Relaxed) < NOISE_A_MINUTE
    }
}

/// Keeps a refusal, or counts it. `origin` names an actor only when that actor proved who it is.
pub async fn record(state: &AppState, origin: &Origin, refused: RefusedRequest) {
    let now = state.clock.now();
    if is_noise(origin, &refused) && !state.refusals.admits(now) {
        return;
    }
    let rule = refused.rule;
    let command = RefusalCommand::RecordRefusal { refused, at: now };
    let stream = Stream::Fresh(new_id(now));
    if let Err(error) = state.commands.execute::<Refusal>(stream, command, origin).await {
        tracing::error!(
            correlation.id = %origin.correlation_id, refusal.rule = ?rule, error = %error,
            "a refusal could not be kept"
        );
    }
}

/// Whether a stranger could cause any number of these without holding anything of ours.
fn is_noise(origin: &Origin, refused: &RefusedRequest) -> bool {
    match origin.actor {
        Actor::User(_) | Actor::Client(_) | Actor::Operator | Actor::Server => return false,
        Actor::Anonymous => {}
    }
    let reached_token = refused.authorization_id.is_some() || refused.token_id.is_some();
    // A wrong password for a known name is limited by the throttle; knocking on after that is not.
    let reached_user = refused.subject.is_some() && refused.rule != Rule::TooManyAttempts;
    !reached_token && !reached_user
}

/// A refusal on its way out: what the client is told, and what is kept of it.
#[derive(Debug)]
pub struct Refused {
    /// What the client is told.
    pub error: OAuthError,
    /// What is kept; `None` for malformed requests and for faults of ours.
    pub trace: Option<Box<Trace>>,
}

/// What is kept of a refusal, beside where and when.
#[derive(Debug)]
pub struct Trace {
    /// The rule that refused.
    pub rule: Rule,
    /// A client that exists.
    pub client_id: Option<String>,
    /// The user concerned.
    pub subject: Option<String>,
    /// The authorization concerned.
    pub authorization_id: Option<String>,
    /// The token concerned.
    pub token_id: Option<String>,
}

impl Refused {
    /// Refused by a rule.
    #[must_use]
    pub fn by(rule: Rule, error: OAuthError) -> Self {
        let trace =
            Trace { rule, client_id: None, subject: None, authorization_id: None, token_id: None };
        Self { error, trace: Some(Box::new(trace)) }
    }

    /// The same, of a known client.
    #[must_use]
    pub fn of_client(mut self, client_id: &str) -> Self {
        if let Some(trace) = &mut self.trace {
            trace.client_id = Some(client_id.to_owned());
        }
        self
    }

    /// The same, of a genuine code or refresh token.
    #[must_use]
    pub fn of_authorization(mut self, authorization_id: &str) -> Self {
        if let Some(trace) = &mut self.trace {
            trace.authorization_id = Some(authorization_id.to_owned());
        }
        self
    }

    /// The same, of a genuine access token.
    #[must_use]
    pub fn of_token(mut self, token_id: &str) -> Self {
        if let Some(trace) = &mut self.trace {
            trace.token_id = Some(token_id.to_owned());
        }
        self
    }

    /// The same, of a known user.
    #[must_use]
    pub fn of_user(mut self, subject: &str) -> Self {
        if let Some(trace) = &mut self.trace {
            trace.subject = Some(subject.to_owned());
        }
        self
    }
}

impl<E: Into<OAuthError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self { error: error.into(), trace: None }
    }
}

impl Trace {
    /// As it is kept.
    #[must_use]
    pub fn request(self, endpoint: &'static str, error: Option<&str>, correlation_id: &str) -> RefusedRequest {
        RefusedRequest {
            rule: self.rule,
            endpoint: endpoint.to_owned(),
            error: error.map(str::to_owned),
            client_id: self.client_id,
            subject: self.subject,
            authorization_id: self.authorization_id,
            token_id: self.token_id,
            correlation_id: correlation_id.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, TestClock};

    fn origin(actor: Actor) -> Origin {
        Origin::internal(actor, &TestClock::default().shared())
    }

    fn refused(rule: Rule) -> RefusedRequest {
        let trace =
            Trace { rule, client_id: None, subject: None, authorization_id: None, token_id: None };
        trace.request("token", Some("invalid_grant"), "1")
    }

    #[test]
    fn what_reached_something_of_ours_is_no_noise() {
        let stranger = origin(Actor::Anonymous);
        assert!(is_noise(&stranger, &refused(Rule::UnknownClient)));
        assert!(!is_noise(&origin(Actor::Client("a".to_owned())), &refused(Rule::GrantNotAllowed)));
        let genuine = RefusedRequest { authorization_id: Some("1".to_owned()), ..refused(Rule::CodeReplayed) };
        assert!(!is_noise(&stranger, &genuine));
        let throttled = RefusedRequest { subject: Some("1".to_owned()), ..refused(Rule::TooManyAttempts) };
        assert!(is_noise(&stranger, &throttled));
    }

    #[test]
    fn noise_is_kept_up_to_a_budget_a_minute() {
        let (budget, clock) = (Budget::default(), TestClock::default());
        let kept = (0..1_000).filter(|_| budget.admits(clock.now())).count();
        assert_eq!(kept, usize::try_from(NOISE_A_MINUTE).unwrap());
        clock.advance(chrono::TimeDelta::minutes(1));
        assert!(budget.admits(clock.now()));
    }
}
