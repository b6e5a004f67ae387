//! Does a seal open for its use only, and not at all once touched?

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::*;
use crate::clock::{Clock, TestClock};
use crate::keys::RootSecret;

fn root() -> RootSecret {
    RootSecret::from_text(&"0123456789abcdef".repeat(4)).unwrap()
}

fn keys() -> Keys {
    Keys::derive(&root()).unwrap()
}

fn sealed_box() -> SealedBox {
    SealedBox::new(Arc::new(keys()))
}

fn in_half_an_hour() -> DateTime<Utc> {
    TestClock::default().now() + TimeDelta::minutes(30)
}

fn now() -> DateTime<Utc> {
    TestClock::default().now()
}

fn open(sealed: &str) -> Result<Value, SealError> {
    sealed_box().open("consent", "browser-1", now(), sealed)
}

fn seal(value: &Value) -> String {
    let seal = sealed_box().seal("consent", "browser-1", in_half_an_hour(), value);
    seal.unwrap()
}

#[test]
fn a_request_comes_back_as_it_was() {
    let request = json!({"client_id": "abc", "state": "ü \0 '"});
    assert_eq!(open(&seal(&request)), Ok(request));
}

#[test]
fn a_seal_hides_its_value_and_is_never_made_twice() {
    let request = json!("https://client.example/callback");
    let (one, two) = (seal(&request), seal(&request));
    assert_ne!(one, two);
    let bytes = URL_SAFE_NO_PAD.decode(&one).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("client.example"));
}

#[test]
fn a_seal_opens_for_its_purpose_and_its_browser_only() {
    let (sealed_box, sealed) = (sealed_box(), seal(&json!(1)));
    let open = |purpose, bound_to| sealed_box.open::<Value>(purpose, bound_to, now(), &sealed);
    assert_eq!(open("consent", "browser-1"), Ok(json!(1)));
    assert_eq!(open("login", "browser-1"), Err(SealError::Forged));
    assert_eq!(open("consent", "browser-2"), Err(SealError::Forged));
    assert_eq!(open("consentb", "rowser-1"), Err(SealError::Forged));
}

#[test]
fn a_seal_expires_at_its_moment() {
    let (sealed_box, sealed) = (sealed_box(), seal(&json!(1)));
    let open = |at| sealed_box.open::<Value>("consent", "browser-1", at, &sealed);
    let last = in_half_an_hour() - TimeDelta::milliseconds(1);
    assert_eq!(open(last), Ok(json!(1)));
    assert_eq!(open(in_half_an_hour()), Err(SealError::Expired));
}

#[test]
fn every_touched_seal_is_refused() {
    let sealed = seal(&json!({"client_id": "abc"}));
    for position in 0..sealed.len() {
        for replacement in ["A", "B", "=", "+", "é", ""] {
            let mut touched = sealed.clone();
            touched.replace_range(position..=position, replacement);
            if touched != sealed {
                let error = open(&touched).unwrap_err();
                assert!(matches!(error, SealError::Forged | SealError::Malformed));
            }
        }
        assert!(open(&sealed[..position]).is_err());
    }
    assert_eq!(open(&"A".repeat(LONGEST_SEAL + 1)), Err(SealError::Malformed));
}

#[test]
fn another_shape_is_malformed_not_a_panic() {
    let sealed = seal(&json!("text"));
    let opened = sealed_box().open::<u64>("consent", "browser-1", now(), &sealed);
    assert_eq!(opened, Err(SealError::Malformed));
}

#[test]
fn seals_of_a_former_epoch_open_until_it_is_retired() {
    let sealed = seal(&json!(1));
    let wrapped = SubjectKey::generate().wrap(&keys()).unwrap();
    let open = |former: &[u8]| {
        let keys = Keys::derive_epochs(&root(), 2, former).unwrap();
        let subject_key = SubjectKey::unwrap(&keys, &wrapped).map(|_| ());
        let sealed_box = SealedBox::new(Arc::new(keys));
        let request = sealed_box.open::<Value>("consent", "browser-1", now(), &sealed);
        (request, subject_key)
    };
    assert_eq!(open(&[1]), (Ok(json!(1)), Ok(())));
    assert_eq!(open(&[]), (Err(SealError::Forged), Err(SealError::Forged)));
}

#[test]
fn personal_data_opens_for_its_subject_only() {
    let key = SubjectKey::generate();
    let sealed = seal_personal(&key, "user-1", "ada@example.org").unwrap();
    assert!(sealed.starts_with("v1."));
    assert_eq!(open_personal(&key, "user-1", &sealed).unwrap(), "ada@example.org");
    assert_eq!(open_personal(&key, "user-2", &sealed), Err(SealError::Forged));
    let other = SubjectKey::generate();
    assert_eq!(open_personal(&other, "user-1", &sealed), Err(SealError::Forged));
    for text in ["", "v1.", "v1.AAAA", "ada@example.org", &sealed[3..]] {
        assert_eq!(open_personal(&key, "user-1", text), Err(SealError::Malformed));
    }
    let again = seal_personal(&key, "user-1", "ada@example.org").unwrap();
    assert_ne!(sealed, again, "equal data must not show as equal");
}

#[test]
fn a_subject_key_is_stored_wrapped() {
    let key = SubjectKey::generate();
    let wrapped = key.wrap(&keys()).unwrap();
    let sealed = seal_personal(&key, "user-1", "Ada").unwrap();
    let unwrapped = SubjectKey::unwrap(&keys(), &wrapped).unwrap();
    assert_eq!(open_personal(&unwrapped, "user-1", &sealed).unwrap(), "Ada");
    let stranger = Keys::derive(&RootSecret::generate()).unwrap();
    assert_eq!(SubjectKey::unwrap(&stranger, &wrapped).unwrap_err(), SealError::Forged);
    assert_eq!(format!("{key:?}"), "[secret]");
}

#[test]
fn a_key_at_rest_opens_under_its_name_only() {
    let sealed = seal_at_rest(&keys(), "signing_key/1", b"private").unwrap();
    assert_eq!(open_at_rest(&keys(), "signing_key/1", &sealed).unwrap().as_slice(), b"private");
    let error = open_at_rest(&keys(), "signing_key/2", &sealed).unwrap_err();
    assert_eq!(error, SealError::Forged);
}

#[test]
fn a_month_is_named_for_sorting() {
    let at = DateTime::parse_from_rfc3339("2026-11-30T23:59:59Z").unwrap();
    assert_eq!(month_subject(at.to_utc()), "month:2026-11");
}
