//! Given these events, when this is asked, then that happens.

use super::*;
use crate::given::{at, given, state};

fn refused() -> RefusedRequest {
    RefusedRequest {
        rule: Rule::CodeReplayed,
        endpoint: "token".to_owned(),
        error: Some("invalid_grant".to_owned()),
        client_id: Some("client".to_owned()),
        subject: None,
        authorization_id: None,
        token_id: None,
        correlation_id: "correlation".to_owned(),
    }
}

fn recorded() -> RefusalEvent {
    RefusalEvent::RefusalRecorded { refused: refused(), at: at(0) }
}

fn record() -> RefusalCommand {
    RefusalCommand::RecordRefusal { refused: refused(), at: at(0) }
}

#[test]
fn a_refusal_is_recorded_once() {
    given::<Refusal>(vec![]).when(record()).then_expect_events(vec![recorded()]);
    given::<Refusal>(vec![recorded()]).when(record()).then_expect_error(RefusalError::AlreadyRecorded);
    assert_eq!(state::<Refusal>(vec![recorded()]).refused(), Some(&refused()));
}
