//! Can a load balancer and an operator see how the server is? And can nobody take more than a share?

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::harness::process::free_port;
use crate::harness::{
    Cli, Directory, Engine, Process, Registration, Request, Setup, expect_dead, on_both_engines, prepared,
};

/// More than find a place: one password is hashed, and thirty-two wait for it.
const GUESSES: usize = 200;
const PLACES: f64 = 33.0;

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
    let mut server = Setup::new(Engine::Postgres).set("metrics-listen", "127.0.0.1:0").start().await;
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
    assert!(server.shown_metrics().await.metric("chancery_ready") < 1.0);
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
    let setup = Setup::new(Engine::Sqlite).set("metrics-listen", "127.0.0.1:0");
    let server = setup.set("drain-delay", "1s").start().await;
    let (base, client) = (server.base.clone(), server.client.clone());
    let metrics = Request::new(&client, "GET", format!("{}/metrics", server.metrics()));
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
    assert!(metrics.send().await.is(200).metric("chancery_ready") < 1.0, "they say the same");
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
    let shown = server.shown_metrics().await;
    assert!(shown.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let (text, value) = (&shown.body, |name: &str| shown.metric(name));
    let answers = "chancery_http_answers_total{route=\"/o/token/\",method=\"POST\",status=\"200\"}";
    assert!((value(answers) - 1.0).abs() < f64::EPSILON);
    assert!(value("chancery_http_answers_total{route=\"other\",method=\"GET\",status=\"404\"}") >= 1.0);
    assert!(value("chancery_journal_commands_total") >= 4.0);
    assert!(value("chancery_journal_commit_seconds_count") >= 4.0);
    assert!(value("chancery_journal_batch_size_count") >= 4.0);
    assert!(value("chancery_journal_spread_seconds_count") >= 1.0);
    assert!(value("chancery_journal_lookups_total{table=\"applications\",found_in=\"memory\"}") >= 1.0);
    assert!(value("chancery_journal_loads_total{aggregate=\"authorization\",found_in=\"memory\"}") >= 1.0);
    assert!(value("chancery_http_latency_seconds_count{route=\"/o/token/\"}") >= 1.0);
    assert!(value("chancery_commands_in_progress").abs() < f64::EPSILON, "all have ended");
    assert!(value("chancery_lease_age_seconds") < 1.0);
    assert!((value("chancery_ready") - 1.0).abs() < f64::EPSILON);
    assert!(text.contains("chancery_projection_lag_events{projection=\"timeline\"}"), "{text}");
    for secret in [&tokens.access, &tokens.refresh, &app.secret, &app.client_id] {
        assert!(!text.contains(secret.as_str()), "{text}");
    }
    let guide = include_str!("../OPERATING.md");
    for (name, kind) in text.lines().filter_map(|line| line.strip_prefix("# TYPE chancery_")?.split_once(' '))
    {
        let ending = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let is_named = ['`', '{'].iter().any(|behind| guide.contains(&format!("`{name}{ending}{behind}")));
        assert!(is_named, "OPERATING.md has no {name}{ending}");
    }
}

/// On one node nobody follows what others write: what an event says is read when it is commanded, or not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_event_that_a_command_meets_on_one_node_is_counted() {
    let mut server = Setup::new(Engine::Sqlite).set("metrics-listen", "127.0.0.1:0").start().await;
    let (ada, app) = server.ada_and_app().await;
    let tokens = ada.tokens(&app).await;
    // The timeline takes it while it is whole.
    let is_behind = async || {
        let models = server.run(&["readmodels", "--json"]).await.succeeded().json();
        models.as_array().unwrap().iter().any(|model| model["lag"] != 0)
    };
    while is_behind().await {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let damage = "UPDATE events SET payload = '{\"at\": 7}' WHERE event_type = 'authorization.code_redeemed'";
    let file = rusqlite::Connection::open(server.directory.path().join("chancery.db")).unwrap();
    assert_eq!(file.execute(damage, []).unwrap(), 1);
    // Nor is it remembered.
    server.restart().await;
    let unreadable = async || server.shown_metrics().await.metric("chancery_journal_unreadable_total");
    assert!(unreadable().await < 1.0);
    assert_eq!(app.refresh(&tokens.refresh).send().await.is(500).error(), "server_error");
    assert!((unreadable().await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_comes_too_often_is_told_when_to_come_again() {
    let setup =
        Setup::new(Engine::Sqlite).set("trusted-proxies", "127.0.0.1").set("metrics-listen", "127.0.0.1:0");
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
    let shed = server.shown_metrics().await.metric("chancery_shed_total{limit=\"address\"}");
    assert!((shed - 2.0).abs() < f64::EPSILON, "{shed} turned away, of two");
    let own = Setup::new(Engine::Sqlite).set("requests-per-address", "5").start().await;
    for _ in 0..30 {
        own.get("/healthz").await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_networks_of_one_line_come_too_often_together() {
    let setup = Setup::new(Engine::Sqlite).set("trusted-proxies", "127.0.0.1");
    let server = setup.set("requests-per-address", "1").start().await;
    let from = |address: &str| server.request("GET", "/resource").header("x-forwarded-for", address);
    let mut told = 0;
    for network in 0..100 {
        let answer = from(&format!("2001:db8:1:{network:x}::1")).send().await;
        assert!(matches!(answer.status, 401 | 429), "{answer:#?}");
        told += usize::from(answer.status == 429);
    }
    // Three times what one network may, and what time has given it back.
    assert!(told >= 50, "{told} of 100");
    for other in ["192.0.2.1", "2001:db8:2::1"] {
        from(other).send().await.is(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_too_often_is_told_when_to_come_again() {
    let setup = Setup::new(Engine::Sqlite).set("metrics-listen", "127.0.0.1:0");
    let server = setup.set("requests-per-client", "5").start().await;
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
    assert!(server.shown_metrics().await.metric("chancery_shed_total{limit=\"client\"}") >= 1.0);
    // Whoever does not prove to be a client cannot use up its share.
    for _ in 0..30 {
        other.with_secret("cheese").client_credentials().send().await.is(401);
    }
    other.client_credentials().send().await.is(200);
}

/// A hash takes 20 ms and 19 MiB: what finds no place among those that wait is refused before it is hashed.
#[tokio::test(flavor = "multi_thread")]
async fn more_passwords_than_may_wait_are_told_when_to_come_again() {
    let setup =
        Setup::new(Engine::Sqlite).set("trusted-proxies", "127.0.0.1").set("metrics-listen", "127.0.0.1:0");
    let server = setup.set("argon2-concurrency", "1").start().await;
    let waiting = async || server.shown_metrics().await.metric("chancery_passwords_waiting");
    let browser = server.browser();
    let form = browser.get("/admin/login/").await.is(200).form("/admin/login/");
    let mut guessing = JoinSet::new();
    for number in 0..GUESSES {
        // Each for another name and from another address: nobody has to wait for having guessed before.
        let name = format!("nobody{number}");
        let form = form.clone().set("username", &name).set("password", "a guess of a password");
        let guess = browser.request("POST", &form.action).pairs(&form.fields);
        guessing.spawn(guess.header("x-forwarded-for", &format!("192.0.2.{number}")).send());
    }
    let (mut most, mut answers) = (0.0_f64, Vec::new());
    while !guessing.is_empty() {
        most = most.max(waiting().await);
        while let Some(answer) = guessing.try_join_next() {
            answers.push(answer.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!((2.0..=PLACES).contains(&most), "{most} waited");
    let (refused, hashed): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 503);
    assert!(!refused.is_empty(), "there was a place for all of {GUESSES}");
    let shed = server.shown_metrics().await.metric("chancery_shed_total{limit=\"argon2\"}");
    let counted = f64::from(u32::try_from(refused.len()).unwrap());
    assert!((shed - counted).abs() < f64::EPSILON, "{shed} counted, {counted} refused");
    for answer in refused {
        assert_eq!(answer.header("retry-after"), Some("1"), "{answer:#?}");
        answer.shows("Not available at the moment");
    }
    for answer in hashed {
        answer.is(200).shows("The name and the password do not belong together.");
    }
    // Whoever comes later finds a place.
    server.user("ada").await;
    assert!(waiting().await < 1.0, "all have been hashed");
}

/// Longer than between two signs of life, and than a lease.
const HELD: Duration = Duration::from_secs(6);

/// As where a disk stands still, or where a program has the file to itself: what is known is told, nothing is
/// acknowledged, nobody waits longer than the deadline, and the server can be stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_database_takes_no_writes_answers_in_time_and_can_be_stopped() {
    let home = Directory::copy_of(prepared::sqlite());
    let arguments = ["--database-deadline", "1s"];
    let mut server = Process::start_with(&Cli::at(home.path(), None), &home, free_port(), &arguments).await;
    let ada = server.browser();
    ada.login("ada").await;
    let app = ada.register(&Registration::machine()).await;
    let token = app.client_credentials().send().await.is(200).text("access_token");
    let holding = rusqlite::Connection::open(home.path().join("chancery.db")).unwrap();
    holding.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let held = Instant::now();
    let issuing = async {
        let mut longest = Duration::ZERO;
        while held.elapsed() < HELD {
            let asked = Instant::now();
            let refused = app.client_credentials().send().await.is(503);
            assert_eq!(refused.error(), "temporarily_unavailable");
            longest = longest.max(asked.elapsed());
        }
        longest
    };
    let asking = async {
        let mut longest = Duration::ZERO;
        while held.elapsed() < HELD {
            let asked = Instant::now();
            assert!(app.sees_active(&token).await, "it lives");
            Request::new(&app.client, "GET", format!("{}/readyz", app.base)).send().await.is(200);
            longest = longest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        longest
    };
    let (issued, asked) = tokio::join!(issuing, asking);
    println!("refused in {issued:?} at most, and told of what lives in {asked:?}");
    assert!(issued < Duration::from_secs(2), "{issued:?}");
    assert!(asked < Duration::from_secs(1), "{asked:?}");
    let stopping = Instant::now();
    assert_eq!(server.terminate_within(Duration::from_secs(5)).await, 0);
    println!("stopped in {:?}", stopping.elapsed());
    holding.execute_batch("ROLLBACK").unwrap();
}
