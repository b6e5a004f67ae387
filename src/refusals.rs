//! Which refusals are kept? (A refused command leaves no events, so keeping one is a second command.)
//!
//! A refusal that reached something of ours (a genuine code or token, a user, an authenticated client)
//! is what an auditor and the person with the correlation id will look for. But one dead code can be
//! presented for ever, so of what reached the same thing by the same rule the first few an hour are
//! kept, and then they are only counted. What reached nothing is noise: kept up to a budget a minute, or
//! a stranger could fill the log; and strangers have a budget for all they reach. What is not kept is
//! told by a metric and a line of the log. Keeping never makes a request fail.

use std::sync::{Mutex, PoisonError};

use aggregates::refusal::{Refusal, RefusalCommand, RefusedRequest, Rule};
use chrono::{DateTime, TimeDelta, Utc};
use hashlink::LruCache;

use crate::commands::{Actor, Origin, Stream};
use crate::error::OAuthError;
use crate::secret::new_id;
use crate::state::AppState;

const MINUTE: TimeDelta = TimeDelta::minutes(1);
const HOUR: TimeDelta = TimeDelta::hours(1);

/// Refusals of strangers that reached nothing, kept a minute and node.
const NOISE_A_MINUTE: u32 = 60;
/// Refusals of strangers that reached something, kept a minute and node.
const STRANGERS_A_MINUTE: u32 = 300;
/// Refusals of one authorization or token by one rule, kept an hour and node.
const OF_A_GRANT_AN_HOUR: u32 = 5;
/// Refusals of one user or client by one rule, kept an hour and node.
const OF_AN_ACTOR_AN_HOUR: u32 = 60;
/// Things and rules counted at a time; to reach more takes a grant, a login or an application each.
const COUNTED: usize = 20_000;

/// How much this node has kept lately, of what.
#[derive(Debug)]
pub struct Budget(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    noise: Count,
    strangers: Count,
    things: LruCache<(String, Rule), Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    since: DateTime<Utc>,
    seen: u32,
}

/// What a refusal is counted under.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reached {
    /// Nothing that is not a stranger's own.
    Nothing,
    /// A thing of ours, of which so many an hour are kept.
    Thing(String, u32),
    /// The server's own doing, or an operator's.
    Ours,
}

impl Default for Budget {
    fn default() -> Self {
        Self(Mutex::new(Counts {
            noise: Count::default(),
            strangers: Count::default(),
            things: LruCache::new(COUNTED),
        }))
    }
}

impl Budget {
    /// Whether one more may be kept.
    fn admits(&self, now: DateTime<Utc>, origin: &Origin, refused: &RefusedRequest) -> bool {
        let is_stranger = matches!(origin.actor, Actor::Anonymous);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match reached(origin, refused) {
            Reached::Ours => true,
            Reached::Nothing => counts.noise.admits(now, MINUTE, NOISE_A_MINUTE, "strangers"),
            Reached::Thing(thing, an_hour) => {
                let key = (thing, refused.rule);
                let mut count = counts.things.remove(&key).unwrap_or_default();
                let is_admitted = count.admits(now, HOUR, an_hour, &key.0)
                    && (!is_stranger
                        || counts.strangers.admits(
                            now,
                            MINUTE,
                            STRANGERS_A_MINUTE,
                            "strangers with a genuine token",
                        ));
                counts.things.insert(key, count);
                is_admitted
            }
        }
    }
}

impl Count {
    /// Whether one more is within the limit of this period. What was not is said once, with the first of
    /// the next period.
    fn admits(&mut self, now: DateTime<Utc>, period: TimeDelta, limit: u32, of: &str) -> bool {
        if now - self.since >= period || now < self.since {
            let dropped = self.seen.saturating_sub(limit);
            if dropped > 0 {
                tracing::warn!(
                    refusals.dropped = dropped,
                    refusals.of = of,
                    what_to_do = "Find out who: the timeline has the first. Keep strangers out by the proxy.",
                    "refusals were only counted"
                );
            }
            *self = Self { since: now, seen: 0 };
        }
        self.seen = self.seen.saturating_add(1);
        self.seen <= limit
    }
}

/// Keeps a refusal, or counts it. `origin` names an actor only when that actor proved who it is.
pub async fn record(state: &AppState, origin: &Origin, refused: RefusedRequest) {
    let now = state.clock.now();
    if !state.refusals.admits(now, origin, &refused) {
        state.metrics.refusals_dropped.inc();
        return;
    }
    let rule = refused.rule;
    let command = RefusalCommand::RecordRefusal { refused, at: now };
    let stream = Stream::Fresh(new_id(now));
    if let Err(error) = state.commands.execute::<Refusal>(stream, command, origin).await {
        tracing::error!(
            correlation.id = %origin.correlation_id, refusal.rule = ?rule, error = %error,
            what_to_do = "See to the database. The request was refused all the same.",
            "a refusal could not be kept"
        );
    }
}

/// The most particular thing that was reached.
fn reached(origin: &Origin, refused: &RefusedRequest) -> Reached {
    if let Some(id) = refused.authorization_id.as_ref().or(refused.token_id.as_ref()) {
        return Reached::Thing(id.clone(), OF_A_GRANT_AN_HOUR);
    }
    match &origin.actor {
        Actor::Operator | Actor::Server => Reached::Ours,
        Actor::User(id) | Actor::Client(id) => Reached::Thing(id.clone(), OF_AN_ACTOR_AN_HOUR),
        // A wrong password for a known name is limited by the throttle; knocking on after that is noise.
        Actor::Anonymous if refused.rule == Rule::TooManyAttempts => Reached::Nothing,
        Actor::Anonymous => match &refused.subject {
            Some(subject) => Reached::Thing(subject.clone(), OF_AN_ACTOR_AN_HOUR),
            None => Reached::Nothing,
        },
    }
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
        let trace = Trace { rule, client_id: None, subject: None, authorization_id: None, token_id: None };
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
    pub fn request(
        self,
        endpoint: &'static str,
        error: Option<&str>,
        correlation_id: &str,
    ) -> RefusedRequest {
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
        let trace = Trace { rule, client_id: None, subject: None, authorization_id: None, token_id: None };
        trace.request("token", Some("invalid_grant"), "1")
    }

    fn of_authorization(id: &str, rule: Rule) -> RefusedRequest {
        RefusedRequest { authorization_id: Some(id.to_owned()), ..refused(rule) }
    }

    /// How many of so many are kept.
    fn kept(budget: &Budget, clock: &TestClock, actor: &Actor, refused: &RefusedRequest) -> u32 {
        let origin = origin(actor.clone());
        (0..1_000).map(|_| u32::from(budget.admits(clock.now(), &origin, refused))).sum()
    }

    #[test]
    fn what_reached_something_of_ours_is_no_noise() {
        let stranger = origin(Actor::Anonymous);
        assert_eq!(reached(&stranger, &refused(Rule::UnknownClient)), Reached::Nothing);
        let thing = |id: &str, an_hour| Reached::Thing(id.to_owned(), an_hour);
        let client = origin(Actor::Client("a".to_owned()));
        assert_eq!(reached(&client, &refused(Rule::GrantNotAllowed)), thing("a", OF_AN_ACTOR_AN_HOUR));
        let genuine = of_authorization("1", Rule::CodeReplayed);
        assert_eq!(reached(&stranger, &genuine), thing("1", OF_A_GRANT_AN_HOUR));
        assert_eq!(reached(&client, &genuine), thing("1", OF_A_GRANT_AN_HOUR));
        let wrong = RefusedRequest { subject: Some("1".to_owned()), ..refused(Rule::WrongPassword) };
        assert_eq!(reached(&stranger, &wrong), thing("1", OF_AN_ACTOR_AN_HOUR));
        let throttled = RefusedRequest { rule: Rule::TooManyAttempts, ..wrong };
        assert_eq!(reached(&stranger, &throttled), Reached::Nothing);
    }

    #[test]
    fn noise_is_kept_up_to_a_budget_a_minute() {
        let (budget, clock) = (Budget::default(), TestClock::default());
        let noise = refused(Rule::UnknownClient);
        assert_eq!(kept(&budget, &clock, &Actor::Anonymous, &noise), NOISE_A_MINUTE);
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(kept(&budget, &clock, &Actor::Anonymous, &noise), NOISE_A_MINUTE);
    }

    #[test]
    fn of_one_dead_code_the_first_few_an_hour_are_kept_whoever_presents_it() {
        let (budget, clock) = (Budget::default(), TestClock::default());
        let client = Actor::Client("a".to_owned());
        let dead = of_authorization("1", Rule::CodeReplayed);
        assert_eq!(kept(&budget, &clock, &client, &dead), OF_A_GRANT_AN_HOUR);
        assert_eq!(kept(&budget, &clock, &Actor::Anonymous, &dead), 0);
        // Another code, and another rule, are news.
        assert_eq!(
            kept(&budget, &clock, &client, &of_authorization("2", Rule::CodeReplayed)),
            OF_A_GRANT_AN_HOUR
        );
        assert_eq!(
            kept(&budget, &clock, &client, &of_authorization("1", Rule::WrongClient)),
            OF_A_GRANT_AN_HOUR
        );
        clock.advance(TimeDelta::minutes(59));
        assert_eq!(kept(&budget, &clock, &client, &dead), 0);
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(kept(&budget, &clock, &client, &dead), OF_A_GRANT_AN_HOUR);
    }

    #[test]
    fn a_user_or_client_has_a_budget_and_so_have_strangers_with_many_codes() {
        let (budget, clock) = (Budget::default(), TestClock::default());
        let own = refused(Rule::GrantNotAllowed);
        for actor in [Actor::Client("a".to_owned()), Actor::User("u".to_owned())] {
            assert_eq!(kept(&budget, &clock, &actor, &own), OF_AN_ACTOR_AN_HOUR);
        }
        assert_eq!(kept(&budget, &clock, &Actor::Operator, &own), 1_000);
        let stranger = origin(Actor::Anonymous);
        let codes = (0..1_000).map(|id| of_authorization(&id.to_string(), Rule::CodeExpired));
        let kept = codes.filter(|code| budget.admits(clock.now(), &stranger, code)).count();
        assert_eq!(kept, usize::try_from(STRANGERS_A_MINUTE).unwrap());
    }
}
