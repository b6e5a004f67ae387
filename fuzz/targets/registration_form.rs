//! Is an application that can be registered one that everything else can read? (RFC 6749 §2, RFC 7591 §2)
//!
//! Input: the form as a browser sends it. What is accepted survives being stored, and being edited without
//! a change.
#![cfg_attr(fuzzing, no_main)]

use aggregates::application::ApplicationSettings;
use chancery::config::Scope;
use chancery::extract::form_pairs::Pairs;
use chancery::pages::applications::form::raw;
use chancery::registration::{Bounds, RawApplication, read_registration, read_update};
use url::Url;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(pairs) = Pairs::parse_query(text) else { return };
    let scope = |name: &str| Scope { name: name.to_owned(), description: String::new(), default: true };
    let catalogue = [scope("read"), scope("write")];
    let Ok(raw) = raw(&pairs, &catalogue) else { return };
    for is_privileged in [false, true] {
        let bounds = Bounds { catalogue: &catalogue, longest_lifetime: 36_000, is_privileged };
        let Ok(registration) = read_registration(&raw, None, bounds) else { continue };
        let settings = registration.settings;
        let id = &registration.client_id;
        // Nothing in it needs escaping in a path, a header or a form.
        assert!(
            !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
        );
        assert!(
            Url::parse("https://id.example/a/").unwrap().join(&format!("{id}/")).unwrap().path()
                == format!("/a/{id}/")
        );
        assert!(is_privileged || !(settings.skip_authorization || settings.introspect_any));
        let stored = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<ApplicationSettings>(&stored).unwrap(), settings);
        for origin in &settings.allowed_origins {
            assert_eq!(&Url::parse(origin).unwrap().origin().ascii_serialization(), origin);
        }
        is_edited_unchanged(&raw, &settings, bounds);
    }
}

fn is_edited_unchanged(raw: &RawApplication, settings: &ApplicationSettings, bounds: Bounds<'_>) {
    assert_eq!(read_update(raw, settings, bounds).as_ref(), Ok(settings));
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
