//! How does a person change the password? With the present one, counted like a login (OWASP ASVS
//! 6.2.2, 6.2.3); every other session of theirs ends.

use aggregates::refusal::Rule;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::credentials::Account;
use super::page_error::PageError;
use super::{chrome, render, render_as, see_other, trace};
use crate::accounts::{AccountError, change_password};
use crate::extract::form_pairs::Pairs;
use crate::extract::page_form::SessionForm;
use crate::extract::request_context::RequestContext;
use crate::extract::session::Session;
use crate::password::SHORTEST_PASSWORD;
use crate::refusals::{self, Trace};
use crate::secret::Secret;
use crate::state::AppState;
use crate::templates::account::PasswordChange;
use crate::templates::components::FormErrors;
use crate::templates::paths;

/// `GET /admin/password_change/`: the form.
pub async fn get(
    State(state): State<AppState>,
    context: RequestContext,
    Session(session): Session,
) -> Result<Response, PageError> {
    let pairs = Pairs::parse_query(context.query.as_deref().unwrap_or_default())?;
    let mut chrome = chrome(&state, &context, Some(&session));
    if pairs.get("done")?.is_some() {
        chrome.notice = Some("Your password is changed, and your other sessions have ended.".to_owned());
    }
    render(&state, &chrome, &empty())
}

/// `POST /admin/password_change/`: fields `old_password`, `new_password1`, `new_password2`.
pub async fn post(State(state): State<AppState>, form: SessionForm) -> Result<Response, PageError> {
    let field = |name| Ok::<_, PageError>(Secret::new(form.pairs.get(name)?.unwrap_or_default()));
    let (old, new) = (field("old_password")?, field("new_password1")?);
    let errors = check_fields(&old, &new, &field("new_password2")?);
    if !errors.is_empty() {
        return again(&state, &form, errors);
    }
    let account = Account::of(&state, &form.session.user);
    let origin = form.session.origin(&form.context);
    match account.admit(&state, &form.context, &origin).await {
        Ok(()) => {}
        Err(PageError::TooManyAttempts { retry_after }) => {
            keep(&state, &form, Rule::TooManyAttempts).await;
            return throttled(&state, &form, retry_after);
        }
        Err(error) => return Err(error),
    }
    if !account.check(&state, old).await? {
        keep(&state, &form, Rule::WrongPassword).await;
        return again(&state, &form, one("old_password", "This is not your current password."));
    }
    account.forget_attempts(&state, &form.context, &origin).await;
    let keep_session = Some(form.session.session.session_id.clone());
    match change_password(&state, &form.session.user, new, keep_session, &origin).await {
        Ok(()) => see_other(&format!("{}?done=changed", paths::PASSWORD_CHANGE)),
        Err(AccountError::Password(reason)) => {
            again(&state, &form, one("new_password1", &reason.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn check_fields(old: &Secret, new: &Secret, repeated: &Secret) -> FormErrors {
    let mut errors = FormErrors::default();
    if old.is_empty() {
        errors.push("old_password", "Type your current password.");
    }
    if new.is_empty() {
        errors.push("new_password1", "Type a new password.");
    } else if !new.ct_eq(repeated.expose()) {
        errors.push("new_password2", "The two new passwords differ.");
    }
    errors
}

fn one(field: &'static str, message: &str) -> FormErrors {
    let mut errors = FormErrors::default();
    errors.push(field, message);
    errors
}

fn empty() -> PasswordChange {
    PasswordChange { minimum_length: SHORTEST_PASSWORD as u64, ..PasswordChange::default() }
}

fn again(state: &AppState, form: &SessionForm, errors: FormErrors) -> Result<Response, PageError> {
    let page = PasswordChange { errors, ..empty() };
    render(state, &chrome(state, &form.context, Some(&form.session)), &page)
}

fn throttled(state: &AppState, form: &SessionForm, retry_after: u32) -> Result<Response, PageError> {
    let page = PasswordChange { retry_after: Some(u64::from(retry_after)), ..empty() };
    let chrome = chrome(state, &form.context, Some(&form.session));
    let mut response = render_as(StatusCode::TOO_MANY_REQUESTS, state, &chrome, &page)?;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
    Ok(response)
}

async fn keep(state: &AppState, form: &SessionForm, rule: Rule) {
    let subject = Some(form.session.subject().to_owned());
    let refusal = Trace { subject, ..trace(rule) }.request("login", None, &form.context.correlation_id);
    refusals::record(state, &form.session.origin(&form.context), refusal).await;
}

/// Everything but the policy is our fault here: the person exists, and their names do not change.
impl From<AccountError> for PageError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Hash(error) => error.into(),
            AccountError::Personal(error) => error.into(),
            AccountError::Read(error) => error.into(),
            AccountError::Command(error) => Self::of_command(error),
            AccountError::Username(_)
            | AccountError::UsernameTaken
            | AccountError::Email(_)
            | AccountError::EmailTaken
            | AccountError::Password(_)
            | AccountError::Unknown => Self::internal(error),
        }
    }
}
