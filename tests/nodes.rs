//! Do many processes on one database tell the same? (DESIGN, "Across nodes")

use std::time::{Duration, Instant};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::harness::prepared::PASSWORD;
use crate::harness::{App, Browser, Registration, Server, expect_dead, expect_token_error, on_both_engines};

const NEW_PASSWORD: &str = "a quite different phrase 7";

pub fn at(server: &Server, app: &App) -> App {
    App { base: server.base.clone(), ..app.clone() }
}

/// What a node's journal counts, as it is shown to operators.
pub fn metrics(server: &Server) -> String {
    let (mut text, mut registry) = (String::new(), Registry::default());
    server.state().journal.metrics().register(&mut registry);
    encode(&mut text, &registry).unwrap();
    text
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

/// By whichever page something ends: on no node does it go on, also when somebody ends it a second time.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_ends_is_over_on_every_node() {
    on_both_engines(async |one| {
        let two = one.sibling().await;
        let (ada, app) = one.ada_and_app().await;
        let there = at(&two, &app);
        let path = format!("/o/applications/{}/update/", app.client_id);
        let whole = ada.get(&path).await.is(200).form(&path);
        let less = whole.clone().without("scope.write");
        let scope_there = async |token: &str| there.introspect(token).send().await.text("scope");
        for _ in 0..5 {
            let tokens = ada.tokens(&app).await;
            assert_eq!(scope_there(&tokens.access).await, "read write");
            let (first, second) = (ada.clone(), less.clone());
            let first = tokio::spawn(async move { first.submit(&second).await.is(303) });
            ada.submit(&less).await.is(303);
            assert_eq!(scope_there(&tokens.access).await, "read");
            first.await.unwrap();
            ada.submit(&whole).await.is(303);
        }

        let cookie = |browser: &Browser| format!("chancery={}", browser.cookie("chancery").unwrap());
        let ada_there = Browser::new(&two.base);
        ada_there.set_cookie(&cookie(&ada));
        assert!(ada_there.is_logged_in().await);
        let elsewhere = one.user("ada").await;
        let elsewhere_there = Browser::new(&two.base);
        elsewhere_there.set_cookie(&cookie(&elsewhere));
        assert!(elsewhere_there.is_logged_in().await);
        // The session in which it is changed goes on, under another name; every other ends.
        let change = ada.get("/admin/password_change/").await.form("/admin/password_change/");
        let change = change.set("old_password", PASSWORD);
        let change = change.set("new_password1", NEW_PASSWORD).set("new_password2", NEW_PASSWORD);
        ada.submit(&change).await.is(303);
        assert!(!elsewhere_there.is_logged_in().await);
        assert!(!ada_there.is_logged_in().await || ada.cookies() == ada_there.cookies());

        ada_there.set_cookie(&cookie(&ada));
        assert!(ada_there.is_logged_in().await);
        let form = ada.get("/admin/logout/").await.form("/admin/logout/");
        ada.submit(&form).await.is(303);
        assert!(!ada_there.is_logged_in().await);
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

/// What can be read and not written may be an old primary that another one has replaced: nobody answers from memory
/// by it. Where nothing replaces a database, a disk that is full is no reason to be silent.
#[tokio::test(flavor = "multi_thread")]
async fn who_can_only_read_answers_from_memory_where_nothing_replaces_the_database() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let tokens = ada.tokens(&app).await;
        assert!(app.sees_active(&tokens.access).await);
        let engine = server.state().journal.engine();
        let may_be_replaced = engine.may_be_replaced();
        let refuse: &[&str] = if may_be_replaced {
            &[
                "CREATE FUNCTION refuse() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''full''; END' LANGUAGE plpgsql",
                "CREATE TRIGGER refuse BEFORE UPDATE ON nodes FOR EACH ROW EXECUTE FUNCTION refuse()",
            ]
        } else {
            &["CREATE TRIGGER refuse BEFORE UPDATE ON nodes BEGIN SELECT RAISE(ABORT, 'full'); END"]
        };
        for sql in refuse {
            engine.execute(sql, &[]).await.unwrap();
        }
        // Longer than two signs of life are apart, and a lease lasts.
        let begun = Instant::now();
        let mut sure = 0;
        while begun.elapsed() < Duration::from_secs(8) {
            if app.introspect(&tokens.access).send().await.status == 200 {
                sure += 1;
            } else if may_be_replaced {
                return;
            } else {
                sure = 0;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(sure > 0, "it does not answer any more");
        assert!(!may_be_replaced, "it still answers by what it cannot write to");
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

/// F19: a cold node that many ask for the same token asks the database once.
#[tokio::test(flavor = "multi_thread")]
async fn f19_who_comes_to_a_cold_node_with_others_waits_for_one_read() {
    on_both_engines(async |one| {
        let (ada, app) = one.ada_and_app().await;
        let token = ada.tokens(&app).await.access;
        let two = one.sibling().await;
        let there = at(&two, &app);
        let mut herd = tokio::task::JoinSet::new();
        for _ in 0..64 {
            herd.spawn(there.sees_active(&token));
        }
        assert!(herd.join_all().await.into_iter().all(|is_active| is_active));
        let metrics = metrics(&two);
        let read = metrics.lines().find(|line| line.contains("tokens") && line.contains("database"));
        assert!(read.is_some_and(|line| line.ends_with(" 1")), "{read:?} in {metrics}");
    })
    .await;
}
