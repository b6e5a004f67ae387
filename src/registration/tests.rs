//! Is everything that is wrong said, in the words people know, and beside the right field?

use super::*;

fn catalogue() -> Vec<Scope> {
    ["read", "write"]
        .map(|name| Scope { name: name.to_owned(), description: String::new(), default: true })
        .to_vec()
}

/// What the tutorial registers.
fn raw() -> RawApplication {
    RawApplication {
        name: "Reports".to_owned(),
        client_id: "reports".to_owned(),
        client_secret: Some(Secret::new("a secret somebody chose")),
        hash_client_secret: true,
        client_type: "confidential".to_owned(),
        authorization_grant_type: "authorization-code".to_owned(),
        redirect_uris: "http://127.0.0.1:8000/noexist/callback".to_owned(),
        scopes: vec!["read".to_owned(), "write".to_owned()],
        ..RawApplication::default()
    }
}

fn read_as(raw: &RawApplication, is_privileged: bool) -> Result<Registration, FormErrors> {
    let catalogue = catalogue();
    let bounds = Bounds { catalogue: &catalogue, longest_lifetime: 36_000, is_privileged };
    read_registration(raw, None, bounds)
}

fn read(raw: &RawApplication) -> Registration {
    read_as(raw, false).unwrap()
}

/// Every error as `field: message`.
fn errors(raw: &RawApplication) -> Vec<String> {
    let errors = read_as(raw, false).err().unwrap_or_default();
    errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
}

#[test]
fn the_application_of_the_tutorial_is_registered() {
    let registration = read(&raw());
    let settings = registration.settings;
    assert_eq!(registration.client_id, "reports");
    assert_eq!(settings.client_type, ClientType::Confidential);
    assert_eq!(settings.grant_types, [GrantType::AuthorizationCode, GrantType::RefreshToken]);
    assert_eq!(settings.redirect_uris[0].as_str(), "http://127.0.0.1:8000/noexist/callback");
    assert_eq!(settings.scope, None, "all scopes are no restriction");
    assert!(!settings.require_pkce && !settings.skip_authorization && !settings.introspect_any);
    assert_eq!((settings.refresh_retry_window, settings.access_token_lifetime), (0, None));
    assert_eq!(settings.check(), Ok(()));
}

#[test]
fn every_error_is_said_at_once() {
    let wrong = RawApplication {
        client_id: String::new(),
        client_type: String::new(),
        authorization_grant_type: "implicit".to_owned(),
        redirect_uris: "ftp://x/y https://a/b#f".to_owned(),
        retry_window_seconds: "61".to_owned(),
        hash_client_secret: false,
        algorithm: "HS256".to_owned(),
        client_secret: Some(Secret::new("short")),
        ..raw()
    };
    let said = errors(&wrong);
    let fields: Vec<&str> = said.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        fields,
        [
            "client_id",
            "hash_client_secret",
            "client_secret",
            "client_type",
            "authorization_grant_type",
            "redirect_uris",
            "redirect_uris",
            "algorithm",
            "retry_window_seconds",
        ]
    );
}

#[test]
fn the_messages_are_those_people_know() {
    let redirecting = |uris: &str| errors(&RawApplication { redirect_uris: uris.to_owned(), ..raw() });
    assert_eq!(
        redirecting(" "),
        ["redirect_uris: redirect_uris cannot be empty with grant_type authorization-code"]
    );
    assert_eq!(
        redirecting("ftp://x/y"),
        ["redirect_uris: redirect uri URI Validation error. invalid_scheme: ftp://x/y"]
    );
    assert_eq!(
        redirecting("https://a/b#f"),
        ["redirect_uris: redirect uri URI validation error. fragment not allowed: https://a/b#f"]
    );
    assert_eq!(
        ApplicationError::AlreadyRegistered.to_string(),
        "Application with this Client ID already exists."
    );
    assert_eq!(field_of(ApplicationError::AlreadyRegistered), Some("client_id"));
}

#[test]
fn every_reason_to_refuse_a_redirect_uri_is_said_beside_its_field() {
    for (uri, reason) in [
        ("http://example.com/cb", "http is allowed on loopback only"),
        ("https://ada@example.com/cb", "userinfo not allowed"),
        ("https://*.example.com/cb", "wildcards not allowed"),
        ("https://example.com/cb?code=1", "response parameter in query"),
        ("https://exa\\mple.com/cb", "invalid character"),
        ("https://127.1/cb", "malformed"),
        ("javascript:alert(1)", "invalid_scheme"),
    ] {
        for field in ["redirect_uris", "post_logout_redirect_uris"] {
            let mut wrong = raw();
            match field {
                "redirect_uris" => wrong.redirect_uris = uri.to_owned(),
                _ => wrong.post_logout_redirect_uris = uri.to_owned(),
            }
            let said = errors(&wrong);
            assert!(said.len() == 1 && said[0].starts_with(field) && said[0].contains(reason), "{said:?}");
        }
    }
    let long = format!("https://example.com/{}", "a".repeat(2048));
    assert!(errors(&RawApplication { redirect_uris: long, ..raw() })[0].contains("too long"));
}

#[test]
fn a_client_id_needs_no_escaping_and_cannot_be_taken_for_something_else() {
    let named = |id: &str| errors(&RawApplication { client_id: id.to_owned(), ..raw() });
    for accepted in ["reports", "A-z_0.9~", &"a".repeat(255), &new_client_id_of_the_form()] {
        assert_eq!(named(accepted), [] as [&str; 0], "{accepted}");
    }
    for (refused, reason) in [
        ("", "This field is required."),
        (&"a".repeat(256), "at most 255"),
        ("two words", "letters, digits"),
        ("a/b", "letters, digits"),
        ("é", "letters, digits"),
        ("https://app.example/metadata", "metadata document"),
        ("HTTPS://app.example/metadata", "metadata document"),
        ("0193a5f2-7bd4-7470-8a51-9f3c2e10aa42", "UUID"),
        ("0193A5F27BD474708A519F3C2E10AA42", "UUID"),
        ("register", "address of a page"),
        (".", "address of a page"),
        ("..", "address of a page"),
    ] {
        let said = named(refused);
        assert!(said.len() == 1 && said[0].contains(reason), "{refused}: {said:?}");
    }
}

fn new_client_id_of_the_form() -> String {
    crate::secret::new_client_id()
}

#[test]
fn grants_that_are_not_offered_are_refused_with_the_reason() {
    for (grant, reason) in [
        ("", "This field is required."),
        ("implicit", "RFC 9700 §2.1.2"),
        ("password", "RFC 9700 §2.4"),
        ("openid-hybrid", "RFC 9700 §2.1.2"),
        ("urn:ietf:params:oauth:grant-type:device_code", "not offered yet"),
        ("magic", "Select a valid choice. magic is not one of the available choices."),
    ] {
        let said = errors(&RawApplication { authorization_grant_type: grant.to_owned(), ..raw() });
        assert!(said.len() == 1 && said[0].contains(reason), "{grant}: {said:?}");
        assert!(said[0].starts_with("authorization_grant_type: "));
    }
}

#[test]
fn rfc_6749_section_4_4_client_credentials_is_for_confidential_applications() {
    let machine = RawApplication {
        authorization_grant_type: "client-credentials".to_owned(),
        redirect_uris: String::new(),
        ..raw()
    };
    assert_eq!(read(&machine).settings.grant_types, [GrantType::ClientCredentials]);
    let public = RawApplication { client_type: "public".to_owned(), ..machine };
    let message = ApplicationError::ClientCredentialsForPublic;
    assert_eq!(errors(&public), [format!("authorization_grant_type: {message}")]);
}

#[test]
fn a_public_application_has_no_secret_even_if_the_form_sent_one() {
    let registration = read(&RawApplication { client_type: "public".to_owned(), ..raw() });
    assert!(registration.secret.is_none());
    assert!(registration.settings.requires_pkce());
}

#[test]
fn only_a_proved_secret_counts_as_generated() {
    let short = RawApplication { client_secret: Some(Secret::new("x")), ..raw() };
    let catalogue = catalogue();
    let bounds = Bounds { catalogue: &catalogue, longest_lifetime: 36_000, is_privileged: false };
    let generated = read_registration(&short, Some(&Initial::generated_here()), bounds).unwrap();
    assert!(matches!(generated.secret, Some(NewSecret::Generated(_))));
    assert!(matches!(read(&raw()).secret, Some(NewSecret::Chosen(_))));
}

#[test]
fn a_chosen_secret_is_long_enough_and_typable() {
    let with = |secret: &str| errors(&RawApplication { client_secret: Some(Secret::new(secret)), ..raw() });
    assert_eq!(errors(&RawApplication { client_secret: None, ..raw() }).len(), 1);
    for (secret, reason) in [
        ("", "needs a client secret"),
        ("15 characters!!", "at least 16 characters"),
        (&"a".repeat(256), "at most 255"),
        ("sixteen characters é", "visible ASCII"),
        ("sixteen\ncharacters", "visible ASCII"),
    ] {
        let said = with(secret);
        assert!(said.len() == 1 && said[0].contains(reason), "{said:?}");
        assert!(said[0].starts_with("client_secret: "));
    }
    assert_eq!(with("16 characters!!!"), [] as [&str; 0]);
    let same = RawApplication {
        client_id: "the-same-text-twice".to_owned(),
        client_secret: Some(Secret::new("the-same-text-twice")),
        ..raw()
    };
    assert!(errors(&same)[0].contains("must not be the client id"));
}

#[test]
fn a_secret_that_could_be_read_back_is_refused() {
    let plain = errors(&RawApplication { hash_client_secret: false, ..raw() });
    assert!(
        plain.len() == 1 && plain[0].starts_with("hash_client_secret: Secrets are kept as a verifier only")
    );
    let shared = errors(&RawApplication { algorithm: "HS256".to_owned(), ..raw() });
    assert!(shared.len() == 1 && shared[0].contains("needs the client secret itself"));
    for algorithm in ["RS256", "ES256", "EdDSA", "PS256"] {
        let settings = read(&RawApplication { algorithm: algorithm.to_owned(), ..raw() }).settings;
        assert_eq!(settings.id_token_algorithm.as_deref(), Some(algorithm));
    }
    assert!(errors(&RawApplication { algorithm: "none".to_owned(), ..raw() })[0].contains("valid choice"));
}

#[test]
fn allowed_origins_are_https_or_loopback_and_nothing_but_origins() {
    let from = |origins: &str| RawApplication { allowed_origins: origins.to_owned(), ..raw() };
    let accepted = read(&from("https://app.example http://localhost:3000 https://app.example/")).settings;
    assert_eq!(accepted.allowed_origins, ["https://app.example", "http://localhost:3000"]);
    for (origin, reason) in [
        ("http://app.example", "invalid_scheme"),
        ("ftp://app.example", "invalid_scheme"),
        ("https://app.example/path", "only scheme, host and port"),
        ("https://App.example", "only scheme, host and port"),
        ("https://ada@app.example", "only scheme, host and port"),
        ("app.example", "malformed"),
        ("*", "malformed"),
    ] {
        let said = errors(&from(origin));
        assert!(said.len() == 1 && said[0].contains(reason), "{origin}: {said:?}");
    }
}

#[test]
fn scopes_are_of_the_catalogue() {
    let asking = |scopes: &[&str]| RawApplication {
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..raw()
    };
    assert_eq!(read(&asking(&["read"])).settings.scope.unwrap().to_string(), "read");
    assert_eq!(errors(&asking(&["admin"])), ["scopes: There is no scope `admin` in the catalogue."]);
    assert!(errors(&asking(&[]))[0].contains("Choose at least one scope"));
}

#[test]
fn superusers_alone_may_skip_consent_and_let_others_tokens_be_introspected() {
    let trusted = RawApplication {
        skip_authorization: true,
        introspect_everything: true,
        resources: "https://api.example/".to_owned(),
        ..raw()
    };
    assert_eq!(
        errors(&trusted),
        [
            "skip_authorization: Only a superuser may switch this on.",
            "resources: Only a superuser may say which resources an application serves: it may introspect the \
             tokens meant for them.",
            "introspect_everything: Only a superuser may switch this on.",
        ]
    );
    let settings = read_as(&trusted, true).unwrap().settings;
    assert!(settings.skip_authorization && settings.introspect_any);
    assert_eq!(settings.resources.len(), 1);
}

#[test]
fn numbers_have_bounds() {
    for (window, expected) in
        [("", Some(0)), ("0", Some(0)), ("60", Some(60)), ("61", None), ("-1", None), ("1.5", None)]
    {
        let raw = RawApplication { retry_window_seconds: window.to_owned(), ..raw() };
        assert_eq!(
            read_as(&raw, false).ok().map(|one| one.settings.refresh_retry_window),
            expected,
            "{window}"
        );
    }
    for (lifetime, expected) in [
        ("", Some(None)),
        ("1", Some(Some(1))),
        ("36000", Some(Some(36_000))),
        ("0", None),
        ("36001", None),
        ("x", None),
    ] {
        let raw = RawApplication { access_token_lifetime_seconds: lifetime.to_owned(), ..raw() };
        let read = read_as(&raw, false).ok().map(|one| one.settings.access_token_lifetime);
        assert_eq!(read, expected, "{lifetime}");
    }
}

#[test]
fn a_name_cannot_turn_the_consent_page_around() {
    assert_eq!(
        errors(&RawApplication { name: "a".repeat(256), ..raw() }),
        ["name: A name has at most 255 characters."]
    );
    assert_eq!(
        errors(&RawApplication { name: "Bank\u{202e}".to_owned(), ..raw() }),
        ["name: Use visible characters only."]
    );
    assert_eq!(read(&RawApplication { name: "  Отчёты  ".to_owned(), ..raw() }).settings.name, "Отчёты");
}

#[test]
fn rfc_8252_native_applications_may_use_private_schemes() {
    let uri = "com.example.app:/callback".to_owned();
    let web = RawApplication { redirect_uris: uri, ..raw() };
    assert!(errors(&web)[0].contains("invalid_scheme"));
    let native = RawApplication { application_type: "native".to_owned(), ..web };
    assert!(read(&native).settings.is_native());
    assert!(
        errors(&RawApplication { application_type: "toaster".to_owned(), ..raw() })[0]
            .contains("valid choice")
    );
}

#[test]
fn lists_are_separated_by_any_white_space_and_hold_an_entry_once() {
    let uris = "https://a.example/cb\r\n https://b.example/cb\thttps://a.example/cb".to_owned();
    assert_eq!(read(&RawApplication { redirect_uris: uris, ..raw() }).settings.redirect_uris.len(), 2);
    let many = (0..101).map(|n| format!("https://a.example/{n}")).collect::<Vec<_>>().join(" ");
    assert!(errors(&RawApplication { redirect_uris: many, ..raw() })[0].contains("At most 100 entries"));
    let resources = RawApplication { resources: "https://api.example/ api.example".to_owned(), ..raw() };
    let said = read_as(&resources, true).err().unwrap_or_default();
    let said: Vec<_> = said.iter().map(|error| (error.field, error.message.as_str())).collect();
    assert!(matches!(said[..], [("resources", message)] if message.starts_with("api.example: ")), "{said:?}");
}

#[test]
fn an_edit_keeps_what_the_form_cannot_show_and_the_client_type() {
    let current = ApplicationSettings {
        grant_types: vec![
            GrantType::AuthorizationCode,
            GrantType::RefreshToken,
            GrantType::ClientCredentials,
        ],
        ..read(&raw()).settings
    };
    let catalogue = catalogue();
    let bounds = Bounds { catalogue: &catalogue, longest_lifetime: 36_000, is_privileged: false };
    let renamed = RawApplication {
        name: "Renamed".to_owned(),
        client_secret: None,
        hash_client_secret: false,
        ..raw()
    };
    let settings = read_update(&renamed, &current, bounds).unwrap();
    assert_eq!((settings.name.as_str(), &settings.grant_types), ("Renamed", &current.grant_types));
    let public = RawApplication { client_type: "public".to_owned(), ..raw() };
    let refused = read_update(&public, &current, bounds).unwrap_err();
    let fields: Vec<&str> = refused.iter().map(|error| error.field).collect();
    assert_eq!(fields, ["client_type"]);
}
