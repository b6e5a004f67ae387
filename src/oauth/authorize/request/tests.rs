//! Which authorization requests are valid, and which are refused where?

use aggregates::application::{ApplicationType, Provenance};
use aggregates::values::{ClientType, RedirectUri};

use super::*;
use crate::clock::{Clock, TestClock};
use crate::config::{Environment, Flags};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn config() -> Config {
    Config::load(&Flags::default(), &Environment::from_iter([("HOME", "/nonexistent")])).unwrap()
}

fn settings() -> ApplicationSettings {
    ApplicationSettings {
        name: "Reports".to_owned(),
        client_type: ClientType::Confidential,
        application_type: ApplicationType::Web,
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        redirect_uris: vec![RedirectUri::parse("https://app.example/cb", false).unwrap()],
        post_logout_redirect_uris: Vec::new(),
        allowed_origins: Vec::new(),
        scope: None,
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

fn application(settings: ApplicationSettings) -> Application {
    let now = TestClock::default().now();
    Application {
        client_id: "a".to_owned(),
        owner: None,
        settings,
        secret: None,
        provenance: Provenance::Form,
        disabled: false,
        deleted: false,
        grants_valid_from: None,
        registered_at: now,
        updated_at: now,
    }
}

fn pairs(query: &str) -> Pairs {
    Pairs::parse_query(query).unwrap()
}

fn described(query: &str, settings: &ApplicationSettings) -> String {
    match read(&pairs(query), settings, &config()) {
        Ok(asked) => format!("ok {}", asked.scope),
        Err(refused) => refused.error.to_string(),
    }
}

fn asked(query: &str) -> String {
    described(query, &settings())
}

#[test]
fn an_application_without_a_usable_redirect_uri_is_never_redirected_to() {
    let text = |query: &str| target(application(settings()), &pairs(query)).map_err(|one| one.description);
    assert_eq!(text("redirect_uri=https://app.example/cb").unwrap().redirect_uri, "https://app.example/cb");
    assert!(!text("").unwrap().redirect_uri_sent);
    for query in [
        "redirect_uri=https://app.example/cb/",
        "redirect_uri=https://app.example@evil.example/cb",
        "redirect_uri=HTTPS://app.example/cb",
        "redirect_uri=https://app.example/cb&redirect_uri=https://app.example/cb",
    ] {
        assert_eq!(text(query).unwrap_err(), "Mismatching redirect URI.", "{query}");
    }
    let none = ApplicationSettings { redirect_uris: Vec::new(), ..settings() };
    assert_eq!(target(application(none), &pairs("")).unwrap_err().description, "Missing redirect URI.");
}

#[test]
fn a_disabled_application_is_told_to_the_person_and_not_to_the_client() {
    let disabled = Application { disabled: true, ..application(settings()) };
    let refused = target(disabled, &pairs("redirect_uri=https://evil.example/")).unwrap_err();
    assert_eq!((refused.code, refused.rule), ("unauthorized_client", Some(Rule::ApplicationDisabled)));
}

#[test]
fn rfc_6749_section_4_1_2_1_errors_have_the_texts_that_clients_know() {
    for (query, expected) in [
        ("", "invalid_request: Missing response_type parameter."),
        ("response_type=token", "unsupported_response_type: Only the response type code is offered."),
        ("response_type=code+id_token", "unsupported_response_type: Only the response type code is offered."),
        ("response_type=code&code_challenge=x", "invalid_request: Transform algorithm not supported."),
        (
            "response_type=code&code_challenge=x&code_challenge_method=plain",
            "invalid_request: Transform algorithm not supported.",
        ),
        (
            "response_type=code&code_challenge=x&code_challenge_method=S256",
            "invalid_request: Invalid code_challenge parameter value.",
        ),
        ("response_type=code&code_challenge_method=S256", "invalid_request: Code challenge required."),
        (
            "response_type=code&state=a&state=b",
            "invalid_request: The parameter state was sent more than once.",
        ),
        (
            "response_type=code&response_mode=form_post",
            "invalid_request: Only the response mode query is offered.",
        ),
        ("response_type=code&max_age=-1", "invalid_request: Invalid max_age parameter value."),
        ("response_type=code&max_age=%D9%A1", "invalid_request: Invalid max_age parameter value."),
        ("response_type=code&prompt=none+login", "invalid_request: The prompt none stands alone."),
        ("response_type=code&request=x", "invalid_request: Request objects are not offered."),
    ] {
        assert_eq!(asked(query), expected, "{query}");
    }
    assert!(asked("response_type=code&scope=read+admin").starts_with("invalid_scope"));
    assert!(asked("response_type=code&resource=x").starts_with("invalid_target"));
}

#[test]
fn what_comes_first_is_told_first() {
    let no_code = ApplicationSettings { grant_types: vec![GrantType::ClientCredentials], ..settings() };
    assert!(described("response_type=code&scope=nope", &no_code).starts_with("unauthorized_client"));
    let public = ApplicationSettings { client_type: ClientType::Public, ..settings() };
    let expected = "invalid_request: Code challenge required.";
    assert_eq!(described("response_type=code&scope=nope", &public), expected);
    let strict = ApplicationSettings { require_pkce: true, ..settings() };
    assert_eq!(described("response_type=code", &strict), expected);
}

#[test]
fn a_request_in_order_gets_what_it_asked_for() {
    assert_eq!(asked("response_type=code"), "ok read write");
    assert_eq!(asked("response_type=code&scope=&approval_prompt=auto"), "ok read write");
    assert_eq!(asked("response_type=code&scope=write"), "ok write");
    assert_eq!(asked("response_type=code&scope=openid+read+profile"), "ok read");
    let query = format!(
        "response_type=code&code_challenge={CHALLENGE}&code_challenge_method=S256&nonce=n&state=s&max_age=0\
         &prompt=login&response_mode=query&resource=https://api.example/&resource=https://API.example"
    );
    let asked = read(&pairs(&query), &settings(), &config()).unwrap();
    assert_eq!(asked.code_challenge, CodeChallenge::parse(CHALLENGE));
    assert_eq!(
        (asked.nonce.as_deref(), asked.state.as_deref(), asked.max_age),
        (Some("n"), Some("s"), Some(0))
    );
    assert!(asked.prompt.login && !asked.prompt.none);
    assert_eq!(asked.resource.len(), 1);
}

#[test]
fn a_doubled_state_is_not_sent_back() {
    assert_eq!(state(&pairs("state=a&state=b")), None);
    assert_eq!(state(&pairs("state=a")), Some("a".to_owned()));
}
