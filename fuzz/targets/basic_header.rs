//! Who says which client it is, and how? (RFC 6749 §2.3.1, §3.2.1)
//!
//! Input: an `Authorization` header and the body of the form, a line each. Differential against a reader
//! written here.
#![cfg_attr(fuzzing, no_main)]

use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chancery::extract::client_auth::presented;
use chancery::extract::form_pairs::decode;
use chancery::extract::oauth_form::OAuthForm;
use url::form_urlencoded::byte_serialize;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, rest) = data.split_at(end);
    let (Ok(value), Ok(form)) =
        (HeaderValue::from_bytes(line), OAuthForm::parse(FORM, rest.get(1..).unwrap_or_default()))
    else {
        return;
    };
    by_header_alone(&value);
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
    let Ok(found) = presented(&headers, &form) else { return };
    // One method, and one client.
    assert!(form.get("client_secret").is_none() && form.get("client_assertion").is_none());
    assert!(form.get("client_id").is_none_or(|named| named == found.client_id));
}

fn by_header_alone(value: &HeaderValue) {
    let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.clone())]);
    let found = presented(&headers, &OAuthForm::parse(FORM, b"").unwrap()).ok();
    let found = found.map(|found| (found.client_id, found.secret.unwrap().expose().to_owned()));
    assert_eq!(found, reference(value.as_bytes()));
    let Some((client_id, secret)) = found else { return };
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let again = format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(&client_id), encoded(&secret))));
    assert_eq!(reference(again.as_bytes()), Some((client_id, secret)));
}

fn reference(value: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = value.split_at_checked(6)?;
    let text = String::from_utf8(base64(
        encoded.strip_suffix(b"==").or(encoded.strip_suffix(b"=")).unwrap_or(encoded),
    )?);
    let text =
        text.ok().filter(|_| scheme.eq_ignore_ascii_case(b"basic ") && encoded.len().is_multiple_of(4))?;
    let (client_id, secret) = text.split_once(':')?;
    let pair = (decode(client_id).ok()?, decode(secret).ok()?);
    (!pair.0.is_empty()).then_some(pair)
}

/// Six bits a letter; what is left over must be zeros and less than a letter.
fn base64(letters: &[u8]) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut count) = (Vec::new(), 0_u32, 0);
    for letter in letters {
        held = held << 6 | u32::try_from(ALPHABET.iter().position(|one| one == letter)?).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((held >> count).to_be_bytes()[3]);
            held &= (1 << count) - 1;
        }
    }
    (held == 0 && count < 6).then_some(bytes)
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
