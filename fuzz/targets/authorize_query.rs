//! What may come out of an authorization request? (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2)
//!
//! Input: a query. Whatever is accepted stays within what the application may do, whatever is refused can
//! be written into the answer.
#![cfg_attr(fuzzing, no_main)]

use std::sync::LazyLock;

use aggregates::application::{ApplicationSettings, ApplicationType};
use aggregates::values::{ClientType, GrantType, RedirectUri, Scope};
use chancery::config::{Config, Environment, Flags};
use chancery::extract::form_pairs::Pairs;
use chancery::oauth::authorize::request::{Asked, read, state, wants_no_page};
use chancery::oauth::issue::allowed_scope;

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let flags = Flags::from([("resources", vec!["https://api.example/v1".to_owned()])]);
    Config::load(&flags, &Environment::from_iter([("XDG_DATA_HOME", "/data")])).unwrap()
});

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(pairs) = Pairs::parse_query(text) else { return };
    let _ = (state(&pairs), wants_no_page(&pairs));
    for settings in [settings(ClientType::Public, None), settings(ClientType::Confidential, Some("read"))] {
        match read(&pairs, &settings, &CONFIG) {
            Ok(asked) => is_within(&asked, &pairs, &settings),
            Err(refused) => {
                // RFC 6749 §4.1.2.1: what a description may consist of.
                let allowed = |one: char| matches!(one, ' ' | '!' | '#'..='[' | ']'..='~');
                assert!(refused.error.description.chars().all(allowed));
            }
        }
    }
}

fn is_within(asked: &Asked, pairs: &Pairs, settings: &ApplicationSettings) {
    assert_eq!(pairs.get("response_type"), Ok(Some("code")));
    assert!(pairs.each_once().is_ok());
    assert!(
        pairs.raw("request").is_none_or(str::is_empty) && pairs.raw("request_uri").is_none_or(str::is_empty)
    );
    assert!(!asked.scope.is_empty() && allowed_scope(&CONFIG, settings).contains_all(&asked.scope));
    match &asked.code_challenge {
        None => assert!(!settings.requires_pkce() && pairs.get("code_challenge_method") == Ok(None)),
        Some(challenge) => {
            assert_eq!(pairs.get("code_challenge_method"), Ok(Some("S256")));
            assert_eq!(pairs.get("code_challenge"), Ok(Some(challenge.as_str())));
        }
    }
    assert_eq!(asked.state, state(pairs));
    assert_eq!(pairs.get("nonce"), Ok(asked.nonce.as_deref()));
    assert!(!asked.prompt.none || !(asked.prompt.login || asked.prompt.consent));
    assert_eq!(asked.prompt.none && pairs.raw("prompt") == Some("none"), wants_no_page(pairs));
    assert!(asked.resource.iter().all(|one| pairs.get_all("resource").any(|sent| sent == one.as_str())));
}

fn settings(client_type: ClientType, scope: Option<&str>) -> ApplicationSettings {
    ApplicationSettings {
        name: String::new(),
        client_type,
        application_type: ApplicationType::Web,
        grant_types: vec![GrantType::AuthorizationCode],
        redirect_uris: vec![RedirectUri::parse("https://app.example/cb", false).unwrap()],
        post_logout_redirect_uris: Vec::new(),
        allowed_origins: Vec::new(),
        scope: scope.map(|text| Scope::parse(text).unwrap()),
        require_pkce: false,
        skip_authorization: false,
        ask_always: false,
        refresh_retry_window: 0,
        access_token_lifetime: None,
        id_token_algorithm: None,
        resources: Vec::new(),
        introspect_any: false,
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
