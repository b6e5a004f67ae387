//! Which applications are there, and what can their owners do with them? (RFC 6749 §2)
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
//! here, once (`find_visible`). Its owner never changes, so looking first and writing then is no
//! race; everything else is decided in the one command that writes.

pub mod delete;
pub mod detail;
pub mod disable;
pub mod enable;
pub mod form;
pub mod list;
pub mod register;
pub mod rotate_secret;
mod shown;
pub mod update;

use aggregates::application::{Application as Aggregate, ApplicationCommand, ApplicationError};
use axum::response::Response;
use projections::applications::{Application, find_application};

use crate::commands::{CommandError, Stream};
use crate::extract::form_pairs::Pairs;
use crate::extract::page_form::SessionForm;
use crate::extract::request_context::RequestContext;
use crate::extract::session::LoggedIn;
use crate::pages::page_error::PageError;
use crate::pages::{chrome, render, see_other};
use crate::registration::RegisterError;
use crate::state::AppState;
use crate::templates::{Chrome, Page, paths};

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

/// A page for this reader.
fn show<C: Page>(
    state: &AppState,
    context: &RequestContext,
    me: &LoggedIn,
    page: &C,
) -> Result<Response, PageError> {
    render(state, &chrome(state, context, Some(me)), page)
}

/// The same below a sentence on what the last request did.
fn show_noticing<C: Page>(
    state: &AppState,
    context: &RequestContext,
    me: &LoggedIn,
    notice: Option<String>,
    page: &C,
) -> Result<Response, PageError> {
    let chrome = Chrome { notice, ..chrome(state, context, Some(me)) };
    render(state, &chrome, page)
}

/// Carries out a command that needs nothing but the application.
async fn execute(
    state: &AppState,
    form: &SessionForm,
    client_id: &str,
    command: ApplicationCommand,
) -> Result<(), PageError> {
    find_changeable(state, &form.session, client_id).await?;
    let origin = form.session.origin(&form.context);
    let stream = Stream::Existing(client_id.to_owned());
    state.commands.execute_ending::<Aggregate>(stream, command, &origin).await.map_err(trouble)?;
    Ok(())
}

/// An application that was deleted meanwhile is not there; the rest is our fault.
fn trouble(error: CommandError<ApplicationError>) -> PageError {
    match error {
        CommandError::Refused(ApplicationError::Unknown | ApplicationError::Deleted) => PageError::NotFound,
        other @ (CommandError::Refused(_)
        | CommandError::Claimed(_)
        | CommandError::Busy
        | CommandError::Unavailable(_)
        | CommandError::Damaged(_)) => PageError::of_command(other),
    }
}

/// A refusal of [`crate::registration`] that no form can show.
fn unshown(error: RegisterError) -> PageError {
    match error {
        RegisterError::Refused(_) => PageError::BadRequest(error.to_string()),
        RegisterError::Read(error) => error.into(),
        RegisterError::Secret(error) => error.into(),
        RegisterError::Command(error) => trouble(error),
    }
}

/// What the last request did. The address of the page after it says so, and the page puts it in words:
/// fixed ones only, because an address that somebody else made must not speak on our page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    Registered,
    Saved,
    Disabled,
    Enabled,
    Deleted,
}

impl Done {
    const ALL: [Self; 5] = [Self::Registered, Self::Saved, Self::Disabled, Self::Enabled, Self::Deleted];

    fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Saved => "saved",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Deleted => "deleted",
        }
    }

    fn notice(self) -> &'static str {
        match self {
            Self::Registered => "Registered.",
            Self::Saved => "Saved.",
            Self::Disabled => "Disabled: it gets no tokens, and those it has do not work.",
            Self::Enabled => "Enabled.",
            Self::Deleted => "Deleted. What happened stays on its roll.",
        }
    }

    /// To the application's page. After registering the address is exactly that page's: scripts that
    /// drove the tutorial's system read the id from it.
    fn at(self, client_id: &str) -> Result<Response, PageError> {
        let page = paths::application(client_id);
        match self {
            Self::Registered => see_other(&page),
            Self::Saved | Self::Disabled | Self::Enabled | Self::Deleted => {
                see_other(&format!("{page}?done={}", self.name()))
            }
        }
    }

    /// The notice that the address asks for.
    fn noticed(query: &Pairs) -> Result<Option<String>, PageError> {
        let name = query.get("done")?;
        let done = Self::ALL.into_iter().find(|done| Some(done.name()) == name);
        Ok(done.map(|done| done.notice().to_owned()))
    }
}

/// The query of a page's address.
fn query(context: &RequestContext) -> Result<Pairs, PageError> {
    Ok(Pairs::parse_query(context.query.as_deref().unwrap_or_default())?)
}
