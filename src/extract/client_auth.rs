//! Which client is this, and did it prove it? (RFC 6749 §2.3, §3.2.1)
//!
//! An application with a secret may send it by Basic or in the body; never both at once. A public
//! client sends its `client_id` alone. Whatever fails, the answer is the same 401, and an unknown
//! client costs the same keyed hash as a known one. Only a network that has sent too many wrong secrets is
//! told so (429).

use aggregates::refusal::Rule;
use aggregates::values::ClientType;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use projections::applications::{Application, find_application};

use super::form_pairs::decode;
use super::oauth_form::OAuthForm;
use super::request_context::{RequestContext, network};
use crate::commands::Actor;
use crate::error::OAuthError;
use crate::password::{AttemptError, Claim, keyed_verifier};
use crate::refusals::Refused;
use crate::secret::Secret;
use crate::state::AppState;

/// What a client presented of itself; nothing of it is proved.
#[derive(Debug)]
pub struct Presented {
    /// Who it says it is.
    pub client_id: String,
    /// What is to prove it.
    pub secret: Option<Secret>,
}

/// A client that is who it says: proved for a confidential one, claimed for a public one.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The application; it may be used.
    pub application: Application,
}

impl Caller {
    /// Its id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.application.client_id
    }

    /// Whether it proved who it is.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.application.settings.client_type == ClientType::Confidential
    }

    /// As the actor of a command.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::Client(self.application.client_id.clone())
    }

    /// As the actor of a refusal: anybody can claim to be a public client.
    #[must_use]
    pub fn proved_actor(&self) -> Actor {
        if self.is_proved() { self.actor() } else { Actor::Anonymous }
    }
}

/// Reads what was presented, before any secret is looked at.
pub fn presented(headers: &HeaderMap, form: &OAuthForm) -> Result<Presented, OAuthError> {
    let header = authorization(headers)?;
    let secret = form.get("client_secret");
    let assertion = form.get("client_assertion").or(form.get("client_assertion_type"));
    let methods = [header.is_some(), secret.is_some(), assertion.is_some()];
    if methods.iter().filter(|used| **used).count() > 1 {
        return Err(OAuthError::invalid_request("Use one method of client authentication, not several."));
    }
    if assertion.is_some() {
        return Err(OAuthError::invalid_client());
    }
    let named = form.get("client_id");
    match header {
        Some(value) => {
            let basic = decode_basic(value).ok_or_else(OAuthError::invalid_client)?;
            if named.is_some_and(|named| named != basic.client_id) {
                return Err(OAuthError::invalid_request(
                    "The client_id is not the one of the Authorization header.",
                ));
            }
            Ok(basic)
        }
        None => Ok(Presented {
            client_id: named.ok_or_else(OAuthError::invalid_client)?.to_owned(),
            secret: secret.map(Secret::from),
        }),
    }
}

fn authorization(headers: &HeaderMap) -> Result<Option<&[u8]>, OAuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    match second {
        Some(_) => Err(OAuthError::invalid_request("There is more than one Authorization header.")),
        None => Ok(first.map(axum::http::HeaderValue::as_bytes)),
    }
}

/// Base64, first colon, form-decode each half (RFC 6749 §2.3.1). One reading only: trying the raw text
/// as well would let one credential be spelt in two ways.
fn decode_basic(value: &[u8]) -> Option<Presented> {
    let value = std::str::from_utf8(value).ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (client_id, secret) = text.split_once(':')?;
    let (client_id, secret) = (decode(client_id).ok()?, decode(secret).ok()?);
    if client_id.is_empty() {
        return None;
    }
    // An empty password is an attempt that fails, not a public client's bare id (RFC 6749 §3.2.1).
    Some(Presented { client_id, secret: Some(Secret::new(secret)) })
}

/// Settles who asks.
pub async fn authenticate(
    state: &AppState,
    context: &RequestContext,
    headers: &HeaderMap,
    form: &OAuthForm,
) -> Result<Caller, Refused> {
    let Presented { client_id, secret } = presented(headers, form)?;
    let application = find_application(&state.journal, &client_id).await?;
    let Some(application) = application.filter(|application| !application.deleted) else {
        spend_as_much(state, secret.as_ref());
        return Err(Refused::by(Rule::UnknownClient, OAuthError::invalid_client()));
    };
    let refused = |rule| Refused::by(rule, OAuthError::invalid_client()).of_client(&client_id);
    let is_proved = match (application.settings.client_type, &secret) {
        (ClientType::Confidential, Some(secret)) => verify(state, context, &application, secret).await?,
        (ClientType::Confidential, None) | (ClientType::Public, Some(_)) => false,
        (ClientType::Public, None) => true,
    };
    if !is_proved {
        return Err(refused(Rule::WrongSecret));
    }
    if application.disabled {
        return Err(refused(Rule::ApplicationDisabled));
    }
    Ok(Caller { application })
}

/// A secret rotated between the two reads leaves no verifier under its former id: the second round
/// reads the new one.
async fn verify(
    state: &AppState,
    context: &RequestContext,
    application: &Application,
    secret: &Secret,
) -> Result<bool, OAuthError> {
    let (client_id, network) = (application.client_id.as_str(), context.address.map(network));
    let mut reference = application.secret.clone();
    for _ in 0..2 {
        let Some(known) = reference else { return Ok(false) };
        if let Some(stored) = state.journal.find_secret(&known.id).await? {
            let claim = Claim { client_id, network, secret_id: &known.id, secret, stored: &stored };
            return state.client_secrets.verify(claim).await.map_err(|error| refused_attempt(state, error));
        }
        let again = find_application(&state.journal, client_id).await?;
        reference = again.and_then(|application| application.secret);
    }
    Err(OAuthError::unavailable("the verifier of a client secret is missing"))
}

fn refused_attempt(state: &AppState, error: AttemptError) -> OAuthError {
    if let AttemptError::TooMany(_) = error {
        state.metrics.shed("client_secret");
    }
    error.into()
}

/// What a known client with a generated secret costs. Ids are no secrets, so a chosen secret's Argon2id
/// is not imitated: that would let strangers use up the pool that chosen ones need.
fn spend_as_much(state: &AppState, secret: Option<&Secret>) {
    if let Some(secret) = secret {
        std::hint::black_box(keyed_verifier(&state.keys, secret));
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::error::ErrorCode;

    fn form(body: &str) -> OAuthForm {
        OAuthForm::parse(Some("application/x-www-form-urlencoded"), body.as_bytes()).unwrap()
    }

    fn basic(text: &str) -> HeaderMap {
        raw(&format!("Basic {}", STANDARD.encode(text)))
    }

    fn raw(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    fn read(headers: &HeaderMap, body: &str) -> Result<(String, Option<String>), ErrorCode> {
        presented(headers, &form(body))
            .map(|it| (it.client_id, it.secret.map(|secret| secret.expose().to_owned())))
            .map_err(|error| error.code)
    }

    fn pair(id: &str, secret: &str) -> (String, Option<String>) {
        (id.to_owned(), Some(secret.to_owned()))
    }

    #[test]
    fn rfc_6749_section_2_3_1_each_half_of_basic_is_form_decoded() {
        for (text, id, secret) in [
            ("id:secret", "id", "secret"),
            ("a%3Ab:c", "a:b", "c"),
            ("a:b:c", "a", "b:c"),
            ("a+b:c%2Bd", "a b", "c+d"),
            ("a%2Db%2E%5F%7E:c", "a-b._~", "c"),
            ("%C3%A9:x", "\u{e9}", "x"),
        ] {
            assert_eq!(read(&basic(text), ""), Ok(pair(id, secret)), "{text}");
        }
        for scheme in ["basic", "BASIC"] {
            assert_eq!(read(&raw(&format!("{scheme} aWQ6c2VjcmV0")), ""), Ok(pair("id", "secret")));
        }
    }

    #[test]
    fn a_malformed_header_is_a_failed_authentication() {
        for value in [
            "Basic",
            "Basic ",
            "Basic\taWQ6c2VjcmV0",
            "Basic  aWQ6c2VjcmV0",
            "Basic aWQ6c2VjcmV0 ",
            "Basic !!!!",
            "Basic aWQ6c2VjcmU",
            "Basic aWQ6c2VjcmV=",
            "Basic aWQ6c2Vj-_==",
            "Basic aWQ=",
            "Bearer aWQ6c2VjcmV0",
        ] {
            assert_eq!(read(&raw(value), ""), Err(ErrorCode::InvalidClient), "{value}");
        }
        for text in ["%zz:x", "id:%f", ":secret", "nocolon"] {
            assert_eq!(read(&basic(text), ""), Err(ErrorCode::InvalidClient), "{text}");
        }
        let not_utf8 = raw(&format!("Basic {}", STANDARD.encode(b"\xff:x")));
        assert_eq!(read(&not_utf8, ""), Err(ErrorCode::InvalidClient));
    }

    #[test]
    fn rfc_6749_section_2_3_one_method_a_request() {
        let both = read(&basic("id:secret"), "client_id=id&client_secret=secret");
        assert_eq!(both, Err(ErrorCode::InvalidRequest));
        let other = read(&basic("id:secret"), "client_id=other");
        assert_eq!(other, Err(ErrorCode::InvalidRequest));
        let assertion = read(&HeaderMap::new(), "client_id=id&client_secret=s&client_assertion=x");
        assert_eq!(assertion, Err(ErrorCode::InvalidRequest));
        let mut two = basic("id:secret");
        two.append(header::AUTHORIZATION, HeaderValue::from_static("Basic aWQ6c2VjcmV0"));
        assert_eq!(read(&two, ""), Err(ErrorCode::InvalidRequest));
        assert_eq!(read(&basic("id:secret"), "client_id=id"), Ok(pair("id", "secret")));
        assert_eq!(read(&basic("id:secret"), "client_secret="), Ok(pair("id", "secret")));
    }

    #[test]
    fn the_body_names_a_client_with_or_without_a_secret() {
        assert_eq!(read(&HeaderMap::new(), "client_id=id&client_secret=secret"), Ok(pair("id", "secret")));
        assert_eq!(read(&HeaderMap::new(), "client_id=id&client_secret="), Ok(("id".to_owned(), None)));
        assert_eq!(read(&HeaderMap::new(), "client_secret=secret"), Err(ErrorCode::InvalidClient));
        assert_eq!(read(&HeaderMap::new(), ""), Err(ErrorCode::InvalidClient));
    }
}
