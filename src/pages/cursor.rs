//! Where does the next page of a list begin? The link says it in a sealed word, so that nobody can ask
//! for a place they were not given: not behind somebody else's row, and not in another list.

use chrono::{DateTime, TimeDelta, Utc};

use super::page_error::PageError;
use crate::extract::form_pairs::Pairs;
use crate::extract::request_context::RequestContext;
use crate::extract::session::LoggedIn;
use crate::sealing::{SealError, SealedBox};
use crate::state::AppState;

const PURPOSE: &str = "cursor";
/// A page that was left open for longer starts again.
const LIFETIME: TimeDelta = TimeDelta::days(14);

/// The address of the page of this list that begins behind the row with this id.
pub fn next_page(
    state: &AppState,
    context: &RequestContext,
    me: &LoggedIn,
    list: &str,
    id: &str,
) -> Result<String, PageError> {
    let cursor = seal(&state.sealed, context.now, list, me.subject(), id);
    let cursor = cursor.map_err(|error| PageError::Internal(error.to_string()))?;
    Ok(format!("{list}?after={cursor}"))
}

/// The id that the former page ended with, from the parameter `after`.
pub fn after(
    state: &AppState,
    context: &RequestContext,
    me: &LoggedIn,
    list: &str,
    pairs: &Pairs,
) -> Result<Option<String>, PageError> {
    open(&state.sealed, context.now, list, me.subject(), pairs)
}

/// The word that says where the page of this reader's list begins.
pub fn seal(
    sealed: &SealedBox,
    now: DateTime<Utc>,
    list: &str,
    reader: &str,
    id: &str,
) -> Result<String, SealError> {
    sealed.seal(PURPOSE, &bound_to(reader, list), now + LIFETIME, &id)
}

/// What the parameter `after` says, if it was [`seal`]ed for this reader's list.
pub fn open(
    sealed: &SealedBox,
    now: DateTime<Utc>,
    list: &str,
    reader: &str,
    pairs: &Pairs,
) -> Result<Option<String>, PageError> {
    let Some(cursor) = pairs.get("after")? else { return Ok(None) };
    let id = sealed.open(PURPOSE, &bound_to(reader, list), now, cursor);
    id.map(Some).map_err(|_| {
        PageError::BadRequest("There is no such place in the list. Start at its beginning.".to_owned())
    })
}

fn bound_to(reader: &str, list: &str) -> String {
    format!("{list} of {reader}")
}
