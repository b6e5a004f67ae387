//! How is an application changed? Its id and its type stay; what was issued goes on under the new rules.

use axum::extract::{Path, State};
use axum::response::Response;
use projections::applications::Application;

use super::{Done, find_changeable, form, show, unshown};
use crate::extract::page_form::SessionForm;
use crate::extract::request_context::RequestContext;
use crate::extract::session::{LoggedIn, Session};
use crate::pages::page_error::PageError;
use crate::registration::{self, Bounds, RegisterError, read_update};
use crate::state::AppState;
use crate::templates::application_form::{ApplicationForm, EditApplication};
use crate::templates::components::FormErrors;

/// The form with what is in force.
pub async fn get(
    State(state): State<AppState>,
    Path(client_id): Path<String>,
    context: RequestContext,
    Session(me): Session,
) -> Result<Response, PageError> {
    let application = find_changeable(&state, &me, &client_id).await?;
    let shown = form::of_settings(&client_id, &application.settings, &state.config.scopes);
    answer(&state, &context, &me, &application, shown, FormErrors::default())
}

/// The form as somebody changed it.
pub async fn post(
    State(state): State<AppState>,
    Path(client_id): Path<String>,
    form: SessionForm,
) -> Result<Response, PageError> {
    let me = &form.session;
    let application = find_changeable(&state, me, &client_id).await?;
    let mut raw = form::raw(&form.pairs, &state.config.scopes)?;
    raw.client_id.clone_from(&client_id);
    let errors = match read_update(&raw, &application.settings, Bounds::of(&state, me.is_superuser())) {
        Err(errors) => errors,
        Ok(settings) => {
            let origin = me.origin(&form.context);
            match registration::update(&state, &client_id, settings, me.is_superuser(), &origin).await {
                Ok(()) => return Done::Saved.at(&client_id),
                Err(RegisterError::Refused(errors)) => errors,
                Err(error) => return Err(unshown(error)),
            }
        }
    };
    let again = form::again(raw, String::new(), &state.config.scopes);
    answer(&state, &form.context, me, &application, again, errors)
}

fn answer(
    state: &AppState,
    context: &RequestContext,
    me: &LoggedIn,
    application: &Application,
    form: ApplicationForm,
    errors: FormErrors,
) -> Result<Response, PageError> {
    let name = application.settings.name.clone();
    let default_lifetime = state.config.lifetimes.access_token.as_secs();
    show(state, context, me, &EditApplication { name, form, errors, default_lifetime })
}
