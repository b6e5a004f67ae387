//! How does a person come in, go out, and change the password?

use serde::Serialize;

use super::components::FormErrors;
use super::samples::Sample;
use super::{Page, paths};

/// The login form: fields `username`, `password`, `next`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Login {
    /// What was typed as the name, to be shown again.
    pub username: String,
    /// Where to go afterwards; a path of this server, checked by the handler.
    pub next: String,
    /// Who sent the person here: "Log in to go on to Reports."
    pub reason: Option<String>,
    /// Why the form is here again.
    pub problem: Option<LoginProblem>,
}

/// Why somebody is not logged in. The page never tells which of name and password was wrong,
/// nor whether the name exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum LoginProblem {
    /// Name and password do not belong together.
    Wrong,
    /// A field is empty.
    Incomplete,
    /// Too many attempts, for this name or from this address.
    Throttled {
        /// Seconds until the next attempt counts.
        retry_after: u64,
    },
    /// The form was open for too long.
    FormExpired,
}

/// Asks before ending the session.
#[derive(Debug, Clone, Serialize)]
pub struct Logout {
    /// Where to go afterwards; a path of this server, or empty.
    pub next: String,
    /// Live authorizations that stay when the session ends.
    pub live_authorizations: u64,
}

/// Change of one's own password: fields `old_password`, `new_password1`, `new_password2`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PasswordChange {
    /// Fewest characters a password may have.
    pub minimum_length: u64,
    /// What is wrong.
    pub errors: FormErrors,
    /// Set after too many wrong old passwords: seconds until the next attempt counts.
    pub retry_after: Option<u64>,
}

impl Page for Login {
    const TEMPLATE: &'static str = "pages/login.html";

    fn title(&self) -> String {
        if self.problem.is_some() { "Error: Log in" } else { "Log in" }.to_owned()
    }

    fn samples() -> Vec<Sample<Self>> {
        let with = |problem| Self { username: "admin".into(), problem: Some(problem), ..Self::default() };
        let next = paths::REGISTER.to_owned();
        let reason = Some("Log in to go on to Reports.".to_owned());
        vec![
            Sample::nobody("login", paths::LOGIN, Self { next, reason, ..Self::default() }),
            Sample::nobody("login_wrong", paths::LOGIN, with(LoginProblem::Wrong)),
            Sample::nobody("login_incomplete", paths::LOGIN, with(LoginProblem::Incomplete)),
            Sample::nobody(
                "login_throttled",
                paths::LOGIN,
                with(LoginProblem::Throttled { retry_after: 90 }),
            ),
            Sample::nobody("login_expired", paths::LOGIN, with(LoginProblem::FormExpired)),
        ]
    }
}

impl Page for Logout {
    const TEMPLATE: &'static str = "pages/logout.html";

    fn title(&self) -> String {
        "Log out?".to_owned()
    }

    fn samples() -> Vec<Sample<Self>> {
        let page = |live_authorizations| Self { next: String::new(), live_authorizations };
        vec![
            Sample::user("logout", paths::LOGOUT, page(2)),
            Sample::user("logout_nothing_live", paths::LOGOUT, page(0)),
        ]
    }
}

impl Page for PasswordChange {
    const TEMPLATE: &'static str = "pages/password_change.html";

    fn title(&self) -> String {
        if self.errors.is_empty() { "Change your password" } else { "Error: Change your password" }.to_owned()
    }

    fn samples() -> Vec<Sample<Self>> {
        let mut errors = FormErrors::default();
        errors.push("old_password", "This is not your current password.");
        errors.push("new_password2", "The two new passwords differ.");
        let page = |errors, retry_after| Self { minimum_length: 8, errors, retry_after };
        vec![
            Sample::user("password_change", paths::PASSWORD_CHANGE, page(FormErrors::default(), None)),
            Sample::user("password_change_wrong", paths::PASSWORD_CHANGE, page(errors, None)),
            Sample::user(
                "password_change_throttled",
                paths::PASSWORD_CHANGE,
                page(FormErrors::default(), Some(60)),
            ),
        ]
    }
}
