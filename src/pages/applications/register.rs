//! How is an application registered? The form comes with a fresh id and secret; what comes back is
//! registered, or shown again with everything that is wrong.

use aggregates::application::Provenance;
use axum::extract::State;
use axum::response::Response;

use super::{Done, form, show, unshown};
use crate::extract::page_form::SessionForm;
use crate::extract::request_context::RequestContext;
use crate::extract::session::{LoggedIn, Session};
use crate::pages::page_error::PageError;
use crate::registration::{
    Bounds, Initial, RawApplication, RegisterError, check_room, open_initial, read_registration, register,
    seal_initial,
};
use crate::secret::{new_client_id, new_client_secret};
use crate::state::AppState;
use crate::templates::application_form::{ApplicationForm, RegisterApplication};
use crate::templates::components::FormErrors;

/// The empty form.
pub async fn get(
    State(state): State<AppState>,
    context: RequestContext,
    Session(me): Session,
) -> Result<Response, PageError> {
    let secret = new_client_secret();
    let initial = seal_initial(&state, &me.session.session_id, &secret, context.now)?;
    let catalogue = &state.config.scopes;
    let scopes = form::choices(&form::names(catalogue), catalogue);
    let fresh = ApplicationForm::fresh(new_client_id(), secret.expose().to_owned(), initial, scopes);
    answer(&state, &context, &me, fresh, FormErrors::default())
}

/// The form as somebody filled it in.
pub async fn post(State(state): State<AppState>, form: SessionForm) -> Result<Response, PageError> {
    let raw = form::raw(&form.pairs, &state.config.scopes)?;
    let sealed = form.pairs.get("initial")?.unwrap_or_default().to_owned();
    let session_id = &form.session.session.session_id;
    let initial = open_initial(&state, session_id, &sealed, raw.client_secret.as_ref(), form.context.now);
    match try_to_register(&state, &form, &raw, initial.as_ref()).await {
        Ok(client_id) => Done::Registered.at(&client_id),
        Err(RegisterError::Refused(errors)) => {
            let again = form::again(raw, sealed, &state.config.scopes);
            answer(&state, &form.context, &form.session, again, errors)
        }
        Err(error) => Err(unshown(error)),
    }
}

async fn try_to_register(
    state: &AppState,
    form: &SessionForm,
    raw: &RawApplication,
    initial: Option<&Initial>,
) -> Result<String, RegisterError> {
    let bounds = Bounds::of(state, form.session.is_superuser());
    check_room(state, form.session.subject(), form.session.is_superuser()).await?;
    let registration = read_registration(raw, initial, bounds).map_err(RegisterError::Refused)?;
    let client_id = registration.client_id.clone();
    let owner = Some(form.session.subject().to_owned());
    let origin = form.session.origin(&form.context);
    register(state, registration, owner, Provenance::Form, &origin).await?;
    Ok(client_id)
}

fn answer(
    state: &AppState,
    context: &RequestContext,
    me: &LoggedIn,
    form: ApplicationForm,
    errors: FormErrors,
) -> Result<Response, PageError> {
    let default_lifetime = state.config.lifetimes.access_token.as_secs();
    show(state, context, me, &RegisterApplication { form, errors, default_lifetime })
}
