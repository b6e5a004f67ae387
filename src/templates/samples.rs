//! What does every page look like? Sample contexts, for the tests that read every page and for
//! `cargo run --example pages`, which writes them to files.

use chrono::{DateTime, TimeDelta, Utc};

use super::components::Seal;
use super::roll::{Branch, Roll, TimelineEntry};
use super::{Chrome, Page, TemplateError, Templates, paths};

/// A client id as the form prefills it.
pub(super) const CLIENT_ID: &str = "3nVv0yWq8rTzKcLmXb5sJdHgFpUeRa7QiOt2NxYk";
/// A client secret as the form prefills it.
pub(super) const CLIENT_SECRET: &str = "sampleSampleSampleSampleSampleSampleSampleSampleSampleSampleSamp\
                                        leSampleSampleSampleSampleSampleSampleSampleSampleSampleSampleSa";
/// An authorization's id.
pub(super) const AUTHORIZATION_ID: &str = "0193a5f27bd4470c8a519f3c2e10aa41";
/// A sealed value.
pub(super) const SEALED: &str = "c2VhbGVkIGJ5IHRoZSBzZXJ2ZXI";

/// One shape of a page, and who is looking at it.
#[derive(Debug, Clone)]
pub struct Sample<C> {
    /// Names the file it is written to.
    pub name: &'static str,
    /// Who looks.
    pub chrome: Chrome,
    /// What they see.
    pub page: C,
}

/// A sample that became a page.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The sample's name.
    pub name: &'static str,
    /// The template it used.
    pub template: &'static str,
    /// The page.
    pub html: String,
}

impl<C> Sample<C> {
    /// Seen by somebody who is not logged in.
    pub fn nobody(name: &'static str, path: &str, page: C) -> Self {
        Self { name, chrome: chrome(None, path), page }
    }

    /// Seen by an ordinary user.
    pub fn user(name: &'static str, path: &str, page: C) -> Self {
        Self { name, chrome: chrome(Some("reader"), path), page }
    }

    /// Seen by a superuser.
    pub fn superuser(name: &'static str, path: &str, page: C) -> Self {
        let chrome = Chrome { is_superuser: true, ..chrome(Some("admin"), path) };
        Self { name, chrome, page }
    }

    /// Below a sentence on what the last request did.
    #[must_use]
    pub fn noticing(mut self, notice: &str) -> Self {
        self.chrome.notice = Some(notice.to_owned());
        self
    }
}

/// Every sample of every page, rendered.
pub fn render_all(templates: &Templates) -> Result<Vec<Rendered>, TemplateError> {
    let mut rendered = Vec::new();
    render_page::<super::home::Home>(templates, &mut rendered)?;
    render_page::<super::account::Login>(templates, &mut rendered)?;
    render_page::<super::account::Logout>(templates, &mut rendered)?;
    render_page::<super::account::PasswordChange>(templates, &mut rendered)?;
    render_page::<super::applications::ApplicationList>(templates, &mut rendered)?;
    render_page::<super::applications::ApplicationDetail>(templates, &mut rendered)?;
    render_page::<super::applications::RotatedSecret>(templates, &mut rendered)?;
    render_page::<super::application_form::RegisterApplication>(templates, &mut rendered)?;
    render_page::<super::application_form::EditApplication>(templates, &mut rendered)?;
    render_page::<super::confirm::Confirm>(templates, &mut rendered)?;
    render_page::<super::consent::Consent>(templates, &mut rendered)?;
    render_page::<super::authorizations::AuthorizationList>(templates, &mut rendered)?;
    render_page::<super::authorizations::AuthorizationDetail>(templates, &mut rendered)?;
    render_page::<super::read_models::ReadModels>(templates, &mut rendered)?;
    render_page::<super::errors::OAuthErrorPage>(templates, &mut rendered)?;
    render_page::<super::errors::ErrorPage>(templates, &mut rendered)?;
    render_page::<super::errors::NotFound>(templates, &mut rendered)?;
    Ok(rendered)
}

fn render_page<C: Page>(templates: &Templates, rendered: &mut Vec<Rendered>) -> Result<(), TemplateError> {
    for Sample { name, chrome, page } in C::samples() {
        let html = templates.render(&chrome, &page)?;
        rendered.push(Rendered { name, template: C::TEMPLATE, html });
    }
    Ok(())
}

/// A moment, in seconds from the one that all samples call now.
pub(super) fn at(seconds: i64) -> DateTime<Utc> {
    let now = DateTime::from_timestamp(1_795_529_580, 0).unwrap_or_default();
    now + TimeDelta::seconds(seconds)
}

fn chrome(username: Option<&str>, path: &str) -> Chrome {
    Chrome {
        username: username.map(str::to_owned),
        is_superuser: false,
        csrf_token: "Zm9ybSB0b2tlbg".into(),
        path: path.to_owned(),
        now: at(0),
        notice: None,
    }
}

/// The roll of an application: registered, authorized, attacked, mended.
pub(super) fn application_roll() -> Roll {
    let branch = || {
        Some(Branch {
            id: AUTHORIZATION_ID.into(),
            label: "Authorization by admin".into(),
            href: Some(paths::authorization(AUTHORIZATION_ID)),
        })
    };
    let mut entries = authorization_entries();
    for entry in &mut entries {
        entry.branch = branch();
    }
    let mut all = vec![
        entry(4_217, -60, Seal::Live, "A token for the application itself was issued, good for 10 hours.")
            .detail("Scopes", "read write")
            .detail("Grant type", "client_credentials")
            .detail("Token", "0193a5f2d0aa4e1b9a7712ab34cd5811"),
        entry(4_216, -95, Seal::Refused, "A token request was refused: the client secret was wrong.")
            .detail("Error", "invalid_client")
            .detail("From", "127.0.0.1")
            .detail("Correlation", "0193a5f2-7bd4-7470-8a51-9f3c2e10aa42"),
    ];
    all.append(&mut entries);
    all.push(
        entry(4_140, -86_400 * 2, Seal::Neutral, "The redirect URIs were changed.")
            .by("admin")
            .detail("Added", "https://reports.example/cb"),
    );
    all.push(
        entry(4_101, -86_400 * 3, Seal::Live, "Reports was registered with the form.")
            .by("admin")
            .detail("Client type", "confidential"),
    );
    Roll::new(all, Some("?before=4101".into()))
}

/// The roll of an authorization.
pub(super) fn authorization_roll() -> Roll {
    Roll::new(authorization_entries(), None).with_newest("?")
}

fn authorization_entries() -> Vec<TimelineEntry> {
    vec![
        entry(4_215, -200, Seal::Live, "The refresh token was exchanged for a new pair.")
            .detail("Access token", "0193a5f2c3d44e1b9a7712ab34cd56ef")
            .detail("Refresh token", "0193a5f2c3d54e1b9a7712ab34cd5700"),
        entry(4_214, -200, Seal::Used, "The former access and refresh tokens are spent."),
        entry(
            4_209,
            -7_390,
            Seal::Used,
            "The code was exchanged for an access token, good for 10 hours, and a refresh token.",
        )
        .detail("Scopes", "read write")
        .detail("From", "127.0.0.1"),
        entry(4_208, -7_400, Seal::Live, "admin allowed Reports to read and write.")
            .by("admin")
            .detail("Sent to", "http://127.0.0.1:8000/noexist/callback")
            .link("The application", paths::application(CLIENT_ID)),
        entry(4_180, -90_000, Seal::Expired, "A code was issued and ran out before it was used."),
        entry(
            4_177,
            -90_600,
            Seal::Revoked,
            "A spent refresh token came back, so 2 live tokens were revoked.",
        )
        .detail("Rule", "refresh token reuse"),
    ]
}

fn entry(position: u64, seconds: i64, seal: Seal, sentence: &str) -> TimelineEntry {
    TimelineEntry::new(position, at(seconds), seal, sentence)
}
