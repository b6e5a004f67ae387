//! Do many processes on one database tell the same? (DESIGN, "Across nodes")

use std::time::Duration;

use crate::harness::{App, Registration, Server, expect_dead, expect_token_error, on_both_engines};

fn at(server: &Server, app: &App) -> App {
    App { base: server.base.clone(), ..app.clone() }
}

/// Whoever was told that something is over can rely on it at once, on every node.
#[tokio::test(flavor = "multi_thread")]
async fn invariant_13_after_a_revocation_no_node_says_active() {
    on_both_engines(async |one| {
        let (two, three) = (one.sibling().await, one.sibling().await);
        let (ada, app) = one.ada_and_app().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let others = [at(&two, &app), at(&three, &app)];
        for round in 0..20 {
            let tokens = ada.tokens(&app).await;
            // A warm token: each node remembers that it lives.
            for other in &others {
                assert!(other.sees_active(&tokens.access).await);
            }
            let revoked = if round % 2 == 0 { &tokens.access } else { &tokens.refresh };
            others[round % 2].revoke(revoked).send().await.is(200);
            for other in &others {
                expect_dead(&other.introspect(&tokens.access).send().await);
            }
            assert_eq!(one.resource(&tokens.access).await.status, 401);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_ends_is_over_on_every_node() {
    on_both_engines(async |one| {
        let two = one.sibling().await;
        let (ada, app) = one.ada_and_app().await;
        let machine = ada.register(&Registration::machine()).await;
        let tokens = ada.tokens(&app).await;
        let own = machine.client_credentials().send().await.text("access_token");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let cli = one.cli();
        let end = async |arguments: &[&str]| {
            let (cli, arguments) =
                (cli.clone(), arguments.iter().map(ToString::to_string).collect::<Vec<_>>());
            let run = move || cli.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).succeeded();
            tokio::task::spawn_blocking(run).await.unwrap();
        };
        assert_eq!(two.resource(&tokens.access).await.status, 200);
        assert_eq!(two.resource(&own).await.status, 200);
        // Another process of its own; nothing is waited for but its end.
        end(&["disableapplication", &machine.client_id]).await;
        assert_eq!(two.resource(&own).await.status, 401);
        assert_eq!(at(&two, &machine).client_credentials().send().await.status, 401);
        end(&["lockuser", "ada"]).await;
        assert_eq!(two.resource(&tokens.access).await.status, 401);
        expect_token_error(&at(&two, &app).refresh(&tokens.refresh).send().await, "invalid_grant");
    })
    .await;
}

/// A node that has gone without a word is waited for as long as it could have answered, and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_died_delays_a_revocation_by_its_lease() {
    on_both_engines(async |one| {
        let two = one.sibling().await;
        let (ada, app) = one.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        drop(two);
        // Until the last of its tasks has seen it.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begun = tokio::time::Instant::now();
        app.revoke(&tokens.access).send().await.is(200);
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(3), "{took:?}");
        expect_dead(&app.introspect(&tokens.access).send().await);
    })
    .await;
}

/// Who ends what has ended already is told so when every node knows, and not before: the first may still
/// be waiting for them, and rotation waits for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_already_is_over_on_every_node_when_somebody_is_told_so() {
    on_both_engines(async |one| {
        let two = one.sibling().await;
        let (ada, app) = one.ada_and_app().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let other = at(&two, &app);
        for _ in 0..10 {
            let tokens = ada.tokens(&app).await;
            assert!(other.sees_active(&tokens.access).await);
            app.refresh(&tokens.refresh).send().await.is(200);
            app.revoke(&tokens.access).send().await.is(200);
            expect_dead(&other.introspect(&tokens.access).send().await);

            let tokens = ada.tokens(&app).await;
            assert!(other.sees_active(&tokens.access).await);
            let (first, second) = (app.revoke(&tokens.access), app.revoke(&tokens.access));
            let first = tokio::spawn(async move { first.send().await.is(200) });
            second.send().await.is(200);
            expect_dead(&other.introspect(&tokens.access).send().await);
            first.await.unwrap();
        }
    })
    .await;
}

/// One that stops says so: nobody waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stopped_is_not_waited_for() {
    on_both_engines(async |one| {
        let two = one.sibling().await;
        let (ada, app) = one.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        two.stop().await;
        let begun = tokio::time::Instant::now();
        app.revoke(&tokens.access).send().await.is(200);
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(900), "{took:?}");
    })
    .await;
}

/// A balancer sends the next request elsewhere: what one node has acknowledged, the others know.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_registered_every_node_knows_at_once() {
    on_both_engines(async |one| {
        let two = one.sibling().await;
        let ada = one.user("ada").await;
        for _ in 0..20 {
            let mut app = ada.register(&Registration::machine()).await;
            let token = app.client_credentials().send().await.is(200).text("access_token");
            assert_eq!(two.resource(&token).await.status, 200);
            app.base.clone_from(&two.base);
            app.client_credentials().send().await.is(200);
        }
    })
    .await;
}

/// With no lease at all nothing remembered is told: each request asks the database.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_lease_every_answer_is_asked_for() {
    let setup = crate::harness::Setup::new(crate::harness::Engine::Postgres).set("lease", "0");
    let one = setup.start().await;
    let two = one.sibling().await;
    let (ada, app) = one.ada_and_app().await;
    for _ in 0..20 {
        let tokens = ada.tokens(&app).await;
        assert_eq!(two.resource(&tokens.access).await.status, 200);
        app.revoke(&tokens.access).send().await.is(200);
        assert_eq!(two.resource(&tokens.access).await.status, 401);
    }
}
