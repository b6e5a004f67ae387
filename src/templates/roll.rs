//! What happened, in words? The roll: newest on top, a sentence an event, details folded behind
//! it, branches where one thing led to another.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::components::{Link, Seal};

/// One event on the roll.
#[derive(Debug, Clone, Serialize)]
pub struct TimelineEntry {
    /// Place in the one order of all events; also the entry's anchor, `#event-4217`.
    pub position: u64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened, in one sentence.
    pub sentence: String,
    /// What it made of the thing it happened to.
    pub seal: Seal,
    /// What else is known, folded away: label and value. Long ids are shortened on the page.
    pub details: Vec<(String, String)>,
    /// Who did it; `None` for what the server did of itself.
    pub actor: Option<String>,
    /// Where to read on.
    pub links: Vec<Link>,
    /// The thing this event belongs to, if that is not the roll's own subject.
    pub branch: Option<Branch>,
}

/// A thing whose events stand together beside the roll's line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Branch {
    /// What tells this branch from another, such as the authorization's id.
    pub id: String,
    /// What it is called: `Authorization for admin`.
    pub label: String,
    /// Its own page.
    pub href: Option<String>,
}

/// A page of the roll.
#[derive(Debug, Clone, Serialize)]
pub struct Roll {
    days: Vec<RollDay>,
    /// Where the older events are; `None` if these are the first.
    older: Option<String>,
    /// Where the newest events are; `None` if these are they.
    newest: Option<String>,
    /// The last event the roll knows of, when there are newer ones it does not know yet.
    up_to: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
struct RollDay {
    date: NaiveDate,
    at: DateTime<Utc>,
    groups: Vec<RollGroup>,
}

#[derive(Debug, Clone, Serialize)]
struct RollGroup {
    branch: Option<Branch>,
    entries: Vec<TimelineEntry>,
}

impl TimelineEntry {
    /// An event in one sentence, with nothing else known about it.
    #[must_use]
    pub fn new(position: u64, at: DateTime<Utc>, seal: Seal, sentence: impl Into<String>) -> Self {
        Self {
            position,
            at,
            sentence: sentence.into(),
            seal,
            details: Vec::new(),
            actor: None,
            links: Vec::new(),
            branch: None,
        }
    }

    /// Says who did it.
    #[must_use]
    pub fn by(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Adds a detail to what is folded away.
    #[must_use]
    pub fn detail(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((label.into(), value.into()));
        self
    }

    /// Adds a place to read on.
    #[must_use]
    pub fn link(mut self, label: impl Into<String>, href: impl Into<String>) -> Self {
        self.links.push(Link::new(label, href));
        self
    }

    /// Puts the event beside the roll's line, with its neighbours of the same branch.
    #[must_use]
    pub fn on_branch(mut self, branch: Branch) -> Self {
        self.branch = Some(branch);
        self
    }
}

impl Roll {
    /// Arranges entries, which must be newest first, by day and by branch.
    #[must_use]
    pub fn new(entries: Vec<TimelineEntry>, older: Option<String>) -> Self {
        let mut days: Vec<RollDay> = Vec::new();
        for entry in entries {
            let date = entry.at.date_naive();
            match days.last_mut() {
                Some(day) if day.date == date => day.push(entry),
                Some(_) | None => {
                    let mut day = RollDay { date, at: entry.at, groups: Vec::new() };
                    day.push(entry);
                    days.push(day);
                }
            }
        }
        Self { days, older, newest: None, up_to: None }
    }

    /// The same page with a link back to the newest events.
    #[must_use]
    pub fn with_newest(mut self, newest: impl Into<String>) -> Self {
        self.newest = Some(newest.into());
        self
    }

    /// The same page with a remark that events after this one will follow; `None`: there are none.
    #[must_use]
    pub fn shown_up_to(mut self, position: Option<u64>) -> Self {
        self.up_to = position;
        self
    }
}

impl RollDay {
    fn push(&mut self, entry: TimelineEntry) {
        match self.groups.last_mut() {
            Some(group) if group.branch == entry.branch => group.entries.push(entry),
            Some(_) | None => {
                self.groups.push(RollGroup { branch: entry.branch.clone(), entries: vec![entry] });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(position: u64, day: i64, branch: Option<&str>) -> TimelineEntry {
        let at = DateTime::from_timestamp(day * 86_400, 0).unwrap();
        let entry = TimelineEntry::new(position, at, Seal::Neutral, "");
        match branch {
            Some(id) => entry.on_branch(Branch { id: id.into(), label: id.into(), href: None }),
            None => entry,
        }
    }

    #[test]
    fn neighbours_of_one_branch_and_day_stand_together() {
        let roll = Roll::new(
            vec![
                entry(5, 2, Some("a")),
                entry(4, 2, Some("a")),
                entry(3, 2, None),
                entry(2, 2, Some("a")),
                entry(1, 1, Some("a")),
            ],
            None,
        );
        let shape: Vec<Vec<usize>> = roll
            .days
            .iter()
            .map(|day| day.groups.iter().map(|group| group.entries.len()).collect())
            .collect();
        assert_eq!(shape, [vec![2, 1, 1], vec![1]]);
    }
}
