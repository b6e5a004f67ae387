//! Does a program touch nothing while the read models are another version's?

use std::time::Duration;

use aggregates::installation::{Installation, InstallationCommand};
use chancery::commands::{Actor, Origin, Stream};
use chancery::journal::Engine;
use chancery::journal::lease::list_registered;
use chancery::journal::verify::verify;
use projections::row::Value;

use super::{execute, replay, some_history};
use crate::harness::{App, on_both_engines};

async fn set_version_of_tokens(engine: &dyn Engine, version: i64) {
    let sql = "UPDATE read_models SET version = $1 WHERE projection = 'tokens'";
    engine.execute(sql, &[version.into()]).await.unwrap();
}

/// What a replay does in its last transaction.
async fn exchange_tokens(engine: &dyn Engine, version: i64) {
    set_version_of_tokens(engine, version).await;
    execute(engine, "UPDATE lanes SET projection_epoch = projection_epoch + 1").await;
}

/// A program whose read models are of another version must neither write into these tables nor answer.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_program_does_not_write_into_newer_tables() {
    on_both_engines(async |server| {
        let (_, app, tokens) = some_history(&server).await;
        let engine = server.state().journal.engine();
        let before = engine.head().await.unwrap().position;
        // By a newer program.
        exchange_tokens(engine, 2).await;
        app.refresh(&tokens.refresh).send().await.is(503);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let ready = server.get("/readyz").await.is(503);
        assert!(ready.text("reason").contains("the read model tokens is of version 2"), "{ready:#?}");
        app.introspect(&tokens.access).send().await.is(503);
        assert_eq!(engine.head().await.unwrap().position, before, "nothing was written");
        // When its last lease is over nobody waits for it.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        assert_eq!(list_registered(engine).await.unwrap(), []);
        // Nor does one that starts now.
        let cli = server.cli();
        let refused =
            tokio::task::spawn_blocking(move || cli.run(&["createuser", "--noinput"])).await.unwrap();
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains("the read model tokens is of version 2"), "{}", refused.stderr);
        // The newer one has its own words; here the old one makes its tables again.
        let mended = replay(engine, &[]).await;
        assert_eq!((mended.events, mended.repaired), (before, None));
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.get("/readyz").await.is(200);
        assert_eq!(list_registered(engine).await.unwrap().len(), 1);
        app.refresh(&tokens.refresh).send().await.is(200);
    })
    .await;
}

/// A read model that only a newer program knows: what an older one writes is missing in it.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_program_writes_nothing_beside_a_read_model_that_it_does_not_know() {
    on_both_engines(async |server| {
        let (_, app, tokens) = some_history(&server).await;
        let engine = server.state().journal.engine();
        let before = engine.head().await.unwrap().position;
        // As the replay of a newer program leaves it.
        execute(engine, "INSERT INTO read_models (projection, version) VALUES ('tomorrow', 1)").await;
        execute(engine, "UPDATE lanes SET projection_epoch = projection_epoch + 1").await;
        app.refresh(&tokens.refresh).send().await.is(503);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let ready = server.get("/readyz").await.is(503);
        assert!(ready.text("reason").contains("the read model tomorrow is of version 1"), "{ready:#?}");
        assert_eq!(engine.head().await.unwrap().position, before, "nothing was written");
        // Nor does one that starts now.
        let cli = server.cli();
        let refused = tokio::task::spawn_blocking(move || cli.run(&["lockuser", "bob"])).await.unwrap();
        refused.failed_about("the read model tomorrow is of version 1");
        // The way back: the newer one must make it anew before it goes by it again.
        replay(engine, &[]).await;
        let left = "SELECT projection FROM read_models WHERE projection = 'tomorrow'";
        assert_eq!(engine.query(left, &[]).await.unwrap(), [] as [Vec<Value>; 0]);
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.get("/readyz").await.is(200);
        app.refresh(&tokens.refresh).send().await.is(200);
    })
    .await;
}

/// A server that comes up before the replay which makes the read models its own: until then it is there, says
/// why it is not ready, writes nothing, and nobody waits for it. From then on the first request is served.
#[tokio::test(flavor = "multi_thread")]
async fn a_newer_server_waits_for_its_read_models() {
    on_both_engines(async |old| {
        let (_, app, tokens) = some_history(&old).await;
        let engine = old.state().journal.engine();
        let before = engine.head().await.unwrap().position;
        // To the new server the old one's tables are of another version.
        set_version_of_tokens(engine, 0).await;
        let new = old.sibling_with(|setup| setup.set("code-lifetime", "9m")).await;
        let there = App { base: new.base.clone(), ..app.clone() };
        new.get("/healthz").await.is(200);
        for _ in 0..3 {
            let ready = new.get("/readyz").await.is(503);
            assert!(ready.text("reason").contains("the read model tokens is of version 0"), "{ready:#?}");
            let refused = there.refresh(&tokens.refresh).send().await.is(503);
            assert!(refused.header("retry-after").is_some(), "{refused:#?}");
            there.introspect(&tokens.access).send().await.is(503);
            new.get("/admin/login/").await.is(503);
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        assert_eq!(engine.head().await.unwrap().position, before, "nothing was written");
        let registered = list_registered(engine).await.unwrap();
        assert_eq!(registered.len(), 1, "nobody need wait for who answers nothing: {registered:?}");
        assert!(app.sees_active(&tokens.access).await, "the old one serves");

        exchange_tokens(engine, 1).await;
        let stranger = App { secret: "wrong".to_owned(), ..there.clone() };
        stranger.introspect(&tokens.access).send().await.is(401);
        there.refresh(&tokens.refresh).send().await.is(200);
        new.get("/readyz").await.is(200);
        // First of all it said which configuration it runs with.
        let batches = engine.batches_after(before, 100).await.unwrap();
        let written: Vec<_> = batches.into_iter().flat_map(|batch| batch.events).collect();
        let types: Vec<&str> = written.iter().map(|row| row.event.event_type.as_str()).collect();
        assert_eq!(types[0], "installation.configuration_changed", "{types:?}");
        assert!(types[1].starts_with("refusal."), "{types:?}");
        assert_eq!(types[2], "authorization.token_refreshed");
        let revision = new.state().journal.configuration_revision();
        let named = format!("\"configuration\":\"{revision}\"");
        assert!(written[1].event.metadata.contains(&named), "{}", written[1].event.metadata);
        assert!(revision > old.state().journal.configuration_revision());
        verify(engine, &|_, _| {}).await.unwrap();
    })
    .await;
}

/// What was checked at its start a waiting server still knows when it begins to serve: it has followed the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_server_notices_that_a_roll_back_was_accepted() {
    on_both_engines(async |old| {
        let engine = old.state().journal.engine();
        set_version_of_tokens(engine, 0).await;
        let new = old.sibling().await;
        new.get("/readyz").await.is(503);
        let state = old.state();
        let head = engine.head().await.unwrap().position;
        let command = InstallationCommand::AcceptRollback { seen: head + 7, head, at: state.clock.now() };
        let stream = Stream::Existing("installation".to_owned());
        let origin = Origin::internal(Actor::Operator, &state.clock);
        state.commands.execute::<Installation>(stream, command, &origin).await.unwrap();
        exchange_tokens(engine, 1).await;
        for _ in 0..5 {
            let ready = new.get("/readyz").await.is(503);
            assert!(ready.text("reason").contains("holds keys of before"), "{ready:#?}");
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    })
    .await;
}
