//! Can people get an account, once each, and is it theirs alone?

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::clock::TestClock;
use crate::commands::Actor;
use crate::config::{Config, Environment, Flags};
use crate::open::open;
use crate::secret::random_alphanumeric;

/// A server's state on a directory of its own that goes with the test.
struct Installation {
    state: AppState,
    directory: PathBuf,
}

impl Installation {
    async fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("chancery-{}", random_alphanumeric(16)));
        let flags = Flags::from([("data-dir", vec![directory.display().to_string()])]);
        let config = Config::load(&flags, &Environment::default()).unwrap();
        let state = open(Arc::new(config), TestClock::default().shared()).await.unwrap();
        Self { state, directory }
    }

    fn origin(&self) -> Origin {
        Origin::internal(Actor::Operator, &self.state.clock)
    }

    async fn create(&self, username: &str, email: &str) -> Result<CreatedUser, AccountError> {
        let new = NewUser {
            username: username.to_owned(),
            email: email.to_owned(),
            password: Secret::new("correct horse battery staple"),
            is_superuser: false,
        };
        create_user(&self.state, new, &self.origin()).await
    }

    async fn find(&self, username: &str) -> Option<users::User> {
        find_by_username(&self.state, username).await.unwrap()
    }

    async fn knows(&self, user: &users::User, password: &str) -> bool {
        let reference = user.password.as_ref().unwrap();
        let stored = self.state.journal.find_secret(&reference.id).await.unwrap();
        self.state.passwords.verify(Secret::new(password), stored.as_deref()).await.unwrap()
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

#[tokio::test]
async fn a_user_is_found_by_every_spelling_of_the_name_and_shown_by_their_own() {
    let server = Installation::new().await;
    let created = server.create(" Ada ", "Ada@Example.org").await.unwrap();
    let found = server.find("ADA").await.unwrap();
    assert_eq!((found.subject.as_str(), created.username.as_str()), (created.subject.as_str(), "Ada"));
    assert_eq!(shown_name(&server.state, &found).await.unwrap(), "Ada");
    assert_eq!(name_of(&server.state, &created.subject).await.unwrap(), "Ada");
    assert!(!found.username.as_str().contains("Ada"), "names are sealed");
    assert!(!found.superuser && !found.locked);
    assert!(server.knows(&found, "correct horse battery staple").await);
    assert!(server.find("grace").await.is_none());
    assert!(server.find("\u{202e}").await.is_none());
}

#[tokio::test]
async fn a_name_and_an_address_belong_to_one_person() {
    let server = Installation::new().await;
    server.create("ada", "ada@example.org").await.unwrap();
    let name = server.create("ADA", "").await.unwrap_err();
    assert!(matches!(name, AccountError::UsernameTaken));
    assert_eq!(name.blame(), Blame::Field("username"));
    let email = server.create("grace", "ADA@example.org").await.unwrap_err();
    assert!(matches!(email, AccountError::EmailTaken));
    server.create("grace", "").await.unwrap();
    server.create("joan", " ").await.unwrap();
}

#[tokio::test]
async fn what_will_not_do_is_said_beside_its_field_and_nothing_is_stored() {
    let server = Installation::new().await;
    let before = server.state.journal.applied();
    let new = |username: &str, email: &str, password: &str| NewUser {
        username: username.to_owned(),
        email: email.to_owned(),
        password: Secret::new(password),
        is_superuser: true,
    };
    for (typed, field) in [
        (new("", "", "correct horse battery staple"), "username"),
        (new("ada", "nobody", "correct horse battery staple"), "email"),
        (new("ada", "", "short"), "password"),
        (new("adalovelace", "", "adalovelace1"), "password"),
    ] {
        let error = create_user(&server.state, typed, &server.origin()).await.unwrap_err();
        assert_eq!(error.blame(), Blame::Field(field), "{error}");
    }
    assert_eq!(server.state.journal.applied(), before);
    assert!(!users::has_superuser(&server.state.journal).await.unwrap());
}

#[tokio::test]
async fn a_superuser_is_one() {
    let server = Installation::new().await;
    let new = NewUser {
        username: "root".to_owned(),
        email: String::new(),
        password: Secret::new("correct horse battery staple"),
        is_superuser: true,
    };
    create_user(&server.state, new, &server.origin()).await.unwrap();
    assert!(server.find("root").await.unwrap().superuser);
    assert!(users::has_superuser(&server.state.journal).await.unwrap());
}

#[tokio::test]
async fn a_changed_password_replaces_the_former_one() {
    let server = Installation::new().await;
    server.create("ada", "").await.unwrap();
    let user = server.find("ada").await.unwrap();
    let weak = change_password(&server.state, &user, Secret::new("password"), None, &server.origin()).await;
    assert!(matches!(weak, Err(AccountError::Password(_))));
    let new = Secret::new("another long sentence");
    change_password(&server.state, &user, new, None, &server.origin()).await.unwrap();
    let changed = server.find("ada").await.unwrap();
    assert!(server.knows(&changed, "another long sentence").await);
    assert!(!server.knows(&changed, "correct horse battery staple").await);
    assert!(changed.sessions_valid_from.is_some());
}

#[tokio::test]
async fn locking_twice_changes_nothing_the_second_time() {
    let server = Installation::new().await;
    let subject = server.create("ada", "").await.unwrap().subject;
    let origin = server.origin();
    let lock = |locked| set_locked(&server.state, &subject, locked, &origin);
    assert!(lock(true).await.unwrap());
    assert!(!lock(true).await.unwrap());
    assert!(server.find("ada").await.unwrap().locked);
    assert!(lock(false).await.unwrap());
    let unknown = set_locked(&server.state, "nobody", true, &server.origin()).await;
    assert!(matches!(unknown, Err(AccountError::Unknown)));
}
