//! Which roll does an event stand on, and what does it say there?

use aggregates::AnyEvent;
use aggregates::authorization::{AuthorizationEvent, Reused};
use aggregates::refusal::{RefusalEvent, RefusedRequest, Rule};
use aggregates::user::UserEvent;
use aggregates::values::Sealed;

use super::*;
use crate::given::{
    Given, application, at, client_token, corpus, granted, horizon, revoked, session, token_issued,
    token_refreshed, user,
};

fn about(aggregate_id: &str, event: impl Into<AnyEvent>) -> Vec<String> {
    subjects(aggregate_id, &event.into()).into_iter().collect()
}

fn refusal(rule: Rule) -> AnyEvent {
    let refused = RefusedRequest {
        rule,
        endpoint: "token".to_owned(),
        error: Some("invalid_grant".to_owned()),
        client_id: Some("client".to_owned()),
        subject: None,
        authorization_id: Some("grant".to_owned()),
        token_id: Some("token-1".to_owned()),
        correlation_id: "correlation-1".to_owned(),
    };
    RefusalEvent::RefusalRecorded { refused, at: at(1) }.into()
}

#[test]
fn an_event_is_about_its_stream_and_what_it_names() {
    assert_eq!(about("client", application("client", None, 0)), ["application:client"]);
    assert_eq!(
        about("client", application("client", Some("alice"), 0)),
        ["application:client", "user:alice"]
    );
    assert_eq!(about("alice", user("alice")), ["user:alice"]);
    assert_eq!(about("session-1", session("session-1", "alice", 0)), ["session:session-1", "user:alice"]);
    assert_eq!(
        about("grant", granted("grant", "client", "alice", 0)),
        ["application:client", "authorization:grant", "session:session-1", "user:alice"]
    );
    assert_eq!(
        about("grant", token_refreshed("token-1", "token-2", 0, (2, 9))),
        ["application:client", "authorization:grant", "token:token-1", "token:token-2", "user:alice"]
    );
    assert_eq!(about("grant", revoked(0)), ["authorization:grant"]);
    assert_eq!(
        about("token-3", client_token("client", "token-3", 9)),
        ["application:client", "token:token-3"]
    );
    assert_eq!(
        about("refusal-1", refusal(Rule::WrongClient)),
        ["application:client", "authorization:grant", "refusal:refusal-1", "token:token-1"]
    );
    assert_eq!(about("installation", horizon(0)), ["installation"]);
}

#[test]
fn a_forgotten_consent_still_names_user_and_application() {
    let event = aggregates::consent::ConsentEvent::ConsentForgotten { at: at(0) };
    assert_eq!(about("alice:client", event), ["application:client", "consent:alice:client", "user:alice"]);
}

#[tokio::test]
async fn a_roll_is_newest_first_and_goes_on_where_it_stopped() {
    let given = Given::nothing()
        .then("client", application("client", None, 0))
        .then("alice", user("alice"))
        .then("grant", granted("grant", "client", "alice", 1))
        .then("grant", AuthorizationEvent::CodeRedeemed { at: at(2) })
        .then("grant", token_issued("token-1", 2, 9, None));
    let positions = async |about: &str, before, limit| -> Vec<i64> {
        let rows = list_timeline(&given, about, before, limit).await.unwrap();
        rows.into_iter().map(|row| row.position).collect()
    };
    assert_eq!(positions("authorization:grant", None, 10).await, [5, 4, 3]);
    assert_eq!(positions("authorization:grant", None, 2).await, [5, 4]);
    assert_eq!(positions("authorization:grant", Some(4), 2).await, [3]);
    assert_eq!(positions("application:client", None, 10).await, [5, 3, 1]);
    assert_eq!(positions("user:alice", None, 10).await, [5, 3, 2]);
    assert!(positions("user:bob", None, 10).await.is_empty());
    let row = list_timeline(&given, "token:token-1", None, 1).await.unwrap().remove(0);
    let expected = TimelineRow {
        position: 5,
        aggregate_type: "authorization".to_owned(),
        aggregate_id: "grant".to_owned(),
        sequence: 3,
        at: at(2),
    };
    assert_eq!(row, expected);
}

#[test]
fn an_event_without_a_place_in_the_log_is_not_on_the_roll() {
    let (event, metadata) = (user("alice"), std::collections::BTreeMap::new());
    let recorded = Recorded {
        position: None,
        aggregate_type: "user",
        aggregate_id: "alice",
        sequence: 1,
        event: &event,
        metadata: &metadata,
    };
    assert!(crate::projection::row_ops(&[&PROJECTION], &recorded).is_empty());
}

#[test]
fn every_event_is_a_plain_sentence() {
    for (name, event) in corpus() {
        let sentence = sentence(&event);
        assert!(sentence.text.ends_with('.') && sentence.text.len() > 10, "{name}: {}", sentence.text);
        assert!(!sentence.text.contains(['!', '{', '_']), "{name}: {}", sentence.text);
        assert!(!sentence.text.contains("Oops"), "{name}");
        for (label, value) in &sentence.details {
            assert!(!label.is_empty() && !value.is_empty(), "{name}: {label}");
        }
    }
}

#[test]
fn words_and_seals() {
    let said = |event: AnyEvent| {
        let sentence = sentence(&event);
        (sentence.seal_kind, sentence.text)
    };
    let redeemed = AuthorizationEvent::CodeRedeemed { at: at(0) };
    assert_eq!(
        said(redeemed.into()),
        (SealKind::Used, "Authorization code redeemed; the code cannot be used again.".to_owned())
    );
    assert_eq!(
        said(revoked(0)),
        (SealKind::Revoked, "Authorization revoked by the user; everything it gave is dead.".to_owned())
    );
    assert_eq!(said(granted("grant", "client", "alice", 0)).0, SealKind::Live);
    assert_eq!(said(refusal(Rule::CodeExpired)).0, SealKind::Expired);
    assert_eq!(
        said(refusal(Rule::CodeReplayed)),
        (SealKind::Refused, "Refused: the authorization code had been used before.".to_owned())
    );
    let reused = Reused::RefreshToken { generation: 4 };
    let detected = sentence(&AuthorizationEvent::ReuseDetected { reused, at: at(0) }.into());
    assert_eq!(detected.seal_kind, SealKind::Refused);
    assert_eq!(detected.details, [("generation", "4".to_owned())]);
}

#[test]
fn details_name_scope_expiry_and_rule() {
    let details = sentence(&token_issued("token-1", 0, 100, Some((1, 900)))).details;
    for expected in
        [("token", "token-1"), ("scope", "read"), ("expires", "2027-01-15T08:01:40Z"), ("user", "alice")]
    {
        assert!(details.iter().any(|(label, value)| (*label, value.as_str()) == expected), "{expected:?}");
    }
    let details = sentence(&refusal(Rule::VerifierWrong)).details;
    assert!(details.contains(&("rule", "verifier_wrong".to_owned())));
    assert!(details.contains(&("correlation", "correlation-1".to_owned())));
}

#[test]
fn personal_data_stays_sealed() {
    let event = UserEvent::UserRegistered {
        subject: "alice".to_owned(),
        username: Sealed::from_ciphertext("SEALED-NAME".to_owned()),
        username_key: "KEY-OF-NAME".to_owned(),
        email: Some(Sealed::from_ciphertext("SEALED-ADDRESS".to_owned())),
        email_key: Some("KEY-OF-ADDRESS".to_owned()),
        password: None,
        roles: Vec::new(),
        at: at(0),
    };
    let said = format!("{:?}", sentence(&event.into()));
    assert!(!said.contains("SEALED") && !said.contains("KEY"), "{said}");
}
