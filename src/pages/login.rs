//! Who are you? Name and password make a session (OWASP ASVS 6.3, 7.2.4).
//!
//! Unknown names, wrong passwords and locked users are answered alike, after the same work. The
//! session's id is new, and the one this browser had before ends: what somebody planted or saw is
//! worth nothing (session fixation).

use aggregates::refusal::Rule;
use aggregates::session::{EndReason, Session, SessionCommand};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::TimeDelta;
use projections::applications::find_application;
use projections::users::User;
use projections::validity::given_at;

use super::credentials::Account;
use super::next::local_path;
use super::page_error::PageError;
use super::{chrome, found, render_as, see_other, trace};
use crate::commands::{Actor, Stream};
use crate::extract::cookies::Cookie;
use crate::extract::csrf::{self, CsrfError};
use crate::extract::form_pairs::Pairs;
use crate::extract::page_form::Received;
use crate::extract::request_context::RequestContext;
use crate::extract::session::{LoggedIn, MaybeSession};
use crate::oauth::authorize::again;
use crate::refusals::{self, Trace};
use crate::secret::{Secret, new_id};
use crate::state::AppState;
use crate::templates::account::{Login, LoginProblem};
use crate::templates::paths;
use crate::token::{mint_browser, mint_session, parse_browser};

/// `GET /admin/login/`: the form. Who is logged in already goes on, unless asked to log in again.
pub async fn get(
    State(state): State<AppState>,
    context: RequestContext,
    MaybeSession(session): MaybeSession,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let pairs = Pairs::parse_query(context.query.as_deref().unwrap_or_default())?;
    let next = pairs.get("next")?.and_then(local_path).unwrap_or_default();
    if session.is_some() && pairs.get("switch")?.is_none() {
        return found(if next.is_empty() { paths::HOME } else { next });
    }
    let page = Login { next: next.to_owned(), reason: reason(&state, next).await?, ..Login::default() };
    Form { state: &state, context: &context, session: session.as_ref(), headers: &headers }
        .show(StatusCode::OK, &page)
}

/// `POST /admin/login/`: fields `username`, `password`, `next`.
pub async fn post(State(state): State<AppState>, request: Request) -> Result<Response, PageError> {
    let form = Received::read(request, &state).await?;
    let typed = form.pairs.get("username")?.unwrap_or_default();
    let password = Secret::new(form.pairs.get("password")?.unwrap_or_default());
    let next = form.pairs.get("next")?.and_then(local_path).unwrap_or_default();
    let again = |status, problem| {
        let page =
            Login { username: typed.to_owned(), next: next.to_owned(), reason: None, problem: Some(problem) };
        let (context, headers) = (&form.context, form.headers());
        Form { state: &state, context, session: form.session.as_ref(), headers }.show(status, &page)
    };
    match check_form(&state, &form) {
        Ok(()) => {}
        Err(CsrfError::TokenExpired) => return again(StatusCode::OK, LoginProblem::FormExpired),
        Err(error) => {
            form.keep_refusal(&state).await;
            return Err(PageError::Forged(error));
        }
    }
    if typed.trim().is_empty() || password.is_empty() {
        return again(StatusCode::OK, LoginProblem::Incomplete);
    }
    match authenticate(&state, &form, typed, password).await {
        Ok(Some(user)) => start(&state, &form, &user, next).await,
        Ok(None) => again(StatusCode::OK, LoginProblem::Wrong),
        Err(PageError::TooManyAttempts { retry_after }) => {
            let problem = LoginProblem::Throttled { retry_after: u64::from(retry_after) };
            let mut response = again(StatusCode::TOO_MANY_REQUESTS, problem)?;
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
            Ok(response)
        }
        Err(error) => Err(error),
    }
}

/// The form may have been opened before or after a login in another window: both are this browser.
fn check_form(state: &AppState, form: &Received) -> Result<(), CsrfError> {
    let browser = find_browser(state, form.headers());
    let session = form.session.as_ref().map(|own| own.session.session_id.as_str());
    let ids: Vec<&str> = session.into_iter().chain(browser.as_deref()).collect();
    form.check(state, &ids, TimeDelta::from_std(state.config.lifetimes.login_form).ok())
}

/// The user, if the password is theirs and they may log in.
async fn authenticate(
    state: &AppState,
    form: &Received,
    typed: &str,
    password: Secret,
) -> Result<Option<User>, PageError> {
    let context = &form.context;
    let origin = context.origin(Actor::Anonymous);
    let account = Account::find(state, typed).await?;
    if let Err(error) = account.admit(state, context, &origin).await {
        if let PageError::TooManyAttempts { .. } = error {
            keep(state, context, Rule::TooManyAttempts, &account);
        }
        return Err(error);
    }
    let is_right = account.check(state, password).await?;
    match &account.user {
        Some(user) if is_right && !user.locked => {
            account.forget_attempts(state, context, &origin).await;
            Ok(Some(user.clone()))
        }
        Some(_) if is_right => {
            keep(state, context, Rule::UserLocked, &account);
            Ok(None)
        }
        Some(_) | None => {
            keep(state, context, Rule::WrongPassword, &account);
            Ok(None)
        }
    }
}

/// Keeps the refusal without waiting for it: the time of the answer must not tell whether the name
/// exists, nor whether the refusal was worth keeping.
fn keep(state: &AppState, context: &RequestContext, rule: Rule, account: &Account) {
    let subject = account.user.as_ref().map(|user| user.subject.clone());
    let refusal = Trace { subject, ..trace(rule) }.request("login", None, &context.correlation_id);
    let (state, origin) = (state.clone(), context.origin(Actor::Anonymous));
    tokio::spawn(async move { refusals::record(&state, &origin, refusal).await });
}

/// A session with an id of its own; the former one of this browser ends first.
async fn start(state: &AppState, form: &Received, user: &User, next: &str) -> Result<Response, PageError> {
    let (context, issuer) = (&form.context, &state.config.issuer);
    let origin = context.origin(Actor::User(user.subject.clone()));
    if let Some(former) = &form.session {
        let command = SessionCommand::EndSession { reason: EndReason::Replaced, at: context.now };
        let stream = Stream::Existing(former.session.session_id.clone());
        state.commands.execute::<Session>(stream, command, &origin).await.map_err(PageError::of_command)?;
    }
    let lifetimes = &state.config.lifetimes;
    let after = |lifetime| TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::MAX);
    let until = |lifetime| context.now.checked_add_signed(after(lifetime)).unwrap_or(context.now);
    let session_id = new_id(context.now);
    let at = given_at(context.now, &[user.sessions_valid_from]);
    let command = SessionCommand::StartSession {
        session_id: session_id.clone(),
        subject: user.subject.clone(),
        methods: vec!["pwd".to_owned()],
        auth_time: at,
        expires_at: until(lifetimes.session),
        idle_expires_at: until(lifetimes.session_idle),
        at,
    };
    let stream = Stream::Fresh(session_id.clone());
    state.commands.execute::<Session>(stream, command, &origin).await.map_err(PageError::of_command)?;
    let value = mint_session(&state.keys, &session_id)?;
    let next = again::after_login(state, context, next, &session_id)?;
    let mut response = see_other(if next.is_empty() { paths::HOME } else { &next })?;
    let cookie = Cookie::Session.keep(issuer, &value, Some(after(lifetimes.session).num_seconds()));
    let forgotten = Cookie::Browser.forget(issuer);
    for header in cookie.into_iter().chain(forgotten) {
        response.headers_mut().append(header::SET_COOKIE, header);
    }
    Ok(response)
}

/// The login form in this browser, which gets a name if it has none: the form is bound to it.
struct Form<'a> {
    state: &'a AppState,
    context: &'a RequestContext,
    session: Option<&'a LoggedIn>,
    headers: &'a HeaderMap,
}

impl Form<'_> {
    fn show(&self, status: StatusCode, page: &Login) -> Result<Response, PageError> {
        let mut chrome = chrome(self.state, self.context, self.session);
        if self.session.is_some() {
            return render_as(status, self.state, &chrome, page);
        }
        let known = find_browser(self.state, self.headers);
        let browser = known.clone().unwrap_or_else(|| new_id(self.context.now));
        chrome.csrf_token = csrf::mint(&self.state.keys, &browser, self.context.now);
        let mut response = render_as(status, self.state, &chrome, page)?;
        if known.is_none() {
            let value = mint_browser(&self.state.keys, &browser)?;
            let cookie = Cookie::Browser.keep(&self.state.config.issuer, &value, None);
            if let Some(cookie) = cookie {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
        }
        Ok(response)
    }
}

fn find_browser(state: &AppState, headers: &HeaderMap) -> Option<String> {
    let cookie = Cookie::Browser.find(&state.config.issuer, headers)?;
    parse_browser(&state.keys, cookie)
}

/// Who sent the person here: an application that waits for an authorization.
async fn reason(state: &AppState, next: &str) -> Result<Option<String>, PageError> {
    let Some((path, query)) = next.split_once('?') else { return Ok(None) };
    if !again::is_endpoint(path) {
        return Ok(None);
    }
    let Ok(pairs) = Pairs::parse_query(query) else { return Ok(None) };
    let Ok(Some(client_id)) = pairs.get("client_id") else { return Ok(None) };
    let application = find_application(&state.journal, client_id).await?;
    let named = application.filter(|one| one.is_usable() && !one.settings.name.is_empty());
    Ok(named.map(|one| format!("Log in to go on to {}.", one.settings.name)))
}
