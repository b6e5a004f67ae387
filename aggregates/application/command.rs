//! What can be asked of an application.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::stored::dated;
use crate::values::{ClientType, GrantType, RedirectUri, Resource, Scope, SecretRef};

/// How an application came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// The registration form.
    Form,
    /// The command line.
    CommandLine,
    /// Dynamic client registration (RFC 7591).
    DynamicRegistration,
    /// A client id metadata document.
    MetadataDocument,
}

/// RFC 8252 and OIDC Registration §2 `application_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplicationType {
    /// A web application.
    #[default]
    Web,
    /// Runs on the person's device: loopback ports float, private-use schemes are allowed.
    Native,
}

/// Everything about an application that its owner may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "four independent switches of the form")]
pub struct ApplicationSettings {
    /// Shown to people; may be empty.
    pub name: String,
    /// Confidential or public.
    pub client_type: ClientType,
    /// Web or native.
    pub application_type: ApplicationType,
    /// The grants it may use; `refresh_token` comes with `authorization_code`.
    pub grant_types: Vec<GrantType>,
    /// Where codes may be sent.
    pub redirect_uris: Vec<RedirectUri>,
    /// Where a browser may go after logout.
    pub post_logout_redirect_uris: Vec<RedirectUri>,
    /// Origins that may call the token endpoint from a browser (CORS).
    pub allowed_origins: Vec<String>,
    /// What it may ask for; `None` = the whole catalogue.
    pub scope: Option<Scope>,
    /// Refuse an authorization request without a code challenge (always so for public clients).
    pub require_pkce: bool,
    /// Issue without asking the person (set by superusers only).
    pub skip_authorization: bool,
    /// Ask for consent every time, remembered or not.
    pub ask_always: bool,
    /// Seconds (0–60) in which a used refresh token yields the same successor again.
    pub refresh_retry_window: u32,
    /// Lifetime of its access tokens in seconds, when shorter than the installation's.
    pub access_token_lifetime: Option<u32>,
    /// `id_token_signed_response_alg`; `None` = no `OpenID` Connect.
    pub id_token_algorithm: Option<String>,
    /// Protected resources it serves: it may introspect tokens meant for them (RFC 7662 §2.2; set by
    /// superusers only).
    pub resources: Vec<Resource>,
    /// May introspect any token (set by superusers only).
    pub introspect_any: bool,
}

/// Commands of the application aggregate. `at` is the time of the decision.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "fields are named for the events they become")]
pub enum ApplicationCommand {
    RegisterApplication {
        client_id: String,
        /// Subject of the user who may manage it.
        owner: Option<String>,
        settings: ApplicationSettings,
        /// Required for confidential applications, refused for public ones.
        secret: Option<SecretRef>,
        provenance: Provenance,
        at: DateTime<Utc>,
    },
    UpdateApplication {
        settings: ApplicationSettings,
        /// Whether what superusers alone decide is taken from `settings`; else they stay as they are.
        is_privileged: bool,
        at: DateTime<Utc>,
    },
    RotateSecret {
        secret: SecretRef,
        at: DateTime<Utc>,
    },
    DisableApplication {
        at: DateTime<Utc>,
    },
    EnableApplication {
        at: DateTime<Utc>,
    },
    DeleteApplication {
        at: DateTime<Utc>,
    },
}

dated! { ApplicationCommand:
    RegisterApplication,
    UpdateApplication,
    RotateSecret,
    DisableApplication,
    EnableApplication,
    DeleteApplication,
}
