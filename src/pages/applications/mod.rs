//! Which applications are there, and what can their owners do with them? (RFC 6749 §2, RFC 7592 in spirit)
//!
//! | page | file |
//! |---|---|
//! | `/o/applications/` | [`list`] |
//! | `…/register/` | [`register`] |
//! | `…/<client_id>/` | [`detail`] |
//! | `…/<client_id>/update/` | [`update`] |
//! | `…/<client_id>/rotate-secret/` | [`rotate_secret`] |
//! | `…/<client_id>/disable/`, `…/enable/` | [`disable`], [`enable`] |
//! | `…/<client_id>/delete/` | [`delete`] |
//!
//! An application of somebody else is answered like one that does not exist: who may see it is decided
//! here, once ([`find_visible`]). Its owner never changes, so that looking first and writing then is
//! no race; everything else is decided in the one command that writes.

pub mod delete;
pub mod detail;
pub mod disable;
pub mod enable;
mod form;
pub mod list;
pub mod register;
pub mod rotate_secret;
mod shown;
pub mod update;

use aggregates::application::ApplicationError;
use axum::http::HeaderValue;
use axum::response::Response;
use projections::applications::{Application, find_application};

use crate::commands::CommandError;
use crate::extract::session::LoggedIn;
use crate::pages::page_error::PageError;
use crate::registration::RegisterError;
use crate::state::AppState;
use crate::templates::paths;

/// The application with this id, if the reader may see it: its owner and superusers may.
async fn find_visible(state: &AppState, me: &LoggedIn, client_id: &str) -> Result<Application, PageError> {
    let found = find_application(&state.journal, client_id).await?;
    let may_see = |found: &Application| me.is_superuser() || found.owner.as_deref() == Some(me.subject());
    found.filter(may_see).ok_or(PageError::NotFound)
}

/// The same, and it can still be changed: one that was deleted is there to be read only.
async fn find_changeable(state: &AppState, me: &LoggedIn, client_id: &str) -> Result<Application, PageError> {
    let found = find_visible(state, me, client_id).await?;
    if found.deleted { Err(PageError::NotFound) } else { Ok(found) }
}

/// What people call it: its name, else its client id.
fn called(application: &Application) -> &str {
    let name = &application.settings.name;
    if name.is_empty() { &application.client_id } else { name }
}

/// After a change: back to the application's page, which says what was done.
fn done(client_id: &str, what: Done) -> Result<Response, PageError> {
    see_other(&format!("{}?done={}", paths::application(client_id), what.name()))
}

/// What the last request did, as the address of the page after it says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Saved,
    Disabled,
    Enabled,
    Deleted,
}

impl Done {
    const ALL: [Self; 4] = [Self::Saved, Self::Disabled, Self::Enabled, Self::Deleted];

    fn name(self) -> &'static str {
        match self {
            Self::Saved => "saved",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Deleted => "deleted",
        }
    }

    /// Fixed sentences only: an address somebody else made must not put words on our page.
    fn notice(self) -> &'static str {
        match self {
            Self::Saved => "Saved.",
            Self::Disabled => "Disabled: it gets no tokens, and those it has do not work.",
            Self::Enabled => "Enabled.",
            Self::Deleted => "Deleted. What happened stays on its roll.",
        }
    }

    fn find(name: Option<&str>) -> Option<Self> {
        Self::ALL.into_iter().find(|done| Some(done.name()) == name)
    }
}

/// An application that was deleted meanwhile is not there; the rest is our fault.
impl From<CommandError<ApplicationError>> for PageError {
    fn from(error: CommandError<ApplicationError>) -> Self {
        todo_page_error(error)
    }
}
