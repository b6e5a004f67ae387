//! How do people get an account, and how is it changed? Shared by the pages and the command line.
//!
//! Names and addresses are normalised before they are claimed, sealed before they are stored, and a
//! password is checked against the policy before it is hashed (NIST SP 800-63B-4 §3.1.1.2). Every text
//! of an error can be shown to the person who typed.

#[cfg(test)]
mod tests;

use aggregates::user::{Role, User, UserCommand, UserError};
use aggregates::values::{SecretKind, SecretRef};
use projections::read::ReadError;
use projections::users;

use crate::commands::{Beside, CommandError, Origin, Stream};
use crate::journal::SecretOp;
use crate::keys::ClaimKind;
use crate::password::{
    NameError, PasswordError, PolicyError, check_policy, normalise_email, normalise_username,
};
use crate::personal::{PersonalData, PersonalError};
use crate::secret::{Secret, new_id};
use crate::state::AppState;

/// What stands in place of the name of somebody whose key was destroyed.
pub const ERASED: &str = "a person whose data was erased";

/// An account to be made, as typed.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The name to log in with.
    pub username: String,
    /// The address; empty for none.
    pub email: String,
    /// The password.
    pub password: Secret,
    /// Whether they see and manage everything.
    pub is_superuser: bool,
}

/// An account that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedUser {
    /// The subject, which never changes.
    pub subject: String,
    /// The name as it is shown.
    pub username: String,
}

/// Why an account was not made or changed; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The user name will not do.
    #[error(transparent)]
    Username(NameError),
    /// Somebody has it.
    #[error("This user name is taken; choose another.")]
    UsernameTaken,
    /// The address will not do.
    #[error(transparent)]
    Email(NameError),
    /// Somebody has it.
    #[error("This e-mail address belongs to another account; give another or none.")]
    EmailTaken,
    /// The password will not do.
    #[error(transparent)]
    Password(#[from] PolicyError),
    /// Nobody has this name.
    #[error("There is no such user.")]
    Unknown,
    /// The password could not be hashed now.
    #[error(transparent)]
    Hash(#[from] PasswordError),
    /// Personal data could not be sealed or opened.
    #[error(transparent)]
    Personal(#[from] PersonalError),
    /// A read model does not answer.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The command was not carried out.
    #[error(transparent)]
    Command(CommandError<UserError>),
}

/// Whose fault an error is, and where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Something typed: the field it was typed into.
    Field(&'static str),
    /// The person does not exist.
    Nobody,
    /// The server: try again later.
    Server,
}

impl AccountError {
    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::Username(_) | Self::UsernameTaken => Blame::Field("username"),
            Self::Email(_) | Self::EmailTaken => Blame::Field("email"),
            Self::Password(_) => Blame::Field("password"),
            Self::Unknown => Blame::Nobody,
            Self::Hash(_) | Self::Personal(_) | Self::Read(_) | Self::Command(_) => Blame::Server,
        }
    }
}

impl From<CommandError<UserError>> for AccountError {
    fn from(error: CommandError<UserError>) -> Self {
        match error {
            CommandError::Claimed("email") => Self::EmailTaken,
            CommandError::Claimed(_) => Self::UsernameTaken,
            CommandError::Refused(UserError::Unknown) => Self::Unknown,
            other @ (CommandError::Refused(UserError::AlreadyRegistered)
            | CommandError::Busy
            | CommandError::Unavailable(_)
            | CommandError::Damaged(_)) => Self::Command(other),
        }
    }
}

/// Makes an account. Name and address are claimed in the transaction of the event, so of two people
/// who ask for one name at once exactly one gets it.
pub async fn create_user(
    state: &AppState,
    new: NewUser,
    origin: &Origin,
) -> Result<CreatedUser, AccountError> {
    let name_key = state.keys.claim(ClaimKind::Username, &check_username(&new.username)?);
    let email = check_email(&new.email)?;
    check_policy(new.password.expose(), &new.username, &new.email)?;
    let (password, put) = keep_password(state, new.password).await?;

    let subject = new_id(state.clock.now());
    let (key_row, key) = state.personal.new_subject(&subject)?;
    let seal = |text: &str| PersonalData::seal_with(&key, &subject, text);
    let username = new.username.trim().to_owned();
    let command = UserCommand::RegisterUser {
        subject: subject.clone(),
        username: seal(&username)?,
        username_key: name_key,
        email_key: email.as_deref().map(|email| state.keys.claim(ClaimKind::Email, email)),
        email: email.as_deref().map(seal).transpose()?,
        password: Some(password),
        roles: if new.is_superuser { vec![Role::Superuser] } else { Vec::new() },
        at: state.clock.now(),
    };
    let beside = Beside { secrets: vec![put], subject_keys: vec![key_row] };
    state.commands.execute_with::<User>(Stream::Fresh(subject.clone()), command, origin, beside).await?;
    Ok(CreatedUser { subject, username })
}

/// The name in the form in which it is claimed.
pub fn check_username(username: &str) -> Result<String, AccountError> {
    normalise_username(username).map_err(AccountError::Username)
}

/// The address in the form in which it is claimed; `None` when none was given.
pub fn check_email(email: &str) -> Result<Option<String>, AccountError> {
    if email.trim().is_empty() {
        return Ok(None);
    }
    normalise_email(email).map(Some).map_err(AccountError::Email)
}

/// Sets a user's password and ends their sessions, except `keep_session`. The caller has checked that
/// whoever asks may do so.
pub async fn change_password(
    state: &AppState,
    user: &users::User,
    password: Secret,
    keep_session: Option<String>,
    origin: &Origin,
) -> Result<(), AccountError> {
    let (username, email) = names(state, user).await?;
    check_policy(password.expose(), &username, &email)?;
    let (password, put) = keep_password(state, password).await?;
    let command = UserCommand::ChangePassword { password, keep_session, at: state.clock.now() };
    let beside = Beside { secrets: vec![put], ..Beside::default() };
    let stream = Stream::Existing(user.subject.clone());
    state.commands.execute_with::<User>(stream, command, origin, beside).await?;
    Ok(())
}

/// Locks a user out or lets them in again; `false` when they were so already.
pub async fn set_locked(
    state: &AppState,
    subject: &str,
    locked: bool,
    origin: &Origin,
) -> Result<bool, AccountError> {
    let at = state.clock.now();
    let command = if locked { UserCommand::LockUser { at } } else { UserCommand::UnlockUser { at } };
    let stream = Stream::Existing(subject.to_owned());
    let executed = state.commands.execute_ending::<User>(stream, command, origin).await?;
    Ok(!executed.events.is_empty())
}

/// The user with this name, in any spelling of it. A name that nobody could have is nobody's.
pub async fn find_by_username(state: &AppState, username: &str) -> Result<Option<users::User>, ReadError> {
    let Ok(normalised) = normalise_username(username) else { return Ok(None) };
    let key = state.keys.claim(ClaimKind::Username, &normalised);
    users::find_user_by_name_key(&state.journal, &key).await
}

/// The name of a user to be shown; [`ERASED`] when their key is gone.
pub async fn shown_name(state: &AppState, user: &users::User) -> Result<String, PersonalError> {
    match state.personal.open(&user.subject, &user.username).await {
        Ok(name) => Ok(name),
        Err(PersonalError::Erased) => Ok(ERASED.to_owned()),
        Err(error @ (PersonalError::Engine(_) | PersonalError::Seal(_))) => Err(error),
    }
}

/// The name to be shown for a subject.
pub async fn name_of(state: &AppState, subject: &str) -> Result<String, AccountError> {
    match users::find_user(&state.journal, subject).await? {
        Some(user) => Ok(shown_name(state, &user).await?),
        None => Ok(ERASED.to_owned()),
    }
}

async fn names(state: &AppState, user: &users::User) -> Result<(String, String), AccountError> {
    let username = state.personal.open(&user.subject, &user.username).await?;
    let email = match &user.email {
        Some(email) => state.personal.open(&user.subject, email).await?,
        None => String::new(),
    };
    Ok((username, email))
}

/// The reference for the event and the row for the secrets table.
async fn keep_password(state: &AppState, password: Secret) -> Result<(SecretRef, SecretOp), PasswordError> {
    let verifier = state.passwords.hash(password).await?;
    let reference = SecretRef { id: new_id(state.clock.now()), kind: SecretKind::Argon2id };
    let put = SecretOp::Put { id: reference.id.clone(), verifier };
    Ok((reference, put))
}
