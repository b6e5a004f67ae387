//! `adv_03`, `adv_11`: ten thousand edits of registered URIs, ten thousand texts that are none.

use proptest::prelude::*;

use crate::values::RedirectUri;

#[derive(Clone, Copy, Debug)]
enum Edit {
    Insert(char),
    Delete,
    Replace(char),
    FlipCase,
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let byte = (0..128_u8).prop_map(char::from);
    prop_oneof![
        byte.clone().prop_map(Edit::Insert),
        Just(Edit::Delete),
        byte.prop_map(Edit::Replace),
        Just(Edit::FlipCase),
    ]
}

fn edited(text: &str, position: usize, edit: Edit) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    let position = position % letters.len();
    match edit {
        Edit::Insert(letter) => letters.insert(position, letter),
        Edit::Replace(letter) => letters[position] = letter,
        Edit::FlipCase if letters[position].is_ascii_uppercase() => letters[position].make_ascii_lowercase(),
        Edit::FlipCase if letters[position].is_ascii_lowercase() => letters[position].make_ascii_uppercase(),
        Edit::FlipCase | Edit::Delete => drop(letters.remove(position)),
    }
    letters.into_iter().collect()
}

/// Said without the code under test: nothing but digits between host and path has changed.
fn differs_in_port_only(text: &str) -> bool {
    let port = text.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/cb"));
    port.is_some_and(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// Whatever looks a little like a URI.
fn any_text() -> impl Strategy<Value = String> {
    "(https?:|[a-z.]{1,9}:)?/{0,3}[\\PC\\x00-\\x20@:#?/\\[\\]%*]{0,40}"
}

const REGISTERED: &[&str] = &[
    "https://app.example/cb",
    "https://app.example/cb?a=1",
    "http://127.0.0.1:8080/cb",
    "com.example.app:/cb",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// `adv_03`.
    #[test]
    fn a_one_byte_edit_never_matches(which in 0..REGISTERED.len(), position in any::<usize>(), edit in any_edit()) {
        let registered = RedirectUri::parse(REGISTERED[which], true).unwrap();
        let requested = edited(registered.as_str(), position, edit);
        prop_assume!(requested != registered.as_str());
        prop_assert!(!registered.matches(&requested, false));
        prop_assert!(!registered.matches(&requested, true) || differs_in_port_only(&requested));
    }

    /// Whatever is registered is what a browser will follow, and only that matches it.
    #[test]
    fn reading_never_panics(text in any_text(), is_native in any::<bool>()) {
        if let Ok(uri) = RedirectUri::parse(&text, is_native) {
            prop_assert!(uri.matches(&text, is_native));
            let url = url::Url::parse(&text).unwrap();
            prop_assert!(url.username().is_empty() && url.fragment().is_none());
        }
    }
}
