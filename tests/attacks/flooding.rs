//! Can one person fill the log, or keep every node busy, at little cost? (RFC 6819 §4.4.1.11)

use aggregates::application::Provenance;
use chancery::commands::{Actor, Origin};
use chancery::registration::{self, Bounds, RawApplication};
use projections::applications::TABLE;

use crate::harness::{Registration, Server, expect_token_error, on_both_engines};

/// Refusals of one grant by one rule that are kept in an hour, and no more than a few.
const KEPT: i64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_code_or_refresh_token_does_not_fill_the_log() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let events = || server.state().journal.applied();
        for registration in [Registration::public(), Registration::confidential()] {
            let app = ada.register(&registration).await;
            let code = ada.allow(&app.query()).await.code();
            let tokens = app.redeem(&code).send().await.is(200);
            // The first replay ends the authorization.
            expect_token_error(&app.redeem(&code).send().await, "invalid_grant");
            let before = events();
            for _ in 0..60 {
                expect_token_error(&app.redeem(&code).send().await, "invalid_grant");
                expect_token_error(&app.refresh(&tokens.text("refresh_token")).send().await, "invalid_grant");
            }
            let written = events() - before;
            assert!((1..=2 * KEPT).contains(&written), "{written} events for 120 refused requests");
            // What is news is kept.
            let other = ada.allow(&app.query()).await.code();
            app.redeem(&other).send().await.is(200);
            let before = events();
            expect_token_error(&app.redeem(&other).send().await, "invalid_grant");
            assert!(events() - before >= 2, "a revocation and a refusal");
            // An hour later the first few are kept again.
            server.advance(3_600);
            let before = events();
            expect_token_error(&app.redeem(&code).send().await, "invalid_grant");
            assert_eq!(events() - before, 1);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_answered_again_and_again_does_not_fill_the_log() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let form = ada.consent(&app.query()).await.press("Authorize");
    ada.submit(&form).await.is(303);
    let before = server.state().journal.applied();
    for _ in 0..30 {
        assert_eq!(ada.submit(&form).await.status, 400);
    }
    let written = server.state().journal.applied() - before;
    assert!((1..=KEPT).contains(&written), "{written} events for 30 refused requests");
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_are_counted_anew_only_when_an_application_changed() {
    on_both_engines(async |server| {
        let changes = || server.state().journal.memory().changes(&TABLE);
        let allowed = async |origin: &str| {
            let preflight = server.request("OPTIONS", "/o/token/").header("origin", origin);
            let answer = preflight.header("access-control-request-method", "POST").send().await;
            answer.header("access-control-allow-origin").map(str::to_owned)
        };
        let (ada, app) = server.ada_and_app().await;
        assert_eq!(allowed("https://app.example").await.as_deref(), Some("https://app.example"));
        let before = changes();
        ada.tokens(&app).await;
        server.user("bob").await;
        expect_token_error(&app.redeem("cheese").send().await, "invalid_grant");
        assert_eq!(changes(), before, "nothing of this concerns an application");
        // What changed is known at once.
        assert_eq!(allowed("https://spa.example").await, None);
        let spa = ada.register(&Registration::machine().set("allowed_origins", "https://spa.example")).await;
        assert!(changes() > before);
        assert_eq!(allowed("https://spa.example").await.as_deref(), Some("https://spa.example"));
        ada.confirm(&spa, "disable").await.is(303);
        assert_eq!(allowed("https://other.example").await, None);
        assert_eq!(allowed("https://spa.example").await, None);
    })
    .await;
}

/// As many applications of this subject as one person may have.
async fn fill(server: &Server, subject: &str) {
    let state = server.state();
    let origin = Origin::internal(Actor::Operator, &state.clock);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..registration::MOST_OF_AN_OWNER {
        let raw = RawApplication {
            client_id: format!("many-{number}"),
            hash_client_secret: true,
            client_type: "public".to_owned(),
            authorization_grant_type: "authorization-code".to_owned(),
            redirect_uris: "https://app.example/cb".to_owned(),
            scopes: vec!["read".to_owned()],
            ..RawApplication::default()
        };
        let read = registration::read_registration(&raw, None, Bounds::of(state, false)).unwrap();
        let (state, origin, owner) = (state.clone(), origin.clone(), subject.to_owned());
        tasks.spawn(async move {
            registration::register(&state, read, Some(owner), Provenance::Form, &origin).await.unwrap();
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_registers_a_thousand_applications_at_most() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let owner = projections::applications::find_application(&server.state().journal, &app.client_id).await;
    fill(&server, &owner.unwrap().unwrap().owner.unwrap()).await;
    let (refused, _) = ada.try_register(&Registration::confidential()).await;
    refused.is(200).shows("which is the most one person may have");
    // She goes on with those she has, and others are not concerned.
    ada.allow(&app.query()).await.code();
    server.user("bob").await.register(&Registration::confidential()).await;
    ada.confirm(&app, "delete").await.is(303);
    let (refused, _) = ada.try_register(&Registration::confidential()).await;
    refused.is(200).shows("which is the most one person may have");
    let page = ada.get("/o/applications/many-7/delete/").await.is(200).form("/o/applications/many-7/delete/");
    ada.submit(&page).await.is(303);
    ada.register(&Registration::confidential()).await;
}
