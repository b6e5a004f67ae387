//! Given these events, when this is asked, then that happens.

use super::*;
use crate::given::{at, given, state};

fn settings(lifetime: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("access_token_lifetime".to_owned(), lifetime.to_owned())])
}

fn record(settings: BTreeMap<String, String>) -> InstallationCommand {
    InstallationCommand::RecordConfiguration { settings, at: at(0) }
}

fn changed(revision: u32, settings: BTreeMap<String, String>) -> InstallationEvent {
    InstallationEvent::ConfigurationChanged { revision, settings, at: at(0) }
}

fn advance(horizon: i64) -> InstallationCommand {
    InstallationCommand::AdvanceHorizon { horizon: at(horizon), at: at(1) }
}

fn advanced(horizon: i64) -> InstallationEvent {
    InstallationEvent::HorizonAdvanced { horizon: at(horizon), at: at(1) }
}

#[test]
fn a_configuration_is_recorded_when_it_changes() {
    let first = changed(1, settings("36000"));
    given::<Installation>(vec![]).when(record(settings("36000"))).then_expect_events(vec![first.clone()]);
    given::<Installation>(vec![first.clone()]).when(record(settings("36000"))).then_expect_events(vec![]);
    given::<Installation>(vec![first])
        .when(record(settings("600")))
        .then_expect_events(vec![changed(2, settings("600"))]);
}

#[test]
fn an_empty_configuration_is_recorded_too() {
    given::<Installation>(vec![])
        .when(record(BTreeMap::new()))
        .then_expect_events(vec![changed(1, BTreeMap::new())]);
}

#[test]
fn a_log_belongs_to_one_root_secret() {
    let bind = |fingerprint: &str| InstallationCommand::BindRootSecret {
        fingerprint: fingerprint.to_owned(),
        at: at(0),
    };
    let bound = InstallationEvent::RootSecretBound { fingerprint: "first".to_owned(), at: at(0) };
    given::<Installation>(vec![]).when(bind("first")).then_expect_events(vec![bound.clone()]);
    given::<Installation>(vec![bound.clone()]).when(bind("first")).then_expect_events(vec![]);
    given::<Installation>(vec![bound])
        .when(bind("second"))
        .then_expect_error(InstallationError::OtherRootSecret);
}

#[test]
fn the_horizon_only_moves_forward() {
    given::<Installation>(vec![]).when(advance(10)).then_expect_events(vec![advanced(10)]);
    given::<Installation>(vec![advanced(10)]).when(advance(20)).then_expect_events(vec![advanced(20)]);
    given::<Installation>(vec![advanced(10)]).when(advance(10)).then_expect_events(vec![]);
    given::<Installation>(vec![advanced(10)])
        .when(advance(9))
        .then_expect_error(InstallationError::HorizonOnlyForward);
}

#[test]
fn the_state_tells_what_the_installation_runs_with() {
    let installation: Installation = state(vec![changed(2, settings("600")), advanced(10)]);
    assert_eq!((installation.revision(), installation.settings()), (2, &settings("600")));
    assert_eq!(installation.horizon(), Some(at(10)));
}
