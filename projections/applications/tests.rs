//! Given these events, what does the server know of an application?

use aggregates::application::ApplicationEvent;
use aggregates::values::ClientType;

use super::*;
use crate::given::{Given, application, at, secret, settings};

fn given() -> Given {
    Given::nothing().then("client", application("client", Some("alice"), 0))
}

async fn found(given: &Given) -> Application {
    find_application(given, "client").await.unwrap().unwrap()
}

#[tokio::test]
async fn registered() {
    let expected = Application {
        client_id: "client".to_owned(),
        owner: Some("alice".to_owned()),
        settings: settings("client"),
        secret: Some(secret("secret-1")),
        provenance: Provenance::CommandLine,
        disabled: false,
        deleted: false,
        grants_valid_from: None,
        registered_at: at(0),
        updated_at: at(0),
    };
    assert_eq!(found(&given()).await, expected);
    assert!(expected.is_usable());
    assert_eq!(find_application(&given(), "other").await.unwrap(), None);
}

#[tokio::test]
async fn updated() {
    let mut changed = settings("renamed");
    changed.client_type = ClientType::Public;
    let event = ApplicationEvent::ApplicationUpdated { settings: changed.clone(), at: at(5) };
    let given = given().then("client", event);
    let application = found(&given).await;
    assert_eq!((application.settings, application.updated_at), (changed, at(5)));
    let row = given.row(&TABLE, "client").unwrap();
    assert_eq!((&row[2], &row[3]), (&"renamed".into(), &"public".into()));
}

#[tokio::test]
async fn a_rotated_secret_is_another_one() {
    let event = ApplicationEvent::SecretRotated { secret: secret("secret-2"), retired: None, at: at(5) };
    assert_eq!(found(&given().then("client", event)).await.secret, Some(secret("secret-2")));
}

#[tokio::test]
async fn disabled_enabled_deleted() {
    let given = given().then("client", ApplicationEvent::ApplicationDisabled { at: at(1) });
    assert!(!found(&given).await.is_usable());
    let given = given.then("client", ApplicationEvent::ApplicationEnabled { at: at(2) });
    assert!(found(&given).await.is_usable());
    let given = given.then("client", ApplicationEvent::ApplicationDeleted { retired: None, at: at(3) });
    let application = found(&given).await;
    assert!(!application.is_usable() && application.deleted);
    assert_eq!((application.secret, application.updated_at), (None, at(3)));
}

/// Five applications, two of them registered at the same time, one of them deleted.
fn several() -> Given {
    Given::nothing()
        .then("a", application("a", Some("alice"), 1))
        .then("b", application("b", Some("alice"), 2))
        .then("c", application("c", Some("bob"), 2))
        .then("d", application("d", None, 3))
        .then("e", application("e", Some("alice"), 4))
        .then("d", ApplicationEvent::ApplicationDeleted { retired: None, at: at(5) })
}

async fn listed(owner: Option<&str>, after: Option<&str>, limit: u32) -> String {
    let applications = list_applications(&several(), owner, after, limit).await.unwrap();
    applications.into_iter().map(|application| application.client_id).collect::<Vec<_>>().concat()
}

#[tokio::test]
async fn lists_are_newest_first_and_go_on_where_they_stopped() {
    assert_eq!(listed(None, None, 10).await, "ebca");
    assert_eq!(listed(None, None, 2).await, "eb");
    assert_eq!(listed(None, Some("b"), 2).await, "ca");
    assert_eq!(listed(None, Some("a"), 2).await, "");
    assert_eq!(listed(Some("alice"), None, 10).await, "eba");
    assert_eq!(listed(Some("alice"), Some("e"), 1).await, "b");
    assert_eq!(listed(Some("nobody"), None, 10).await, "");
}

#[tokio::test]
async fn a_page_goes_on_after_its_last_application_was_deleted() {
    assert_eq!(listed(None, Some("d"), 10).await, "bca");
    assert_eq!(listed(None, Some("never registered"), 10).await, "ebca");
}

#[tokio::test]
async fn deleted_applications_are_not_counted() {
    assert_eq!(count_applications(&several()).await.unwrap(), 4);
}
