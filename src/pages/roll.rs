//! What happened to this thing, in words? From the timeline's rows through the events themselves to the
//! entries of a page.
//!
//! The timeline follows the log with a checkpoint. A page waits a moment for it, and if it is still
//! behind, says up to which event it goes: a roll may be short, but never silently.

mod names;

use std::collections::BTreeMap;
use std::time::Duration;

use aggregates::DecodeError;
use projections::read::ReadError;
use projections::timeline::{self, SealKind, Sentence, TimelineRow, list_timeline, sentence};

use self::names::Names;
use crate::journal::history::{Place, list_events};
use crate::journal::{EngineError, engine::StoredRow};
use crate::pages::page_error::PageError;
use crate::personal::PersonalError;
use crate::state::AppState;
use crate::templates::components::Seal;
use crate::templates::roll::{Branch, Roll, TimelineEntry};

/// Events on one page.
pub const PAGE: u32 = 50;
/// How long a page waits for the timeline.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Their subject.
    pub subject: &'a str,
    /// Whether they see addresses and what belongs to others.
    pub is_superuser: bool,
}

/// Which part of which roll.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The thing: `application:…`, `authorization:…`, `user:…`.
    pub about: &'a str,
    /// Only events before this position; `None` begins with the newest.
    pub before: Option<i64>,
    /// The page it is shown on.
    pub path: &'a str,
}

/// Why a roll cannot be read; always our fault.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// The database does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Personal data cannot be opened.
    #[error(transparent)]
    Personal(#[from] PersonalError),
}

impl From<EngineError> for RollError {
    fn from(error: EngineError) -> Self {
        Self::Read(error.into())
    }
}

impl From<RollError> for PageError {
    fn from(error: RollError) -> Self {
        match error {
            RollError::Read(error) => error.into(),
            RollError::Personal(error) => error.into(),
        }
    }
}

/// Reads one page of the roll of a thing.
pub async fn read_roll(state: &AppState, wanted: Wanted<'_>, reader: Reader<'_>) -> Result<Roll, RollError> {
    let behind = wait_for_timeline(state).await?;
    let mut rows = list_timeline(&state.journal, wanted.about, wanted.before, PAGE + 1).await?;
    let has_older = rows.len() > PAGE as usize;
    rows.truncate(PAGE as usize);
    let older =
        rows.last().filter(|_| has_older).map(|row| format!("{}?before={}", wanted.path, row.position));
    let places: Vec<Place> = rows.iter().map(place).collect();
    let events = list_events(state.journal.engine(), &places).await?;
    let mut names = Names::new(state, reader);
    let mut entries = Vec::with_capacity(rows.len());
    for (row, event) in rows.iter().zip(&events) {
        entries.push(entry(&mut names, wanted.about, row, event).await?);
    }
    let roll = Roll::new(entries, older).shown_up_to(behind);
    Ok(if wanted.before.is_some() { roll.with_newest(wanted.path) } else { roll })
}

/// Waits until the timeline has what was known when the page was asked for; the position it has
/// reached when it has not.
async fn wait_for_timeline(state: &AppState) -> Result<Option<u64>, EngineError> {
    let wanted = state.journal.applied();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(10);
    loop {
        let reached = state.journal.engine().checkpoint(&timeline::PROJECTION).await?;
        if reached >= wanted {
            return Ok(None);
        }
        state.journal.hurry_projections();
        if tokio::time::Instant::now() + pause > deadline {
            return Ok(Some(unsigned(reached)));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

async fn entry(
    names: &mut Names<'_>,
    about: &str,
    row: &TimelineRow,
    stored: &StoredRow,
) -> Result<TimelineEntry, RollError> {
    let said = say(stored)?;
    let metadata: BTreeMap<String, String> = serde_json::from_str(&stored.event.metadata).map_err(damaged)?;
    let position = unsigned(row.position);
    let mut entry = TimelineEntry::new(position, row.at, seal(said.seal_kind), said.text);
    for (label, value) in said.details {
        entry = names.detail(entry, about, label, value).await?;
    }
    entry = names.origin(entry, &metadata).await?;
    entry.actor = match metadata.get("actor") {
        Some(actor) => names.actor(actor).await?,
        None => None,
    };
    entry.branch = branch(names, about, row).await?;
    Ok(entry)
}

/// The events of another stream stand beside the line: an authorization on its application's roll.
async fn branch(names: &mut Names<'_>, about: &str, row: &TimelineRow) -> Result<Option<Branch>, RollError> {
    let own = format!("{}:{}", row.aggregate_type, row.aggregate_id);
    if row.aggregate_type != "authorization" || own == about {
        return Ok(None);
    }
    names.authorization(&row.aggregate_id).await.map(Some)
}

/// The event in words. One that this program does not know is shown by its name: a newer program wrote it.
fn say(stored: &StoredRow) -> Result<Sentence, RollError> {
    match stored.decode() {
        Ok(event) => Ok(sentence(&event)),
        Err(DecodeError::Unknown { event_type, event_version }) => Ok(Sentence {
            text: format!(
                "Something happened that this version of the program has no words for ({event_type})."
            ),
            seal_kind: SealKind::Neutral,
            details: vec![("version", event_version)],
        }),
        Err(error @ (DecodeError::Damaged { .. } | DecodeError::Unencodable { .. })) => Err(damaged(error)),
    }
}

fn place(row: &TimelineRow) -> Place {
    Place {
        position: row.position,
        aggregate_type: row.aggregate_type.clone(),
        aggregate_id: row.aggregate_id.clone(),
        sequence: row.sequence,
    }
}

fn seal(kind: SealKind) -> Seal {
    match kind {
        SealKind::Live => Seal::Live,
        SealKind::Used => Seal::Used,
        SealKind::Revoked => Seal::Revoked,
        SealKind::Expired => Seal::Expired,
        SealKind::Refused => Seal::Refused,
        SealKind::Neutral => Seal::Neutral,
    }
}

fn unsigned(position: i64) -> u64 {
    u64::try_from(position).unwrap_or_default()
}

fn damaged(error: impl std::error::Error) -> RollError {
    EngineError::Damaged(error.to_string()).into()
}
