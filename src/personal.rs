//! Who can read personal data in events? Whoever has the key of the person it belongs to: this seals
//! and opens it, and keeps the few keys in use at hand.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aggregates::values::Sealed;
use chrono::{DateTime, Utc};
use hashlink::LruCache;

use crate::commands::{Actor, Origin};
use crate::journal::{EngineError, Journal, SubjectKeyRow};
use crate::keys::Keys;
use crate::sealing::{SealError, SubjectKey, month_subject, open_personal, seal_personal};

const KEYS_AT_HAND: usize = 10_000;
/// Nobody's user agent needs more; what is longer is an attempt to fill the log.
const LONGEST_USER_AGENT: usize = 256;

/// Seals and opens personal data.
#[derive(Clone)]
pub struct PersonalData {
    journal: Journal,
    keys: Arc<Keys>,
    at_hand: Arc<Mutex<LruCache<String, Arc<SubjectKey>>>>,
}

impl fmt::Debug for PersonalData {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[personal data]")
    }
}

/// What an origin says of a person, sealed.
#[derive(Default)]
pub struct SealedOrigin {
    /// The client address.
    pub address: Option<String>,
    /// The user agent.
    pub user_agent: Option<String>,
}

/// Why personal data could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum PersonalError {
    /// The key could not be fetched.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The key does not fit, or is gone.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The subject's key was destroyed: what was sealed under it is erased.
    #[error("the data of this person was erased")]
    Erased,
}

impl PersonalData {
    /// Seals under subject keys that are wrapped by `keys` and kept in the journal's database.
    #[must_use]
    pub fn new(journal: Journal, keys: Arc<Keys>) -> Self {
        Self { journal, keys, at_hand: Arc::new(Mutex::new(LruCache::new(KEYS_AT_HAND))) }
    }

    /// A key for a person about to be registered, to be written beside the event.
    pub fn new_subject(&self, subject: &str) -> Result<(SubjectKeyRow, Arc<SubjectKey>), PersonalError> {
        let key = SubjectKey::generate();
        let row = SubjectKeyRow { subject: subject.to_owned(), wrapped: key.wrap(&self.keys)? };
        Ok((row, Arc::new(key)))
    }

    /// Seals with a key that [`Self::new_subject`] made.
    pub fn seal_with(key: &SubjectKey, subject: &str, text: &str) -> Result<Sealed, PersonalError> {
        Ok(Sealed::from_ciphertext(seal_personal(key, subject, text)?))
    }

    /// Opens what was sealed under a person's key.
    pub async fn open(&self, subject: &str, sealed: &Sealed) -> Result<String, PersonalError> {
        let key = self.find(subject).await?.ok_or(PersonalError::Erased)?;
        Ok(open_personal(&key, subject, sealed.as_str())?)
    }

    /// Seals address and user agent: under the user's key when a user asked, else under the month's.
    pub async fn seal_origin(
        &self,
        origin: &Origin,
        now: DateTime<Utc>,
    ) -> Result<SealedOrigin, PersonalError> {
        if origin.address.is_none() && origin.user_agent.is_none() {
            return Ok(SealedOrigin::default());
        }
        let (subject, key) = self.key_for(&origin.actor, now).await?;
        let seal =
            |text: &str| seal_personal(&key, &subject, text).map(|sealed| format!("{subject}|{sealed}"));
        let user_agent = origin
            .user_agent
            .as_deref()
            .map(|text| text.chars().take(LONGEST_USER_AGENT).collect::<String>());
        Ok(SealedOrigin {
            address: origin.address.map(|address| seal(&address.to_string())).transpose()?,
            user_agent: user_agent.map(|text| seal(&text)).transpose()?,
        })
    }

    /// Opens a value of event metadata, which names its subject before the bar.
    pub async fn open_origin(&self, sealed: &str) -> Result<String, PersonalError> {
        let (subject, sealed) = sealed.split_once('|').ok_or(SealError::Malformed)?;
        self.open(subject, &Sealed::from_ciphertext(sealed.to_owned())).await
    }

    async fn key_for(
        &self,
        actor: &Actor,
        now: DateTime<Utc>,
    ) -> Result<(String, Arc<SubjectKey>), PersonalError> {
        if let Actor::User(subject) = actor
            && let Some(key) = self.find(subject).await?
        {
            return Ok((subject.clone(), key));
        }
        let month = month_subject(now);
        if let Some(key) = self.find(&month).await? {
            return Ok((month, key));
        }
        let (row, _) = self.new_subject(&month)?;
        let kept = self.journal.engine().keep_subject_key(&row).await?;
        let key = self.remember(&month, &kept)?;
        Ok((month, key))
    }

    async fn find(&self, subject: &str) -> Result<Option<Arc<SubjectKey>>, PersonalError> {
        let at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner).get(subject).cloned();
        if at_hand.is_some() {
            return Ok(at_hand);
        }
        match self.journal.engine().find_subject_key(subject).await? {
            None => Ok(None),
            Some(wrapped) => self.remember(subject, &wrapped).map(Some),
        }
    }

    fn remember(&self, subject: &str, wrapped: &str) -> Result<Arc<SubjectKey>, PersonalError> {
        let key = Arc::new(SubjectKey::unwrap(&self.keys, wrapped)?);
        let mut at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        at_hand.insert(subject.to_owned(), Arc::clone(&key));
        Ok(key)
    }
}
