//! What does the client ask for, and may it? (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2, OIDC Core
//! §3.1.2.1)
//!
//! [`find_target`] settles who asks and where the answer goes, before anything is sent there.
//! [`read`] checks everything else, in the order of oauthlib's texts, which clients know.

use aggregates::application::ApplicationSettings;
use aggregates::refusal::Rule;
use aggregates::values::{CodeChallenge, GrantType, Resource, Scope};
use projections::applications::{Application, find_application};
use projections::read::{Read, ReadError};

use crate::config::Config;
use crate::error::{ErrorCode, OAuthError};
use crate::extract::form_pairs::{FormError, Pairs};
use crate::oauth::issue::{allowed_scope, parse_scope, requested_resources, requested_scope};
use crate::pages::page_error::PageError;
use crate::refusals::Refused;

/// The request that cannot even be read.
pub const UNREADABLE: Unanswerable = unanswerable("The request is not encoded correctly.", None);
/// The request that would not survive the way over the login page.
pub const TOO_LONG: Unanswerable = unanswerable("The request is too long.", None);

/// Why the client cannot be told: whoever stands behind the redirect URI may not be the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswerable {
    /// Error code of RFC 6749.
    pub code: &'static str,
    /// What the person reads.
    pub description: &'static str,
    /// What is kept of it.
    pub rule: Option<Rule>,
    /// The client, if there is one of this id.
    pub client_id: Option<String>,
}

impl Unanswerable {
    /// As a page.
    #[must_use]
    pub fn page(&self) -> PageError {
        PageError::Refused { code: self.code, description: self.description }
    }

    fn of(self, client_id: &str) -> Self {
        Self { client_id: Some(client_id.to_owned()), ..self }
    }
}

const fn unanswerable(description: &'static str, rule: Option<Rule>) -> Unanswerable {
    Unanswerable { code: "invalid_request", description, rule, client_id: None }
}

/// Who asks, and where the answer goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The client; it may be used.
    pub application: Application,
    /// One of its redirect URIs, as it was asked for.
    pub redirect_uri: String,
    /// Whether the request named it.
    pub redirect_uri_sent: bool,
}

impl Target {
    /// Whether a decision may stand for the next request. On a device any program could pose as a
    /// native application, so there the person is asked every time (RFC 8252 §8.6).
    #[must_use]
    pub fn may_remember(&self) -> bool {
        let settings = &self.application.settings;
        !settings.ask_always && !self.is_unproven_native()
    }

    /// Whether the answer goes to a program on this device that nothing vouches for.
    #[must_use]
    pub fn is_unproven_native(&self) -> bool {
        self.application.settings.is_native() && !self.redirect_uri.starts_with("https://")
    }
}

/// Settles who asks and where the answer goes.
pub async fn find_target(read: &dyn Read, pairs: &Pairs) -> Result<Result<Target, Unanswerable>, ReadError> {
    let unknown = || unanswerable("Invalid client_id parameter value.", Some(Rule::UnknownClient));
    let client_id = match pairs.get("client_id") {
        Ok(Some(client_id)) => client_id,
        Ok(None) => return Ok(Err(unanswerable("Missing client_id parameter.", None))),
        Err(_) => return Ok(Err(Unanswerable { rule: None, ..unknown() })),
    };
    let found = find_application(read, client_id).await?;
    let Some(application) = found.filter(|one| !one.deleted) else { return Ok(Err(unknown())) };
    Ok(target(application, pairs).map_err(|error| error.of(client_id)))
}

fn target(application: Application, pairs: &Pairs) -> Result<Target, Unanswerable> {
    if !application.is_usable() {
        let rule = Some(Rule::ApplicationDisabled);
        let disabled = unanswerable("The application is disabled.", rule);
        return Err(Unanswerable { code: "unauthorized_client", ..disabled });
    }
    let mismatch = || unanswerable("Mismatching redirect URI.", Some(Rule::RedirectUriNotRegistered));
    let registered = &application.settings.redirect_uris;
    let sent = pairs.get("redirect_uri").map_err(|_| mismatch())?;
    let redirect_uri = match (sent, registered.as_slice()) {
        (Some(sent), _) if is_registered(&application, sent) => sent.to_owned(),
        (Some(_), _) => return Err(mismatch()),
        (None, [only]) => only.as_str().to_owned(),
        (None, _) => return Err(unanswerable("Missing redirect URI.", None)),
    };
    let redirect_uri_sent = sent.is_some();
    Ok(Target { application, redirect_uri, redirect_uri_sent })
}

/// Whether the application has registered this redirect URI.
#[must_use]
pub fn is_registered(application: &Application, redirect_uri: &str) -> bool {
    let settings = &application.settings;
    settings.redirect_uris.iter().any(|one| one.matches(redirect_uri, settings.is_native()))
}

/// What a client asks for, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What the tokens shall allow, defaults filled in.
    pub scope: Scope,
    /// What they are meant for.
    pub resource: Vec<Resource>,
    /// Sent back unchanged.
    pub state: Option<String>,
    /// S256 challenge.
    pub code_challenge: Option<CodeChallenge>,
    /// For the id token.
    pub nonce: Option<String>,
    /// How the person shall be bothered.
    pub prompt: Prompt,
    /// Seconds since the person last authenticated.
    pub max_age: Option<u64>,
}

/// `prompt` (OIDC Core §3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Not at all.
    pub none: bool,
    /// By a login, also to choose another account.
    pub login: bool,
    /// By the consent page.
    pub consent: bool,
}

/// The `state` to send back; one that was sent twice is none.
#[must_use]
pub fn state(pairs: &Pairs) -> Option<String> {
    pairs.get("state").ok().flatten().map(str::to_owned)
}

/// Whether the client asked that no page be shown.
#[must_use]
pub fn wants_no_page(pairs: &Pairs) -> bool {
    pairs.get("prompt").is_ok_and(|prompt| prompt == Some("none"))
}

/// Checks what is asked for. `Err` goes to the client.
pub fn read(pairs: &Pairs, settings: &ApplicationSettings, config: &Config) -> Result<Asked, Refused> {
    pairs.each_once().map_err(repeated)?;
    check_response(pairs, settings)?;
    let code_challenge = code_challenge(pairs, settings)?;
    let scope = scope(pairs, settings, config).map_err(|error| Refused::by(Rule::ScopeNotAllowed, error))?;
    let resource = requested_resources(config, pairs.get_all("resource"))
        .map_err(|error| Refused::by(Rule::ResourceNotAllowed, error))?;
    let text = |name| pairs.get(name).map(|value| value.map(str::to_owned)).map_err(repeated);
    Ok(Asked {
        scope,
        resource,
        state: text("state")?,
        code_challenge,
        nonce: text("nonce")?,
        prompt: prompt(pairs)?,
        max_age: max_age(pairs)?,
    })
}

#[allow(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn repeated(error: FormError) -> OAuthError {
    OAuthError::described(ErrorCode::InvalidRequest, &error.to_string())
}

/// `response_type=code`, in the query, asked by an application that may.
fn check_response(pairs: &Pairs, settings: &ApplicationSettings) -> Result<(), Refused> {
    let invalid = OAuthError::invalid_request;
    match pairs.get("response_type").map_err(repeated)? {
        Some("code") => {}
        Some(_) => {
            let description = "Only the response type code is offered.";
            return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, description).into());
        }
        None => return Err(invalid("Missing response_type parameter.").into()),
    }
    if !settings.may_use(GrantType::AuthorizationCode) {
        let description = "The application may not use the authorization code grant.";
        let error = OAuthError::new(ErrorCode::UnauthorizedClient, description);
        return Err(Refused::by(Rule::GrantNotAllowed, error));
    }
    if !matches!(pairs.get("response_mode").map_err(repeated)?, None | Some("query")) {
        return Err(invalid("Only the response mode query is offered.").into());
    }
    // What is in a request object must not be overlooked (OIDC Core §6.1).
    for name in ["request", "request_uri"] {
        if pairs.get(name).map_err(repeated)?.is_some() {
            return Err(invalid("Request objects are not offered.").into());
        }
    }
    Ok(())
}

/// S256 or nothing, and nothing only where the application may (RFC 9700 §2.1.1). A challenge without a
/// method would be a `plain` one (RFC 7636 §4.3).
fn code_challenge(pairs: &Pairs, settings: &ApplicationSettings) -> Result<Option<CodeChallenge>, Refused> {
    let method = pairs.get("code_challenge_method").map_err(repeated)?;
    let Some(challenge) = pairs.get("code_challenge").map_err(repeated)? else {
        if settings.requires_pkce() || method.is_some() {
            let error = OAuthError::invalid_request("Code challenge required.");
            return Err(Refused::by(Rule::PkceRequired, error));
        }
        return Ok(None);
    };
    if method != Some("S256") {
        return Err(OAuthError::invalid_request("Transform algorithm not supported.").into());
    }
    let malformed = || OAuthError::invalid_request("Invalid code_challenge parameter value.");
    Ok(Some(CodeChallenge::parse(challenge).ok_or_else(malformed)?))
}

/// Beside `openid`, names that nobody here knows are left out (OIDC Core §3.1.2.1); the answer says
/// what was granted.
fn scope(pairs: &Pairs, settings: &ApplicationSettings, config: &Config) -> Result<Scope, OAuthError> {
    let asked = pairs.get("scope").map_err(repeated)?;
    let known = match parse_scope(asked)? {
        Some(scope) if scope.contains("openid") => scope.intersect(&allowed_scope(config, settings)),
        Some(_) | None => Scope::default(),
    };
    if known.is_empty() { requested_scope(config, settings, asked) } else { Ok(known) }
}

fn prompt(pairs: &Pairs) -> Result<Prompt, OAuthError> {
    let mut prompt = Prompt::default();
    let text = pairs.get("prompt").map_err(repeated)?.unwrap_or_default();
    for value in text.split(' ').filter(|value| !value.is_empty()) {
        match value {
            "none" => prompt.none = true,
            "login" | "select_account" => prompt.login = true,
            "consent" => prompt.consent = true,
            _ => return Err(OAuthError::invalid_request("Unknown prompt parameter value.")),
        }
    }
    if prompt.none && (prompt.login || prompt.consent) {
        return Err(OAuthError::invalid_request("The prompt none stands alone."));
    }
    Ok(prompt)
}

fn max_age(pairs: &Pairs) -> Result<Option<u64>, OAuthError> {
    let Some(text) = pairs.get("max_age").map_err(repeated)? else { return Ok(None) };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = if is_number { text.parse().ok() } else { None };
    seconds.map(Some).ok_or_else(|| OAuthError::invalid_request("Invalid max_age parameter value."))
}

#[cfg(test)]
mod tests;
