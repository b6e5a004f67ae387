//! Does anything but what we minted name something of ours? (RFC 6749 §10.10)
//!
//! Input: where and how to edit (two bytes), an id (16), a generation (4), and a text to be presented.
#![cfg_attr(fuzzing, no_main)]

use std::sync::LazyLock;

use chancery::extract::csrf;
use chancery::keys::{Keys, RootSecret};
use chancery::secret::{Secret, id_text};
use chancery::token::{
    RefreshToken, check_form_token, mint_access_token, mint_authorization_code, mint_browser,
    mint_form_token, mint_refresh_token, mint_session, parse_access_token, parse_authorization_code,
    parse_browser, parse_refresh_token, parse_session,
};
use chrono::DateTime;

static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::derive(&RootSecret::from_text(&"0123456789abcdef".repeat(4)).unwrap()).unwrap());

pub fn run(data: &[u8]) {
    let Some(([place, byte, id @ .., g1, g2, g3, g4], text)) = data.split_first_chunk::<22>() else { return };
    let text = String::from_utf8_lossy(text);
    names_what_was_minted(&text);
    let id = id_text(*id);
    let generation = u32::from_be_bytes([*g1, *g2, *g3, *g4]);
    let tokens = [
        mint_authorization_code(&KEYS, &id),
        mint_access_token(&KEYS, &id),
        mint_session(&KEYS, &id),
        mint_browser(&KEYS, &id),
        mint_refresh_token(&KEYS, &id, generation),
    ]
    .map(|minted| minted.unwrap().expose().to_owned());
    for (index, token) in tokens.iter().enumerate() {
        let mut expected: [Option<String>; 5] = Default::default();
        expected[index] = Some(id.clone());
        assert_eq!(names(token), expected);
        assert!(
            edited(token, *place, *byte)
                .is_none_or(|edited| names(&edited) == <[Option<String>; 5]>::default())
        );
    }
    let refresh = RefreshToken { authorization_id: id.clone(), generation };
    assert_eq!(parse_refresh_token(&KEYS, &tokens[4]), Some(refresh));
    is_of_one_form(&id, &text, *place, *byte);
}

/// Which id each kind of token names in this text.
fn names(text: &str) -> [Option<String>; 5] {
    [
        parse_authorization_code(&KEYS, text),
        parse_access_token(&KEYS, text),
        parse_session(&KEYS, text),
        parse_browser(&KEYS, text),
        parse_refresh_token(&KEYS, text).map(|token| token.authorization_id),
    ]
}

/// Only the text that is minted for the name is read as the name.
fn names_what_was_minted(text: &str) {
    let is = |minted: Result<Secret, _>| minted.is_ok_and(|minted: Secret| minted.expose() == text);
    let [code, access, session, browser, _] = names(text);
    assert!(code.is_none_or(|id| is(mint_authorization_code(&KEYS, &id))));
    assert!(access.is_none_or(|id| is(mint_access_token(&KEYS, &id))));
    assert!(session.is_none_or(|id| is(mint_session(&KEYS, &id))));
    assert!(browser.is_none_or(|id| is(mint_browser(&KEYS, &id))));
    let refresh = parse_refresh_token(&KEYS, text);
    assert!(refresh.is_none_or(|one| is(mint_refresh_token(&KEYS, &one.authorization_id, one.generation))));
}

/// A form's token is good for its form in its session, and for nothing else.
fn is_of_one_form(id: &str, form: &str, place: u8, byte: u8) {
    let token = mint_form_token(&KEYS, id, form);
    assert!(check_form_token(&KEYS, id, form, token.expose()));
    assert!(!check_form_token(&KEYS, id, &format!("{form}x"), token.expose()));
    assert!(!check_form_token(&KEYS, form, id, token.expose()) || id == form);
    assert!(edited(token.expose(), place, byte).is_none_or(|text| !check_form_token(&KEYS, id, form, &text)));
    let now = DateTime::UNIX_EPOCH;
    assert!(csrf::check_token(&KEYS, &[id], now, None, Some(&csrf::mint(&KEYS, id, now))).is_ok());
    assert!(csrf::check_token(&KEYS, &[id], now, None, Some(form)).is_err());
}

/// The text with one byte changed, taken out or put in; `None` if that changes nothing.
fn edited(text: &str, place: u8, byte: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let place = usize::from(place) % bytes.len();
    match byte {
        0..128 => bytes[place] = byte,
        128..192 => drop(bytes.remove(place)),
        192.. => bytes.insert(place, byte & 0x7f),
    }
    String::from_utf8(bytes).ok().filter(|edited| edited != text)
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
