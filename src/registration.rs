//! May this application be registered, and if not, what is wrong with each field? One reading of what
//! was typed, for the form and for the command line (RFC 6749 §2, RFC 7591 §2).
//!
//! Everything is checked before anything is said, so that a form comes back with all its errors at
//! once. What is refused for good (HS256, the implicit and the password grant, secrets that could be
//! read back) is refused with its reason. Rules that depend on what is stored are decided by the
//! aggregate, in one command.

mod fields;
mod secret;
#[cfg(test)]
mod tests;

use aggregates::application::{
    Application, ApplicationCommand, ApplicationError, ApplicationSettings, ApplicationType, Provenance,
};
use aggregates::values::{ClientType, GrantType, SecretRef};
use projections::applications::count_of_owner;
use projections::read::ReadError;

use crate::commands::{Beside, CommandError, Executed, Origin, Stream};
use crate::config::Scope;
use crate::journal::SecretOp;
use crate::password::PasswordError;
use crate::secret::{Secret, new_client_secret, new_id};
use crate::state::AppState;
use crate::templates::components::FormErrors;

pub use secret::{Initial, NewSecret, SHORTEST_SECRET, open_initial, seal_initial};

/// Applications of one owner who is not privileged.
pub const MOST_OF_AN_OWNER: i64 = 1_000;

/// What was typed or given, field by field, unread. Lists are separated by white space.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a checkbox of the form")]
pub struct RawApplication {
    /// What people call it.
    pub name: String,
    /// Its public identifier; read at registration only.
    pub client_id: String,
    /// Its secret; read at registration only.
    pub client_secret: Option<Secret>,
    /// Whether only a verifier of the secret is kept; must be so.
    pub hash_client_secret: bool,
    /// `confidential` or `public`.
    pub client_type: String,
    /// The grant as the form names it: `authorization-code`, `client-credentials`.
    pub authorization_grant_type: String,
    /// Where codes may be sent.
    pub redirect_uris: String,
    /// Where a browser may go after logout.
    pub post_logout_redirect_uris: String,
    /// Origins of scripts that may ask for tokens (CORS).
    pub allowed_origins: String,
    /// How id tokens are signed; empty for no `OpenID` Connect.
    pub algorithm: String,
    /// The scopes it may ask for.
    pub scopes: Vec<String>,
    /// Refuse authorization requests without PKCE.
    pub require_pkce: bool,
    /// Ask for consent every time.
    pub ask_always: bool,
    /// Never ask for consent.
    pub skip_authorization: bool,
    /// Seconds in which a refresh token may be presented again; empty is 0.
    pub retry_window_seconds: String,
    /// Lifetime of access tokens in seconds; empty for the configured one.
    pub access_token_lifetime_seconds: String,
    /// Resources it serves; of superusers only.
    pub resources: String,
    /// May introspect every token.
    pub introspect_everything: bool,
    /// `web` or `native`; empty is `web`.
    pub application_type: String,
}

/// What the installation and the person who asks allow.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<'a> {
    /// The scopes there are.
    pub catalogue: &'a [Scope],
    /// The configured lifetime of access tokens in seconds.
    pub longest_lifetime: u64,
    /// Whether consent may be skipped, every token introspected, and resources served: superusers and
    /// operators only.
    pub is_privileged: bool,
}

/// A registration without errors.
#[derive(Debug)]
pub struct Registration {
    /// The public identifier.
    pub client_id: String,
    /// Everything the owner may change later.
    pub settings: ApplicationSettings,
    /// The secret; `None` for a public application.
    pub secret: Option<NewSecret>,
}

/// Why an application was not registered or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Something is wrong with a field that only the command could see.
    #[error("{}", .0.iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join(" "))]
    Refused(FormErrors),
    /// What is registered already could not be counted now.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The secret could not be hashed now.
    #[error(transparent)]
    Secret(#[from] PasswordError),
    /// The command was not carried out.
    #[error(transparent)]
    Command(#[from] CommandError<ApplicationError>),
}

impl<'a> Bounds<'a> {
    /// The bounds of this installation for somebody who is privileged or not.
    #[must_use]
    pub fn of(state: &'a AppState, is_privileged: bool) -> Self {
        Self {
            catalogue: &state.config.scopes,
            longest_lifetime: state.config.lifetimes.access_token.as_secs(),
            is_privileged,
        }
    }
}

/// Whether this owner may register one more. Who is not privileged has a bound: every application is held
/// in memory by every node, and costs each of them whenever one is changed. People who come at the same
/// moment may go beyond it by as many.
pub async fn check_room(state: &AppState, owner: &str, is_privileged: bool) -> Result<(), RegisterError> {
    if is_privileged || count_of_owner(&state.journal, owner).await? < MOST_OF_AN_OWNER {
        return Ok(());
    }
    let mut errors = FormErrors::default();
    errors.push("client_id", fields::too_many(MOST_OF_AN_OWNER));
    Err(RegisterError::Refused(errors))
}

/// Reads a registration. `initial` is what the server itself put into the form.
pub fn read_registration(
    raw: &RawApplication,
    initial: Option<&Initial>,
    bounds: Bounds<'_>,
) -> Result<Registration, FormErrors> {
    let mut errors = FormErrors::default();
    let client_id = fields::client_id(&raw.client_id, &mut errors);
    if !raw.hash_client_secret {
        errors.push("hash_client_secret", fields::PLAIN_SECRET);
    }
    let is_public = ClientType::parse(&raw.client_type) == Some(ClientType::Public);
    let secret = if is_public { None } else { secret::read(raw, initial, &mut errors) };
    let settings = fields::settings(raw, bounds, &mut errors);
    match settings {
        Some(settings) if errors.is_empty() => Ok(Registration { client_id, settings, secret }),
        Some(_) | None => Err(errors),
    }
}

/// Reads the edit form of an application that has `current` settings.
pub fn read_update(
    raw: &RawApplication,
    current: &ApplicationSettings,
    bounds: Bounds<'_>,
) -> Result<ApplicationSettings, FormErrors> {
    let mut errors = FormErrors::default();
    let Some(mut settings) = fields::settings(raw, bounds, &mut errors) else { return Err(errors) };
    if settings.client_type != current.client_type {
        errors.push("client_type", ApplicationError::ClientTypeFixed.to_string());
    }
    // The form shows one grant; a set that was made elsewhere survives an edit that leaves it alone.
    if grant_choice(&current.grant_types) == raw.authorization_grant_type {
        settings.grant_types.clone_from(&current.grant_types);
    }
    if errors.is_empty() { Ok(settings) } else { Err(errors) }
}

/// Registers an application.
pub async fn register(
    state: &AppState,
    registration: Registration,
    owner: Option<String>,
    provenance: Provenance,
    origin: &Origin,
) -> Result<(), RegisterError> {
    let (secret, beside) = match registration.secret {
        None => (None, Beside::default()),
        Some(secret) => {
            let (reference, beside) = keep(state, secret).await?;
            (Some(reference), beside)
        }
    };
    let command = ApplicationCommand::RegisterApplication {
        client_id: registration.client_id.clone(),
        owner,
        settings: registration.settings,
        secret,
        provenance,
        at: state.clock.now(),
    };
    let stream = Stream::Existing(registration.client_id);
    settled(state.commands.execute_with::<Application>(stream, command, origin, beside).await)
}

/// Changes an application. Who is not privileged leaves what superusers alone decide as it is, even
/// when a superuser changes it at the same moment.
pub async fn update(
    state: &AppState,
    client_id: &str,
    settings: ApplicationSettings,
    is_privileged: bool,
    origin: &Origin,
) -> Result<(), RegisterError> {
    let command = ApplicationCommand::UpdateApplication { settings, is_privileged, at: state.clock.now() };
    // It may take away a scope, or a grant.
    let stream = Stream::Existing(client_id.to_owned());
    settled(state.commands.execute_ending::<Application>(stream, command, origin).await)
}

/// Replaces an application's secret by a generated one, which is returned and kept nowhere.
pub async fn rotate_secret(
    state: &AppState,
    client_id: &str,
    origin: &Origin,
) -> Result<Secret, RegisterError> {
    let secret = new_client_secret();
    let (reference, beside) = keep(state, NewSecret::Generated(secret.clone())).await?;
    let command = ApplicationCommand::RotateSecret { secret: reference, at: state.clock.now() };
    let stream = Stream::Existing(client_id.to_owned());
    settled(state.commands.execute_with::<Application>(stream, command, origin, beside).await)?;
    Ok(secret)
}

/// The grant the form shows for a set of them.
#[must_use]
pub fn grant_choice(grant_types: &[GrantType]) -> &'static str {
    if grant_types.contains(&GrantType::AuthorizationCode) {
        fields::AUTHORIZATION_CODE
    } else if grant_types.contains(&GrantType::ClientCredentials) {
        fields::CLIENT_CREDENTIALS
    } else {
        ""
    }
}

/// The application type as the form names it.
#[must_use]
pub fn application_type_choice(application_type: ApplicationType) -> &'static str {
    match application_type {
        ApplicationType::Web => "web",
        ApplicationType::Native => "native",
    }
}

/// The reference for the event and the row for the secrets table.
async fn keep(state: &AppState, secret: NewSecret) -> Result<(SecretRef, Beside), PasswordError> {
    let kind = secret.kind();
    let verifier = state.client_secrets.verifier(kind, secret.into_secret()).await?;
    let reference = SecretRef { id: new_id(state.clock.now()), kind };
    let put = SecretOp::Put { id: reference.id.clone(), verifier };
    Ok((reference, Beside { secrets: vec![put], ..Beside::default() }))
}

/// A refusal that is about a field is said of it.
fn settled(
    executed: Result<Executed<Application>, CommandError<ApplicationError>>,
) -> Result<(), RegisterError> {
    match executed {
        Ok(_) => Ok(()),
        Err(CommandError::Refused(reason)) => match field_of(reason) {
            Some(field) => {
                let mut errors = FormErrors::default();
                errors.push(field, reason.to_string());
                Err(RegisterError::Refused(errors))
            }
            None => Err(CommandError::Refused(reason).into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// The field a reason is shown beside; `None` when the application itself is gone.
fn field_of(reason: ApplicationError) -> Option<&'static str> {
    match reason {
        ApplicationError::AlreadyRegistered => Some("client_id"),
        ApplicationError::MissingSecret | ApplicationError::SecretForPublic => Some("client_secret"),
        ApplicationError::NoGrantType
        | ApplicationError::ClientCredentialsForPublic
        | ApplicationError::RefreshWithoutCode => Some("authorization_grant_type"),
        ApplicationError::NoRedirectUri => Some("redirect_uris"),
        ApplicationError::RetryWindowTooLong => Some("retry_window_seconds"),
        ApplicationError::LifetimeZero => Some("access_token_lifetime_seconds"),
        ApplicationError::ClientTypeFixed => Some("client_type"),
        ApplicationError::Unknown | ApplicationError::Deleted => None,
    }
}
