//! Can a load balancer and an operator see how the server is? And can nobody take more than a share?

use std::time::Duration;

use crate::harness::{Engine, Registration, Request, Setup, expect_dead, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_work_is_alive_and_ready() {
    on_both_engines(async |server| {
        let alive = server.get("/healthz").await.is(200);
        assert_eq!(alive.body, r#"{"alive": true}"#);
        assert_eq!(alive.header("cache-control"), Some("no-store"));
        assert_eq!(server.get("/readyz").await.is(200).body, r#"{"ready": true}"#);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_database_is_alive_and_says_why_it_is_not_ready() {
    let mut server = Setup::new(Engine::Postgres).start().await;
    let (ada, app) = server.ada_and_app().await;
    let (tokens, revoked) = (ada.tokens(&app).await, ada.tokens(&app).await);
    assert!(app.sees_active(&tokens.access).await);
    app.revoke(&revoked.access).send().await.is(200);
    server.lose_database();
    // The lease runs out within a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;

    server.get("/healthz").await.is(200);
    let ready = server.get("/readyz").await.is(503).json();
    assert_eq!(ready["ready"], false);
    assert!(ready["reason"].as_str().unwrap().starts_with("the database does not answer"), "{ready}");
    assert!(ready["what_to_do"].as_str().unwrap().starts_with("See whether the database runs"), "{ready}");
    // Nothing is said to live, what is dead is said to be dead, and nobody's credentials are blamed.
    let alive = app.introspect(&tokens.access).send().await.is(503);
    assert_eq!(alive.header("retry-after"), Some("1"));
    assert_eq!(alive.error(), "temporarily_unavailable");
    assert_eq!(server.resource(&tokens.access).await.status, 503);
    expect_dead(&app.introspect(&revoked.access).send().await);
    expect_dead(&app.introspect("cheese").send().await);
    assert_eq!(server.resource("cheese").await.status, 401);
    assert_eq!(app.refresh(&tokens.refresh).send().await.is(503).error(), "temporarily_unavailable");
    ada.get("/o/applications/").await.is(503).shows("Not available at the moment");
    server.get("/static/style.css").await.is(200);
    server.get("/.well-known/oauth-authorization-server").await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_says_so_before_it_closes_its_door() {
    let server = Setup::new(Engine::Sqlite).set("drain-delay", "1s").start().await;
    let (base, client) = (server.base.clone(), server.client.clone());
    let ask = |path: &str| Request::new(&client, "GET", format!("{base}{path}"));
    ask("/readyz").send().await.is(200);
    let stopping = tokio::spawn(server.stop());
    let told = async {
        loop {
            let answer = ask("/readyz").send().await;
            if answer.status == 503 {
                return answer;
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_millis(900), told).await.unwrap();
    assert_eq!(told.json()["reason"], "the server is stopping");
    ask("/o/applications/").send().await.is(302);
    stopping.await.unwrap();
    assert!(ask("/readyz").try_send().await.is_err(), "it has stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_shown_to_operators_alone() {
    let server = Setup::new(Engine::Sqlite).set("metrics-listen", "127.0.0.1:0").start().await;
    let (ada, app) = server.ada_and_app().await;
    let tokens = ada.tokens(&app).await;
    app.sees_active(&tokens.access).await;
    app.revoke(&tokens.access).send().await.is(200);
    server.get("/o/noexist/").await.is(404);
    server.get("/metrics").await.is(404);
    // The timeline gathers for 200 ms.
    tokio::time::sleep(Duration::from_millis(400)).await;
    let shown = Request::new(&server.client, "GET", format!("{}/metrics", server.metrics())).send().await;
    let text = shown.clone().is(200).body;
    assert!(shown.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(left, _)| left == name));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let answers = "chancery_http_answers_total{route=\"/o/token/\",method=\"POST\",status=\"200\"}";
    assert!((value(answers) - 1.0).abs() < f64::EPSILON);
    assert!(value("chancery_http_answers_total{route=\"other\",method=\"GET\",status=\"404\"}") >= 1.0);
    assert!(value("chancery_journal_commands_total") >= 4.0);
    assert!(value("chancery_journal_commit_seconds_count") >= 4.0);
    assert!(value("chancery_journal_batch_size_count") >= 4.0);
    assert!(value("chancery_journal_spread_seconds_count") >= 1.0);
    assert!(value("chancery_journal_lookups_total{table=\"applications\",found_in=\"memory\"}") >= 1.0);
    assert!(value("chancery_http_latency_seconds_count{route=\"/o/token/\"}") >= 1.0);
    assert!(value("chancery_commands_in_progress").abs() < f64::EPSILON, "all have ended");
    assert!(value("chancery_lease_age_seconds") < 1.0);
    assert!((value("chancery_ready") - 1.0).abs() < f64::EPSILON);
    assert!(text.contains("chancery_projection_lag_events{projection=\"timeline\"}"), "{text}");
    for secret in [&tokens.access, &tokens.refresh, &app.secret, &app.client_id] {
        assert!(!text.contains(secret.as_str()), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_comes_too_often_is_told_when_to_come_again() {
    let setup = Setup::new(Engine::Sqlite).set("trusted-proxies", "127.0.0.1");
    let server = setup.set("requests-per-address", "5").start().await;
    let from = |address: &str, path: &str| server.request("GET", path).header("x-forwarded-for", address);
    let mut told = None;
    for _ in 0..30 {
        let answer = from("192.0.2.1", "/admin/login/").send().await;
        if answer.status == 429 {
            told = Some(answer);
            break;
        }
    }
    let told = told.unwrap();
    assert!(told.body.starts_with("Too many requests"), "{told:#?}");
    assert_eq!(told.header("retry-after"), Some("1"));
    let api = from("192.0.2.1", "/resource").send().await.is(429);
    assert_eq!((api.error().as_str(), api.header("retry-after")), ("temporarily_unavailable", Some("1")));
    // Others are not affected.
    from("192.0.2.2", "/admin/login/").send().await.is(200);
    let own = Setup::new(Engine::Sqlite).set("requests-per-address", "5").start().await;
    for _ in 0..30 {
        own.get("/healthz").await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_too_often_is_told_when_to_come_again() {
    let server = Setup::new(Engine::Sqlite).set("requests-per-client", "5").start().await;
    let ada = server.user("ada").await;
    let machine = ada.register(&Registration::machine()).await;
    let other = ada.register(&Registration::machine()).await;
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(machine.client_credentials().send().await);
    }
    let told = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!((told.error().as_str(), told.header("retry-after")), ("temporarily_unavailable", Some("1")));
    other.client_credentials().send().await.is(200);
    // Whoever does not prove to be a client cannot use up its share.
    for _ in 0..30 {
        other.with_secret("cheese").client_credentials().send().await.is(401);
    }
    other.client_credentials().send().await.is(200);
}
