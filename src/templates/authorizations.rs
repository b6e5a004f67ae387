//! What has a person allowed, to whom, and what came of it? (RFC 6749 §1.3, RFC 7009)

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::components::{Paging, ScopeLine, Seal, TokenLine};
use super::roll::Roll;
use super::samples::{self, Sample};
use super::{Page, paths};

/// What the reader has authorized.
#[derive(Debug, Clone, Serialize)]
pub struct AuthorizationList {
    /// This page of the list.
    pub rows: Vec<AuthorizationRow>,
    /// What has ended lately, on the first page.
    pub ended: Vec<AuthorizationRow>,
    /// Neighbouring pages.
    pub paging: Paging,
}

/// One authorization in the list.
#[derive(Debug, Clone, Serialize)]
pub struct AuthorizationRow {
    /// Its id.
    pub id: String,
    /// The application's name, or its client id.
    pub application: String,
    /// The application's public identifier.
    pub client_id: String,
    /// Whether it still holds.
    pub seal: Seal,
    /// What was allowed.
    pub scopes: Vec<ScopeLine>,
    /// Since when.
    pub granted_at: DateTime<Utc>,
    /// How many of its tokens work now.
    pub live_tokens: u64,
}

/// The page of one authorization.
#[derive(Debug, Clone, Serialize)]
pub struct AuthorizationDetail {
    /// What the list shows of it.
    #[serde(flatten)]
    pub row: AuthorizationRow,
    /// Who allowed it; `None` once that person is erased.
    pub resource_owner: Option<String>,
    /// Where the code was sent.
    pub redirect_uri: String,
    /// For which resources (RFC 8707).
    pub resources: Vec<String>,
    /// Its tokens, newest first.
    pub tokens: Vec<TokenLine>,
    /// Whether the reader may open the application's page.
    pub may_open_application: bool,
    /// What happened to it.
    pub roll: Roll,
}

impl Page for AuthorizationList {
    const TEMPLATE: &'static str = "pages/authorization_list.html";

    fn title(&self) -> String {
        "Authorized applications".to_owned()
    }

    fn samples() -> Vec<Sample<Self>> {
        let spent = AuthorizationRow {
            application: "Nightly export".into(),
            client_id: "nightly-export".into(),
            live_tokens: 0,
            seal: Seal::Revoked,
            scopes: Vec::new(),
            ..sample_row()
        };
        let paging = Paging { newer: Some(paths::AUTHORIZATIONS.into()), older: None };
        let empty = Self { rows: Vec::new(), ended: Vec::new(), paging: Paging::default() };
        vec![
            Sample::user(
                "authorization_list",
                paths::AUTHORIZATIONS,
                Self { rows: vec![sample_row()], ended: vec![spent], paging },
            ),
            Sample::user("authorization_list_empty", paths::AUTHORIZATIONS, empty),
        ]
    }
}

impl Page for AuthorizationDetail {
    const TEMPLATE: &'static str = "pages/authorization_detail.html";

    fn title(&self) -> String {
        format!("Authorization for {}", self.row.application)
    }

    fn samples() -> Vec<Sample<Self>> {
        let path = paths::authorization(samples::AUTHORIZATION_ID);
        let dead = Self {
            row: AuthorizationRow { seal: Seal::Revoked, live_tokens: 0, scopes: Vec::new(), ..sample_row() },
            tokens: Vec::new(),
            resource_owner: None,
            may_open_application: false,
            ..sample_detail()
        };
        vec![
            Sample::user("authorization_detail", &path, sample_detail()),
            Sample::superuser("authorization_detail_revoked", &path, dead),
        ]
    }
}

fn sample_row() -> AuthorizationRow {
    AuthorizationRow {
        id: samples::AUTHORIZATION_ID.into(),
        application: "Reports".into(),
        client_id: samples::CLIENT_ID.into(),
        seal: Seal::Live,
        scopes: vec![ScopeLine::new("read", "Reading scope"), ScopeLine::new("write", "Writing scope")],
        granted_at: samples::at(-7_400),
        live_tokens: 2,
    }
}

fn sample_detail() -> AuthorizationDetail {
    let token = |id: &str, kind: &str, seal, issued, expires| TokenLine {
        id: id.into(),
        kind: kind.into(),
        seal,
        issued_at: samples::at(issued),
        expires_at: Some(samples::at(expires)),
    };
    AuthorizationDetail {
        row: sample_row(),
        resource_owner: Some("admin".into()),
        redirect_uri: "http://127.0.0.1:8000/noexist/callback".into(),
        resources: vec!["https://api.example/".into()],
        tokens: vec![
            token("0193a5f2c3d44e1b9a7712ab34cd56ef", "Access token", Seal::Live, -200, 35_800),
            token("0193a5f2c3d54e1b9a7712ab34cd5700", "Refresh token", Seal::Live, -200, 86_400 * 30),
            token("0193a5f27bd4470c8a519f3c2e10aa42", "Refresh token", Seal::Used, -7_390, 86_400 * 30),
        ],
        may_open_application: true,
        roll: samples::authorization_roll(),
    }
}
