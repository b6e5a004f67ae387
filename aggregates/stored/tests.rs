//! Stored names and shapes are a contract: `tests/events` holds one golden file of each version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cqrs_es::Aggregate;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::given::{at, given};
use crate::login_attempts::{LoginAttempts, LoginAttemptsCommand};

#[derive(Deserialize)]
struct Golden {
    aggregate_type: String,
    event_type: String,
    event_version: String,
    payload: Value,
}

/// Every golden file by its name.
fn corpus() -> BTreeMap<String, Golden> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/events");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let golden = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            (name, golden)
        })
        .collect()
}

#[test]
fn invariant_09_every_golden_event_is_read_and_written_unchanged() {
    for (name, golden) in corpus() {
        let event = AnyEvent::decode(
            &golden.aggregate_type,
            &golden.event_type,
            &golden.event_version,
            &golden.payload,
        )
        .unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = event.encode().unwrap();
        assert_eq!(event.aggregate_type(), golden.aggregate_type, "{name}");
        assert_eq!(written.event_type, golden.event_type, "{name}");
        assert_eq!(written.event_version, golden.event_version, "{name}");
        assert_eq!(serde_json::from_str::<Value>(&written.payload).unwrap(), golden.payload, "{name}");
    }
}

#[test]
fn every_event_has_a_golden_file() {
    let corpus = corpus();
    let mut expected = Vec::new();
    for (aggregate_type, event_types) in AnyEvent::TYPES {
        for event_type in *event_types {
            let name = format!("{event_type}.v{CURRENT_VERSION}.json");
            let golden = corpus.get(&name).unwrap_or_else(|| panic!("{name} is missing"));
            assert_eq!(
                (golden.aggregate_type.as_str(), golden.event_type.as_str()),
                (*aggregate_type, *event_type)
            );
            expected.push(name);
        }
    }
    expected.sort();
    assert_eq!(corpus.into_keys().collect::<Vec<_>>(), expected, "a file without an event");
}

/// The names that serde would accept, out of what it says of a name that it does not.
fn serde_names<E: StoredEvent>() -> Vec<String> {
    let error = serde_json::from_str::<E>(r#"{"no.such.event":{}}"#).err().unwrap().to_string();
    error.split('`').skip(1).step_by(2).skip(1).map(str::to_owned).collect()
}

#[test]
fn stored_names_are_the_serde_names() {
    assert_eq!(serde_names::<ApplicationEvent>(), ApplicationEvent::EVENT_TYPES);
    assert_eq!(serde_names::<UserEvent>(), UserEvent::EVENT_TYPES);
    assert_eq!(serde_names::<SessionEvent>(), SessionEvent::EVENT_TYPES);
    assert_eq!(serde_names::<LoginAttemptsEvent>(), LoginAttemptsEvent::EVENT_TYPES);
    assert_eq!(serde_names::<AuthorizationEvent>(), AuthorizationEvent::EVENT_TYPES);
    assert_eq!(serde_names::<ClientTokenEvent>(), ClientTokenEvent::EVENT_TYPES);
    assert_eq!(serde_names::<ConsentEvent>(), ConsentEvent::EVENT_TYPES);
    assert_eq!(serde_names::<RefusalEvent>(), RefusalEvent::EVENT_TYPES);
    assert_eq!(serde_names::<InstallationEvent>(), InstallationEvent::EVENT_TYPES);
}

#[test]
fn aggregate_types_are_those_of_the_aggregates() {
    let types: Vec<&str> = AnyEvent::TYPES.iter().map(|(aggregate_type, _)| *aggregate_type).collect();
    let aggregates = [
        crate::application::Application::TYPE,
        crate::user::User::TYPE,
        crate::session::Session::TYPE,
        crate::login_attempts::LoginAttempts::TYPE,
        crate::authorization::Authorization::TYPE,
        crate::client_token::ClientToken::TYPE,
        crate::consent::Consent::TYPE,
        crate::refusal::Refusal::TYPE,
        crate::installation::Installation::TYPE,
    ];
    assert_eq!(types, aggregates);
}

#[test]
fn event_types_begin_with_their_aggregate_type() {
    for (aggregate_type, event_types) in AnyEvent::TYPES {
        for event_type in *event_types {
            assert_eq!(event_type.split_once('.').unwrap().0, *aggregate_type);
        }
    }
}

#[test]
fn the_framework_sees_the_stored_name_and_version() {
    let event = ConsentEvent::ConsentForgotten { at: at(0) };
    assert_eq!(cqrs_es::DomainEvent::event_type(&event), "consent.forgotten");
    assert_eq!(cqrs_es::DomainEvent::event_version(&event), CURRENT_VERSION);
}

#[test]
fn an_event_of_a_newer_program_is_unknown_not_skipped() {
    let payload = serde_json::json!({"at": "2027-01-15T08:00:00Z"});
    let unknown = |event_type: &str, event_version: &str| {
        Err(DecodeError::Unknown {
            event_type: event_type.to_owned(),
            event_version: event_version.to_owned(),
        })
    };
    assert_eq!(AnyEvent::decode("consent", "consent.moved", "1", &payload), unknown("consent.moved", "1"));
    assert_eq!(
        AnyEvent::decode("consent", "consent.forgotten", "2", &payload),
        unknown("consent.forgotten", "2")
    );
    assert_eq!(
        AnyEvent::decode("planet", "consent.forgotten", "1", &payload),
        unknown("consent.forgotten", "1")
    );
}

#[test]
fn a_payload_of_another_shape_is_damaged() {
    for payload in [serde_json::json!({}), serde_json::json!([]), serde_json::json!({"at": 5}), Value::Null] {
        let error = AnyEvent::decode("consent", "consent.forgotten", "1", &payload).unwrap_err();
        assert!(matches!(error, DecodeError::Damaged { .. }), "{error}");
    }
}

#[test]
fn only_a_struct_variant_can_be_stored() {
    #[derive(serde::Serialize, serde::Deserialize)]
    enum Odd {
        Unit,
        Broken {
            #[serde(serialize_with = "refuse")]
            field: String,
        },
    }
    fn refuse<S: serde::Serializer>(_: &str, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("refused"))
    }
    impl StoredEvent for Odd {
        const EVENT_TYPES: &'static [&'static str] = &["Unit", "Broken"];
    }
    for odd in [Odd::Unit, Odd::Broken { field: String::new() }] {
        assert!(matches!(odd.encode(), Err(DecodeError::Unencodable { .. })));
        assert_eq!(odd.stored_type(), "");
    }
}

#[test]
fn time_waits_for_the_latest_event_for_as_long_as_two_right_clocks_may_differ() {
    assert_eq!(in_order(at(6), at(10)), at(10), "one clock two seconds ahead, another two behind");
    assert_eq!(in_order(at(10), at(10)), at(10));
    assert_eq!(in_order(at(11), at(10)), at(11));
    let before = at(6) - TimeDelta::milliseconds(1);
    assert_eq!(in_order(before, at(10)), before, "what a wrong clock wrote does not stop time");
}

#[test]
fn an_aggregate_decides_as_of_its_latest_event() {
    let guessed = |count, blocked_until, seconds| LoginAttemptsEvent::LoginAttempted {
        count,
        blocked_until,
        at: at(seconds),
    };
    let attempt = |seconds| LoginAttemptsCommand::RecordAttempt { free: 1, at: at(seconds) };
    given::<LoginAttempts>(vec![guessed(1, None, 10)]).when(attempt(8)).then_expect_events(vec![guessed(
        2,
        Some(at(12)),
        10,
    )]);
    let reset = vec![guessed(1, None, 9), LoginAttemptsEvent::LoginAttemptsReset { at: at(10) }];
    given::<LoginAttempts>(reset).when(attempt(8)).then_expect_events(vec![guessed(1, None, 10)]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("2027-01-15T08:00:00Z")),
    ];
    let keys = prop_oneof![
        any::<String>(),
        Just("at".to_owned()),
        Just("scope".to_owned()),
        Just("token".to_owned())
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::vec((keys.clone(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Commands from nodes whose clocks are up to two seconds off, in either direction.
    #[test]
    fn times_of_a_stream_never_go_back(steps in proptest::collection::vec((0_i64..3_000, -2_000_i64..=2_000), 1..40)) {
        let (mut true_time, mut events) = (at(0), Vec::new());
        for (passed, off) in steps {
            true_time += TimeDelta::milliseconds(passed);
            let shown = true_time + TimeDelta::milliseconds(off);
            let attempt = LoginAttemptsCommand::RecordAttempt { free: u32::MAX, at: shown };
            events.extend(given::<LoginAttempts>(events.clone()).when(attempt).inspect_result().unwrap_or_default());
        }
        let times: Vec<_> = events.iter_mut().map(|event| *event.at_mut()).collect();
        prop_assert!(times.is_sorted(), "{times:?}");
    }

    #[test]
    fn reading_never_panics(aggregate in 0..AnyEvent::TYPES.len(), event in any::<usize>(), payload in any_json()) {
        let (aggregate_type, event_types) = AnyEvent::TYPES[aggregate];
        let event_type = event_types[event % event_types.len()];
        if let Ok(event) = AnyEvent::decode(aggregate_type, event_type, CURRENT_VERSION, &payload) {
            prop_assert!(event.encode().is_ok());
        }
    }

    /// A golden payload with one member replaced is read or refused, never more.
    #[test]
    fn reading_a_damaged_event_never_panics(file in any::<usize>(), member in any::<usize>(), value in any_json()) {
        let corpus = corpus();
        let file = file % corpus.len();
        let mut golden = corpus.into_values().nth(file).unwrap();
        let members = golden.payload.as_object_mut().unwrap();
        let key = members.keys().nth(member % members.len()).unwrap().clone();
        members.insert(key, value);
        let _ = AnyEvent::decode(&golden.aggregate_type, &golden.event_type, &golden.event_version, &golden.payload);
    }
}
