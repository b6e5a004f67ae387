//! What does an application do? Register, ask a browser for a code, and talk to the token endpoint.

use super::request::{Answer, Request};

/// A verifier and its challenge (RFC 7636 appendix B).
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The S256 challenge of [`VERIFIER`].
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// What is typed into the registration form; the rest stays as it arrived.
#[derive(Debug, Clone)]
pub struct Registration {
    pub fields: Vec<(String, String)>,
    pub unticked: Vec<String>,
}

impl Registration {
    /// Confidential, authorization code, as `A` of the attack table.
    pub fn confidential() -> Self {
        let none = Self { fields: Vec::new(), unticked: Vec::new() };
        none.set("name", "Reports")
            .set("client_type", "confidential")
            .set("authorization_grant_type", "authorization-code")
            .set("redirect_uris", "https://app.example/cb")
    }

    /// Public and native, as `P` of the attack table.
    pub fn public() -> Self {
        Self::confidential()
            .set("name", "Pocket")
            .set("client_type", "public")
            .set("application_type", "native")
            .set("redirect_uris", "http://127.0.0.1/cb")
            .set("client_secret", "")
    }

    /// Confidential, for itself.
    pub fn machine() -> Self {
        let machine = Self::confidential().set("name", "Nightly").set("redirect_uris", "");
        machine.set("authorization_grant_type", "client-credentials")
    }

    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(field, _)| field != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn tick(self, name: &str) -> Self {
        self.set(name, "on")
    }

    pub fn untick(mut self, name: &str) -> Self {
        self.unticked.push(name.to_owned());
        self
    }
}

/// A registered application.
#[derive(Debug, Clone)]
pub struct App {
    pub client: reqwest::Client,
    pub base: String,
    pub client_id: String,
    /// Empty if it is public.
    pub secret: String,
    pub redirect_uri: String,
}

/// What the token endpoint gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

impl Tokens {
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{answer:#?}");
        Self { access: answer.text("access_token"), refresh: answer.text("refresh_token") }
    }
}

impl App {
    pub fn is_public(&self) -> bool {
        self.secret.is_empty()
    }

    /// An authorization request, with PKCE if it must.
    pub fn query(&self) -> Query {
        let query = Query::default()
            .set("response_type", "code")
            .set("client_id", &self.client_id)
            .set("redirect_uri", &self.redirect_uri)
            .set("state", "af0ifjsldkj");
        if self.is_public() { query.pkce() } else { query }
    }

    /// A POST as this application, its secret in the body.
    pub fn post(&self, path: &str) -> Request {
        let request = Request::new(&self.client, "POST", format!("{}{path}", self.base));
        let request = request.set("client_id", &self.client_id);
        if self.is_public() { request } else { request.set("client_secret", &self.secret) }
    }

    /// A code for tokens, with the verifier if it must.
    pub fn redeem(&self, code: &str) -> Request {
        let request = self
            .post("/o/token/")
            .set("grant_type", "authorization_code")
            .set("code", code)
            .set("redirect_uri", &self.redirect_uri);
        if self.is_public() { request.set("code_verifier", VERIFIER) } else { request }
    }

    pub fn refresh(&self, token: &str) -> Request {
        self.post("/o/token/").set("grant_type", "refresh_token").set("refresh_token", token)
    }

    pub fn client_credentials(&self) -> Request {
        self.post("/o/token/").set("grant_type", "client_credentials")
    }

    pub fn introspect(&self, token: &str) -> Request {
        self.post("/o/introspect/").set("token", token)
    }

    pub fn revoke(&self, token: &str) -> Request {
        self.post("/o/revoke_token/").set("token", token)
    }

    /// What the protected resource of the tutorial is asked for.
    pub fn resource(&self, token: &str) -> Request {
        Request::new(&self.client, "GET", format!("{}/resource", self.base)).bearer(token)
    }

    /// Whether the token is alive, to this application.
    #[track_caller]
    pub fn sees_active(&self, token: &str) -> impl Future<Output = bool> + use<> {
        let request = self.introspect(token);
        async move { request.send().await.is(200).json()["active"].as_bool().unwrap() }
    }

    /// Another secret or id, everything else as it is.
    pub fn with_secret(&self, secret: &str) -> Self {
        Self { secret: secret.to_owned(), ..self.clone() }
    }
}

/// The parameters of an authorization request.
#[derive(Debug, Clone, Default)]
pub struct Query(pub Vec<(String, String)>);

impl Query {
    pub fn set(mut self, name: &str, value: &str) -> Self {
        match self.0.iter_mut().find(|(field, _)| field == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    pub fn add(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(field, _)| field != name);
        self
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// With the challenge of [`VERIFIER`].
    pub fn pkce(self) -> Self {
        self.set("code_challenge", CHALLENGE).set("code_challenge_method", "S256")
    }
}
