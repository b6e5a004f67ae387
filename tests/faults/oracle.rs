//! What is true? A server that has just been started, and remembers nothing of what was promised, is asked; then the
//! log is held against its rows, and what only follows it against a rebuild.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::crash::until_ready;
use super::front::{is_alive, is_dead, told};
use super::leaks::nothing_leaks;
use super::ledger::{Ledger, Totals};
use crate::harness::process::{UNLIMITED, free_port};
use crate::harness::{App, Cli, Directory, PASSWORD, Process};

/// So many questions at once are asked.
const AT_ONCE: usize = 8;
/// What follows the log has caught up by then.
const CAUGHT_UP: Duration = Duration::from_mins(1);

/// Everything in these ledgers is held against what is so (L1 to L5), on whatever the servers of the test leave
/// behind, in which nothing may lie that could be presented. They may still run. Every token and code is presented
/// once more, to a server that says all it can.
pub async fn judge<const N: usize>(row: &str, cli: &Cli, app: &App, ledgers: [&Ledger; N]) -> [Totals; N] {
    let home = Directory::new();
    let talkative = [&UNLIMITED[..], &["--log", "trace"]].concat();
    let fresh = Process::start_with(cli, &home, free_port(), &talkative).await;
    let there = App { base: fresh.base.clone(), ..app.clone() };
    until_ready(&there).await;
    for ledger in ledgers {
        ledger.judge(row, &there).await;
    }
    cli.run(&["verify"]).succeeded();
    until_up_to_date(cli).await;
    // `verify` does not look at what only follows: a replay does, and tells in how many rows it was wrong.
    let replayed = cli.run(&["replay", "timeline", "--json"]).succeeded().json();
    assert_eq!(replayed["repaired_rows"], 0, "skipped, or taken twice: {replayed}");
    assert_eq!(fresh.terminate().await, 0);
    let secrets = ledgers.into_iter().flat_map(Ledger::secrets).chain([app.secret.as_str(), PASSWORD]);
    nothing_leaks(cli, &[home.path()], &secrets.collect::<Vec<_>>());
    ledgers.map(Ledger::totals)
}

/// Invariant 8, whatever has happened: moved to the embedded database, it is the same history there, and leads to
/// the same rows. Returns how many events there are.
pub fn is_the_same_embedded(cli: &Cli) -> u64 {
    let home = Directory::new();
    let log = format!("{}/log.ndjson", home.text());
    let there = Cli::at(home.path(), None).password(PASSWORD);
    cli.clone().password(PASSWORD).run(&["export", &log, "--with-secrets", "--noinput"]).succeeded();
    there.run(&["import", &log, "--with-secrets", "--moved", "--noinput"]).succeeded();
    let verified = |cli: &Cli| cli.run(&["verify", "--json"]).succeeded().json();
    let (here, there) = (verified(cli), verified(&there));
    assert_eq!(there, here);
    here["events"].as_u64().unwrap()
}

/// How long until every read model has what the log has.
pub async fn until_up_to_date(cli: &Cli) -> Duration {
    let begun = Instant::now();
    while cli.run(&["readmodels", "--json"]).json().as_array().unwrap().iter().any(|model| model["lag"] != 0)
    {
        assert!(begun.elapsed() < CAUGHT_UP, "it does not catch up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

/// Asks the server about each of these tokens: whether it lives is known, or it is whole either way. What is dead is
/// dead to a resource as well.
pub async fn each_is(app: &App, tokens: Vec<String>, active: Option<bool>) {
    let app = app.clone();
    of_each(tokens, move |token| {
        let app = app.clone();
        async move {
            let said = told(app.introspect(&token)).await.unwrap();
            let is_kept = active.map_or(is_alive(&said) || is_dead(&said), |active| {
                if active { is_alive(&said) } else { is_dead(&said) }
            });
            assert!(is_kept, "promised {active:?}, then {said:#?}");
            if is_dead(&said) {
                let shown = told(app.resource(&token)).await.unwrap();
                assert!(is_dead(&shown), "alive to a resource: {shown:#?}");
            }
        }
    })
    .await;
}

/// Asks about each, several at a time: what ends something waits for other servers.
pub async fn of_each<T, F>(items: Vec<T>, ask: impl Fn(T) -> F + Clone + Send + 'static)
where
    T: Send + 'static,
    F: Future<Output = ()> + Send,
{
    let (left, mut asking) = (Arc::new(Mutex::new(items)), JoinSet::new());
    for _ in 0..AT_ONCE {
        let (left, ask) = (Arc::clone(&left), ask.clone());
        asking.spawn(async move {
            while let Some(item) = next(&left) {
                ask(item).await;
            }
        });
    }
    asking.join_all().await;
}

fn next<T>(left: &Mutex<Vec<T>>) -> Option<T> {
    left.lock().unwrap().pop()
}
