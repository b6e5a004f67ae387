//! Is this the person's password, and may it be tried now? (NIST SP 800-63B-4 §3.2.2, OWASP ASVS 6.3)
//!
//! Every attempt is counted before the password is looked at, so that parallel guesses are counted too,
//! durably and for all nodes: once for the account, whatever spelling of it was typed, and once for each
//! network that the address is charged under. A name that nobody has is counted and hashed against in the same
//! way, under a keyed hash: people type passwords there, so it is stored nowhere.

use aggregates::login_attempts::{LoginAttempts, LoginAttemptsCommand, LoginAttemptsError};
use ipnet::IpNet;
use projections::read::ReadError;
use projections::users::{User, find_user_by_email_key, find_user_by_name_key};

use super::page_error::PageError;
use crate::commands::{Origin, Stream};
use crate::extract::request_context::{RequestContext, networks};
use crate::keys::ClaimKind;
use crate::password::{normalise_email, normalise_username};
use crate::secret::Secret;
use crate::state::AppState;

/// The account that an attempt is for, whether it exists or not.
pub struct Account {
    /// Whose it is, if anybody's.
    pub user: Option<User>,
    key: String,
}

impl Account {
    /// The account with this name or e-mail address, in any spelling of them.
    pub async fn find(state: &AppState, typed: &str) -> Result<Self, ReadError> {
        let user = find_user(state, typed).await?;
        let name = match &user {
            Some(user) => format!("user:{}", user.subject),
            None => format!("name:{}", normalise_username(typed).unwrap_or_default()),
        };
        Ok(Self { user, key: state.keys.claim(ClaimKind::LoginAccount, &name) })
    }

    /// The account of somebody who is logged in.
    #[must_use]
    pub fn of(state: &AppState, user: &User) -> Self {
        let key = state.keys.claim(ClaimKind::LoginAccount, &format!("user:{}", user.subject));
        Self { user: Some(user.clone()), key }
    }

    /// Counts an attempt; `TooManyAttempts` when this one must wait.
    pub async fn admit(
        &self,
        state: &AppState,
        context: &RequestContext,
        origin: &Origin,
    ) -> Result<(), PageError> {
        let limits = &state.config.limits;
        for (key, shares) in network_keys(state, context) {
            let free = limits.login_failures_per_address.saturating_mul(shares);
            count(state, context, origin, key, free).await?;
        }
        count(state, context, origin, self.key.clone(), limits.login_failures_per_account).await
    }

    /// Whether the password is right. Nobody's is wrong after the same work.
    pub async fn check(&self, state: &AppState, password: Secret) -> Result<bool, PageError> {
        let verifier = match self.user.as_ref().and_then(|user| user.password.as_ref()) {
            Some(reference) => state.journal.find_secret(&reference.id).await?,
            None => None,
        };
        Ok(state.passwords.verify(password, verifier.as_deref()).await?)
    }

    /// Forgets the account's count after the right password. A network only takes this attempt back: many people may
    /// log in from there, and somebody who has one account must not get fresh guesses at all others by it.
    pub async fn forget_attempts(&self, state: &AppState, context: &RequestContext, origin: &Origin) {
        let at = context.now;
        let of_networks =
            network_keys(state, context).map(|(key, _)| (key, LoginAttemptsCommand::TakeBack { at }));
        let of_account = (self.key.clone(), LoginAttemptsCommand::Reset { at });
        for (key, command) in of_networks.chain([of_account]) {
            let stream = Stream::Existing(key);
            if let Err(error) = state.commands.execute::<LoginAttempts>(stream, command, origin).await {
                tracing::warn!(
                    correlation.id = %context.correlation_id, %error,
                    what_to_do = "Nothing: the person may have to wait once. If it goes on, see to the database.",
                    "login attempts were not reset"
                );
            }
        }
    }
}

/// The counts that an address has part in, and how many shares of what is free each has.
fn network_keys(state: &AppState, context: &RequestContext) -> impl Iterator<Item = (String, usize)> {
    let key = move |(network, shares): (IpNet, usize)| {
        (state.keys.claim(ClaimKind::LoginAddress, &network.to_string()), shares)
    };
    context.address.into_iter().flat_map(networks).map(key)
}

async fn find_user(state: &AppState, typed: &str) -> Result<Option<User>, ReadError> {
    if let Ok(name) = normalise_username(typed) {
        let key = state.keys.claim(ClaimKind::Username, &name);
        if let Some(user) = find_user_by_name_key(&state.journal, &key).await? {
            return Ok(Some(user));
        }
    }
    match normalise_email(typed) {
        Ok(email) => {
            find_user_by_email_key(&state.journal, &state.keys.claim(ClaimKind::Email, &email)).await
        }
        Err(_) => Ok(None),
    }
}

async fn count(
    state: &AppState,
    context: &RequestContext,
    origin: &Origin,
    key: String,
    free: usize,
) -> Result<(), PageError> {
    let free = u32::try_from(free).unwrap_or(u32::MAX);
    let command = LoginAttemptsCommand::RecordAttempt { free, at: context.now };
    match state.commands.execute::<LoginAttempts>(Stream::Existing(key), command, origin).await {
        Ok(_) => Ok(()),
        Err(error) => {
            let refused: LoginAttemptsError = PageError::reason_of(error)?;
            Err(PageError::TooManyAttempts { retry_after: refused.retry_after(context.now) })
        }
    }
}
