//! What will this destroy? Asked before anything that cannot be taken back.

use serde::Serialize;

use super::paths::{self, ApplicationAction};
use super::samples::{self, Sample};
use super::{Page, words};

/// A question, what follows from yes, a button that names it, and a way out.
#[derive(Debug, Clone, Serialize)]
pub struct Confirm {
    heading: String,
    /// Paragraphs on what happens.
    sentences: Vec<String>,
    /// Numbers of what dies, each with its word.
    radius: Vec<(u64, String)>,
    /// Where the form is posted.
    action: String,
    button: String,
    /// Whether something dies.
    danger: bool,
    /// Where "Cancel" leads.
    cancel: String,
}

/// What dies with an application or its secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Radius {
    /// Tokens that work now.
    pub live_tokens: u64,
    /// Authorizations that people have given it.
    pub authorizations: u64,
}

impl Confirm {
    /// Deleting an application. `called` is its name, or its client id.
    #[must_use]
    pub fn delete_application(client_id: &str, called: &str, radius: Radius) -> Self {
        Self {
            heading: format!("Delete {called}?"),
            sentences: vec![
                format!("Are you sure to delete the application {called}?"),
                "It cannot be undone. Every request that names its client id is refused from then on; what happened so far stays on the roll.".into(),
            ],
            button: match radius.live_tokens {
                0 => "Delete the application".into(),
                n => format!("Delete it and revoke {}", live_tokens(n)),
            },
            radius: radius.lines(),
            danger: true,
            ..Self::of_application(client_id, ApplicationAction::Delete)
        }
    }

    /// Disabling an application until it is enabled again.
    #[must_use]
    pub fn disable_application(client_id: &str, called: &str, radius: Radius) -> Self {
        Self {
            heading: format!("Disable {called}?"),
            sentences: vec![
                "It gets no new tokens, and those it has stop working at once. You can enable it again later; it then asks for new ones, and people whose consent is remembered are not asked again.".into(),
            ],
            button: match radius.live_tokens {
                0 => "Disable the application".into(),
                n => format!("Disable it and stop {}", live_tokens(n)),
            },
            radius: radius.stopping(),
            danger: true,
            ..Self::of_application(client_id, ApplicationAction::Disable)
        }
    }

    /// Enabling a disabled application.
    #[must_use]
    pub fn enable_application(client_id: &str, called: &str) -> Self {
        Self {
            heading: format!("Enable {called}?"),
            sentences: vec![
                "It may ask for tokens again. Those it had before it was disabled stay dead.".into(),
            ],
            button: "Enable the application".into(),
            ..Self::of_application(client_id, ApplicationAction::Enable)
        }
    }

    /// Replacing an application's secret.
    #[must_use]
    pub fn rotate_secret(client_id: &str, called: &str) -> Self {
        Self {
            heading: format!("Make a new secret for {called}?"),
            sentences: vec![
                "The present secret stops working at once, so the application cannot get or refresh tokens until it is given the new one. Tokens it already holds keep working.".into(),
                "The new secret is shown once, on the next page.".into(),
            ],
            button: "Replace the secret".into(),
            danger: true,
            ..Self::of_application(client_id, ApplicationAction::RotateSecret)
        }
    }

    /// Revoking one authorization and all of its tokens.
    #[must_use]
    pub fn revoke_authorization(id: &str, application: &str, tokens: u64) -> Self {
        Self {
            heading: format!("Revoke access for {application}?"),
            sentences: vec![format!(
                "{application} loses what you allowed it, at once. If it needs it again, it has to ask you again."
            )],
            button: match tokens {
                0 => "Revoke the authorization".into(),
                n => format!("Revoke {}", live_tokens(n)),
            },
            radius: Radius { live_tokens: tokens, authorizations: 0 }.lines(),
            action: paths::authorization_revoke(id),
            danger: true,
            cancel: paths::AUTHORIZATIONS.into(),
        }
    }

    fn of_application(client_id: &str, action: ApplicationAction) -> Self {
        Self {
            heading: String::new(),
            sentences: Vec::new(),
            radius: Vec::new(),
            action: paths::application_action(client_id, action),
            button: String::new(),
            danger: false,
            cancel: paths::application(client_id),
        }
    }
}

impl Radius {
    /// What stops working until the application is enabled again.
    fn stopping(self) -> Vec<(u64, String)> {
        let word =
            if self.live_tokens == 1 { "live token stops working" } else { "live tokens stop working" };
        if self.live_tokens > 0 { vec![(self.live_tokens, word.to_owned())] } else { Vec::new() }
    }

    fn lines(self) -> Vec<(u64, String)> {
        let mut lines = Vec::new();
        if self.live_tokens > 0 {
            let word = if self.live_tokens == 1 { "live token dies" } else { "live tokens die" };
            lines.push((self.live_tokens, word.to_owned()));
        }
        if self.authorizations > 0 {
            let word = if self.authorizations == 1 { "authorization ends" } else { "authorizations end" };
            lines.push((self.authorizations, word.to_owned()));
        }
        lines
    }
}

impl Page for Confirm {
    const TEMPLATE: &'static str = "pages/confirm.html";

    fn title(&self) -> String {
        self.heading.clone()
    }

    fn samples() -> Vec<Sample<Self>> {
        let id = samples::CLIENT_ID;
        let radius = Radius { live_tokens: 3, authorizations: 1 };
        let page = |name, page: Self| {
            let path = page.action.clone();
            Sample::user(name, &path, page)
        };
        vec![
            page("confirm_delete", Self::delete_application(id, "Reports", radius)),
            page("confirm_delete_unused", Self::delete_application(id, id, Radius::default())),
            page("confirm_disable", Self::disable_application(id, "Reports", radius)),
            page("confirm_enable", Self::enable_application(id, "Reports")),
            page("confirm_rotate", Self::rotate_secret(id, "Reports")),
            page("confirm_revoke", Self::revoke_authorization(samples::AUTHORIZATION_ID, "Reports", 3)),
        ]
    }
}

fn live_tokens(n: u64) -> String {
    words::counted_plural(n, "live token", "live tokens")
}
