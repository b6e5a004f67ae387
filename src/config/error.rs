//! What is wrong with the configuration, where was it written, and what should the operator do?

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A command-line flag, without its dashes.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// A line of the configuration file (counted from 1).
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(formatter, "--{flag}"),
            Self::Environment(name) => formatter.write_str(name),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// Why a configuration is refused. [`ConfigError::advice`] says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file has a key nobody reads: most likely a typing error that would otherwise go unnoticed.
    #[error("there is no setting `{key}` ({origin})")]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The file and line.
        origin: Source,
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// The environment has a `CHANCERY_` variable nobody reads.
    #[error("there is no environment variable `{name}`")]
    UnknownVariable {
        /// The variable as written.
        name: String,
        /// The known variable that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A value cannot be what it says.
    #[error("`{key}` ({origin}): {problem}")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// Where the value was written.
        origin: Source,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The configuration file cannot be read.
    #[error("the configuration file {} cannot be read: {cause}", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The configuration file is not TOML.
    #[error("{}:{line} is not TOML: {message}", path.display())]
    FileMalformed {
        /// The file.
        path: PathBuf,
        /// The line (counted from 1).
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// Neither `data-dir` nor a home directory says where data goes.
    #[error("`data-dir` is not set, and there is no XDG_DATA_HOME or HOME to derive it from")]
    NoDataDirectory,
    /// Behind a public or wildcard address the issuer cannot be guessed.
    #[error("`issuer` is not set, and it cannot be derived from `listen` ({listen})")]
    IssuerNeeded {
        /// The first address listened on.
        listen: String,
    },
    /// One half of the TLS pair is missing.
    #[error("`{present}` ({origin}) is set, but `{missing}` is not")]
    HalfOfTls {
        /// The half that is there.
        present: &'static str,
        /// Where it was written.
        origin: Source,
        /// The half that is not.
        missing: &'static str,
    },
    /// An idle limit that is longer than the whole lifetime never applies.
    #[error("`{idle}` ({origin}) is longer than `{whole}`")]
    IdleOutlivesWhole {
        /// The idle limit.
        idle: &'static str,
        /// Where it was written.
        origin: Source,
        /// The whole lifetime.
        whole: &'static str,
    },
}

impl ConfigError {
    /// What the operator should do, in one sentence.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::UnknownKey { nearest: Some(nearest), .. } => {
                format!("Did you mean `{nearest}`? Correct the key or remove the line.")
            }
            Self::UnknownKey { nearest: None, .. } => {
                "Remove the line; `chancery config` lists every setting.".to_owned()
            }
            Self::UnknownVariable { nearest: Some(nearest), .. } => {
                format!("Did you mean {nearest}? Correct the name or unset the variable.")
            }
            Self::UnknownVariable { nearest: None, .. } => {
                "Unset the variable; `chancery --help` lists every setting.".to_owned()
            }
            Self::Invalid { problem, .. } => problem.advice(),
            Self::FileUnreadable { .. } => {
                "Check the path given with --config or CHANCERY_CONFIG, and that this user may read it."
                    .to_owned()
            }
            Self::FileMalformed { .. } => "Correct the line; text goes in \"quotes\".".to_owned(),
            Self::NoDataDirectory => "Give --data-dir DIRECTORY or set CHANCERY_DATA_DIR.".to_owned(),
            Self::IssuerNeeded { .. } => {
                "Give the address clients use, such as --issuer https://login.example.com.".to_owned()
            }
            Self::HalfOfTls { missing, .. } => format!("Give --{missing} too, or neither."),
            Self::IdleOutlivesWhole { idle, whole, .. } => format!("Shorten `{idle}` or lengthen `{whole}`."),
        }
    }
}

/// What is wrong with one value. Values of secrets are never repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file holds another kind of value (a number for a text, say).
    #[error("expected {expected}, found {found}")]
    WrongShape {
        /// What belongs there.
        expected: &'static str,
        /// What TOML calls what is there.
        found: &'static str,
    },
    /// The variable is not UTF-8.
    #[error("the value is not valid UTF-8")]
    NotUnicode,
    /// There is nothing in it.
    #[error("the value is empty")]
    Empty,
    /// Not a duration.
    #[error("`{0}` is not a duration")]
    NotADuration(String),
    /// Not a whole number.
    #[error("`{0}` is not a whole number")]
    NotANumber(String),
    /// Not a size in bytes.
    #[error("`{0}` is not a number of bytes")]
    NotASize(String),
    /// Not true or false.
    #[error("`{0}` is neither `true` nor `false`")]
    NotASwitch(String),
    /// Too small or too large.
    #[error("`{found}` is not between {least} and {most}")]
    OutOfRange {
        /// What was written.
        found: String,
        /// The smallest accepted value.
        least: String,
        /// The largest accepted value.
        most: String,
    },
    /// Not one of a few words.
    #[error("`{found}` is not one of {accepted}")]
    NotOneOf {
        /// What was written.
        found: String,
        /// The words accepted.
        accepted: &'static str,
    },
    /// Not an address to listen on.
    #[error("`{0}` is not an address and port")]
    NotAnAddress(String),
    /// Not a network.
    #[error("`{0}` is not a network")]
    NotANetwork(String),
    /// Not a URL.
    #[error("`{0}` is not a URL")]
    NotAUrl(String),
    /// An issuer that is neither https nor local.
    #[error("`{0}` is plain http on an address other machines can reach")]
    InsecureIssuer(String),
    /// An issuer scheme other than http and https.
    #[error("`{0}` is neither https nor http")]
    NotHttp(String),
    /// RFC 8414 §2 allows an issuer no query and no fragment.
    #[error("an issuer has no query, fragment, user or password (RFC 8414 §2)")]
    IssuerHasExtras,
    /// Two spellings of one issuer never compare equal.
    #[error("an issuer ends without a slash, but `{0}` has one")]
    IssuerEndsInSlash(String),
    /// Clients compare issuers as text; only the usual spelling is safe.
    #[error("`{found}` is not spelled as clients will see it")]
    IssuerNotCanonical {
        /// What was written.
        found: String,
        /// The canonical spelling.
        canonical: String,
    },
    /// Not `PostgreSQL`. The URL is not repeated: it can hold a password.
    #[error("the scheme `{0}` is not a database Chancery knows")]
    DatabaseScheme(String),
    /// The database URL cannot be parsed. It is not repeated: it can hold a password.
    #[error("the value is not a URL")]
    DatabaseUrl,
    /// Not where a collector listens. Not repeated: it can hold a password.
    #[error("the value is not an http or https URL without user, query and fragment")]
    CollectorUrl,
    /// The log filter cannot be parsed.
    #[error("`{0}` is not a log filter")]
    NotALogFilter(String),
    /// A scope name with characters RFC 6749 §3.3 does not allow.
    #[error("`{0}` is not a scope name (RFC 6749 §3.3)")]
    ScopeName(String),
    /// The same scope twice.
    #[error("the scope `{0}` is there twice")]
    ScopeTwice(String),
    /// A scope without its name or description.
    #[error("a scope has no `{0}`")]
    ScopeLacks(&'static str),
    /// A scope with a member nobody reads.
    #[error("a scope has no member `{0}`")]
    ScopeMember(String),
    /// A server without scopes cannot issue anything.
    #[error("there is no scope at all")]
    NoScopes,
    /// A resource identifier that RFC 8707 §2 does not allow.
    #[error("`{0}` is not an absolute URI without a fragment (RFC 8707 §2)")]
    NotAResource(String),
    /// The root secret holds too little.
    #[error("the root secret is shorter than {least} characters")]
    RootSecretShort {
        /// The least number of characters.
        least: usize,
    },
}

impl Problem {
    /// What the operator should write instead.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::WrongShape { expected, .. } => return format!("Write {expected}."),
            Self::OutOfRange { least, most, .. } => return format!("Choose a value from {least} to {most}."),
            Self::NotOneOf { accepted, .. } => return format!("Use one of {accepted}."),
            Self::IssuerNotCanonical { canonical, .. } => return format!("Write {canonical}."),
            Self::IssuerEndsInSlash(found) => {
                return format!("Write {}.", found.trim_end_matches('/'));
            }
            Self::NotUnicode | Self::Empty => "Give it a value, or leave the setting out.",
            Self::NotADuration(_) => "Write a number and a unit (ms, s, m, h, d), such as 60s, 10h or 14d.",
            Self::NotANumber(_) => "Write digits only, such as 4096.",
            Self::NotASize(_) => "Write a number of bytes or of KiB or MiB, such as 64KiB.",
            Self::NotASwitch(_) => "Write true or false.",
            Self::NotAnAddress(_) => "Write localhost:8000, 127.0.0.1:8000 or [::1]:8000.",
            Self::NotANetwork(_) => "Write an address or a CIDR block, such as 10.0.0.0/8.",
            Self::NotAUrl(_) | Self::NotHttp(_) => "Write a whole URL, such as https://login.example.com.",
            Self::InsecureIssuer(_) => {
                "Use https; to accept the risk on a closed network, add --allow-insecure-issuer."
            }
            Self::IssuerHasExtras => "Leave only scheme, host, port and path.",
            Self::DatabaseScheme(_) | Self::DatabaseUrl => {
                "Write postgres://user:password@host:5432/name, or leave it out for the embedded database."
            }
            Self::CollectorUrl => "Write where the collector listens, such as http://127.0.0.1:4318.",
            Self::NotALogFilter(_) => "Write a level such as info, or a filter such as info,chancery=debug.",
            Self::ScopeName(_) => "Use printable ASCII without spaces, quotes and backslashes.",
            Self::ScopeTwice(_) => "Remove one of the two.",
            Self::ScopeLacks(_) | Self::ScopeMember(_) | Self::NoScopes => {
                "Write [[scopes]] with name, description and (optionally) default = true."
            }
            Self::NotAResource(_) => "Write the address of the resource, such as https://api.example.com.",
            Self::RootSecretShort { .. } => "Make one with `openssl rand -hex 32`.",
        }
        .to_owned()
    }
}
