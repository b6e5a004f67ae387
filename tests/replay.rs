//! Can read models be made anew while the server goes on? (invariants 6 and 10)

mod readers;
mod versions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aggregates::refusal::{Refusal, RefusalCommand, RefusedRequest, Rule};
use chancery::commands::{Actor, Origin, Stream};
use chancery::journal::replay::{Replay, find_projection};
use chancery::journal::verify::verify;
use chancery::journal::{Engine, EngineError};
use chancery::secret::new_id;
use projections::row::Value;

use crate::harness::process::free_port;
use crate::harness::server::on_both_engines_with;
use crate::harness::{App, Process, Registration, Request, Server, Setup, on_both_engines};

async fn execute(engine: &dyn Engine, sql: &str) {
    engine.execute(sql, &[]).await.unwrap();
}

async fn replay(engine: &dyn Engine, names: &[&str]) -> chancery::journal::replay::Replayed {
    let chosen = names.iter().map(|name| find_projection(name).unwrap()).collect();
    Replay::new(chosen).run(engine, &|_, _| {}).await.unwrap()
}

/// An application, a person's tokens, and a client's.
async fn some_history(server: &Server) -> (crate::harness::Browser, App, crate::harness::Tokens) {
    let (ada, app) = server.ada_and_app().await;
    let tokens = ada.tokens(&app).await;
    let machine = ada.register(&Registration::machine()).await;
    machine.client_credentials().send().await.is(200);
    (ada, app, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rebuilt_is_what_was_there_and_the_server_goes_on() {
    on_both_engines(async |server| {
        let (ada, app, tokens) = some_history(&server).await;
        let engine = server.state().journal.engine();
        for _ in 0..3 {
            let replayed = replay(engine, &[]).await;
            assert_eq!(replayed.repaired, Some(0));
            assert_eq!(replayed.events, engine.head().await.unwrap().position);
            verify(engine, &|_, _| {}).await.unwrap();
            // Writing and reading go on at once, on the new tables.
            assert!(app.sees_active(&tokens.access).await);
            let more = ada.tokens(&app).await;
            app.revoke(&more.access).send().await.is(200);
            assert!(!app.sees_active(&more.access).await);
            ada.get("/o/applications/").await.is(200).shows("Reports");
        }
        verify(engine, &|_, _| {}).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_does_not_follow_from_events_is_put_right() {
    on_both_engines(async |server| {
        let (ada, app, tokens) = some_history(&server).await;
        let engine = server.state().journal.engine();
        execute(engine, "UPDATE applications SET name = 'Forged'").await;
        execute(engine, "DELETE FROM tokens").await;
        assert!(verify(engine, &|_, _| {}).await.is_err());
        let replayed = replay(engine, &["applications", "tokens"]).await;
        assert!(replayed.repaired.unwrap() >= 5, "{replayed:?}");
        verify(engine, &|_, _| {}).await.unwrap();
        assert!(app.sees_active(&tokens.access).await);
        ada.get(&format!("/o/applications/{}/", app.client_id)).await.is(200).shows("Reports");
    })
    .await;
}

/// Under load, again and again: nobody is refused, and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_under_load_fails_no_request() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let machine = ada.register(&Registration::machine()).await;
        let stop = Arc::new(AtomicBool::new(false));
        let mut load = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (machine, stop) = (machine.clone(), Arc::clone(&stop));
            load.spawn(async move {
                let mut issued = 0;
                while !stop.load(Ordering::Relaxed) {
                    let token = machine.client_credentials().send().await.is(200).text("access_token");
                    assert!(machine.sees_active(&token).await);
                    issued += 1;
                }
                issued
            });
        }
        let engine = server.state().journal.engine();
        let epoch = engine.head().await.unwrap().epoch;
        for _ in 0..3 {
            // As the command does it: for the server's own engine a comparison of all rows may take too long.
            let cli = server.cli();
            let replayed = tokio::task::spawn_blocking(move || cli.run(&["replay"])).await.unwrap();
            assert_eq!(replayed.code, 0, "{}", replayed.stderr);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stop.store(true, Ordering::Relaxed);
        let issued: i64 = load.join_all().await.into_iter().sum();
        assert!(issued > 20, "there was load: {issued}");
        assert_eq!(engine.head().await.unwrap().epoch, epoch + 3);
        verify(engine, &|_, _| {}).await.unwrap();
    })
    .await;
}

/// Dropped in the middle it goes on where it was, not from the beginning and not with a hole.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_replay_is_taken_up_where_it_was() {
    on_both_engines(async |server| {
        // Three pages of the log.
        a_long_history(&server, 12_000).await;
        let engine = server.state().journal.engine();
        let head = engine.head().await.unwrap().position;
        let interrupted = Replay::new(Vec::new());
        let gone = tokio::sync::Notify::new();
        let progress = |done, total| {
            if (1..total).contains(&done) {
                gone.notify_one();
            }
        };
        tokio::select! {
            biased;
            () = gone.notified() => {}
            _ = interrupted.run(engine, &progress) => panic!("it was to be interrupted"),
        }
        // The call under way when it was interrupted may still be done meanwhile.
        let replayed = Replay::new(Vec::new()).run(engine, &|_, _| {}).await.unwrap();
        assert!((1..head).contains(&replayed.resumed_at), "{replayed:?} of {head}");
        assert_eq!(replayed.events, engine.head().await.unwrap().position);
        verify(engine, &|_, _| {}).await.unwrap();
    })
    .await;
}

/// So many refusals, as many at a time as make large batches: a history of several pages.
async fn a_long_history(server: &Server, events: usize) {
    let state = server.state();
    let origin = Origin::internal(Actor::Server, &state.clock);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32 {
        let (state, origin) = (state.clone(), origin.clone());
        tasks.spawn(async move {
            for number in 0..events / 32 {
                let refused = RefusedRequest {
                    rule: Rule::WrongSecret,
                    endpoint: "token".to_owned(),
                    error: Some("invalid_client".to_owned()),
                    client_id: None,
                    subject: None,
                    authorization_id: None,
                    token_id: None,
                    correlation_id: format!("{task}-{number}"),
                };
                let command = RefusalCommand::RecordRefusal { refused, at: state.clock.now() };
                let stream = Stream::Fresh(new_id(state.clock.now()));
                state.commands.execute::<Refusal>(stream, command, &origin).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

/// The last event that a replay under way, or interrupted, has taken.
pub async fn taken(engine: &dyn Engine) -> i64 {
    let sql = "SELECT max(position) FROM checkpoints WHERE projection LIKE 'replay %'";
    match engine.query(sql, &[]).await.unwrap().pop().unwrap().pop() {
        // Below it only its tables are there.
        Some(Value::Int(position)) => position.max(0),
        _ => 0,
    }
}

/// The same of the program: killed by the system, and started again by an operator.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_is_taken_up_by_the_next() {
    on_both_engines(async |server| {
        some_history(&server).await;
        a_long_history(&server, 24_000).await;
        let engine = server.state().journal.engine();
        let head = engine.head().await.unwrap().position;
        let mut killed = server.cli().command(&["replay", "--json"]).spawn().unwrap();
        while taken(engine).await == 0 {
            assert!(killed.try_wait().unwrap().is_none(), "it ended before it had begun");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // On Unix this is SIGKILL.
        killed.kill().unwrap();
        let output = tokio::task::spawn_blocking(move || killed.wait_with_output().unwrap()).await.unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        let interrupted = taken(engine).await;
        assert!((1..head).contains(&interrupted), "killed at {interrupted} of {head}");
        // How far it was is told to whoever waits, a line of JSON each.
        let told = String::from_utf8(output.stderr).unwrap();
        let line: serde_json::Value = serde_json::from_str(told.lines().next().unwrap()).unwrap();
        assert_eq!(line["replaying"]["total"], head, "{told}");
        // Nothing of it shows: the live tables are what they were.
        verify(engine, &|_, _| {}).await.unwrap();
        let resumed = server.run(&["replay", "--json"]).await.succeeded();
        let said = resumed.json();
        assert!(said["resumed_at"].as_i64().unwrap() >= interrupted, "{said}");
        assert_eq!(
            (said["events"].as_i64(), said["repaired_rows"].as_i64()),
            (Some(head), Some(0)),
            "{said}"
        );
        let line: serde_json::Value = serde_json::from_str(resumed.stderr.lines().next().unwrap()).unwrap();
        assert!(line["replaying"]["done"].as_i64().unwrap() >= interrupted, "{resumed:?}");
        assert_eq!(taken(engine).await, 0, "nothing is left of it");
        server.run(&["verify"]).await.succeeded();
        let again = server.run(&["replay"]).await.succeeded();
        assert!(again.stderr.contains(&format!("replaying: 0 of {head} events")), "{again:?}");
        assert!(!again.stderr.contains("taken up"), "{again:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invariant_10_a_replay_never_ends_early_with_success() {
    on_both_engines(async |server| {
        some_history(&server).await;
        let engine = server.state().journal.engine();
        let head = engine.head().await.unwrap().position;
        for (damage, mended) in [
            ("UPDATE lanes SET head = head + 1", "UPDATE lanes SET head = head - 1"),
            (
                "UPDATE batches SET event_count = event_count + 1 WHERE first_position = 1",
                "UPDATE batches SET event_count = event_count - 1 WHERE first_position = 1",
            ),
        ] {
            execute(engine, damage).await;
            let ended = Replay::new(Vec::new()).run(engine, &|_, _| {}).await;
            assert!(matches!(ended, Err(EngineError::Damaged(_))), "{damage}: {ended:?}");
            execute(engine, mended).await;
            execute(engine, "DELETE FROM checkpoints WHERE projection LIKE 'replay%'").await;
        }
        // The end of the log is missing, and the live tables still are what they were.
        let last = engine.batches_after(head - 2, 10).await.unwrap().pop().unwrap();
        let gone = [Value::from(last.first)];
        engine
            .execute("UPDATE batches SET first_position = -1 WHERE first_position = $1", &gone)
            .await
            .unwrap();
        let ended = Replay::new(Vec::new()).run(engine, &|_, _| {}).await;
        assert!(ended.is_err(), "{ended:?}");
        engine
            .execute("UPDATE batches SET first_position = $1 WHERE first_position = -1", &gone)
            .await
            .unwrap();
        verify(engine, &|_, _| {}).await.unwrap();
        assert_eq!(replay(engine, &[]).await.events, head);
    })
    .await;
}

/// The line of a log for machines that says this, for this reason.
async fn logged(process: &Process, message: &str, reason: &str) -> serde_json::Value {
    for _ in 0..200 {
        let log = process.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let is_it = |line: &serde_json::Value| {
            line["message"] == message && line["reason"].as_str().is_some_and(|why| why.contains(reason))
        };
        if let Some(line) = lines.find(is_it) {
            return line;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing says {message:?} for {reason:?}: {}", process.log());
}

/// An event that cannot be read stops the read model that follows, is named, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_event_stops_only_its_projection_and_is_named() {
    let operators = |setup: Setup| setup.set("metrics-listen", "127.0.0.1:0");
    on_both_engines_with(operators, async |server| {
        let (_, app, tokens) = some_history(&server).await;
        let engine = server.state().journal.engine();
        server.state().journal.hurry_projections();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let position = engine.head().await.unwrap().position + 1;
        // It is written, and before the timeline takes it somebody damages it.
        execute(engine, "UPDATE checkpoints SET position = position - 1 WHERE projection = 'timeline'").await;
        let last = "(SELECT batch FROM batches ORDER BY first_position DESC LIMIT 1)";
        let damage = format!("UPDATE events SET payload = '{{\"at\": 7}}' WHERE batch = {last}");
        execute(engine, &damage).await;
        let outcome = server.run(&["readmodels"]).await;
        assert_eq!(outcome.code, 1, "{outcome:?}");
        assert!(outcome.stdout.contains(&format!("event at position {}", position - 1)), "{outcome:?}");
        let more = app.refresh(&tokens.refresh).send().await.is(200);
        assert!(app.sees_active(&more.text("access_token")).await);
        let admin = server.user("admin").await;
        assert!(admin.get("/").await.body.contains("href=\"/admin/read-models/\""));
        let page = admin.get("/admin/read-models/").await.is(200);
        let page = page.shows("Stands still").shows("event at position");
        // The damaged event, and everything behind it.
        let lag = engine.head().await.unwrap().position - (position - 2);
        let (_, row) = page.body.split_once(">timeline</th>").unwrap();
        let row = row.split("</tr>").next().unwrap();
        let cell = format!("data-label=\"Yet to take\" class=\"number\">{lag}</td>");
        assert!(row.contains(&cell), "{lag}: {row}");
        let ada = server.user("ada").await;
        assert!(!ada.get("/").await.body.contains("/admin/read-models/"));
        ada.get("/admin/read-models/").await.is(403);
        // Whoever reads the log is told at which event, and what to do first: here that of a node beside it.
        let arguments = ["--issuer", &server.base, "--log-format", "json"];
        let beside = Process::start_with(&server.cli(), &server.directory, free_port(), &arguments).await;
        let reason = format!("event at position {}:", position - 1);
        let line = logged(&beside, "a projection stands still", &reason).await;
        assert!(line["level"] == "ERROR" && line["projection"] == "timeline", "{line}");
        assert!(line["what_to_do"].as_str().unwrap().contains("`chancery verify`"), "{line}");
        // What an alarm is made of.
        let shown =
            Request::new(&server.client, "GET", format!("{}/metrics", server.metrics())).send().await.body;
        let value = |name: &str| {
            let line = format!("chancery_{name}{{projection=\"timeline\"}} ");
            let value = shown.lines().find_map(|shown| shown.strip_prefix(&line));
            value.unwrap_or_else(|| panic!("{line}: {shown}")).parse::<i64>().unwrap()
        };
        assert_eq!(value("projection_stopped"), 1);
        assert!(
            shown.contains("\nchancery_journal_unreadable_total 1\n"),
            "once, and not at every try: {shown}"
        );
        assert!(value("projection_lag_events") > 0);
    })
    .await;
}
