//! Which texts are a root secret, and are two spellings of one the same?
//!
//! Input: configured text. Differential against a reader written here.
#![cfg_attr(fuzzing, no_main)]

use chancery::journal::chain::hex;
use chancery::keys::{Keys, RootSecret};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let read = RootSecret::from_text(text);
    let expected = reference(text.trim());
    let Ok(secret) = read else {
        assert!(expected.is_none_or(|bytes| bytes.iter().all(|byte| *byte == bytes[0])));
        return;
    };
    let hex = hex(&expected.unwrap());
    for same in [secret.to_text().to_string(), hex] {
        let again = RootSecret::from_text(&same).unwrap();
        assert_eq!(*again.to_text(), *secret.to_text());
    }
    assert!(!format!("{secret:?}").contains(text.trim()));
    assert!(Keys::derive(&secret).is_ok());
}

/// 64 hexadecimal digits, or 43 letters of one of the alphabets of RFC 4648 with or without `=`.
fn reference(text: &str) -> Option<Vec<u8>> {
    if text.len() == 64 && text.is_ascii() {
        let digits = (0..64).step_by(2).map(|at| &text[at..at + 2]);
        let is_hex = |two: &str| two.bytes().all(|byte| byte.is_ascii_hexdigit());
        return digits.map(|two| u8::from_str_radix(two, 16).ok().filter(|_| is_hex(two))).collect();
    }
    let letters = text.strip_suffix('=').unwrap_or(text);
    let is_mixed = letters.contains(['-', '_']) && letters.contains(['+', '/']);
    let value = |letter: char| match letter {
        'A'..='Z' => Some(u32::from(letter) - u32::from('A')),
        'a'..='z' => Some(u32::from(letter) - u32::from('a') + 26),
        '0'..='9' => Some(u32::from(letter) - u32::from('0') + 52),
        '+' | '-' => Some(62),
        '/' | '_' => Some(63),
        _ => None,
    };
    let values: Vec<u32> = letters.chars().map(value).collect::<Option<_>>()?;
    let bits: Vec<u8> =
        values.iter().flat_map(|six| (0..6).rev().map(move |at| u8::from(six >> at & 1 == 1))).collect();
    let is_whole = bits.len() == 258 && bits.ends_with(&[0, 0]) && !is_mixed;
    is_whole
        .then(|| bits[..256].chunks(8).map(|eight| eight.iter().fold(0, |sum, bit| sum << 1 | bit)).collect())
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
