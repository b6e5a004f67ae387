//! Given these events, what does the server know of a user?

use aggregates::values::SecretKind;

use super::*;
use crate::given::{Given, at, password_changed, user};

fn given() -> Given {
    Given::nothing().then("alice", user("alice"))
}

async fn found(given: &Given) -> User {
    find_user(given, "alice").await.unwrap().unwrap()
}

fn carol() -> UserEvent {
    UserEvent::UserRegistered {
        subject: "carol".to_owned(),
        username: Sealed::from_ciphertext("sealed name".to_owned()),
        username_key: "name key".to_owned(),
        email: Some(Sealed::from_ciphertext("sealed address".to_owned())),
        email_key: Some("address key".to_owned()),
        password: None,
        roles: vec![Role::Superuser],
        at: at(7),
    }
}

#[tokio::test]
async fn registered() {
    let given = Given::nothing().then("carol", carol());
    let expected = User {
        subject: "carol".to_owned(),
        username: Sealed::from_ciphertext("sealed name".to_owned()),
        username_key: "name key".to_owned(),
        email: Some(Sealed::from_ciphertext("sealed address".to_owned())),
        email_key: Some("address key".to_owned()),
        password: None,
        superuser: true,
        locked: false,
        sessions_valid_from: None,
        kept_session: None,
        grants_valid_from: None,
        registered_at: at(7),
    };
    assert_eq!(find_user(&given, "carol").await.unwrap(), Some(expected));
    assert_eq!(find_user(&given, "alice").await.unwrap(), None);
}

#[tokio::test]
async fn a_change_of_password_counts_for_sessions() {
    let user = found(&given().then("alice", password_changed(Some("session-1"), 9))).await;
    let password = SecretRef { id: "password-2".to_owned(), kind: SecretKind::Argon2id };
    assert_eq!(user.password, Some(password));
    assert_eq!((user.sessions_valid_from, user.kept_session.as_deref()), (Some(at(9)), Some("session-1")));
}

#[tokio::test]
async fn the_next_change_of_password_keeps_only_its_own_session() {
    let given = given()
        .then("alice", password_changed(Some("session-1"), 9))
        .then("alice", password_changed(None, 10));
    let user = found(&given).await;
    assert_eq!((user.sessions_valid_from, user.kept_session), (Some(at(10)), None));
}

#[tokio::test]
async fn locked_and_unlocked() {
    let given = given().then("alice", UserEvent::UserLocked { at: at(1) });
    assert!(found(&given).await.locked);
    let given = given.then("alice", UserEvent::UserUnlocked { at: at(2) });
    assert!(!found(&given).await.locked);
}

#[tokio::test]
async fn superusers_come_and_go() {
    let given = given();
    assert!(!has_superuser(&given).await.unwrap());
    let given = given.then("alice", UserEvent::RoleGranted { role: Role::Superuser, at: at(1) });
    assert!(has_superuser(&given).await.unwrap() && found(&given).await.superuser);
    let given = given.then("alice", UserEvent::RoleRevoked { role: Role::Superuser, at: at(2) });
    assert!(!has_superuser(&given).await.unwrap() && !found(&given).await.superuser);
}

#[tokio::test]
async fn found_by_keyed_hashes() {
    let given = given().then("carol", carol());
    let subject = |user: Option<User>| user.map(|user| user.subject);
    let by_name = find_user_by_name_key(&given, "name key of alice").await.unwrap();
    assert_eq!(subject(by_name).as_deref(), Some("alice"));
    let by_address = find_user_by_email_key(&given, "address key").await.unwrap();
    assert_eq!(subject(by_address).as_deref(), Some("carol"));
    assert_eq!(find_user_by_name_key(&given, "address key").await.unwrap(), None);
    assert_eq!(find_user_by_email_key(&given, "name key").await.unwrap(), None);
    assert_eq!(count_users(&given).await.unwrap(), 2);
}
