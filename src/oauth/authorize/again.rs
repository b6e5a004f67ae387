//! Must the person log in again? `prompt=login` and `max_age` (OIDC Core §3.1.2.1).
//!
//! A request that demands it comes back from the login page still demanding it. What ends the circle is
//! a sealed note of when the demand was made: a login after that satisfies it, and nobody but us can
//! write such a note.

use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};

use super::request::Asked;
use crate::extract::form_pairs::Pairs;
use crate::extract::request_context::RequestContext;
use crate::extract::session::LoggedIn;
use crate::pages::found;
use crate::pages::next::login_path;
use crate::pages::page_error::PageError;
use crate::state::AppState;

/// The parameter that carries the note.
const NOTE: &str = "login_demanded";
const PURPOSE: &str = "login_demanded";

/// Whether the request demands a login that has not happened.
#[must_use]
pub fn is_due(
    state: &AppState,
    context: &RequestContext,
    pairs: &Pairs,
    asked: &Asked,
    session: &LoggedIn,
) -> bool {
    let auth_time = session.session.auth_time;
    let is_demanded =
        asked.prompt.login || asked.max_age.is_some_and(|age| is_older(context.now, auth_time, age));
    is_demanded && find_note(state, context, pairs).is_none_or(|demanded| auth_time < demanded)
}

/// Zero demands a login always.
fn is_older(now: DateTime<Utc>, auth_time: DateTime<Utc>, seconds: u64) -> bool {
    let age = u64::try_from((now - auth_time).num_seconds()).unwrap_or_default();
    seconds == 0 || age > seconds
}

fn find_note(state: &AppState, context: &RequestContext, pairs: &Pairs) -> Option<DateTime<Utc>> {
    let note = pairs.get(NOTE).ok()??;
    state.sealed.open(PURPOSE, "", context.now, note).ok()
}

/// To the login page, also for somebody who is logged in, and back here with the note.
pub fn send(state: &AppState, context: &RequestContext) -> Result<Response, PageError> {
    let lifetime = TimeDelta::from_std(state.config.lifetimes.login_form).unwrap_or(TimeDelta::hours(1));
    let note = state.sealed.seal(PURPOSE, "", context.now + lifetime, &context.now)?;
    let here = here(context);
    let join = if here.contains('?') { '&' } else { '?' };
    found(&login_path(&format!("{here}{join}{NOTE}={note}"), true))
}

/// This request, without a note of an earlier demand.
#[must_use]
pub fn here(context: &RequestContext) -> String {
    let query = context.query.as_deref().unwrap_or_default();
    let is_note = |pair: &&str| pair.split('=').next() == Some(NOTE);
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !is_note(pair)).collect();
    if kept.is_empty() { context.path.clone() } else { format!("{}?{}", context.path, kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, TestClock};

    #[test]
    fn max_age_zero_demands_a_login_always() {
        let now = TestClock::default().now();
        assert!(is_older(now, now, 0));
        assert!(!is_older(now, now - TimeDelta::seconds(60), 60));
        assert!(is_older(now, now - TimeDelta::seconds(61), 60));
        assert!(!is_older(now, now - TimeDelta::days(60), u64::MAX));
    }
}
