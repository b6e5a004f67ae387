//! Must the person log in again? `prompt=login` and `max_age` (OIDC Core §3.1.2.1).
//!
//! A request that demands it comes back from the login page still demanding it. What ends the circle is
//! a sealed note that the login page adds when it has let somebody in: it opens in the session that this
//! login began and for this request only, for a minute. It holds the id of the authorization to be, and
//! as the same authorization cannot be granted twice, neither can a note be used twice, on any node.

use aws_lc_rs::digest::{Context, SHA256};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};

use super::request::Asked;
use crate::extract::form_pairs::Pairs;
use crate::extract::request_context::RequestContext;
use crate::extract::session::LoggedIn;
use crate::pages::found;
use crate::pages::next::login_path;
use crate::pages::page_error::PageError;
use crate::sealing::SealError;
use crate::secret::new_id;
use crate::state::AppState;
use crate::templates::paths;

/// The parameter that carries the note.
const NOTE: &str = "login_done";
const PURPOSE: &str = "login_done";
/// From the login page back to here.
const LIFETIME: TimeDelta = TimeDelta::minutes(1);

/// What a request demands of the person at the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A login that has not happened.
    Login,
    /// Nothing more; this is the id of the authorization to be.
    Nothing {
        /// That of the note, if it was needed.
        authorization_id: String,
    },
}

/// What the request demands now.
#[must_use]
pub fn demand(
    state: &AppState,
    context: &RequestContext,
    pairs: &Pairs,
    asked: &Asked,
    session: &LoggedIn,
) -> Demand {
    let auth_time = session.session.auth_time;
    let is_demanded =
        asked.prompt.login || asked.max_age.is_some_and(|age| is_older(context.now, auth_time, age));
    if !is_demanded {
        return Demand::Nothing { authorization_id: new_id(context.now) };
    }
    match find_note(state, context, pairs, &session.session.session_id) {
        Some(authorization_id) => Demand::Nothing { authorization_id },
        None => Demand::Login,
    }
}

/// Zero demands a login always.
fn is_older(now: DateTime<Utc>, auth_time: DateTime<Utc>, seconds: u64) -> bool {
    let age = u64::try_from((now - auth_time).num_seconds()).unwrap_or_default();
    seconds == 0 || age > seconds
}

fn find_note(state: &AppState, context: &RequestContext, pairs: &Pairs, session_id: &str) -> Option<String> {
    let note = pairs.get(NOTE).ok()??;
    state.sealed.open(PURPOSE, &bound_to(session_id, pairs), context.now, note).ok()
}

/// The session and the request, as it is read and not as it is written: browsers may encode it anew.
fn bound_to(session_id: &str, pairs: &Pairs) -> String {
    let mut hash = Context::new(&SHA256);
    for text in pairs.without(NOTE).flat_map(|(name, value)| [name, value]) {
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    format!("{session_id} {}", URL_SAFE_NO_PAD.encode(hash.finish()))
}

/// To the login page, also for somebody who is logged in, and back here.
pub fn send(context: &RequestContext) -> Result<Response, PageError> {
    found(&login_path(&here(context), true))
}

/// Where to go on after a login: an authorization request that may demand one is told that it happened,
/// just now and in this session.
pub fn after_login(
    state: &AppState,
    context: &RequestContext,
    next: &str,
    session_id: &str,
) -> Result<String, SealError> {
    let unchanged = || Ok(next.to_owned());
    let Some((path, query)) = next.split_once('?') else { return unchanged() };
    let Ok(pairs) = Pairs::parse_query(query) else { return unchanged() };
    let may_demand = ["prompt", "max_age"].iter().any(|name| pairs.raw(name).is_some());
    if !is_endpoint(path) || !may_demand {
        return unchanged();
    }
    let authorization_id = new_id(context.now);
    let bound_to = bound_to(session_id, &pairs);
    let note = state.sealed.seal(PURPOSE, &bound_to, context.now + LIFETIME, &authorization_id)?;
    Ok(format!("{path}?{}&{NOTE}={note}", without_note(query)))
}

/// Whether a path is that of the authorization endpoint.
#[must_use]
pub fn is_endpoint(path: &str) -> bool {
    path.trim_end_matches('/') == paths::AUTHORIZE.trim_end_matches('/')
}

/// This request, without the note of a login.
#[must_use]
pub fn here(context: &RequestContext) -> String {
    let kept = without_note(context.query.as_deref().unwrap_or_default());
    if kept.is_empty() { context.path.clone() } else { format!("{}?{kept}", context.path) }
}

fn without_note(query: &str) -> String {
    let is_note = |pair: &&str| pair.split('=').next() == Some(NOTE);
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !is_note(pair)).collect();
    kept.join("&")
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
