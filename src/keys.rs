//! Which server key serves which purpose?
//!
//! All of them come from one root secret by HKDF-SHA256 (RFC 5869), one label
//! per purpose, token kind and epoch, so that no key is ever used for two
//! things and nodes that share the root secret share every key. A new epoch
//! makes new keys; former epochs are still verified until they are retired.
//! Claims have no epoch: uniqueness must hold across all of them.

mod root_secret;

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub use root_secret::{RootSecret, RootSecretError};

/// The epoch new tokens and seals are made with unless configured otherwise.
pub const FIRST_EPOCH: u8 = 1;

/// What an opaque token is; each kind has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// An authorization code (RFC 6749 §1.3.1).
    AuthorizationCode,
    /// An access token (RFC 6749 §1.4).
    AccessToken,
    /// A refresh token (RFC 6749 §1.5).
    RefreshToken,
    /// The cookie of somebody who has logged in.
    Session,
    /// The cookie of a browser, before and after login.
    Browser,
}

/// What a claimed name is; the same text claimed as two kinds does not collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClaimKind {
    /// A normalised user name.
    Username,
    /// A normalised e-mail address.
    Email,
    /// The account of a login attempt, whether it exists or not.
    LoginAccount,
    /// The client address of a login attempt.
    LoginAddress,
}

/// Why keys could not be derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The cryptographic library refused.
    #[error("the cryptographic library could not derive the server keys")]
    Derivation,
    /// Epochs start at 1.
    #[error("key epoch 0 does not exist; epochs start at 1")]
    EpochZero,
}

/// All server keys: those of the current epoch, and of former ones still accepted.
pub struct Keys {
    current: EpochKeys,
    former: Vec<EpochKeys>,
    /// Tokens, cookies and forms of earlier epochs are nobody's any more.
    least_minted: u8,
    claims: ClaimKeys,
    checkpoint: hmac::Key,
    fingerprint: String,
}

/// The keys of one epoch.
pub(crate) struct EpochKeys {
    epoch: u8,
    tokens: TokenKeys,
    /// Keys the hash of generated client secrets.
    pub(crate) pepper: hmac::Key,
    /// Makes the form tokens that stop cross-site requests.
    pub(crate) form: hmac::Key,
    /// Seals what is at rest: subject keys, private signing keys.
    pub(crate) sealing: RandomizedNonceKey,
    /// Seals requests in progress.
    pub(crate) request_sealing: RandomizedNonceKey,
}

struct TokenKeys {
    authorization_code: hmac::Key,
    access_token: hmac::Key,
    refresh_token: hmac::Key,
    session: hmac::Key,
    browser: hmac::Key,
}

struct ClaimKeys {
    username: hmac::Key,
    email: hmac::Key,
    login_account: hmac::Key,
    login_address: hmac::Key,
}

impl Keys {
    /// Derives the keys of the first epoch.
    pub fn derive(root: &RootSecret) -> Result<Self, KeyError> {
        Self::derive_epochs(root, FIRST_EPOCH, &[])
    }

    /// Derives the keys of an installation whose log says that this epoch mints: what earlier ones minted is
    /// invalid, while what they sealed and hashed at rest is still read.
    pub fn derive_minting(root: &RootSecret, epoch: u8) -> Result<Self, KeyError> {
        let former: Vec<u8> = (FIRST_EPOCH..epoch).collect();
        Ok(Self { least_minted: epoch, ..Self::derive_epochs(root, epoch, &former)? })
    }

    /// Derives the keys of `current`, which makes, and of `former`, which only verify.
    pub fn derive_epochs(root: &RootSecret, current: u8, former: &[u8]) -> Result<Self, KeyError> {
        let derivation = Derivation::from_root(root);
        let former = former.iter().filter(|epoch| **epoch != current);
        Ok(Self {
            current: EpochKeys::derive(&derivation, current)?,
            former: former.map(|epoch| EpochKeys::derive(&derivation, *epoch)).collect::<Result<_, _>>()?,
            least_minted: FIRST_EPOCH,
            claims: ClaimKeys::derive(&derivation)?,
            checkpoint: derivation.mac("checkpoint")?,
            fingerprint: URL_SAFE_NO_PAD.encode(derivation.bytes("fingerprint")?),
        })
    }

    /// The keyed hash under which a name is claimed: 43 characters, base64url.
    ///
    /// `normalised` is the name as `password::normalise_username` or
    /// `normalise_email` returns it; two spellings of one name must not differ here.
    #[must_use]
    pub fn claim(&self, kind: ClaimKind, normalised: &str) -> String {
        let key = match kind {
            ClaimKind::Username => &self.claims.username,
            ClaimKind::Email => &self.claims.email,
            ClaimKind::LoginAccount => &self.claims.login_account,
            ClaimKind::LoginAddress => &self.claims.login_address,
        };
        URL_SAFE_NO_PAD.encode(hmac::sign(key, normalised.as_bytes()))
    }

    /// A name for the root secret that reveals nothing of it: nodes and
    /// `doctor` compare it to tell a wrong secret from tampering.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Authenticates what a node notes outside the database: 43 characters, base64url.
    #[must_use]
    pub fn checkpoint_mac(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.checkpoint, text.as_bytes()))
    }

    /// The keys of `epoch`, if what it minted is still accepted.
    pub(crate) fn minted(&self, epoch: u8) -> Option<&EpochKeys> {
        self.epoch(epoch).filter(|keys| keys.epoch >= self.least_minted)
    }

    /// The keys that make new tokens and seals.
    pub(crate) fn current(&self) -> &EpochKeys {
        &self.current
    }

    /// The keys of `epoch`, if it is still accepted.
    pub(crate) fn epoch(&self, epoch: u8) -> Option<&EpochKeys> {
        std::iter::once(&self.current).chain(&self.former).find(|keys| keys.epoch == epoch)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[keys]")
    }
}

impl EpochKeys {
    fn derive(derivation: &Derivation, epoch: u8) -> Result<Self, KeyError> {
        if epoch == 0 {
            return Err(KeyError::EpochZero);
        }
        let mac = |purpose: &str| derivation.mac(&format!("{purpose}/epoch/{epoch}"));
        let seal = |purpose: &str| derivation.seal(&format!("{purpose}/epoch/{epoch}"));
        Ok(Self {
            epoch,
            tokens: TokenKeys {
                authorization_code: mac("token/authorization_code")?,
                access_token: mac("token/access_token")?,
                refresh_token: mac("token/refresh_token")?,
                session: mac("token/session")?,
                browser: mac("token/browser")?,
            },
            pepper: mac("pepper")?,
            form: mac("form")?,
            sealing: seal("sealing")?,
            request_sealing: seal("request_sealing")?,
        })
    }

    pub(crate) fn number(&self) -> u8 {
        self.epoch
    }

    pub(crate) fn token(&self, kind: TokenKind) -> &hmac::Key {
        match kind {
            TokenKind::AuthorizationCode => &self.tokens.authorization_code,
            TokenKind::AccessToken => &self.tokens.access_token,
            TokenKind::RefreshToken => &self.tokens.refresh_token,
            TokenKind::Session => &self.tokens.session,
            TokenKind::Browser => &self.tokens.browser,
        }
    }
}

impl ClaimKeys {
    fn derive(derivation: &Derivation) -> Result<Self, KeyError> {
        Ok(Self {
            username: derivation.mac("claim/username")?,
            email: derivation.mac("claim/email")?,
            login_account: derivation.mac("claim/login_account")?,
            login_address: derivation.mac("claim/login_address")?,
        })
    }
}

/// HKDF with the root secret already extracted.
struct Derivation(hkdf::Prk);

impl Derivation {
    fn from_root(root: &RootSecret) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"chancery server keys, version 1");
        Self(salt.extract(root.bytes()))
    }

    fn bytes(&self, label: &str) -> Result<[u8; 32], KeyError> {
        let mut bytes = [0; 32];
        self.0
            .expand(&[b"chancery/", label.as_bytes()], hmac::HMAC_SHA256)
            .and_then(|material| material.fill(&mut bytes))
            .map_err(|_| KeyError::Derivation)?;
        Ok(bytes)
    }

    fn mac(&self, label: &str) -> Result<hmac::Key, KeyError> {
        let bytes = zeroize::Zeroizing::new(self.bytes(label)?);
        Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()))
    }

    /// GCM-SIV: a nonce drawn twice, after very many seals by many nodes under
    /// one key, would only show that two texts are equal.
    fn seal(&self, label: &str) -> Result<RandomizedNonceKey, KeyError> {
        let bytes = zeroize::Zeroizing::new(self.bytes(label)?);
        RandomizedNonceKey::new(&AES_256_GCM_SIV, bytes.as_slice()).map_err(|_| KeyError::Derivation)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const CLAIMS: [ClaimKind; 4] =
        [ClaimKind::Username, ClaimKind::Email, ClaimKind::LoginAccount, ClaimKind::LoginAddress];
    const TOKENS: [TokenKind; 5] = [
        TokenKind::AuthorizationCode,
        TokenKind::AccessToken,
        TokenKind::RefreshToken,
        TokenKind::Session,
        TokenKind::Browser,
    ];

    fn root() -> RootSecret {
        RootSecret::from_text(&"0123456789abcdef".repeat(4)).unwrap()
    }

    #[test]
    fn the_same_root_secret_gives_the_same_keys_on_every_node() {
        let (one, two) = (Keys::derive(&root()).unwrap(), Keys::derive(&root()).unwrap());
        let other = Keys::derive(&RootSecret::generate()).unwrap();
        for kind in CLAIMS {
            assert_eq!(one.claim(kind, "ada"), two.claim(kind, "ada"));
            assert_ne!(one.claim(kind, "ada"), other.claim(kind, "ada"));
        }
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    /// Claims are stored for ever: a change of labels would let a name be claimed twice.
    #[test]
    fn the_labels_of_claims_never_change() {
        let keys = Keys::derive(&root()).unwrap();
        assert_eq!(keys.claim(ClaimKind::Username, "ada"), "TMJxX6BcSsH4GFK2fYSwa62BJ3bb87wjx2YKLT8okjg");
    }

    #[test]
    fn no_two_purposes_or_epochs_share_a_key() {
        let keys = Keys::derive_epochs(&root(), 2, &[1]).unwrap();
        let mut seen: HashSet<Vec<u8>> = HashSet::new();
        for epoch in [1, 2] {
            let epoch = keys.epoch(epoch).unwrap();
            let macs = TOKENS.map(|kind| epoch.token(kind));
            for key in macs.into_iter().chain([&epoch.pepper, &epoch.form]) {
                assert!(seen.insert(hmac::sign(key, b"x").as_ref().to_vec()));
            }
        }
        for kind in CLAIMS {
            assert!(seen.insert(URL_SAFE_NO_PAD.decode(keys.claim(kind, "x")).unwrap()));
        }
        assert_eq!(seen.len(), 18);
    }

    #[test]
    fn a_claim_survives_a_new_epoch() {
        let (old, new) = (Keys::derive(&root()).unwrap(), Keys::derive_epochs(&root(), 2, &[1]).unwrap());
        assert_eq!(old.claim(ClaimKind::Email, "a@b"), new.claim(ClaimKind::Email, "a@b"));
    }

    #[test]
    fn only_accepted_epochs_have_keys() {
        let keys = Keys::derive_epochs(&root(), 3, &[2, 3]).unwrap();
        assert_eq!(keys.current().number(), 3);
        assert!(keys.epoch(2).is_some());
        assert!(keys.epoch(1).is_none());
        assert!(matches!(Keys::derive_epochs(&root(), 0, &[]), Err(KeyError::EpochZero)));
    }

    #[test]
    fn what_an_earlier_epoch_minted_is_invalid_and_what_it_sealed_is_read() {
        let keys = Keys::derive_minting(&root(), 3).unwrap();
        assert_eq!(keys.current().number(), 3);
        assert!(keys.minted(3).is_some() && keys.minted(2).is_none() && keys.minted(1).is_none());
        assert!(keys.epoch(1).is_some() && keys.epoch(2).is_some());
    }

    #[test]
    fn keys_never_show_themselves() {
        assert_eq!(format!("{:?}", Keys::derive(&root()).unwrap()), "[keys]");
    }
}
