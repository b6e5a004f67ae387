//! What does a person see when a page cannot be shown?
//!
//! Goals: they learn what happened, what it means and what to do, with an id that finds the cause; the
//! cause goes to the log alone, once, here. A handler returns a [`PageError`]; [`show`] stands around
//! all pages, logs it and makes a page of it. The other kind of error is for clients: `OAuthError`.

use std::fmt::Display;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use projections::read::ReadError;

use super::{chrome, next, redirect, render_as};
use crate::commands::CommandError;
use crate::error::{RETRY_AFTER, what_to_do};
use crate::extract::csrf::CsrfError;
use crate::extract::form_pairs::FormError;
use crate::extract::request_context::RequestContext;
use crate::extract::session::{LoggedIn, context_of, find_logged_in};
use crate::journal::EngineError;
use crate::password::PasswordError;
use crate::personal::PersonalError;
use crate::router::is_api;
use crate::sealing::SealError;
use crate::state::AppState;
use crate::templates::TemplateError;
use crate::templates::errors::{ErrorPage, OAuthErrorPage};
use crate::token::MalformedId;

/// Why a page is not shown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PageError {
    /// 302 or 303: log in first and come back.
    #[error("nobody is logged in")]
    LoginRequired {
        /// The login page with the way back.
        location: String,
        /// What answers this method.
        status: StatusCode,
    },
    /// 400: the request makes no sense. The text is shown.
    #[error("{0}")]
    BadRequest(String),
    /// 400: an authorization request that must not be redirected (RFC 6749 §4.1.2.1).
    #[error("{code}: {description}")]
    Refused {
        /// Error code of RFC 6749.
        code: &'static str,
        /// What is shown beside it.
        description: &'static str,
    },
    /// 403: the form does not prove that it is ours.
    #[error(transparent)]
    Forged(#[from] CsrfError),
    /// 403: the person may not do this.
    #[error("not permitted")]
    NotPermitted,
    /// 404: it does not exist, or is somebody else's.
    #[error("not found")]
    NotFound,
    /// 413: the body is too large, or did not arrive.
    #[error("the body is too large")]
    TooLarge,
    /// 429: wait first.
    #[error("too many attempts")]
    TooManyAttempts {
        /// Whole seconds.
        retry_after: u32,
    },
    /// 503: too much is going on.
    #[error("the server is busy")]
    Busy,
    /// 503: the database does not answer, or did not say whether it committed. The text is for the log.
    #[error("not available: {0}")]
    Unavailable(String),
    /// 500: somebody must look at it. The text is for the log.
    #[error("{0}")]
    Internal(String),
}

impl PageError {
    /// The way to the login page and back to what was asked for.
    #[must_use]
    pub fn login_required(context: &RequestContext, method: &Method) -> Self {
        let here = match &context.query {
            Some(query) => format!("{}?{query}", context.path),
            None => context.path.clone(),
        };
        let is_read = method == Method::GET || method == Method::HEAD;
        let status = if is_read { StatusCode::FOUND } else { StatusCode::SEE_OTHER };
        Self::LoginRequired { location: next::login_path(&here, false), status }
    }

    /// A fault of ours that somebody must look at.
    #[must_use]
    pub fn internal(cause: impl Display) -> Self {
        Self::Internal(cause.to_string())
    }

    /// A command that was not carried out, where no refusal makes sense: one is a fault of ours.
    #[must_use]
    pub fn of_command<E: std::error::Error>(error: CommandError<E>) -> Self {
        match error {
            CommandError::Busy => Self::Busy,
            CommandError::Unavailable(cause) => Self::Unavailable(cause),
            CommandError::Refused(reason) => Self::internal(reason),
            CommandError::Claimed(kind) => Self::Internal(format!("unexpected claim of {kind}")),
            CommandError::Damaged(cause) => Self::Internal(cause),
        }
    }

    /// The aggregate's reason, or an error of ours.
    pub fn reason_of<E: std::error::Error>(error: CommandError<E>) -> Result<E, Self> {
        match error {
            CommandError::Refused(reason) => Ok(reason),
            other @ (CommandError::Busy
            | CommandError::Unavailable(_)
            | CommandError::Claimed(_)
            | CommandError::Damaged(_)) => Err(Self::of_command(other)),
        }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::LoginRequired { status, .. } => *status,
            Self::BadRequest(_) | Self::Refused { .. } => StatusCode::BAD_REQUEST,
            Self::Forged(_) | Self::NotPermitted => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyAttempts { retry_after } => Some(u64::from(*retry_after)),
            Self::Busy | Self::Unavailable(_) => Some(RETRY_AFTER),
            Self::LoginRequired { .. }
            | Self::BadRequest(_)
            | Self::Refused { .. }
            | Self::Forged(_)
            | Self::NotPermitted
            | Self::NotFound
            | Self::TooLarge
            | Self::Internal(_) => None,
        }
    }

    fn is_our_fault(&self) -> bool {
        self.status().is_server_error()
    }
}

/// The bare answer; [`show`] makes a page of it.
impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        if let Self::LoginRequired { location, status } = &self {
            return redirect(*status, location).unwrap_or_else(IntoResponse::into_response);
        }
        let mut response = self.status().into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Stands around every page and makes pages of their errors.
pub async fn show(State(state): State<AppState>, request: Request, next: Next) -> Response {
    if is_api(request.uri().path()) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let mut kept = parts.clone();
    let response = next.run(Request::from_parts(parts, body)).await;
    let Some(error) = response.extensions().get::<PageError>().cloned() else { return response };
    let context = context_of(&mut kept, &state).await;
    log(&error, &context);
    // Asking a database that just failed would only make the person wait.
    let session = if error.is_our_fault() {
        None
    } else {
        find_logged_in(&state, &context, &kept.headers).await.ok().flatten()
    };
    let page = page(&state, &context, session.as_ref(), &error);
    match page {
        Ok(page) => {
            let (mut page, response) = (page, response.into_parts().0);
            if let Some(seconds) = response.headers.get(header::RETRY_AFTER) {
                page.headers_mut().insert(header::RETRY_AFTER, seconds.clone());
            }
            page
        }
        Err(unrendered) => {
            log(&unrendered, &context);
            response
        }
    }
}

fn log(error: &PageError, context: &RequestContext) {
    let (correlation, path) = (&context.correlation_id, &context.path);
    if error.is_our_fault() {
        tracing::error!(
            correlation.id = %correlation, http.path = %path, %error, what_to_do = what_to_do(error.status()),
            "a page failed"
        );
    } else {
        tracing::info!(correlation.id = %correlation, http.path = %path, %error, "a page was refused");
    }
}

fn page(
    state: &AppState,
    context: &RequestContext,
    session: Option<&LoggedIn>,
    error: &PageError,
) -> Result<Response, PageError> {
    let chrome = chrome(state, context, session);
    let id = context.correlation_id.clone();
    if let PageError::Refused { code, description } = error {
        let page =
            OAuthErrorPage { code: (*code).into(), description: (*description).into(), correlation_id: id };
        return render_as(error.status(), state, &chrome, &page);
    }
    if let PageError::NotFound = error {
        return super::not_found::page(state, context, &chrome);
    }
    render_as(error.status(), state, &chrome, &error_page(error, Some(id)))
}

fn error_page(error: &PageError, id: Option<String>) -> ErrorPage {
    match error {
        PageError::BadRequest(happened) => ErrorPage::bad_request(happened.clone(), id),
        PageError::Forged(_) => ErrorPage::forged_form(id),
        PageError::NotPermitted => ErrorPage::not_yours(id),
        PageError::TooLarge => ErrorPage {
            status: error.status().as_u16(),
            heading: "Too large (413)".into(),
            ..ErrorPage::bad_request("The form is larger than this server accepts, so nothing was done.", id)
        },
        PageError::TooManyAttempts { retry_after } => {
            ErrorPage::too_many_attempts(u64::from(*retry_after), id)
        }
        PageError::Busy | PageError::Unavailable(_) => ErrorPage::unavailable(RETRY_AFTER, id),
        PageError::Refused { .. }
        | PageError::NotFound
        | PageError::LoginRequired { .. }
        | PageError::Internal(_) => ErrorPage::internal(id),
    }
}

impl From<FormError> for PageError {
    fn from(error: FormError) -> Self {
        Self::BadRequest(error.to_string())
    }
}

/// A read that fails is our fault, and may succeed in a moment.
impl From<ReadError> for PageError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable { reason } => Self::Unavailable(reason),
            ReadError::Damaged { .. } => Self::internal(error),
        }
    }
}

impl From<EngineError> for PageError {
    fn from(error: EngineError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<PersonalError> for PageError {
    fn from(error: PersonalError) -> Self {
        match error {
            PersonalError::Engine(error) => error.into(),
            PersonalError::Seal(_) | PersonalError::Erased => Self::internal(error),
        }
    }
}

impl From<PasswordError> for PageError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::MalformedVerifier | PasswordError::Failed => Self::internal(error),
        }
    }
}

impl From<TemplateError> for PageError {
    fn from(error: TemplateError) -> Self {
        Self::internal(error)
    }
}

impl From<SealError> for PageError {
    fn from(error: SealError) -> Self {
        Self::internal(error)
    }
}

impl From<MalformedId> for PageError {
    fn from(error: MalformedId) -> Self {
        Self::internal(error)
    }
}
