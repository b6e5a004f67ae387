//! Is a challenge the S256 transform of its verifier, and nothing else one? (RFC 7636 §4.1, §4.2, §4.6)
//!
//! Input: a verifier and a challenge, a line each. Differential against a reference written here.
#![cfg_attr(fuzzing, no_main)]

use aggregates::values::{CodeChallenge, CodeVerifier};
use aws_lc_rs::digest::{SHA256, digest};

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (verifier, challenge) = text.split_once('\n').unwrap_or((text, text));
    let is_unreserved = |one: char| one.is_ascii_alphanumeric() || "-._~".contains(one);
    let is_verifier = verifier.chars().all(is_unreserved) && (43..=128).contains(&verifier.chars().count());
    let read = CodeVerifier::parse(verifier);
    assert_eq!(read.is_some(), is_verifier);
    let sent = CodeChallenge::parse(challenge);
    let is_base64url = challenge.bytes().all(|byte| BASE64URL.contains(&byte));
    assert_eq!(sent.is_some(), is_base64url && challenge.len() == 43);
    assert!(sent.as_ref().is_none_or(|sent| sent.as_str() == challenge));
    let Some(read) = read else { return };
    let transform = s256(verifier);
    assert_eq!(read.challenge().as_str(), transform);
    assert_eq!(CodeChallenge::parse(&transform), Some(read.challenge()));
    assert_eq!(sent == Some(read.challenge()), challenge == transform);
    assert!(!format!("{read:?}").contains(verifier));
}

/// Six bits at a time, the last four of them with two zeros.
fn s256(verifier: &str) -> String {
    let hash = digest(&SHA256, verifier.as_bytes());
    let bits: Vec<u8> =
        hash.as_ref().iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)).collect();
    let six = |bits: &[u8]| bits.iter().fold(0, |sum, bit| sum << 1 | usize::from(*bit)) << (6 - bits.len());
    bits.chunks(6).map(|bits| char::from(BASE64URL[six(bits)])).collect()
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
