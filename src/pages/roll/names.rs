//! Who and what is meant by an id? Names are opened for the page and kept for it alone.

use std::collections::BTreeMap;

use projections::applications::{Application, find_application};
use projections::authorizations::find_authorization;
use projections::users::find_user;

use super::{Reader, RollError};
use crate::accounts::{ERASED, shown_name};
use crate::personal::PersonalError;
use crate::state::AppState;
use crate::templates::paths;
use crate::templates::roll::{Branch, TimelineEntry};
use crate::templates::words::short_id;

/// The names on one page of a roll.
pub(super) struct Names<'a> {
    state: &'a AppState,
    reader: Reader<'a>,
    people: BTreeMap<String, String>,
    applications: BTreeMap<String, Option<Application>>,
    authorizations: BTreeMap<String, Branch>,
}

impl<'a> Names<'a> {
    pub(super) fn new(state: &'a AppState, reader: Reader<'a>) -> Self {
        Self {
            state,
            reader,
            people: BTreeMap::new(),
            applications: BTreeMap::new(),
            authorizations: BTreeMap::new(),
        }
    }

    /// Who did it; `None` for what the server did of itself.
    pub(super) async fn actor(&mut self, actor: &str) -> Result<Option<String>, RollError> {
        Ok(match actor.split_once(':') {
            Some(("user", subject)) => Some(self.person(subject).await?),
            Some(("client", client_id)) => Some(self.called(client_id).await?),
            Some(_) => None,
            None if actor == "operator" => Some("somebody at the command line".to_owned()),
            None if actor == "anonymous" => Some("somebody who was not logged in".to_owned()),
            None => None,
        })
    }

    /// Adds a detail: people by their names, the rest as it is, each with where to read on.
    pub(super) async fn detail(
        &mut self,
        entry: TimelineEntry,
        about: &str,
        label: &str,
        value: String,
    ) -> Result<TimelineEntry, RollError> {
        Ok(match label {
            "user" | "owner" => {
                let name = self.person(&value).await?;
                entry.detail(capital(label), name)
            }
            "application" if about == format!("application:{value}") => entry,
            "application" => {
                let may_open = self.may_open(&value).await?;
                let called = self.called(&value).await?;
                let entry = entry.detail("Application", called);
                if may_open { entry.link("The application", paths::application(&value)) } else { entry }
            }
            "authorization" if about == format!("authorization:{value}") => entry,
            "authorization" => match self.authorization(&value).await?.href {
                Some(href) => entry.detail("Authorization", value).link("The authorization", href),
                None => entry.detail("Authorization", value),
            },
            _ => entry.detail(capital(label), value),
        })
    }

    /// Adds what is known of the request. Addresses and user agents are for superusers only.
    pub(super) async fn origin(
        &mut self,
        mut entry: TimelineEntry,
        metadata: &BTreeMap<String, String>,
    ) -> Result<TimelineEntry, RollError> {
        if self.reader.is_superuser {
            for (key, label) in [("client_address", "From"), ("user_agent", "With")] {
                if let Some(sealed) = metadata.get(key) {
                    entry = entry.detail(label, self.opened(sealed).await?);
                }
            }
        }
        let is_known = entry.details.iter().any(|(label, _)| label == "Correlation");
        Ok(match metadata.get("correlation_id") {
            Some(correlation) if !is_known => entry.detail("Correlation", correlation.as_str()),
            Some(_) | None => entry,
        })
    }

    /// An authorization as a branch of a roll.
    pub(super) async fn authorization(&mut self, id: &str) -> Result<Branch, RollError> {
        if let Some(known) = self.authorizations.get(id) {
            return Ok(known.clone());
        }
        let found = find_authorization(&self.state.journal, id).await?;
        let (label, is_mine) = match &found {
            Some(found) => {
                let who = self.person(&found.subject).await?;
                (format!("Authorization by {who}"), found.subject == self.reader.subject)
            }
            None => (format!("Authorization {}", short_id(id)), false),
        };
        let href = (found.is_some() && (is_mine || self.reader.is_superuser)).then(|| paths::authorization(id));
        let branch = Branch { id: id.to_owned(), label, href };
        self.authorizations.insert(id.to_owned(), branch.clone());
        Ok(branch)
    }

    async fn person(&mut self, subject: &str) -> Result<String, RollError> {
        if let Some(known) = self.people.get(subject) {
            return Ok(known.clone());
        }
        let name = match find_user(&self.state.journal, subject).await? {
            Some(user) => shown_name(self.state, &user).await?,
            None => ERASED.to_owned(),
        };
        self.people.insert(subject.to_owned(), name.clone());
        Ok(name)
    }

    async fn application(&mut self, client_id: &str) -> Result<Option<&Application>, RollError> {
        if !self.applications.contains_key(client_id) {
            let found = find_application(&self.state.journal, client_id).await?;
            self.applications.insert(client_id.to_owned(), found);
        }
        Ok(self.applications.get(client_id).and_then(Option::as_ref))
    }

    async fn called(&mut self, client_id: &str) -> Result<String, RollError> {
        let found = self.application(client_id).await?;
        let name = found.map(|found| found.settings.name.clone()).filter(|name| !name.is_empty());
        Ok(name.unwrap_or_else(|| client_id.to_owned()))
    }

    async fn may_open(&mut self, client_id: &str) -> Result<bool, RollError> {
        let reader = self.reader;
        let found = self.application(client_id).await?;
        Ok(found.is_some_and(|found| reader.is_superuser || found.owner.as_deref() == Some(reader.subject)))
    }

    async fn opened(&self, sealed: &str) -> Result<String, RollError> {
        match self.state.personal.open_origin(sealed).await {
            Ok(text) => Ok(text),
            Err(PersonalError::Erased) => Ok("erased".to_owned()),
            Err(error @ (PersonalError::Engine(_) | PersonalError::Seal(_))) => Err(error.into()),
        }
    }
}

/// A label as it stands at the beginning of a line.
fn capital(label: &str) -> String {
    let mut letters = label.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
