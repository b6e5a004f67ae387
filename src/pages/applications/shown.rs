//! How is an application shown: in the list, on its page, and before something dies?

use aggregates::application::{ApplicationType, Provenance};
use aggregates::values::{GrantType, RedirectUri, Resource, Scope};
use chrono::{DateTime, Utc};
use projections::applications::Application;
use projections::authorizations::count_authorizations_of_client;
use projections::tokens::count_live_tokens_of_client;

use crate::accounts::name_of;
use crate::pages::page_error::PageError;
use crate::registration::application_type_choice;
use crate::secret::id_time;
use crate::state::AppState;
use crate::templates::applications::{ApplicationDetail, ApplicationRow, ApplicationState};
use crate::templates::confirm::Radius;
use crate::templates::roll::Roll;

/// What would die with it now.
pub(super) async fn radius(
    state: &AppState,
    application: &Application,
    now: DateTime<Utc>,
) -> Result<Radius, PageError> {
    if !application.is_usable() {
        return Ok(Radius::default());
    }
    let client_id = &application.client_id;
    Ok(Radius {
        live_tokens: counted(count_live_tokens_of_client(&state.journal, client_id, now).await?),
        authorizations: counted(count_authorizations_of_client(&state.journal, client_id, now).await?),
    })
}

/// An application as the list shows it.
pub(super) async fn row(
    state: &AppState,
    application: &Application,
    live_tokens: u64,
) -> Result<ApplicationRow, PageError> {
    let owner = match &application.owner {
        Some(subject) => Some(name_of(state, subject).await?),
        None => None,
    };
    Ok(ApplicationRow {
        name: application.settings.name.clone(),
        client_id: application.client_id.clone(),
        owner,
        state: state_of(application),
        client_type: application.settings.client_type.as_str().to_owned(),
        grant_types: application.settings.grant_types.iter().copied().map(grant).collect(),
        live_tokens,
        registered_at: application.registered_at,
    })
}

/// An application as its page shows it.
pub(super) async fn detail(
    state: &AppState,
    application: &Application,
    now: DateTime<Utc>,
    roll: Roll,
) -> Result<ApplicationDetail, PageError> {
    let radius = radius(state, application, now).await?;
    let settings = &application.settings;
    let configured = state.config.lifetimes.access_token.as_secs();
    Ok(ApplicationDetail {
        row: row(state, application, radius.live_tokens).await?,
        registered_by: provenance(application.provenance).to_owned(),
        application_type: application_type_choice(settings.application_type).to_owned(),
        redirect_uris: texts(settings.redirect_uris.iter().map(RedirectUri::as_str)),
        post_logout_redirect_uris: texts(settings.post_logout_redirect_uris.iter().map(RedirectUri::as_str)),
        allowed_origins: settings.allowed_origins.clone(),
        scopes: scopes(state, settings.scope.as_ref()),
        resources: texts(settings.resources.iter().map(Resource::as_str)),
        remarks: remarks(application),
        access_token_lifetime: settings
            .access_token_lifetime
            .map_or(configured, |seconds| u64::from(seconds).min(configured)),
        secret_set_at: application.secret.as_ref().and_then(|secret| id_time(&secret.id)),
        authorizations: radius.authorizations,
        may_change: !application.deleted,
        roll,
    })
}

fn counted(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn state_of(application: &Application) -> ApplicationState {
    match (application.deleted, application.disabled) {
        (true, _) => ApplicationState::Deleted,
        (false, true) => ApplicationState::Disabled,
        (false, false) => ApplicationState::Live,
    }
}

fn grant(grant_type: GrantType) -> String {
    match grant_type {
        GrantType::AuthorizationCode => "Authorization code",
        GrantType::ClientCredentials => "Client credentials",
        GrantType::RefreshToken => "Refresh token",
    }
    .to_owned()
}

fn provenance(provenance: Provenance) -> &'static str {
    match provenance {
        Provenance::Form => "form",
        Provenance::CommandLine => "command line",
        Provenance::DynamicRegistration => "dynamic registration",
        Provenance::MetadataDocument => "metadata document",
    }
}

/// What it may ask for: its own scopes, else all of the catalogue.
fn scopes(state: &AppState, own: Option<&Scope>) -> Vec<String> {
    match own {
        Some(scope) => texts(scope.iter()),
        None => state.config.scopes.iter().map(|scope| scope.name.clone()).collect(),
    }
}

fn remarks(application: &Application) -> Vec<String> {
    let settings = &application.settings;
    let native = settings.application_type == ApplicationType::Native;
    let switches = [
        (settings.requires_pkce(), "PKCE is required.".to_owned()),
        (settings.ask_always, "Consent is asked every time.".to_owned()),
        (settings.skip_authorization, "Consent is not asked for.".to_owned()),
        (settings.introspect_any, "It may introspect every token.".to_owned()),
        (native, "Ports of its loopback redirect URIs may differ.".to_owned()),
        (
            settings.refresh_retry_window > 0,
            format!("A refresh token may be presented again for {} seconds.", settings.refresh_retry_window),
        ),
        (
            settings.id_token_algorithm.is_some(),
            format!(
                "Its id tokens are signed with {}.",
                settings.id_token_algorithm.as_deref().unwrap_or_default()
            ),
        ),
    ];
    switches.into_iter().filter(|(is_on, _)| *is_on).map(|(_, text)| text).collect()
}

fn texts<'a>(list: impl Iterator<Item = &'a str>) -> Vec<String> {
    list.map(str::to_owned).collect()
}
