//! How is an opaque token made, and what does it name?
//!
//! A token is a prefix and, in base64url, an epoch, an id and a MAC under the
//! key of its kind. Whoever presents one that we did not make is refused
//! without a look-up; one that we made names its stream; and nothing that
//! could be presented is stored. Whether it is still good, and for whom, the
//! read models say. Minting is deterministic: a refresh whose answer was lost
//! is answered again with the same text.
//! RFC 6749 §10.10 (a forgery succeeds with at most 2⁻²⁴⁰), OWASP ASVS 7.2.3.
//!
//! | kind | prefix | payload | MAC |
//! |---|---|---|---|
//! | authorization code | `chc_` | epoch, authorization id | 31 bytes |
//! | access token | `cha_` | epoch, token id | 31 |
//! | refresh token | `chr_` | epoch, authorization id, generation (u32) | 30 |
//! | session cookie | `chs_` | epoch, session id | 31 |
//! | browser cookie | `chb_` | epoch, browser id | 31 |

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::keys::{Keys, TokenKind};
use crate::secret::{Secret, constant_time_eq, id_bytes, id_text};

const ID: usize = 16;
/// Payload and MAC together. All lengths are multiples of three, so every
/// character of the text carries six full bits and no token has two spellings.
const LENGTH: usize = 48;
const REFRESH_LENGTH: usize = 51;
const EPOCH_AND_ID: usize = 1 + ID;
const REFRESH_PAYLOAD: usize = EPOCH_AND_ID + 4;
const FORM_LENGTH: usize = 33;

/// An id is not in the form `secret::new_id` writes, so no token can name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id is not a UUID in canonical form")]
pub struct MalformedId;

/// What a refresh token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshToken {
    /// The authorization whose token family it belongs to.
    pub authorization_id: String,
    /// How many refreshes came before it.
    pub generation: u32,
}

/// The authorization code of an authorization.
pub fn mint_authorization_code(keys: &Keys, authorization_id: &str) -> Result<Secret, MalformedId> {
    mint_id(keys, TokenKind::AuthorizationCode, authorization_id)
}

/// The access token with the given id.
pub fn mint_access_token(keys: &Keys, token_id: &str) -> Result<Secret, MalformedId> {
    mint_id(keys, TokenKind::AccessToken, token_id)
}

/// The refresh token of an authorization's given generation.
pub fn mint_refresh_token(
    keys: &Keys,
    authorization_id: &str,
    generation: u32,
) -> Result<Secret, MalformedId> {
    let id = id_bytes(authorization_id).ok_or(MalformedId)?;
    let mut tail = Vec::with_capacity(ID + 4);
    tail.extend_from_slice(&id);
    tail.extend_from_slice(&generation.to_be_bytes());
    Ok(mint(keys, TokenKind::RefreshToken, &tail))
}

/// The cookie value of a session.
pub fn mint_session(keys: &Keys, session_id: &str) -> Result<Secret, MalformedId> {
    mint_id(keys, TokenKind::Session, session_id)
}

/// The cookie value of a browser.
pub fn mint_browser(keys: &Keys, browser_id: &str) -> Result<Secret, MalformedId> {
    mint_id(keys, TokenKind::Browser, browser_id)
}

/// The authorization id in a code that we made; `None` for every other text.
#[must_use]
pub fn parse_authorization_code(keys: &Keys, text: &str) -> Option<String> {
    parse_id(keys, TokenKind::AuthorizationCode, text)
}

/// The token id in an access token that we made; `None` for every other text.
#[must_use]
pub fn parse_access_token(keys: &Keys, text: &str) -> Option<String> {
    parse_id(keys, TokenKind::AccessToken, text)
}

/// What a refresh token that we made names; `None` for every other text.
#[must_use]
pub fn parse_refresh_token(keys: &Keys, text: &str) -> Option<RefreshToken> {
    let payload: [u8; REFRESH_PAYLOAD] = open(keys, TokenKind::RefreshToken, text)?;
    let (_epoch, rest) = payload.split_first()?;
    let (id, generation) = rest.split_first_chunk::<ID>()?;
    Some(RefreshToken {
        authorization_id: id_text(*id),
        generation: u32::from_be_bytes(generation.try_into().ok()?),
    })
}

/// The session id in a cookie that we made; `None` for every other text.
#[must_use]
pub fn parse_session(keys: &Keys, text: &str) -> Option<String> {
    parse_id(keys, TokenKind::Session, text)
}

/// The browser id in a cookie that we made; `None` for every other text.
#[must_use]
pub fn parse_browser(keys: &Keys, text: &str) -> Option<String> {
    parse_id(keys, TokenKind::Browser, text)
}

/// The hidden field that proves a form came from our page in this browser.
///
/// `bound_to` is the session or browser id, `form` names the form (its path).
#[must_use]
pub fn mint_form_token(keys: &Keys, bound_to: &str, form: &str) -> Secret {
    let current = keys.current();
    let mac = form_mac(&current.form, bound_to, form);
    let bytes = [&[current.number()], mac.as_ref()].concat();
    Secret::new(URL_SAFE_NO_PAD.encode(bytes))
}

/// Whether `text` is the form token of this form in this session or browser.
#[must_use]
pub fn check_form_token(keys: &Keys, bound_to: &str, form: &str, text: &str) -> bool {
    decode::<FORM_LENGTH>(text)
        .as_ref()
        .and_then(|bytes| bytes.split_first())
        .and_then(|(epoch, mac)| Some((keys.minted(*epoch)?, mac)))
        .is_some_and(|(keys, mac)| constant_time_eq(form_mac(&keys.form, bound_to, form).as_ref(), mac))
}

/// Lengths before texts: ("ab", "c") and ("a", "bc") must not have the same MAC.
fn form_mac(key: &hmac::Key, bound_to: &str, form: &str) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in [bound_to, form] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.sign()
}

fn prefix(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::AuthorizationCode => "chc_",
        TokenKind::AccessToken => "cha_",
        TokenKind::RefreshToken => "chr_",
        TokenKind::Session => "chs_",
        TokenKind::Browser => "chb_",
    }
}

/// The MAC covers the prefix as well as using a key of the kind's own.
fn token_mac(key: &hmac::Key, kind: TokenKind, payload: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(prefix(kind).as_bytes());
    context.update(payload);
    context.sign()
}

fn mint_id(keys: &Keys, kind: TokenKind, id: &str) -> Result<Secret, MalformedId> {
    let id = id_bytes(id).ok_or(MalformedId)?;
    Ok(mint(keys, kind, &id))
}

fn mint(keys: &Keys, kind: TokenKind, tail: &[u8]) -> Secret {
    let current = keys.current();
    let length = match kind {
        TokenKind::RefreshToken => REFRESH_LENGTH,
        TokenKind::AuthorizationCode | TokenKind::AccessToken | TokenKind::Session | TokenKind::Browser => {
            LENGTH
        }
    };
    let mut bytes = Vec::with_capacity(REFRESH_PAYLOAD + 32);
    bytes.push(current.number());
    bytes.extend_from_slice(tail);
    let mac = token_mac(current.token(kind), kind, &bytes);
    bytes.extend_from_slice(mac.as_ref());
    bytes.truncate(length);
    let mut text = String::with_capacity(4 + length / 3 * 4);
    text.push_str(prefix(kind));
    URL_SAFE_NO_PAD.encode_string(&bytes, &mut text);
    Secret::new(text)
}

fn parse_id(keys: &Keys, kind: TokenKind, text: &str) -> Option<String> {
    let payload: [u8; EPOCH_AND_ID] = open(keys, kind, text)?;
    payload.last_chunk::<ID>().copied().map(id_text)
}

/// The payload of a token whose MAC is right. Nothing is allocated on the way,
/// so a flood of forgeries costs one HMAC each and no memory.
fn open<const PAYLOAD: usize>(keys: &Keys, kind: TokenKind, text: &str) -> Option<[u8; PAYLOAD]> {
    let body = text.strip_prefix(prefix(kind))?;
    match kind {
        TokenKind::RefreshToken => authentic(keys, kind, &decode::<REFRESH_LENGTH>(body)?),
        TokenKind::AuthorizationCode | TokenKind::AccessToken | TokenKind::Session | TokenKind::Browser => {
            authentic(keys, kind, &decode::<LENGTH>(body)?)
        }
    }
}

fn authentic<const PAYLOAD: usize>(keys: &Keys, kind: TokenKind, bytes: &[u8]) -> Option<[u8; PAYLOAD]> {
    let (payload, mac) = bytes.split_first_chunk::<PAYLOAD>()?;
    let key = keys.minted(*payload.first()?)?.token(kind);
    let expected = token_mac(key, kind, payload);
    let expected = expected.as_ref().get(..mac.len())?;
    constant_time_eq(expected, mac).then_some(*payload)
}

/// Exactly `N` bytes, in their only spelling.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N / 3 * 4 {
        return None;
    }
    let mut bytes = [0; N];
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (length == N).then_some(bytes)
}

#[cfg(test)]
mod tests;
