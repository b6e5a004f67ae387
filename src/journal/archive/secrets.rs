//! What moves with a log only under a passphrase (age v1)? Verifiers, keys of personal data, and the root secret.

use std::io;

use age::scrypt;
use age::secrecy::SecretString;
use projections::row::Value;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::ArchiveError;
use crate::journal::chain::hex;
use crate::journal::engine::{Engine, EngineError, Head};

/// A log that grows while its secrets are read is asked so often.
const CHASES: usize = 100;

/// Ids with what is kept under them.
type Pairs = Vec<(String, String)>;

/// What only the owner of the passphrase gets.
#[derive(Serialize, Deserialize)]
pub struct Secrets {
    /// The text of the root secret.
    pub root_secret: String,
    /// The log that they were sealed with: whoever changes an export can make its chain anew, but not this.
    events: i64,
    chain: String,
    verifiers: Pairs,
    subject_keys: Pairs,
}

impl Secrets {
    /// Those that belong to a head of the log: read when it did not move meanwhile, so that none is missing that an
    /// event names.
    pub(super) async fn at_head(
        engine: &dyn Engine,
        root_secret: &str,
    ) -> Result<(Head, Self), ArchiveError> {
        let mut head = engine.head().await?;
        for _ in 0..CHASES {
            let verifiers = pairs(engine, "SELECT id, verifier FROM secrets ORDER BY id").await?;
            let subject_keys =
                pairs(engine, "SELECT subject, wrapped FROM subject_keys ORDER BY subject").await?;
            let now = engine.head().await?;
            if now == head {
                let (root_secret, events, chain) = (root_secret.to_owned(), head.position, hex(&head.chain));
                return Ok((head, Self { root_secret, events, chain, verifiers, subject_keys }));
            }
            head = now;
        }
        Err(ArchiveError::Growing)
    }

    /// Whether they were sealed with the log that ends so.
    pub(super) fn are_of(&self, events: i64, chain: &str) -> bool {
        (self.events, self.chain.as_str()) == (events, chain)
    }

    /// Puts verifiers and keys where the servers look for them.
    pub(super) async fn keep(&self, engine: &dyn Engine) -> Result<(), EngineError> {
        let verifier = "INSERT INTO secrets (id, verifier) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
        let key =
            "INSERT INTO subject_keys (subject, wrapped) VALUES ($1, $2) ON CONFLICT (subject) DO NOTHING";
        for (sql, pairs) in [(verifier, &self.verifiers), (key, &self.subject_keys)] {
            for (one, other) in pairs {
                engine.execute(sql, &[one.as_str().into(), other.as_str().into()]).await?;
            }
        }
        Ok(())
    }

    pub(super) fn seal(&self, passphrase: SecretString) -> Result<String, ArchiveError> {
        let text = Zeroizing::new(serde_json::to_vec(self).map_err(io::Error::from)?);
        age::encrypt_and_armor(&scrypt::Recipient::new(passphrase), &text).map_err(|_| ArchiveError::Seal)
    }

    pub(super) fn open(sealed: &str, passphrase: SecretString) -> Result<Self, ArchiveError> {
        let opened = age::decrypt(&scrypt::Identity::new(passphrase), sealed.as_bytes());
        let text = Zeroizing::new(opened.map_err(|_| ArchiveError::Passphrase)?);
        serde_json::from_slice(&text).map_err(|_| ArchiveError::Passphrase)
    }
}

async fn pairs(engine: &dyn Engine, sql: &str) -> Result<Pairs, EngineError> {
    let pair = |row: Vec<Value>| match <[Value; 2]>::try_from(row) {
        Ok([Value::Text(one), Value::Text(other)]) => Ok((one, other)),
        _ => Err(EngineError::Damaged("a row of verifiers or keys has another shape".to_owned())),
    };
    engine.query(sql, &[]).await?.into_iter().map(pair).collect()
}
