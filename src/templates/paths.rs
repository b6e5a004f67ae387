//! Where do the pages live? The addresses that pages link to, so that a link is written once.

use std::collections::BTreeMap;

use minijinja::Environment;
use minijinja::value::Value;

use super::words::segment;

/// The home page.
pub const HOME: &str = "/";
/// The login page; it returns to the page that asked for it.
pub const LOGIN: &str = "/admin/login/";
/// Asks before ending the session.
pub const LOGOUT: &str = "/admin/logout/";
/// Change of one's own password.
pub const PASSWORD_CHANGE: &str = "/admin/password_change/";
/// List of applications.
pub const APPLICATIONS: &str = "/o/applications/";
/// Registration form.
pub const REGISTER: &str = "/o/applications/register/";
/// The consent decision is posted here (RFC 6749 §3.1).
pub const AUTHORIZE: &str = "/o/authorize/";
/// List of what the reader has authorized.
pub const AUTHORIZATIONS: &str = "/o/authorized_tokens/";
/// How far the read models are.
pub const READ_MODELS: &str = "/admin/read-models/";
/// The stylesheet.
pub const STYLE: &str = "/static/style.css";

/// What can be done to an application, each on a page of its own below the application's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApplicationAction {
    /// The edit form.
    Update,
    /// A new secret.
    RotateSecret,
    /// No new tokens, and the live ones do not work meanwhile.
    Disable,
    /// The reverse of disabling.
    Enable,
    /// Gone for good.
    Delete,
}

/// An application's page.
#[must_use]
pub fn application(client_id: &str) -> String {
    format!("{APPLICATIONS}{}/", segment(client_id))
}

/// The page of one action on an application.
#[must_use]
pub fn application_action(client_id: &str, action: ApplicationAction) -> String {
    let name = match action {
        ApplicationAction::Update => "update",
        ApplicationAction::RotateSecret => "rotate-secret",
        ApplicationAction::Disable => "disable",
        ApplicationAction::Enable => "enable",
        ApplicationAction::Delete => "delete",
    };
    format!("{}{name}/", application(client_id))
}

/// An authorization's page.
#[must_use]
pub fn authorization(id: &str) -> String {
    format!("{AUTHORIZATIONS}{}/", segment(id))
}

/// Asks before revoking an authorization.
#[must_use]
pub fn authorization_revoke(id: &str) -> String {
    format!("{}delete/", authorization(id))
}

/// Gives templates the same addresses: `paths.login`, and two filters that make one of an id.
pub(super) fn register(environment: &mut Environment<'static>) {
    let fixed = BTreeMap::from([
        ("home", HOME),
        ("login", LOGIN),
        ("logout", LOGOUT),
        ("password_change", PASSWORD_CHANGE),
        ("applications", APPLICATIONS),
        ("register", REGISTER),
        ("read_models", READ_MODELS),
        ("authorize", AUTHORIZE),
        ("authorizations", AUTHORIZATIONS),
        ("style", STYLE),
    ]);
    environment.add_global("paths", Value::from(fixed));
    environment.add_filter("application_path", application);
    environment.add_filter("authorization_path", authorization);
}
