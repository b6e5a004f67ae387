//! Is every text refused that we did not make, and every one accepted that we did?

use proptest::prelude::*;

use super::*;
use crate::clock::{Clock, TestClock};
use crate::keys::RootSecret;
use crate::secret::new_id;

const ALL: [TokenKind; 5] = [
    TokenKind::AuthorizationCode,
    TokenKind::AccessToken,
    TokenKind::RefreshToken,
    TokenKind::Session,
    TokenKind::Browser,
];

fn root() -> RootSecret {
    RootSecret::from_text(&"0123456789abcdef".repeat(4)).unwrap()
}

fn keys() -> Keys {
    Keys::derive(&root()).unwrap()
}

fn id() -> String {
    new_id(TestClock::default().now())
}

fn minted(keys: &Keys, kind: TokenKind, id: &str) -> String {
    let token = match kind {
        TokenKind::AuthorizationCode => mint_authorization_code(keys, id),
        TokenKind::AccessToken => mint_access_token(keys, id),
        TokenKind::RefreshToken => mint_refresh_token(keys, id, 7),
        TokenKind::Session => mint_session(keys, id),
        TokenKind::Browser => mint_browser(keys, id),
    };
    token.unwrap().expose().to_owned()
}

fn parsed(keys: &Keys, kind: TokenKind, text: &str) -> Option<String> {
    match kind {
        TokenKind::AuthorizationCode => parse_authorization_code(keys, text),
        TokenKind::AccessToken => parse_access_token(keys, text),
        TokenKind::RefreshToken => {
            let token = parse_refresh_token(keys, text)?;
            assert_eq!(token.generation, 7);
            Some(token.authorization_id)
        }
        TokenKind::Session => parse_session(keys, text),
        TokenKind::Browser => parse_browser(keys, text),
    }
}

#[test]
fn a_token_names_its_id_and_is_minted_alike_every_time() {
    let (keys, id) = (keys(), id());
    for kind in ALL {
        let text = minted(&keys, kind, &id);
        assert_eq!(parsed(&keys, kind, &text).as_ref(), Some(&id));
        assert_eq!(minted(&keys, kind, &id), text);
        let length = if kind == TokenKind::RefreshToken { 72 } else { 68 };
        assert_eq!(text.len(), length);
        let bare = text.strip_prefix(prefix(kind)).unwrap();
        assert!(bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    }
}

/// Tokens live for months: a release must accept those of the one before. The
/// texts were computed by another implementation of HKDF and HMAC.
#[test]
fn the_format_of_tokens_never_changes() {
    let keys = keys();
    let id = "019b76da-a800-7000-8000-0123456789ab";
    let pinned = [
        "chc_AQGbdtqoAHAAgAABI0VniavgPqvT5vetsVVp5AR0MRMiNgPEg3Y1316Kw7WRNBOY",
        "cha_AQGbdtqoAHAAgAABI0VniavMz6bebcxBQYon1Cvtsl9G9tQxcpybeLEPJJ3YeNz1",
        "chr_AQGbdtqoAHAAgAABI0VniasAAAAHfNqkYw5AtUsTTQO0cPqhqOnE751I-qKFDQzQLVjP",
        "chs_AQGbdtqoAHAAgAABI0Vniavor2l5gjR3sFQgN08gSmHmkjPEDm9ZsH7STz6IMEyT",
        "chb_AQGbdtqoAHAAgAABI0VniavWAkFWQ2i_QKhFKVbJjeO1QPyJQSWGERmhKyh3wB4j",
    ];
    for (kind, text) in ALL.into_iter().zip(pinned) {
        assert_eq!(minted(&keys, kind, id), text);
    }
}

#[test]
fn every_change_of_one_character_is_refused() {
    let (keys, id) = (keys(), id());
    for kind in ALL {
        let text = minted(&keys, kind, &id).into_bytes();
        for position in 0..text.len() {
            for byte in (0..0x80).filter(|byte| *byte != text[position]) {
                let mut forged = text.clone();
                forged[position] = byte;
                let forged = String::from_utf8(forged).unwrap();
                for presented_as in ALL {
                    assert_eq!(parsed(&keys, presented_as, &forged), None, "{forged}");
                }
            }
        }
    }
}

#[test]
fn every_cut_addition_and_change_of_case_is_refused() {
    let (keys, id) = (keys(), id());
    for kind in ALL {
        let text = minted(&keys, kind, &id);
        let mut forgeries: Vec<String> = (0..text.len()).map(|end| text[..end].into()).collect();
        forgeries.extend((1..text.len()).map(|start| text[start..].into()));
        forgeries.extend([text.to_uppercase(), text.to_lowercase()]);
        for extra in ["=", "A", "\0", " ", "\n", "AAAA", "é", "=="] {
            forgeries.extend([format!("{text}{extra}"), format!("{extra}{text}")]);
        }
        for forged in forgeries {
            assert_eq!(parsed(&keys, kind, &forged), None, "{forged}");
        }
    }
}

#[test]
fn a_token_of_one_kind_is_none_of_another() {
    let (keys, id) = (keys(), id());
    for kind in ALL {
        let text = minted(&keys, kind, &id);
        for other in ALL.into_iter().filter(|other| *other != kind) {
            assert_eq!(parsed(&keys, other, &text), None);
            let renamed = text.replacen(prefix(kind), prefix(other), 1);
            assert_eq!(parsed(&keys, other, &renamed), None);
        }
    }
}

#[test]
fn the_mac_of_one_token_does_not_fit_another() {
    let keys = keys();
    for kind in ALL {
        let (one, two) = (minted(&keys, kind, &id()), minted(&keys, kind, &id()));
        // 4 + 28 characters hold 21 bytes: the whole payload of every kind.
        for cut in [4 + 23, 4 + 24, 4 + 28] {
            let forged = format!("{}{}", &one[..cut], &two[cut..]);
            assert_eq!(parsed(&keys, kind, &forged), None);
        }
    }
}

#[test]
fn every_generation_has_its_own_refresh_token() {
    let (keys, id) = (keys(), id());
    for generation in [0, 1, 255, 256, u32::MAX] {
        let token = mint_refresh_token(&keys, &id, generation).unwrap();
        let expected = RefreshToken { authorization_id: id.clone(), generation };
        assert_eq!(parse_refresh_token(&keys, token.expose()), Some(expected));
    }
    let first = mint_refresh_token(&keys, &id, 0).unwrap();
    assert!(!first.ct_eq(mint_refresh_token(&keys, &id, 1).unwrap().expose()));
}

#[test]
fn tokens_of_a_former_epoch_are_accepted_until_it_is_retired() {
    let id = id();
    let old = minted(&keys(), TokenKind::AccessToken, &id);
    let rotated = Keys::derive_epochs(&root(), 2, &[1]).unwrap();
    let retired = Keys::derive_epochs(&root(), 2, &[]).unwrap();
    let new = minted(&rotated, TokenKind::AccessToken, &id);
    assert_ne!(old, new);
    assert_eq!(parse_access_token(&rotated, &old), Some(id.clone()));
    assert_eq!(parse_access_token(&retired, &old), None);
    assert_eq!(parse_access_token(&retired, &new), Some(id));
    assert_eq!(parse_access_token(&keys(), &new), None);
}

#[test]
fn tokens_of_another_root_secret_are_refused() {
    let other = Keys::derive(&RootSecret::generate()).unwrap();
    for kind in ALL {
        assert_eq!(parsed(&keys(), kind, &minted(&other, kind, &id())), None);
    }
}

#[test]
fn only_an_id_can_be_minted() {
    let keys = keys();
    for id in ["", "1", "019B76DA-A800-7000-8000-0123456789AB"] {
        assert_eq!(mint_session(&keys, id).unwrap_err(), MalformedId);
        assert_eq!(mint_refresh_token(&keys, id, 0).unwrap_err(), MalformedId);
    }
}

#[test]
fn a_form_token_is_good_for_its_form_in_its_browser_only() {
    let keys = keys();
    let token = mint_form_token(&keys, "browser-1", "/login");
    let text = token.expose();
    assert!(check_form_token(&keys, "browser-1", "/login", text));
    assert!(!check_form_token(&keys, "browser-2", "/login", text));
    assert!(!check_form_token(&keys, "browser-1", "/logout", text));
    assert!(!check_form_token(&keys, "browser-1/", "login", text));
    for position in 0..text.len() {
        let mut forged = text.as_bytes().to_vec();
        forged[position] = if forged[position] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        assert!(!check_form_token(&keys, "browser-1", "/login", &forged));
    }
    assert!(!check_form_token(&keys, "browser-1", "/login", ""));
    assert!(!check_form_token(&keys, "browser-1", "/login", &text[1..]));
    let rotated = Keys::derive_epochs(&root(), 2, &[1]).unwrap();
    assert!(check_form_token(&rotated, "browser-1", "/login", text));
}

proptest! {
    #[test]
    fn no_text_that_we_did_not_make_is_accepted(
        text in ".{0,80}",
        body in "[A-Za-z0-9_-]{64}([A-Za-z0-9_-]{4})?",
    ) {
        let keys = keys();
        for kind in ALL {
            prop_assert_eq!(parsed(&keys, kind, &text), None);
            prop_assert_eq!(parsed(&keys, kind, &format!("{}{body}", prefix(kind))), None);
        }
        prop_assert!(!check_form_token(&keys, "browser-1", "/login", &text));
    }

    #[test]
    fn every_id_goes_through_a_token(bytes: [u8; 16], generation: u32) {
        let (keys, id) = (keys(), id_text(bytes));
        let token = mint_access_token(&keys, &id).unwrap();
        prop_assert_eq!(parse_access_token(&keys, token.expose()), Some(id.clone()));
        let token = mint_refresh_token(&keys, &id, generation).unwrap();
        let expected = RefreshToken { authorization_id: id, generation };
        prop_assert_eq!(parse_refresh_token(&keys, token.expose()), Some(expected));
    }
}
