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

#[test]
fn each_accepted_rollback_begins_a_new_epoch_of_keys() {
    let accept = || InstallationCommand::AcceptRollback { seen: 9, head: 4, at: at(1) };
    let accepted = |key_epoch| InstallationEvent::RollbackAccepted { key_epoch, seen: 9, head: 4, at: at(1) };
    given::<Installation>(vec![]).when(accept()).then_expect_events(vec![accepted(2)]);
    given::<Installation>(vec![accepted(2)]).when(accept()).then_expect_events(vec![accepted(3)]);
    assert_eq!(Installation::default().key_epoch(), 1);
    assert_eq!(state::<Installation>(vec![accepted(2), accepted(3)]).key_epoch(), 3);
}

#[test]
fn after_the_last_epoch_no_rollback_is_accepted() {
    let last = InstallationEvent::RollbackAccepted { key_epoch: 255, seen: 9, head: 4, at: at(1) };
    given::<Installation>(vec![last])
        .when(InstallationCommand::AcceptRollback { seen: 9, head: 4, at: at(1) })
        .then_expect_error(InstallationError::NoEpochLeft);
}
