//! A registered application: what it is called, what it may do, how it proves who it is (RFC 6749 §2).

pub mod command;
pub mod error;
pub mod event;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use command::{ApplicationCommand, ApplicationSettings, ApplicationType, Provenance};
pub use error::ApplicationError;
pub use event::ApplicationEvent;

use crate::stored::{Decide, aggregate};
use crate::values::{ClientType, GrantType, SecretRef};

/// Longest retry window of refresh tokens in seconds.
pub const MAX_RETRY_WINDOW: u32 = 60;

/// State of an application stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Application {
    registered: Option<Registered>,
    disabled: bool,
    deleted: bool,
    latest: DateTime<Utc>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Registered {
    client_id: String,
    owner: Option<String>,
    settings: ApplicationSettings,
    secret: Option<SecretRef>,
    provenance: Provenance,
}

aggregate!(Application, "application", ApplicationCommand, ApplicationEvent, ApplicationError);

impl Decide for Application {
    fn decide(&self, command: ApplicationCommand) -> Result<Vec<ApplicationEvent>, ApplicationError> {
        match command {
            ApplicationCommand::RegisterApplication {
                client_id,
                owner,
                settings,
                secret,
                provenance,
                at,
            } => self.register(Registered { client_id, owner, settings, secret, provenance }, at),
            ApplicationCommand::UpdateApplication { settings, is_privileged, at } => {
                self.update(settings, is_privileged, at)
            }
            ApplicationCommand::RotateSecret { secret, at } => self.rotate_secret(secret, at),
            ApplicationCommand::DisableApplication { at } => self.disable(at),
            ApplicationCommand::EnableApplication { at } => self.enable(at),
            ApplicationCommand::DeleteApplication { at } => self.delete(at),
        }
    }
}

impl Application {
    fn register(
        &self,
        new: Registered,
        at: DateTime<Utc>,
    ) -> Result<Vec<ApplicationEvent>, ApplicationError> {
        if self.registered.is_some() {
            return Err(ApplicationError::AlreadyRegistered);
        }
        match (new.settings.client_type, &new.secret) {
            (ClientType::Confidential, None) => return Err(ApplicationError::MissingSecret),
            (ClientType::Public, Some(_)) => return Err(ApplicationError::SecretForPublic),
            (ClientType::Confidential, Some(_)) | (ClientType::Public, None) => {}
        }
        new.settings.check()?;
        let Registered { client_id, owner, settings, secret, provenance } = new;
        Ok(vec![ApplicationEvent::ApplicationRegistered {
            client_id,
            owner,
            settings,
            secret,
            provenance,
            at,
        }])
    }

    fn update(
        &self,
        mut settings: ApplicationSettings,
        is_privileged: bool,
        at: DateTime<Utc>,
    ) -> Result<Vec<ApplicationEvent>, ApplicationError> {
        let own = self.living()?;
        if !is_privileged {
            settings.skip_authorization = own.settings.skip_authorization;
            settings.introspect_any = own.settings.introspect_any;
            settings.resources.clone_from(&own.settings.resources);
        }
        if own.settings.client_type != settings.client_type {
            return Err(ApplicationError::ClientTypeFixed);
        }
        settings.check()?;
        if own.settings == settings {
            return Ok(Vec::new());
        }
        Ok(vec![ApplicationEvent::ApplicationUpdated { settings, at }])
    }

    fn rotate_secret(
        &self,
        secret: SecretRef,
        at: DateTime<Utc>,
    ) -> Result<Vec<ApplicationEvent>, ApplicationError> {
        let own = self.living()?;
        match own.settings.client_type {
            ClientType::Public => Err(ApplicationError::SecretForPublic),
            ClientType::Confidential => {
                Ok(vec![ApplicationEvent::SecretRotated { secret, retired: own.secret_id(), at }])
            }
        }
    }

    fn disable(&self, at: DateTime<Utc>) -> Result<Vec<ApplicationEvent>, ApplicationError> {
        self.living()?;
        Ok(if self.disabled { Vec::new() } else { vec![ApplicationEvent::ApplicationDisabled { at }] })
    }

    fn enable(&self, at: DateTime<Utc>) -> Result<Vec<ApplicationEvent>, ApplicationError> {
        self.living()?;
        Ok(if self.disabled { vec![ApplicationEvent::ApplicationEnabled { at }] } else { Vec::new() })
    }

    fn delete(&self, at: DateTime<Utc>) -> Result<Vec<ApplicationEvent>, ApplicationError> {
        let retired = self.living()?.secret_id();
        Ok(vec![ApplicationEvent::ApplicationDeleted { retired, at }])
    }

    fn living(&self) -> Result<&Registered, ApplicationError> {
        match &self.registered {
            None => Err(ApplicationError::Unknown),
            Some(_) if self.deleted => Err(ApplicationError::Deleted),
            Some(own) => Ok(own),
        }
    }

    fn apply_event(&mut self, event: ApplicationEvent) {
        match event {
            ApplicationEvent::ApplicationRegistered {
                client_id,
                owner,
                settings,
                secret,
                provenance,
                at: _,
            } => {
                self.registered = Some(Registered { client_id, owner, settings, secret, provenance });
            }
            ApplicationEvent::ApplicationUpdated { settings, at: _ } => {
                if let Some(own) = &mut self.registered {
                    own.settings = settings;
                }
            }
            ApplicationEvent::SecretRotated { secret, retired: _, at: _ } => {
                if let Some(own) = &mut self.registered {
                    own.secret = Some(secret);
                }
            }
            ApplicationEvent::ApplicationDisabled { at: _ } => self.disabled = true,
            ApplicationEvent::ApplicationEnabled { at: _ } => self.disabled = false,
            ApplicationEvent::ApplicationDeleted { retired: _, at: _ } => {
                self.deleted = true;
                if let Some(own) = &mut self.registered {
                    own.secret = None;
                }
            }
        }
    }

    /// The client id, once registered.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.registered.as_ref().map(|own| own.client_id.as_str())
    }

    /// Subject of the user who may manage it.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.registered.as_ref()?.owner.as_deref()
    }

    /// Its settings, once registered.
    #[must_use]
    pub fn settings(&self) -> Option<&ApplicationSettings> {
        self.registered.as_ref().map(|own| &own.settings)
    }

    /// Where its secret's verifier is kept.
    #[must_use]
    pub fn secret(&self) -> Option<&SecretRef> {
        self.registered.as_ref()?.secret.as_ref()
    }

    /// How it came to be.
    #[must_use]
    pub fn provenance(&self) -> Option<Provenance> {
        self.registered.as_ref().map(|own| own.provenance)
    }

    /// Whether it may be used now: registered, neither disabled nor deleted.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.registered.is_some() && !self.disabled && !self.deleted
    }

    /// Whether it is disabled.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// Whether it was deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }
}

impl Registered {
    fn secret_id(&self) -> Option<String> {
        self.secret.as_ref().map(|secret| secret.id.clone())
    }
}

impl ApplicationSettings {
    /// Whether an authorization request needs a code challenge: always that of a public client
    /// (RFC 9700 §2.1.1), whatever the switch says.
    #[must_use]
    pub fn requires_pkce(&self) -> bool {
        self.require_pkce || self.client_type == ClientType::Public
    }

    /// Whether loopback ports float and private-use schemes are allowed (RFC 8252 §7).
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.application_type == ApplicationType::Native
    }

    /// Whether it may use the grant.
    #[must_use]
    pub fn may_use(&self, grant_type: GrantType) -> bool {
        self.grant_types.contains(&grant_type)
    }

    /// The rules that hold between settings; also for showing what is wrong before registering.
    pub fn check(&self) -> Result<(), ApplicationError> {
        let is_public = self.client_type == ClientType::Public;
        let uses_code = self.may_use(GrantType::AuthorizationCode);
        let broken = [
            (self.grant_types.is_empty(), ApplicationError::NoGrantType),
            (uses_code && self.redirect_uris.is_empty(), ApplicationError::NoRedirectUri),
            (self.may_use(GrantType::RefreshToken) && !uses_code, ApplicationError::RefreshWithoutCode),
            (
                is_public && self.may_use(GrantType::ClientCredentials),
                ApplicationError::ClientCredentialsForPublic,
            ),
            (self.refresh_retry_window > MAX_RETRY_WINDOW, ApplicationError::RetryWindowTooLong),
            (self.access_token_lifetime == Some(0), ApplicationError::LifetimeZero),
        ];
        broken.into_iter().find(|(is_broken, _)| *is_broken).map_or(Ok(()), |(_, reason)| Err(reason))
    }
}
