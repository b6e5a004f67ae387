//! What does each field mean, and what is wrong with it? The texts are shown beside the field.

use std::str::FromStr;

use aggregates::application::{ApplicationError, ApplicationSettings, ApplicationType, MAX_RETRY_WINDOW};
use aggregates::values::{ClientType, GrantType, RedirectUri, Resource, Scope};
use url::{Host, Url};
use uuid::Uuid;

use super::{Bounds, RawApplication};
use crate::templates::components::FormErrors;

pub(super) const AUTHORIZATION_CODE: &str = "authorization-code";
pub(super) const CLIENT_CREDENTIALS: &str = "client-credentials";
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// What id tokens may be signed with (RFC 7518 §3.1, RFC 8037).
const ALGORITHMS: [&str; 4] = ["RS256", "ES256", "EdDSA", "PS256"];

const LONGEST_NAME: usize = 255;
const LONGEST_CLIENT_ID: usize = 255;
/// The most entries of one list; every authorization request is compared with them.
const LONGEST_LIST: usize = 100;

const REQUIRED: &str = "This field is required.";
pub(super) const PLAIN_SECRET: &str = "Secrets are kept as a verifier only, so that a copy of the database is not \
    a copy of the secrets. Leave this ticked and keep the secret where the application runs.";
const IMPLICIT: &str = "The implicit grant is not offered: it puts tokens in the address bar (RFC 9700 §2.1.2). \
    Use Authorization code.";
const PASSWORD: &str = "The password grant is not offered: it has people type their password into the \
    application (RFC 9700 §2.4). Use Authorization code.";
const HYBRID: &str = "The hybrid flow is not offered: it puts tokens in the address bar (RFC 9700 §2.1.2). Use \
    Authorization code.";
const DEVICE: &str = "The device grant is not offered yet. Use Authorization code.";
const HS256: &str = "HS256 is not offered: it needs the client secret itself, and only a verifier of it is kept. \
    Use ES256 or RS256.";
const SUPERUSERS_ONLY: &str = "Only a superuser may switch this on.";
const RESOURCES_OF_SUPERUSERS: &str = "Only a superuser may say which resources an application serves: it may \
    introspect the tokens meant for them.";

/// Reads the public identifier. Nothing in a client id may need escaping anywhere, and it may not look
/// like a user's `sub`, which is a UUID, or like the URL of a metadata document: both could be taken
/// for the other in `sub` and `client_id`.
pub(super) fn client_id(text: &str, errors: &mut FormErrors) -> String {
    let text = text.trim();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-');
    let problem = if text.is_empty() {
        Some(REQUIRED.to_owned())
    } else if text.len() > LONGEST_CLIENT_ID {
        Some(format!("A client id has at most {LONGEST_CLIENT_ID} characters."))
    } else if text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://")) {
        Some("A client id that is a URL belongs to a client id metadata document; choose another.".to_owned())
    } else if !text.bytes().all(allowed) {
        Some("A client id is of letters, digits and . _ ~ - only.".to_owned())
    } else if Uuid::try_parse(text).is_ok() {
        Some(
            "A client id must not look like a UUID, because users are known by UUIDs; choose another."
                .to_owned(),
        )
    } else if matches!(text, "." | ".." | "register") {
        Some("This client id has a meaning in the address of a page; choose another.".to_owned())
    } else {
        None
    };
    if let Some(message) = problem {
        errors.push("client_id", message);
    }
    text.to_owned()
}

/// Said beside the client id, as no field is wrong.
pub(super) fn too_many(most: i64) -> String {
    format!(
        "You have {most} applications, which is the most one person may have. Delete one first, or ask a superuser."
    )
}

/// Reads everything an owner may change; `None` when a field without which nothing fits is wrong.
pub(super) fn settings(
    raw: &RawApplication,
    bounds: Bounds<'_>,
    errors: &mut FormErrors,
) -> Option<ApplicationSettings> {
    let name = name(&raw.name, errors);
    let client_type = client_type(&raw.client_type, errors);
    let grant_types = grant_types(&raw.authorization_grant_type, client_type, errors);
    let application_type = application_type(&raw.application_type, errors);
    let redirect_uris = redirect_uris(raw, application_type, grant_types.as_deref(), errors);
    let is_native = application_type == Some(ApplicationType::Native);
    let leaving = uris("post_logout_redirect_uris", &raw.post_logout_redirect_uris, is_native, errors);
    let settings = ApplicationSettings {
        name,
        redirect_uris,
        post_logout_redirect_uris: leaving,
        allowed_origins: allowed_origins(&raw.allowed_origins, errors),
        id_token_algorithm: algorithm(&raw.algorithm, errors),
        scope: scope(&raw.scopes, bounds, errors),
        require_pkce: raw.require_pkce,
        ask_always: raw.ask_always,
        skip_authorization: privilege("skip_authorization", raw.skip_authorization, bounds, errors),
        refresh_retry_window: retry_window(&raw.retry_window_seconds, errors),
        access_token_lifetime: lifetime(&raw.access_token_lifetime_seconds, bounds, errors),
        resources: resources(&raw.resources, bounds, errors),
        introspect_any: privilege("introspect_everything", raw.introspect_everything, bounds, errors),
        client_type: client_type?,
        application_type: application_type?,
        grant_types: grant_types?,
    };
    Some(settings)
}

fn name(text: &str, errors: &mut FormErrors) -> String {
    let text = text.trim();
    if text.chars().count() > LONGEST_NAME {
        errors.push("name", format!("A name has at most {LONGEST_NAME} characters."));
    }
    // A name that turns the line around could make the consent page say something else.
    let misleads = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if text.chars().any(misleads) {
        errors.push("name", "Use visible characters only.");
    }
    text.to_owned()
}

fn client_type(text: &str, errors: &mut FormErrors) -> Option<ClientType> {
    let read = ClientType::parse(text);
    if read.is_none() {
        errors.push("client_type", choice_problem(text));
    }
    read
}

fn application_type(text: &str, errors: &mut FormErrors) -> Option<ApplicationType> {
    match text {
        "" | "web" => Some(ApplicationType::Web),
        "native" => Some(ApplicationType::Native),
        other => {
            errors.push("application_type", choice_problem(other));
            None
        }
    }
}

fn grant_types(
    text: &str,
    client_type: Option<ClientType>,
    errors: &mut FormErrors,
) -> Option<Vec<GrantType>> {
    let (read, problem) = match text {
        AUTHORIZATION_CODE => (Some(vec![GrantType::AuthorizationCode, GrantType::RefreshToken]), None),
        CLIENT_CREDENTIALS if client_type == Some(ClientType::Public) => {
            (None, Some(ApplicationError::ClientCredentialsForPublic.to_string()))
        }
        CLIENT_CREDENTIALS => (Some(vec![GrantType::ClientCredentials]), None),
        "implicit" => (None, Some(IMPLICIT.to_owned())),
        "password" => (None, Some(PASSWORD.to_owned())),
        "openid-hybrid" => (None, Some(HYBRID.to_owned())),
        DEVICE_CODE => (None, Some(DEVICE.to_owned())),
        other => (None, Some(choice_problem(other))),
    };
    if let Some(problem) = problem {
        errors.push("authorization_grant_type", problem);
    }
    read
}

fn redirect_uris(
    raw: &RawApplication,
    application_type: Option<ApplicationType>,
    grant_types: Option<&[GrantType]>,
    errors: &mut FormErrors,
) -> Vec<RedirectUri> {
    let is_native = application_type == Some(ApplicationType::Native);
    let uses_code = grant_types.is_some_and(|grants| grants.contains(&GrantType::AuthorizationCode));
    if uses_code && raw.redirect_uris.trim().is_empty() {
        errors.push("redirect_uris", ApplicationError::NoRedirectUri.to_string());
    }
    uris("redirect_uris", &raw.redirect_uris, is_native, errors)
}

fn uris(field: &'static str, text: &str, is_native: bool, errors: &mut FormErrors) -> Vec<RedirectUri> {
    list(field, text, errors, |entry| RedirectUri::parse(entry, is_native).map_err(|error| error.to_string()))
}

/// Serving a resource is a right to see other people's tokens (RFC 7662 §4).
fn resources(text: &str, bounds: Bounds<'_>, errors: &mut FormErrors) -> Vec<Resource> {
    if !bounds.is_privileged {
        if !text.trim().is_empty() {
            errors.push("resources", RESOURCES_OF_SUPERUSERS);
        }
        return Vec::new();
    }
    list("resources", text, errors, |entry| {
        Resource::parse(entry).map_err(|error| format!("{entry}: {error}."))
    })
}

fn allowed_origins(text: &str, errors: &mut FormErrors) -> Vec<String> {
    list("allowed_origins", text, errors, allowed_origin)
}

/// Scheme, host and port as browsers write them into `Origin`, which is compared as text.
fn allowed_origin(entry: &str) -> Result<String, String> {
    let invalid_scheme = || format!("allowed origin URI Validation error. invalid_scheme: {entry}");
    let url =
        Url::parse(entry).map_err(|_| format!("allowed origin URI validation error. malformed: {entry}"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(invalid_scheme());
    }
    let origin = url.origin().ascii_serialization();
    if entry.strip_suffix('/').unwrap_or(entry) != origin {
        return Err(format!(
            "allowed origin URI validation error. only scheme, host and port in lower case are allowed ({origin}): {entry}"
        ));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(invalid_scheme());
    }
    Ok(origin)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn algorithm(text: &str, errors: &mut FormErrors) -> Option<String> {
    match text {
        "" => None,
        "HS256" => {
            errors.push("algorithm", HS256);
            None
        }
        known if ALGORITHMS.contains(&known) => Some(known.to_owned()),
        other => {
            errors.push("algorithm", choice_problem(other));
            None
        }
    }
}

/// All scopes of the catalogue are the same as no restriction: an application that may ask for
/// everything goes on to when the catalogue grows.
fn scope(names: &[String], bounds: Bounds<'_>, errors: &mut FormErrors) -> Option<Scope> {
    let known = |name: &str| bounds.catalogue.iter().any(|scope| scope.name == name);
    for name in names.iter().filter(|name| !known(name)) {
        errors.push("scopes", format!("There is no scope `{name}` in the catalogue."));
    }
    if names.is_empty() {
        errors.push("scopes", "Choose at least one scope, or the application can ask for nothing.");
    }
    if bounds.catalogue.iter().all(|scope| names.contains(&scope.name)) {
        return None;
    }
    Scope::parse(&names.join(" ")).ok()
}

fn privilege(field: &'static str, wanted: bool, bounds: Bounds<'_>, errors: &mut FormErrors) -> bool {
    if wanted && !bounds.is_privileged {
        errors.push(field, SUPERUSERS_ONLY);
    }
    wanted && bounds.is_privileged
}

fn retry_window(text: &str, errors: &mut FormErrors) -> u32 {
    let message = format!("The retry window is 0 to {MAX_RETRY_WINDOW} seconds.");
    match number::<u32>(text) {
        None => 0,
        Some(Ok(seconds)) if seconds <= MAX_RETRY_WINDOW => seconds,
        Some(Ok(_) | Err(())) => {
            errors.push("retry_window_seconds", message);
            0
        }
    }
}

fn lifetime(text: &str, bounds: Bounds<'_>, errors: &mut FormErrors) -> Option<u32> {
    let longest = bounds.longest_lifetime;
    match number::<u32>(text)? {
        Ok(seconds) if (1..=longest).contains(&u64::from(seconds)) => Some(seconds),
        Ok(_) | Err(()) => {
            errors.push(
                "access_token_lifetime_seconds",
                format!("The lifetime of access tokens is 1 to {longest} seconds; empty means {longest}."),
            );
            None
        }
    }
}

/// A whole number; `None` for an empty field.
fn number<T: FromStr>(text: &str) -> Option<Result<T, ()>> {
    let text = text.trim();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (!text.is_empty()).then(|| if digits { text.parse().map_err(|_| ()) } else { Err(()) })
}

/// Reads a list separated by white space: every entry once, every problem said.
fn list<T: PartialEq>(
    field: &'static str,
    text: &str,
    errors: &mut FormErrors,
    read: impl Fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let mut entries = Vec::new();
    if text.split_whitespace().count() > LONGEST_LIST {
        errors.push(field, format!("At most {LONGEST_LIST} entries are allowed."));
        return entries;
    }
    for entry in text.split_whitespace() {
        match read(entry) {
            Ok(value) if entries.contains(&value) => {}
            Ok(value) => entries.push(value),
            Err(message) => errors.push(field, message),
        }
    }
    entries
}

fn choice_problem(text: &str) -> String {
    if text.is_empty() {
        REQUIRED.to_owned()
    } else {
        let shown: String = text.chars().take(80).collect();
        format!("Select a valid choice. {shown} is not one of the available choices.")
    }
}
