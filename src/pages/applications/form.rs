//! How do the fields of the form become a registration to be read, and come back with what is wrong?

use aggregates::application::ApplicationSettings;
use aggregates::values::{RedirectUri, Resource};

use crate::config::Scope;
use crate::extract::form_pairs::{FormError, Pairs};
use crate::registration::{RawApplication, application_type_choice, grant_choice};
use crate::secret::Secret;
use crate::templates::application_form::{ApplicationForm, ScopeChoice};

/// Sent with the checkboxes of the scopes, which are not sent when they are not ticked. A form without
/// it knows nothing of scopes (it was written for Django OAuth Toolkit) and leaves them alone.
pub(super) const SCOPES_OFFERED: &str = "scopes_offered";

/// The fields as they were sent, unread.
pub fn raw(pairs: &Pairs, catalogue: &[Scope]) -> Result<RawApplication, FormError> {
    let text = |name: &str| pairs.get(name).map(|value| value.unwrap_or_default().to_owned());
    let ticked = |name: &str| pairs.get(name).map(|value| value.is_some());
    Ok(RawApplication {
        name: text("name")?,
        client_id: text("client_id")?,
        client_secret: pairs.get("client_secret")?.map(Secret::new),
        hash_client_secret: ticked("hash_client_secret")?,
        client_type: text("client_type")?,
        authorization_grant_type: text("authorization_grant_type")?,
        redirect_uris: text("redirect_uris")?,
        post_logout_redirect_uris: text("post_logout_redirect_uris")?,
        allowed_origins: text("allowed_origins")?,
        algorithm: text("algorithm")?,
        scopes: scopes(pairs, catalogue)?,
        require_pkce: ticked("require_pkce")?,
        ask_always: ticked("ask_always")?,
        skip_authorization: ticked("skip_authorization")?,
        retry_window_seconds: text("retry_window_seconds")?,
        access_token_lifetime_seconds: text("access_token_lifetime_seconds")?,
        resources: text("resources")?,
        introspect_everything: ticked("introspect_everything")?,
        application_type: text("application_type")?,
    })
}

fn scopes(pairs: &Pairs, catalogue: &[Scope]) -> Result<Vec<String>, FormError> {
    if pairs.get(SCOPES_OFFERED)?.is_none() {
        return Ok(names(catalogue));
    }
    let mut ticked = Vec::new();
    for scope in catalogue {
        if pairs.get(&format!("scope.{}", scope.name))?.is_some() {
            ticked.push(scope.name.clone());
        }
    }
    Ok(ticked)
}

/// Every scope there is.
pub(super) fn names(catalogue: &[Scope]) -> Vec<String> {
    catalogue.iter().map(|scope| scope.name.clone()).collect()
}

/// The form again, with what was typed.
pub(super) fn again(raw: RawApplication, initial: String, catalogue: &[Scope]) -> ApplicationForm {
    ApplicationForm {
        scopes: choices(&raw.scopes, catalogue),
        client_secret: raw.client_secret.map(|secret| secret.expose().to_owned()).unwrap_or_default(),
        name: raw.name,
        client_id: raw.client_id,
        hash_client_secret: raw.hash_client_secret,
        client_type: raw.client_type,
        authorization_grant_type: raw.authorization_grant_type,
        redirect_uris: raw.redirect_uris,
        post_logout_redirect_uris: raw.post_logout_redirect_uris,
        allowed_origins: raw.allowed_origins,
        algorithm: raw.algorithm,
        require_pkce: raw.require_pkce,
        ask_always: raw.ask_always,
        skip_authorization: raw.skip_authorization,
        retry_window_seconds: raw.retry_window_seconds,
        access_token_lifetime_seconds: raw.access_token_lifetime_seconds,
        resources: raw.resources,
        introspect_everything: raw.introspect_everything,
        application_type: raw.application_type,
        initial,
    }
}

/// The form of an application as it is.
pub(super) fn of_settings(
    client_id: &str,
    settings: &ApplicationSettings,
    catalogue: &[Scope],
) -> ApplicationForm {
    let allowed = match &settings.scope {
        None => names(catalogue),
        Some(scope) => scope.iter().map(str::to_owned).collect(),
    };
    ApplicationForm {
        name: settings.name.clone(),
        client_id: client_id.to_owned(),
        client_type: settings.client_type.as_str().to_owned(),
        authorization_grant_type: grant_choice(&settings.grant_types).to_owned(),
        redirect_uris: lines(settings.redirect_uris.iter().map(RedirectUri::as_str)),
        post_logout_redirect_uris: lines(settings.post_logout_redirect_uris.iter().map(RedirectUri::as_str)),
        allowed_origins: lines(settings.allowed_origins.iter().map(String::as_str)),
        algorithm: settings.id_token_algorithm.clone().unwrap_or_default(),
        scopes: choices(&allowed, catalogue),
        require_pkce: settings.require_pkce,
        ask_always: settings.ask_always,
        skip_authorization: settings.skip_authorization,
        retry_window_seconds: settings.refresh_retry_window.to_string(),
        access_token_lifetime_seconds: settings
            .access_token_lifetime
            .map(|seconds| seconds.to_string())
            .unwrap_or_default(),
        resources: lines(settings.resources.iter().map(Resource::as_str)),
        introspect_everything: settings.introspect_any,
        application_type: application_type_choice(settings.application_type).to_owned(),
        ..ApplicationForm::default()
    }
}

/// The catalogue with the chosen scopes ticked.
pub(super) fn choices(chosen: &[String], catalogue: &[Scope]) -> Vec<ScopeChoice> {
    let choice = |scope: &Scope| ScopeChoice {
        name: scope.name.clone(),
        description: scope.description.clone(),
        ticked: chosen.contains(&scope.name),
    };
    catalogue.iter().map(choice).collect()
}

/// One entry a line: easier to read, and a list separated by white space all the same.
fn lines<'a>(entries: impl Iterator<Item = &'a str>) -> String {
    entries.collect::<Vec<_>>().join("\n")
}
