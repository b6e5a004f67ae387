//! What does each command take?
//!
//! The options of `createapplication` and `createsuperuser` have the names their users already know.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

/// `createuser` and `createsuperuser`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CreateUser {
    /// The name to log in with [asked for if missing]
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// The e-mail address; may be empty [asked for if missing]
    #[arg(long, value_name = "ADDRESS")]
    pub email: Option<String>,
    /// How the password is given.
    #[command(flatten)]
    pub password: PasswordInput,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// `changepassword`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ChangePassword {
    /// Whose password
    #[arg(value_name = "USERNAME")]
    pub username: String,
    /// How the password is given.
    #[command(flatten)]
    pub password: PasswordInput,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// Where a password comes from; a prompt, unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct PasswordInput {
    /// Ask nothing; the password is in `CHANCERY_PASSWORD`
    #[arg(long, visible_alias = "no-input")]
    pub noinput: bool,
    /// Read the password from the first line of standard input
    #[arg(long)]
    pub password_stdin: bool,
}

/// `acceptrollback`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct AcceptRollback {
    /// The database was restored, although it holds all that this node has seen: its server stopped long before, or
    /// what it had seen was brought back with it
    #[arg(long)]
    pub restored: bool,
}

/// The user a command is about.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct UserName {
    /// Whom
    #[arg(value_name = "USERNAME")]
    pub username: String,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// The application a command is about.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ApplicationName {
    /// Its client id
    #[arg(value_name = "CLIENT_ID")]
    pub client_id: String,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Report {
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// `replay`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ReplayNames {
    /// The read models to rebuild [default: all]; `chancery readmodels` lists them
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// `export`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Export {
    /// The file to write; `-` is standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// With verifiers, keys of personal data and the root secret, sealed with a passphrase (age) of 20 characters
    /// or more
    #[arg(long)]
    pub with_secrets: bool,
    /// How the passphrase is given.
    #[command(flatten)]
    pub passphrase: PasswordInput,
}

/// `import`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Import {
    /// The file that `export` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The export has secrets: open them with the passphrase
    #[arg(long)]
    pub with_secrets: bool,
    /// This is the newest there is: the old servers were stopped before it was exported, and stay so. What was issued
    /// before goes on; without this it must be made invalid, because some of it may have been revoked since
    #[arg(long, requires = "with_secrets")]
    pub moved: bool,
    /// How the passphrase is given.
    #[command(flatten)]
    pub passphrase: PasswordInput,
}

/// `backup`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Backup {
    /// The file to write; it must not exist
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// `restore`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Restore {
    /// The file that `backup` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Put it in the place of the database that is there, which is kept beside it
    #[arg(long)]
    pub replace: bool,
}

/// `config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct ShowConfig {
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
    /// Print the table of all settings, as in the README, instead
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
}

/// `createapplication`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(group = ArgGroup::new("secret").args(["client_secret", "client_secret_stdin"]))]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct CreateApplication {
    /// Whether it can keep a secret (RFC 6749 §2.1)
    #[arg(value_enum, value_name = "CLIENT_TYPE", ignore_case = true)]
    pub client_type: ClientType,
    /// How it gets its tokens
    #[arg(value_enum, value_name = "GRANT_TYPE", ignore_case = true)]
    pub authorization_grant_type: GrantType,
    /// The name people see on the consent page
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The user who owns it [default: nobody]
    #[arg(long, value_name = "USERNAME")]
    pub user: Option<String>,
    /// Where the browser may be sent with a code; several are separated by spaces
    #[arg(long, value_name = "URIS", value_delimiter = ' ')]
    pub redirect_uris: Vec<String>,
    /// Where the browser may be sent after logging out; several are separated by spaces
    #[arg(long, value_name = "URIS", value_delimiter = ' ')]
    pub post_logout_redirect_uris: Vec<String>,
    /// The scopes it may ask for; several are separated by spaces [default: all]
    #[arg(long, value_name = "SCOPES", value_delimiter = ' ')]
    pub scopes: Vec<String>,
    /// The client id [default: generated]
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The client secret [default: generated]. Others on this machine can read arguments: prefer
    /// --client-secret-stdin
    #[arg(long, value_name = "SECRET")]
    pub client_secret: Option<String>,
    /// Read the client secret from the first line of standard input
    #[arg(long)]
    pub client_secret_stdin: bool,
    /// Refused: secrets are kept as a verifier only
    #[arg(long, hide_short_help = true)]
    pub no_hash_client_secret: bool,
    /// Do not ask people for their consent; for applications of your own
    #[arg(long)]
    pub skip_authorization: bool,
    /// Refuse authorization requests without PKCE (RFC 7636); public clients always need it
    #[arg(long)]
    pub require_pkce: bool,
    /// How its id tokens are signed [default: it gets none]
    #[arg(long, value_enum, value_name = "ALGORITHM")]
    pub algorithm: Option<SigningAlgorithm>,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

impl CreateApplication {
    /// Why this cannot be done as asked.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        if self.no_hash_client_secret {
            return Some(Refusal::PlainSecret);
        }
        let from_elsewhere = match self.authorization_grant_type {
            GrantType::AuthorizationCode | GrantType::ClientCredentials => None,
            GrantType::Implicit => Some(Refusal::Implicit),
            GrantType::Password => Some(Refusal::Password),
            GrantType::OpenidHybrid => Some(Refusal::Hybrid),
        };
        let secret = self.client_secret.is_some() || self.client_secret_stdin;
        from_elsewhere.or_else(|| match (self.client_type, self.authorization_grant_type) {
            (ClientType::Public, GrantType::ClientCredentials) => Some(Refusal::PublicMachine),
            (ClientType::Public, _) if secret => Some(Refusal::PublicSecret),
            (ClientType::Public | ClientType::Confidential, _) => {
                (self.algorithm == Some(SigningAlgorithm::Hs256)).then_some(Refusal::SharedKey)
            }
        })
    }
}

/// Whether an application can keep a secret (RFC 6749 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClientType {
    /// It runs where only its operator looks, such as on a server
    Confidential,
    /// It runs in a browser or on a person's device
    Public,
}

/// How an application gets its tokens. Those OAuth 2.1 left out are known, to be refused with a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GrantType {
    /// A person allows it in the browser (RFC 6749 §4.1)
    AuthorizationCode,
    /// It acts for itself (RFC 6749 §4.4)
    ClientCredentials,
    /// Not offered: tokens in the address bar leak.
    #[value(hide = true)]
    Implicit,
    /// Not offered: it teaches people to type their password elsewhere.
    #[value(hide = true)]
    Password,
    /// Not offered: it puts tokens in the address bar.
    #[value(hide = true)]
    OpenidHybrid,
}

/// How id tokens are signed (RFC 7518 §3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SigningAlgorithm {
    /// RSA with PKCS #1 v1.5; every client knows it
    #[value(name = "RS256")]
    Rs256,
    /// ECDSA on P-256; recommended
    #[value(name = "ES256")]
    Es256,
    /// Ed25519
    #[value(name = "EdDSA")]
    EdDsa,
    /// RSA-PSS
    #[value(name = "PS256")]
    Ps256,
    /// Not offered: it needs the client secret itself.
    #[value(name = "HS256", hide = true)]
    Hs256,
}

/// Why an application cannot be registered as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(
        "--no-hash-client-secret is refused: a client secret is kept as a verifier only, so that a \
         copy of the database is not a copy of the secrets. Leave the option out and store the secret \
         where the application runs."
    )]
    PlainSecret,
    #[error(
        "the implicit grant is not offered: it puts tokens in the address bar (RFC 9700 §2.1.2). Use \
         `authorization-code`."
    )]
    Implicit,
    #[error(
        "the password grant is not offered: it has people type their password into the application \
         (RFC 9700 §2.4). Use `authorization-code`."
    )]
    Password,
    #[error(
        "the hybrid flow is not offered: it puts tokens in the address bar (RFC 9700 §2.1.2). Use \
         `authorization-code`."
    )]
    Hybrid,
    #[error(
        "a public client cannot use `client-credentials`: it has no credentials (RFC 6749 §4.4). Use \
         `confidential`."
    )]
    PublicMachine,
    #[error(
        "a public client has no secret: everybody who has the application would have it (RFC 6749 \
         §2.1). Leave the secret out, or use `confidential`."
    )]
    PublicSecret,
    #[error(
        "HS256 is not offered: it needs the client secret itself, and only a verifier of it is kept. \
         Use ES256 or RS256."
    )]
    SharedKey,
}
