//! What is asked when an application is registered or edited? The first ten fields, their order
//! and their names are those that Django OAuth Toolkit's form has; ours follow.

use serde::Serialize;

use super::components::FormErrors;
use super::samples::{self, Sample};
use super::{Page, paths};

/// The values of the form, as typed; each field has the name it has on the wire. Checkboxes are
/// sent as `on`, or not at all.
#[derive(Debug, Clone, Default, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a checkbox of the form")]
pub struct ApplicationForm {
    /// What people call it; may be empty.
    pub name: String,
    /// Its public identifier; fixed once registered.
    pub client_id: String,
    /// The secret to be hashed; only in the registration form.
    pub client_secret: String,
    /// Must stay ticked: only a hash is kept.
    pub hash_client_secret: bool,
    /// `confidential`, `public`, or empty while nothing is chosen.
    pub client_type: String,
    /// `authorization-code`, `client-credentials`, or empty while nothing is chosen.
    pub authorization_grant_type: String,
    /// Separated by white space.
    pub redirect_uris: String,
    /// Separated by white space.
    pub post_logout_redirect_uris: String,
    /// Separated by white space.
    pub allowed_origins: String,
    /// Empty, or `RS256`.
    pub algorithm: String,
    /// Checkboxes named `scope.<name>`, one for each scope of the catalogue.
    pub scopes: Vec<ScopeChoice>,
    /// Checkbox: refuse authorization requests without PKCE (RFC 7636).
    pub require_pkce: bool,
    /// Checkbox: ask for consent even if it was given before.
    pub ask_always: bool,
    /// Checkbox for superusers: never ask for consent.
    pub skip_authorization: bool,
    /// Seconds in which a refresh token may be presented again; 0 to 60.
    pub retry_window_seconds: String,
    /// Lifetime of access tokens in seconds; empty for the configured one.
    pub access_token_lifetime_seconds: String,
    /// For superusers: URIs of the resources it serves (RFC 8707), separated by white space.
    pub resources: String,
    /// Checkbox for superusers: may introspect every token.
    pub introspect_everything: bool,
    /// `web` or `native` (RFC 8252).
    pub application_type: String,
    /// Hidden: sealed reference to the prefilled id and secret, which proves an unedited one.
    pub initial: String,
}

/// A scope of the catalogue that an application may be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScopeChoice {
    /// Name on the wire.
    pub name: String,
    /// What it allows.
    pub description: String,
    /// Whether the application may ask for it.
    pub ticked: bool,
}

/// The registration form.
#[derive(Debug, Clone, Serialize)]
pub struct RegisterApplication {
    /// Values shown.
    pub form: ApplicationForm,
    /// What is wrong with them.
    pub errors: FormErrors,
    /// The configured lifetime of access tokens in seconds.
    pub default_lifetime: u64,
}

/// The edit form.
#[derive(Debug, Clone, Serialize)]
pub struct EditApplication {
    /// Name before the edit; empty if it has none.
    pub name: String,
    /// Values shown.
    pub form: ApplicationForm,
    /// What is wrong with them.
    pub errors: FormErrors,
    /// The configured lifetime of access tokens in seconds.
    pub default_lifetime: u64,
}

impl ApplicationForm {
    /// A fresh form: prefilled id and secret, everything else at its default.
    #[must_use]
    pub fn fresh(
        client_id: String,
        client_secret: String,
        initial: String,
        scopes: Vec<ScopeChoice>,
    ) -> Self {
        Self {
            client_id,
            client_secret,
            initial,
            scopes,
            hash_client_secret: true,
            retry_window_seconds: "0".into(),
            application_type: "web".into(),
            ..Self::default()
        }
    }
}

impl Page for RegisterApplication {
    const TEMPLATE: &'static str = "pages/application_register.html";

    fn title(&self) -> String {
        let title = "Register a new application";
        if self.errors.is_empty() { title.to_owned() } else { format!("Error: {title}") }
    }

    fn samples() -> Vec<Sample<Self>> {
        let mut errors = FormErrors::default();
        errors.push("client_id", "Application with this Client ID already exists.");
        errors.push("redirect_uris", "redirect_uris cannot be empty with grant_type authorization-code");
        errors.push("retry_window_seconds", "The retry window is 0 to 60 seconds.");
        let page = |errors| Self { form: sample_form(), errors, default_lifetime: 36_000 };
        vec![
            Sample::user("application_register", paths::REGISTER, page(FormErrors::default())),
            Sample::superuser("application_register_superuser", paths::REGISTER, page(FormErrors::default())),
            Sample::user("application_register_wrong", paths::REGISTER, page(errors)),
        ]
    }
}

impl Page for EditApplication {
    const TEMPLATE: &'static str = "pages/application_edit.html";

    fn title(&self) -> String {
        let called = if self.name.is_empty() { &self.form.client_id } else { &self.name };
        let title = format!("Edit {called}");
        if self.errors.is_empty() { title } else { format!("Error: {title}") }
    }

    fn samples() -> Vec<Sample<Self>> {
        let path = paths::application_action(samples::CLIENT_ID, paths::ApplicationAction::Update);
        let form = ApplicationForm {
            name: "Reports".into(),
            client_type: "confidential".into(),
            authorization_grant_type: "authorization-code".into(),
            redirect_uris: "http://127.0.0.1:8000/noexist/callback".into(),
            require_pkce: true,
            ..sample_form()
        };
        let mut errors = FormErrors::default();
        errors.push("redirect_uris", "redirect uri URI Validation error. invalid_scheme: ftp://x/y");
        let page =
            |errors| Self { name: "Reports".into(), form: form.clone(), errors, default_lifetime: 36_000 };
        vec![
            Sample::superuser("application_edit", &path, page(FormErrors::default())),
            Sample::user("application_edit_wrong", &path, page(errors)),
        ]
    }
}

fn sample_form() -> ApplicationForm {
    let scope = |name: &str, description: &str| ScopeChoice {
        name: name.into(),
        description: description.into(),
        ticked: true,
    };
    ApplicationForm::fresh(
        samples::CLIENT_ID.into(),
        samples::CLIENT_SECRET.into(),
        samples::SEALED.into(),
        vec![scope("read", "Reading scope"), scope("write", "Writing scope")],
    )
}
