//! Who asks, for what, as whom, and where does the browser go next? (RFC 6749 §4.1.1, RFC 9700 §4.14)

use serde::Serialize;
use url::{Position, Url};

use super::components::ScopeLine;
use super::samples::{self, Sample};
use super::{Page, paths};

/// The consent page. The decision is the presence of `allow`; the request travels in `request`.
#[derive(Debug, Clone, Serialize)]
pub struct Consent {
    /// The application's name, or its client id.
    pub application: String,
    /// Its public identifier.
    pub client_id: String,
    /// Who registered the application here; `None` if nobody did by hand.
    pub registered_by: Option<String>,
    /// Whom the application would act for.
    pub username: String,
    /// What it asks for.
    pub scopes: Vec<ScopeLine>,
    /// For which resources (RFC 8707); empty if it named none.
    pub resources: Vec<String>,
    /// Where the browser goes next.
    pub redirect: RedirectTarget,
    /// What the reader should look at twice.
    pub warnings: Vec<ConsentWarning>,
    /// Whether the decision is remembered, so that the page does not come again.
    pub remembered: bool,
    /// Link that goes on as somebody else.
    pub switch_account: String,
    /// The sealed request.
    pub request: String,
}

/// A redirect URI, cut so that its host can be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RedirectTarget {
    before: String,
    host: String,
    after: String,
}

/// What is unusual about who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ConsentWarning {
    /// The answer goes to a program on this device, which any program could pose as (RFC 8252 §8.6).
    NativeApplication,
    /// The application is known by a URL only; its name is what that host says of itself.
    UrlClientId {
        /// The host that speaks for it.
        host: String,
    },
    /// The browser is sent over an unencrypted connection to another machine.
    PlainHttp,
}

impl RedirectTarget {
    /// Cuts a redirect URI at its host; one without a host is shown whole.
    #[must_use]
    pub fn of(uri: &str) -> Self {
        match Url::parse(uri) {
            Ok(parsed) if parsed.has_host() => Self {
                before: parsed[..Position::BeforeHost].to_owned(),
                host: parsed[Position::BeforeHost..Position::AfterPort].to_owned(),
                after: parsed[Position::AfterPort..].to_owned(),
            },
            Ok(_) | Err(_) => Self { before: String::new(), host: uri.to_owned(), after: String::new() },
        }
    }
}

impl Page for Consent {
    const TEMPLATE: &'static str = "pages/consent.html";

    fn title(&self) -> String {
        format!("Authorize {}?", self.application)
    }

    fn samples() -> Vec<Sample<Self>> {
        let native = Self {
            application: "https://tool.example/client.json".into(),
            client_id: "https://tool.example/client.json".into(),
            registered_by: None,
            scopes: Vec::new(),
            resources: vec!["https://api.example/".into()],
            redirect: RedirectTarget::of("com.example.tool:/callback"),
            warnings: vec![
                ConsentWarning::NativeApplication,
                ConsentWarning::UrlClientId { host: "tool.example".into() },
                ConsentWarning::PlainHttp,
            ],
            remembered: false,
            ..sample()
        };
        vec![
            Sample::user("consent", paths::AUTHORIZE, sample()),
            Sample::user("consent_native", paths::AUTHORIZE, native),
        ]
    }
}

fn sample() -> Consent {
    Consent {
        application: "Reports".into(),
        client_id: samples::CLIENT_ID.into(),
        registered_by: Some("admin".into()),
        username: "admin".into(),
        scopes: vec![ScopeLine::new("read", "Reading scope"), ScopeLine::new("write", "Writing scope")],
        resources: Vec::new(),
        redirect: RedirectTarget::of("http://127.0.0.1:8000/noexist/callback"),
        warnings: Vec::new(),
        remembered: true,
        switch_account: format!("{}?switch=1", paths::LOGIN),
        request: samples::SEALED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(uri: &str) -> (String, String, String) {
        let RedirectTarget { before, host, after } = RedirectTarget::of(uri);
        (before, host, after)
    }

    #[test]
    fn the_host_of_a_redirect_uri_stands_out() {
        let parts = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(cut("http://127.0.0.1:8000/cb?a=b"), parts("http://", "127.0.0.1:8000", "/cb?a=b"));
        assert_eq!(cut("https://a.example@b.example/cb"), parts("https://a.example@", "b.example", "/cb"));
        assert_eq!(cut("http://[::1]:9/cb"), parts("http://", "[::1]:9", "/cb"));
        assert_eq!(cut("http://t/p"), parts("http://", "t", "/p"));
        assert_eq!(cut("com.example.tool:/cb"), parts("", "com.example.tool:/cb", ""));
    }
}
