//! Given these events, when this is asked, then that happens.

use super::*;
use crate::given::{at, given, secret, state};
use crate::values::Sealed;

fn register(roles: Vec<Role>) -> UserCommand {
    UserCommand::RegisterUser {
        subject: "subject".to_owned(),
        username: Sealed::from_ciphertext("sealed".to_owned()),
        username_key: "key".to_owned(),
        email: None,
        email_key: None,
        password: Some(secret("first")),
        roles,
        at: at(0),
    }
}

fn registered_with(roles: Vec<Role>) -> UserEvent {
    UserEvent::UserRegistered {
        subject: "subject".to_owned(),
        username: Sealed::from_ciphertext("sealed".to_owned()),
        username_key: "key".to_owned(),
        email: None,
        email_key: None,
        password: Some(secret("first")),
        roles,
        at: at(0),
    }
}

fn registered() -> UserEvent {
    registered_with(vec![])
}

fn decide(events: Vec<UserEvent>, command: UserCommand) -> Result<Vec<UserEvent>, UserError> {
    given::<User>(events).when(command).inspect_result()
}

fn change_password(id: &str) -> UserCommand {
    UserCommand::ChangePassword { password: secret(id), keep_session: Some("session".to_owned()), at: at(1) }
}

fn password_changed(id: &str, retired: &str) -> UserEvent {
    UserEvent::PasswordChanged {
        password: secret(id),
        retired: Some(retired.to_owned()),
        keep_session: Some("session".to_owned()),
        at: at(1),
    }
}

#[test]
fn a_user_is_registered_once() {
    assert_eq!(decide(vec![], register(vec![])), Ok(vec![registered()]));
    assert_eq!(decide(vec![registered()], register(vec![])), Err(UserError::AlreadyRegistered));
}

#[test]
fn a_role_given_twice_is_held_once() {
    let twice = register(vec![Role::Superuser, Role::Superuser]);
    assert_eq!(decide(vec![], twice), Ok(vec![registered_with(vec![Role::Superuser])]));
}

#[test]
fn nothing_can_be_asked_of_an_unknown_user() {
    let role = Role::Superuser;
    let commands = [
        change_password("second"),
        UserCommand::LockUser { at: at(1) },
        UserCommand::UnlockUser { at: at(1) },
        UserCommand::GrantRole { role, at: at(1) },
        UserCommand::RevokeRole { role, at: at(1) },
    ];
    for command in commands {
        assert_eq!(decide(vec![], command), Err(UserError::Unknown));
    }
}

#[test]
fn a_new_password_retires_the_former_one() {
    let events = vec![registered(), password_changed("second", "first")];
    assert_eq!(decide(vec![registered()], change_password("second")), Ok(vec![events[1].clone()]));
    assert_eq!(decide(events, change_password("third")), Ok(vec![password_changed("third", "second")]));
}

#[test]
fn an_operator_may_change_the_password_of_a_locked_user() {
    let events = vec![registered(), UserEvent::UserLocked { at: at(1) }];
    assert_eq!(decide(events, change_password("second")), Ok(vec![password_changed("second", "first")]));
}

#[test]
fn locking_and_unlocking_happen_once() {
    let (lock, unlock) = (UserCommand::LockUser { at: at(1) }, UserCommand::UnlockUser { at: at(2) });
    let (locked, unlocked) = (UserEvent::UserLocked { at: at(1) }, UserEvent::UserUnlocked { at: at(2) });
    assert_eq!(decide(vec![registered()], lock.clone()), Ok(vec![locked.clone()]));
    assert_eq!(decide(vec![registered(), locked.clone()], lock), Ok(vec![]));
    assert_eq!(decide(vec![registered(), locked.clone()], unlock.clone()), Ok(vec![unlocked.clone()]));
    assert_eq!(decide(vec![registered(), locked, unlocked], unlock), Ok(vec![]));
}

#[test]
fn roles_are_granted_and_revoked_once() {
    let role = Role::Superuser;
    let (grant, revoke) =
        (UserCommand::GrantRole { role, at: at(1) }, UserCommand::RevokeRole { role, at: at(2) });
    let (granted, revoked) =
        (UserEvent::RoleGranted { role, at: at(1) }, UserEvent::RoleRevoked { role, at: at(2) });
    assert_eq!(decide(vec![registered()], grant.clone()), Ok(vec![granted.clone()]));
    assert_eq!(decide(vec![registered(), granted.clone()], grant), Ok(vec![]));
    assert_eq!(decide(vec![registered(), granted.clone()], revoke.clone()), Ok(vec![revoked.clone()]));
    assert_eq!(decide(vec![registered(), granted, revoked], revoke), Ok(vec![]));
}

#[test]
fn the_state_tells_how_to_check_a_login() {
    let user: User = state(vec![registered_with(vec![Role::Superuser]), password_changed("second", "first")]);
    assert_eq!((user.subject(), user.password()), (Some("subject"), Some(&secret("second"))));
    assert!(user.has_role(Role::Superuser) && !user.is_locked());
    let locked: User = state(vec![registered(), UserEvent::UserLocked { at: at(1) }]);
    assert!(!locked.has_role(Role::Superuser) && locked.is_locked());
    assert_eq!(Sealed::from_ciphertext("sealed".to_owned()).as_str(), "sealed");
}
