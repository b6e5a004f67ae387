//! Which applications are there, and what is one of them? (RFC 6749 §2)

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::components::{Paging, Seal};
use super::roll::Roll;
use super::samples::{self, Sample};
use super::{Page, paths};

/// Whether an application may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationState {
    /// It may ask for tokens.
    Live,
    /// It gets no tokens until it is enabled again.
    Disabled,
    /// It is gone; only its roll remains.
    Deleted,
}

/// The list of applications.
#[derive(Debug, Clone, Serialize)]
pub struct ApplicationList {
    /// This page of the list.
    pub rows: Vec<ApplicationRow>,
    /// Neighbouring pages.
    pub paging: Paging,
}

/// One application in the list.
#[derive(Debug, Clone, Serialize)]
pub struct ApplicationRow {
    /// Its name; empty if it has none.
    pub name: String,
    /// Its public identifier (RFC 6749 §2.2).
    pub client_id: String,
    /// Who registered it; the page shows this to superusers.
    pub owner: Option<String>,
    /// Whether it may be used.
    pub state: ApplicationState,
    /// `confidential` or `public` (RFC 6749 §2.1).
    pub client_type: String,
    /// Grant types as people call them.
    pub grant_types: Vec<String>,
    /// How many of its tokens work now.
    pub live_tokens: u64,
    /// When it was registered.
    pub registered_at: DateTime<Utc>,
}

/// The page of one application.
#[derive(Debug, Clone, Serialize)]
pub struct ApplicationDetail {
    /// What the list shows of it.
    #[serde(flatten)]
    pub row: ApplicationRow,
    /// How it was registered: `form`, `command line`, `dynamic registration`.
    pub registered_by: String,
    /// `web` or `native` (RFC 8252).
    pub application_type: String,
    /// Where the browser may be sent (RFC 6749 §3.1.2).
    pub redirect_uris: Vec<String>,
    /// Where the browser may be sent after logging out.
    pub post_logout_redirect_uris: Vec<String>,
    /// Origins whose scripts may call the token endpoint.
    pub allowed_origins: Vec<String>,
    /// Scopes it may ask for.
    pub scopes: Vec<String>,
    /// Resources it serves (RFC 8707), whose tokens it may introspect.
    pub resources: Vec<String>,
    /// Switches that are on, each as a sentence: "PKCE is required."
    pub remarks: Vec<String>,
    /// Lifetime of its access tokens in seconds.
    pub access_token_lifetime: u64,
    /// When its secret was set; `None` for a public client.
    pub secret_set_at: Option<DateTime<Utc>>,
    /// Live authorizations given to it.
    pub authorizations: u64,
    /// Whether the reader may change it.
    pub may_change: bool,
    /// What happened to it.
    pub roll: Roll,
}

/// The new secret, shown once.
#[derive(Debug, Clone, Serialize)]
pub struct RotatedSecret {
    /// Name of the application; empty if it has none.
    pub name: String,
    /// Its public identifier.
    pub client_id: String,
    /// The secret itself. It is on this page and nowhere else.
    pub client_secret: String,
}

impl ApplicationRow {
    /// What people call it: its name, else its client id.
    #[must_use]
    pub fn called(&self) -> &str {
        if self.name.is_empty() { &self.client_id } else { &self.name }
    }
}

impl ApplicationState {
    /// The seal that shows this state.
    #[must_use]
    pub fn seal(self) -> Seal {
        match self {
            Self::Live => Seal::Live,
            Self::Disabled => Seal::Refused,
            Self::Deleted => Seal::Revoked,
        }
    }
}

impl Page for ApplicationList {
    const TEMPLATE: &'static str = "pages/application_list.html";

    fn title(&self) -> String {
        "Your applications".to_owned()
    }

    fn samples() -> Vec<Sample<Self>> {
        let row = |name: &str, client_id: &str, state| ApplicationRow {
            name: name.into(),
            client_id: client_id.into(),
            state,
            ..sample_row()
        };
        let rows = vec![
            row("Reports", samples::CLIENT_ID, ApplicationState::Live),
            row("", "kV3b0dJwqYtq4mXo7cZ2n8RfHs6LxAgT1uEiPpNy", ApplicationState::Live),
            row("Nightly export", "nightly-export", ApplicationState::Disabled),
        ];
        let paging = Paging { newer: None, older: Some(format!("{}?before=3", paths::APPLICATIONS)) };
        let empty = Self { rows: Vec::new(), paging: Paging::default() };
        vec![
            Sample::superuser(
                "application_list",
                paths::APPLICATIONS,
                Self { rows: rows.clone(), paging: paging.clone() },
            ),
            Sample::user("application_list_own", paths::APPLICATIONS, Self { rows, paging }),
            Sample::user("application_list_empty", paths::APPLICATIONS, empty),
        ]
    }
}

impl Page for ApplicationDetail {
    const TEMPLATE: &'static str = "pages/application_detail.html";

    fn title(&self) -> String {
        self.row.called().to_owned()
    }

    fn samples() -> Vec<Sample<Self>> {
        let path = paths::application(samples::CLIENT_ID);
        let full = sample_detail();
        let bare = Self {
            row: ApplicationRow {
                name: String::new(),
                state: ApplicationState::Disabled,
                client_type: "public".into(),
                live_tokens: 0,
                ..sample_row()
            },
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            resources: Vec::new(),
            remarks: Vec::new(),
            secret_set_at: None,
            authorizations: 0,
            roll: Roll::new(Vec::new(), None),
            ..sample_detail()
        };
        let gone = Self {
            row: ApplicationRow { state: ApplicationState::Deleted, ..sample_row() },
            may_change: false,
            ..sample_detail()
        };
        vec![
            Sample::user("application_detail", &path, full).noticing("Saved."),
            Sample::superuser("application_detail_disabled", &path, bare),
            Sample::user("application_detail_deleted", &path, gone),
        ]
    }
}

impl Page for RotatedSecret {
    const TEMPLATE: &'static str = "pages/application_secret.html";

    fn title(&self) -> String {
        "New client secret".to_owned()
    }

    fn samples() -> Vec<Sample<Self>> {
        let path = paths::application_action(samples::CLIENT_ID, paths::ApplicationAction::RotateSecret);
        let page = Self {
            name: "Reports".into(),
            client_id: samples::CLIENT_ID.into(),
            client_secret: samples::CLIENT_SECRET.into(),
        };
        vec![Sample::user("application_secret", &path, page)]
    }
}

fn sample_row() -> ApplicationRow {
    ApplicationRow {
        name: "Reports".into(),
        client_id: samples::CLIENT_ID.into(),
        owner: Some("admin".into()),
        state: ApplicationState::Live,
        client_type: "confidential".into(),
        grant_types: vec!["Authorization code".into()],
        live_tokens: 3,
        registered_at: samples::at(-86_400 * 3),
    }
}

fn sample_detail() -> ApplicationDetail {
    ApplicationDetail {
        row: sample_row(),
        registered_by: "form".into(),
        application_type: "web".into(),
        redirect_uris: vec![
            "http://127.0.0.1:8000/noexist/callback".into(),
            "https://reports.example/cb".into(),
        ],
        post_logout_redirect_uris: vec!["https://reports.example/".into()],
        allowed_origins: Vec::new(),
        scopes: vec!["read".into(), "write".into()],
        resources: vec!["https://api.example/".into()],
        remarks: vec!["PKCE is required.".into(), "Consent is asked every time.".into()],
        access_token_lifetime: 36_000,
        secret_set_at: Some(samples::at(-86_400 * 3)),
        authorizations: 1,
        may_change: true,
        roll: samples::application_roll(),
    }
}
