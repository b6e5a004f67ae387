//! What tests start from: what happened before, and values with defaults.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::test::{AggregateTestExecutor, TestFramework};
use cqrs_es::{Aggregate, DomainEvent};

use crate::values::{NewToken, RefreshTerms, Resource, Scope, SecretKind, SecretRef};

/// An aggregate to which this happened.
pub fn given<A>(events: Vec<A::Event>) -> AggregateTestExecutor<A>
where
    A: Aggregate<Services = ()>,
    A::Event: DomainEvent,
{
    TestFramework::<A>::with(()).given(events)
}

/// The state that these events lead to.
pub fn state<A: Aggregate>(events: Vec<A::Event>) -> A {
    let mut state = A::default();
    for event in events {
        state.apply(event);
    }
    state
}

/// The test clock: so many seconds after its start.
pub fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(seconds)
}

pub fn scope(names: &str) -> Scope {
    Scope::parse(names).unwrap()
}

pub fn resources(uris: &[&str]) -> Vec<Resource> {
    uris.iter().map(|uri| Resource::parse(uri).unwrap()).collect()
}

pub fn secret(id: &str) -> SecretRef {
    SecretRef { id: id.to_owned(), kind: SecretKind::KeyedSha256 }
}

pub fn token(id: &str, expires: i64) -> NewToken {
    NewToken { id: id.to_owned(), expires_at: at(expires), confirmation: None }
}

pub fn terms(idle: i64, absolute: i64) -> RefreshTerms {
    RefreshTerms { idle_expires_at: at(idle), absolute_expires_at: at(absolute) }
}
