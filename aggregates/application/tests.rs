//! Given these events, when this is asked, then that happens.

use proptest::prelude::*;

use super::*;
use crate::given::{at, given, resources, scope, secret, state};
use crate::values::{RedirectUri, Resource};

fn settings() -> ApplicationSettings {
    ApplicationSettings {
        name: "Example".to_owned(),
        client_type: ClientType::Confidential,
        application_type: ApplicationType::Web,
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        redirect_uris: vec![RedirectUri::parse("https://app.example/cb", false).unwrap()],
        post_logout_redirect_uris: vec![],
        allowed_origins: vec![],
        scope: Some(scope("read write")),
        require_pkce: false,
        skip_authorization: false,
        ask_always: false,
        refresh_retry_window: 0,
        access_token_lifetime: None,
        id_token_algorithm: None,
        resources: resources(&["https://api.example"]),
        introspect_any: false,
    }
}

fn public() -> ApplicationSettings {
    ApplicationSettings { client_type: ClientType::Public, ..settings() }
}

fn register(settings: ApplicationSettings, secret: Option<SecretRef>) -> ApplicationCommand {
    ApplicationCommand::RegisterApplication {
        client_id: "client".to_owned(),
        owner: Some("subject".to_owned()),
        settings,
        secret,
        provenance: Provenance::Form,
        at: at(0),
    }
}

fn registered_as(settings: ApplicationSettings, secret: Option<SecretRef>) -> ApplicationEvent {
    ApplicationEvent::ApplicationRegistered {
        client_id: "client".to_owned(),
        owner: Some("subject".to_owned()),
        settings,
        secret,
        provenance: Provenance::Form,
        at: at(0),
    }
}

fn registered() -> ApplicationEvent {
    registered_as(settings(), Some(secret("first")))
}

fn disabled() -> ApplicationEvent {
    ApplicationEvent::ApplicationDisabled { at: at(1) }
}

fn deleted() -> ApplicationEvent {
    ApplicationEvent::ApplicationDeleted { retired: Some("first".to_owned()), at: at(1) }
}

fn update(settings: ApplicationSettings) -> ApplicationCommand {
    ApplicationCommand::UpdateApplication { settings, is_privileged: true, at: at(2) }
}

fn other_commands() -> Vec<ApplicationCommand> {
    vec![
        update(settings()),
        ApplicationCommand::RotateSecret { secret: secret("second"), at: at(2) },
        ApplicationCommand::DisableApplication { at: at(2) },
        ApplicationCommand::EnableApplication { at: at(2) },
        ApplicationCommand::DeleteApplication { at: at(2) },
    ]
}

fn decide(
    events: Vec<ApplicationEvent>,
    command: ApplicationCommand,
) -> Result<Vec<ApplicationEvent>, ApplicationError> {
    given::<Application>(events).when(command).inspect_result()
}

#[test]
fn a_confidential_application_is_registered_with_a_secret() {
    given::<Application>(vec![])
        .when(register(settings(), Some(secret("first"))))
        .then_expect_events(vec![registered()]);
    assert_eq!(decide(vec![], register(settings(), None)), Err(ApplicationError::MissingSecret));
}

#[test]
fn a_public_application_is_registered_without_a_secret() {
    assert_eq!(decide(vec![], register(public(), None)), Ok(vec![registered_as(public(), None)]));
    let keeping = register(public(), Some(secret("first")));
    assert_eq!(decide(vec![], keeping), Err(ApplicationError::SecretForPublic));
}

#[test]
fn a_client_id_is_never_used_twice() {
    for events in [vec![registered()], vec![registered(), disabled()], vec![registered(), deleted()]] {
        let again = register(settings(), Some(secret("second")));
        assert_eq!(decide(events, again), Err(ApplicationError::AlreadyRegistered));
    }
    let text = ApplicationError::AlreadyRegistered.to_string();
    assert_eq!(text, "Application with this Client ID already exists.");
}

#[test]
fn nothing_can_be_asked_of_an_unknown_or_deleted_application() {
    for command in other_commands() {
        assert_eq!(decide(vec![], command.clone()), Err(ApplicationError::Unknown));
        assert_eq!(decide(vec![registered(), deleted()], command), Err(ApplicationError::Deleted));
    }
}

#[test]
fn what_superusers_decide_survives_an_edit_by_the_owner() {
    let serves = |uri| vec![Resource::parse(uri).unwrap()];
    let resources = serves("https://api.example/");
    let trusted =
        ApplicationSettings { skip_authorization: true, introspect_any: true, resources, ..settings() };
    let resources = serves("https://other.example/");
    let renamed = ApplicationSettings { name: "Renamed".to_owned(), resources, ..settings() };
    let command =
        ApplicationCommand::UpdateApplication { settings: renamed.clone(), is_privileged: false, at: at(2) };
    let kept = ApplicationSettings { name: "Renamed".to_owned(), ..trusted.clone() };
    assert_eq!(
        decide(vec![registered_as(trusted, Some(secret("first")))], command),
        Ok(vec![ApplicationEvent::ApplicationUpdated { settings: kept, at: at(2) }])
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let cases = [
        (ApplicationSettings { grant_types: vec![], ..settings() }, ApplicationError::NoGrantType),
        (ApplicationSettings { redirect_uris: vec![], ..settings() }, ApplicationError::NoRedirectUri),
        (
            ApplicationSettings { grant_types: vec![GrantType::RefreshToken], ..settings() },
            ApplicationError::RefreshWithoutCode,
        ),
        (
            ApplicationSettings { refresh_retry_window: 61, ..settings() },
            ApplicationError::RetryWindowTooLong,
        ),
        (
            ApplicationSettings { access_token_lifetime: Some(0), ..settings() },
            ApplicationError::LifetimeZero,
        ),
    ];
    for (wrong, reason) in cases {
        assert_eq!(decide(vec![], register(wrong.clone(), Some(secret("first")))), Err(reason));
        assert_eq!(decide(vec![registered()], update(wrong)), Err(reason));
    }
}

#[test]
fn client_credentials_are_for_confidential_applications() {
    let grant_types = vec![GrantType::ClientCredentials];
    let own =
        ApplicationSettings { grant_types, redirect_uris: vec![], refresh_retry_window: 60, ..settings() };
    assert!(decide(vec![], register(own.clone(), Some(secret("first")))).is_ok());
    let public = ApplicationSettings { client_type: ClientType::Public, ..own };
    assert_eq!(decide(vec![], register(public, None)), Err(ApplicationError::ClientCredentialsForPublic));
}

#[test]
fn the_message_for_missing_redirect_uris_is_the_one_people_know() {
    let text = ApplicationError::NoRedirectUri.to_string();
    assert_eq!(text, "redirect_uris cannot be empty with grant_type authorization-code");
}

#[test]
fn an_update_replaces_the_settings() {
    let changed = ApplicationSettings { name: "Other".to_owned(), ..settings() };
    let expected = ApplicationEvent::ApplicationUpdated { settings: changed.clone(), at: at(2) };
    assert_eq!(decide(vec![registered()], update(changed.clone())), Ok(vec![expected.clone()]));
    assert_eq!(decide(vec![registered(), expected], update(changed)), Ok(vec![]));
}

#[test]
fn the_client_type_stays() {
    assert_eq!(decide(vec![registered()], update(public())), Err(ApplicationError::ClientTypeFixed));
    let events = vec![registered_as(public(), None)];
    assert_eq!(decide(events, update(settings())), Err(ApplicationError::ClientTypeFixed));
}

#[test]
fn a_rotated_secret_retires_the_former_one() {
    let rotate = |id: &str| ApplicationCommand::RotateSecret { secret: secret(id), at: at(2) };
    let rotated = |id: &str, retired: &str| ApplicationEvent::SecretRotated {
        secret: secret(id),
        retired: Some(retired.to_owned()),
        at: at(2),
    };
    assert_eq!(decide(vec![registered()], rotate("second")), Ok(vec![rotated("second", "first")]));
    let events = vec![registered(), rotated("second", "first")];
    assert_eq!(decide(events, rotate("third")), Ok(vec![rotated("third", "second")]));
    let events = vec![registered_as(public(), None)];
    assert_eq!(decide(events, rotate("second")), Err(ApplicationError::SecretForPublic));
}

#[test]
fn disabling_and_enabling_happen_once() {
    let disable = ApplicationCommand::DisableApplication { at: at(1) };
    let enable = ApplicationCommand::EnableApplication { at: at(2) };
    let enabled = ApplicationEvent::ApplicationEnabled { at: at(2) };
    assert_eq!(decide(vec![registered()], disable.clone()), Ok(vec![disabled()]));
    assert_eq!(decide(vec![registered(), disabled()], disable), Ok(vec![]));
    assert_eq!(decide(vec![registered(), disabled()], enable.clone()), Ok(vec![enabled]));
    assert_eq!(decide(vec![registered()], enable), Ok(vec![]));
}

#[test]
fn deletion_retires_the_secret() {
    let delete = ApplicationCommand::DeleteApplication { at: at(1) };
    assert_eq!(decide(vec![registered()], delete), Ok(vec![deleted()]));
    assert_eq!(state::<Application>(vec![registered(), deleted()]).secret(), None);
}

#[test]
fn the_state_tells_who_manages_it_and_whether_it_may_be_used() {
    let own: Application = state(vec![registered()]);
    assert_eq!((own.client_id(), own.owner()), (Some("client"), Some("subject")));
    assert_eq!((own.settings(), own.secret()), (Some(&settings()), Some(&secret("first"))));
    assert_eq!(own.provenance(), Some(Provenance::Form));
    assert!(own.is_usable() && !own.is_disabled() && !own.is_deleted());
    let own: Application = state(vec![registered(), disabled()]);
    assert!(!own.is_usable() && own.is_disabled());
    let own: Application = state(vec![registered(), deleted()]);
    assert!(!own.is_usable() && own.is_deleted());
    let none = Application::default();
    assert!(
        !none.is_usable()
            && none.client_id().is_none()
            && none.owner().is_none()
            && none.provenance().is_none()
    );
}

#[test]
fn a_public_application_always_needs_pkce() {
    assert!(public().requires_pkce() && !settings().requires_pkce());
    assert!(ApplicationSettings { require_pkce: true, ..settings() }.requires_pkce());
}

#[test]
fn settings_answer_questions_about_themselves() {
    assert!(settings().may_use(GrantType::RefreshToken) && !settings().may_use(GrantType::ClientCredentials));
    assert!(!settings().is_native());
    assert!(ApplicationSettings { application_type: ApplicationType::Native, ..settings() }.is_native());
}

#[test]
fn names_on_the_wire_are_read_back() {
    for grant_type in GrantType::ALL {
        assert_eq!(GrantType::parse(grant_type.as_str()), Some(*grant_type));
    }
    assert_eq!(GrantType::parse("password"), None);
    for client_type in [ClientType::Confidential, ClientType::Public] {
        assert_eq!(ClientType::parse(client_type.as_str()), Some(client_type));
    }
    assert_eq!(ClientType::parse("Public"), None);
}

#[test]
fn events_without_a_beginning_are_survived() {
    let settings = settings();
    let events = vec![
        ApplicationEvent::ApplicationUpdated { settings, at: at(0) },
        ApplicationEvent::SecretRotated { secret: secret("second"), retired: None, at: at(0) },
        deleted(),
    ];
    assert!(!state::<Application>(events).is_usable());
}

proptest! {
    /// A secret belongs to a confidential application that lives, and to no other.
    #[test]
    fn no_order_of_commands_breaks_the_rules(
        is_public in any::<bool>(),
        steps in proptest::collection::vec(0..7_usize, 0..30),
    ) {
        let first = if is_public { register(public(), None) } else { register(settings(), Some(secret("first"))) };
        let mut commands = vec![first, update(public())];
        commands.extend(other_commands());
        let mut state = Application::default();
        for step in steps {
            for event in state.decide(commands[step].clone()).unwrap_or_default() {
                state.apply_event(event);
            }
            let keeps_secret = state.client_id().is_some() && !is_public && !state.is_deleted();
            prop_assert_eq!(state.secret().is_some(), keeps_secret);
        }
    }
}
