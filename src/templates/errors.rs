//! What went wrong, what does it mean, and what can be done? (RFC 6749 §4.1.2.1)

use serde::Serialize;

use super::Page;
use super::samples::Sample;

/// A refused authorization request that must not be redirected.
#[derive(Debug, Clone, Serialize)]
pub struct OAuthErrorPage {
    /// Error code of RFC 6749: `invalid_request`.
    pub code: String,
    /// The description that goes with it.
    pub description: String,
    /// Finds the refusal in the log and on the roll.
    pub correlation_id: String,
}

/// Any other failure.
#[derive(Debug, Clone, Serialize)]
pub struct ErrorPage {
    /// HTTP status.
    pub status: u16,
    /// What it is called.
    pub heading: String,
    /// What happened.
    pub happened: String,
    /// What to do.
    pub advice: String,
    /// Seconds after which it makes sense to try again.
    pub retry_after: Option<u64>,
    /// Finds the failure in the log.
    pub correlation_id: Option<String>,
}

/// Nothing lives at this address.
#[derive(Debug, Clone, Serialize)]
pub struct NotFound {
    /// What the address carries.
    pub arrival: Arrival,
}

/// What somebody brought to an address where nothing lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// Nothing in particular.
    Plain,
    /// A parameter `code`: the answer to an authorization request (RFC 6749 §4.1.2).
    WithCode,
    /// A parameter `error`: a refused one (RFC 6749 §4.1.2.1).
    WithError,
}

impl ErrorPage {
    /// 403: the form did not come from our own page.
    #[must_use]
    pub fn forged_form(correlation_id: Option<String>) -> Self {
        Self {
            status: 403,
            heading: "Forbidden (403)".into(),
            happened: "The form did not prove that it came from this server, so nothing was done.".into(),
            advice:
                "Go back, reload the page and send the form again. Cookies must be allowed for this address."
                    .into(),
            retry_after: None,
            correlation_id,
        }
    }

    /// 403: the page belongs to somebody else.
    #[must_use]
    pub fn not_yours(correlation_id: Option<String>) -> Self {
        Self {
            happened: "You may not see or change this.".into(),
            advice: "Log in as its owner, or ask a superuser.".into(),
            ..Self::forged_form(correlation_id)
        }
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(happened: impl Into<String>, correlation_id: Option<String>) -> Self {
        Self {
            status: 400,
            heading: "Bad request (400)".into(),
            happened: happened.into(),
            advice: "Go back, reload the page and try again.".into(),
            retry_after: None,
            correlation_id,
        }
    }

    /// 429: too many attempts.
    #[must_use]
    pub fn too_many_attempts(retry_after: u64, correlation_id: Option<String>) -> Self {
        Self {
            status: 429,
            heading: "Too many attempts (429)".into(),
            happened: "There were too many attempts in a short time, so this one was not looked at.".into(),
            advice: "Wait, then try again. Trying earlier does not help.".into(),
            retry_after: Some(retry_after),
            correlation_id,
        }
    }

    /// 500: our fault.
    #[must_use]
    pub fn internal(correlation_id: Option<String>) -> Self {
        Self {
            status: 500,
            heading: "The server failed (500)".into(),
            happened: "The fault is the server's, not yours.".into(),
            advice: "Try again. If it happens again, give the reference below to whoever runs this server."
                .into(),
            retry_after: None,
            correlation_id,
        }
    }

    /// 503: not now.
    #[must_use]
    pub fn unavailable(retry_after: u64, correlation_id: Option<String>) -> Self {
        Self {
            status: 503,
            heading: "Not available at the moment (503)".into(),
            happened: "The server cannot answer for certain right now, and it does not guess.".into(),
            advice: "Wait a moment, then try again.".into(),
            retry_after: Some(retry_after),
            correlation_id,
        }
    }
}

impl Page for OAuthErrorPage {
    const TEMPLATE: &'static str = "pages/oauth_error.html";

    fn title(&self) -> String {
        format!("Error: {}", self.code)
    }

    fn samples() -> Vec<Sample<Self>> {
        let page = Self {
            code: "invalid_request".into(),
            description: "Mismatching redirect URI.".into(),
            correlation_id: "0193a5f2-7bd4-7470-8a51-9f3c2e10aa42".into(),
        };
        vec![Sample::user("oauth_error", "/o/authorize/", page)]
    }
}

impl Page for ErrorPage {
    const TEMPLATE: &'static str = "pages/error.html";

    fn title(&self) -> String {
        self.heading.clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        let id = || Some("0193a5f2-7bd4-7470-8a51-9f3c2e10aa42".to_owned());
        vec![
            Sample::nobody("error_forbidden", "/admin/login/", Self::forged_form(id())),
            Sample::user("error_not_yours", "/o/applications/x/", Self::not_yours(id())),
            Sample::user(
                "error_bad_request",
                "/o/applications/",
                Self::bad_request("The form has the field name twice.", id()),
            ),
            Sample::nobody("error_too_many", "/admin/login/", Self::too_many_attempts(90, id())),
            Sample::nobody("error_internal", "/", Self::internal(id())),
            Sample::nobody("error_unavailable", "/", Self::unavailable(5, None)),
        ]
    }
}

impl Page for NotFound {
    const TEMPLATE: &'static str = "pages/not_found.html";

    fn title(&self) -> String {
        "Page not found (404)".to_owned()
    }

    fn samples() -> Vec<Sample<Self>> {
        let path = "/noexist/callback";
        vec![
            Sample::user("not_found", path, Self { arrival: Arrival::Plain }),
            Sample::user("not_found_code", path, Self { arrival: Arrival::WithCode }),
            Sample::nobody("not_found_error", path, Self { arrival: Arrival::WithError }),
        ]
    }
}
