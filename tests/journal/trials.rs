//! F14: ten thousand changes behind the server's back, every column of every event, bits of the file. All of
//! it is found, and where it is.

use std::time::Duration;

use chancery::journal::verify::{Report, VerifyError, verify};
use rusqlite::Connection;
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::tampering::log;
use super::{Place, verified};
use crate::faults::report::record;
use crate::harness::directory::Directory;
use crate::harness::environment;
use crate::harness::postgres::Database;

/// A few milliseconds each.
const TRIALS: usize = 10_000;
const FLIPS: usize = 500;

/// Draws numbers that are the same in every run with the same seed.
struct Draw(u64);

impl Draw {
    /// Below `end` (`SplitMix64`).
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// The first and last position of a batch.
type Bounds = (i64, i64);

/// Where the batch of an event is.
fn bounds(connection: &Connection, event: &str) -> Bounds {
    let sql = format!(
        "SELECT b.first_position, b.first_position + b.event_count - 1 FROM events e JOIN batches b ON b.batch = e.batch \
         WHERE e.rowid = {event}"
    );
    connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

/// The first position at which something was found; none when it was found elsewhere.
fn named(found: &VerifyError) -> Option<i64> {
    match found {
        VerifyError::Density { expected, .. } => Some(*expected),
        VerifyError::Chain { first, .. } => Some(*first),
        VerifyError::Event { position, .. } => Some(*position),
        VerifyError::Engine(_)
        | VerifyError::Head { .. }
        | VerifyError::Stray { .. }
        | VerifyError::Beside { .. }
        | VerifyError::Row { .. } => None,
    }
}

/// One more event in a stream, and in no batch that is read.
fn hidden(event: &str, draw: &mut Draw) -> String {
    let (lane, batch) = *draw.one_of(&[("lane", "batch + 1000000"), ("lane + 1", "batch"), ("lane", "0")]);
    format!(
        "INSERT INTO events SELECT aggregate_type, aggregate_id, sequence + 1000, event_type, event_version, payload, \
         metadata, {lane}, {batch}, batch_index + 1000 FROM events WHERE rowid = {event}"
    )
}

/// Two events of different batches take each other's place.
fn exchanged(connection: &Connection, one: &str, other: &str) -> String {
    let place = |event: &str| {
        let sql = format!("SELECT rowid, lane, batch, batch_index FROM events WHERE rowid = {event}");
        let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<[i64; 4]> {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        };
        connection.query_row(&sql, [], read).unwrap()
    };
    let ([one, lane, batch, index], [other, _, to, at]) = (place(one), place(other));
    format!(
        "UPDATE events SET lane = -1 WHERE rowid = {one}; \
         UPDATE events SET batch = {batch}, batch_index = {index} WHERE rowid = {other}; \
         UPDATE events SET lane = {lane}, batch = {to}, batch_index = {at} WHERE rowid = {one}"
    )
}

/// One batch says something else, takes another place, or is gone.
fn of_a_batch(connection: &Connection, draw: &mut Draw) -> String {
    let at = |offset: usize| -> i64 {
        let sql = format!("SELECT first_position FROM batches LIMIT 1 OFFSET {offset}");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let offset = draw.below(29);
    let (one, next) = (at(offset), at(offset + 1));
    match draw.below(5) {
        0 => format!("UPDATE batches SET event_count = event_count + 1 WHERE first_position = {one}"),
        1 => format!("UPDATE batches SET chain = randomblob(32) WHERE first_position = {one}"),
        2 => {
            format!("UPDATE batches SET first_position = first_position + 1000 WHERE first_position = {one}")
        }
        3 => format!(
            "UPDATE batches SET first_position = -{one} WHERE first_position = {one}; \
             UPDATE batches SET first_position = {one} WHERE first_position = {next}; \
             UPDATE batches SET first_position = {next} WHERE first_position = -{one}"
        ),
        _ => format!("DELETE FROM batches WHERE first_position = {one}"),
    }
}

/// Changes something of the history, all kinds in turn; returns what it did, and to which batch if it was to
/// an event.
fn tamper(connection: &Connection, draw: &mut Draw) -> (String, Option<Bounds>) {
    let kind = draw.below(9);
    let event = format!("(SELECT rowid FROM events ORDER BY rowid LIMIT 1 OFFSET {})", draw.below(40));
    let touched = (kind < 6).then(|| bounds(connection, &event));
    let letter = char::from(b'a' + u8::try_from(draw.below(26)).unwrap());
    let sql = match kind {
        0 | 1 => {
            let columns =
                ["aggregate_type", "aggregate_id", "event_type", "event_version", "payload", "metadata"];
            let column = *draw.one_of(&columns);
            // One character, wherever it is.
            let at = draw.below(30) + 1;
            format!(
                "UPDATE events SET {column} = substr({column}, 1, {at} - 1) || '{letter}' || substr({column}, {at}) \
                 WHERE rowid = {event}"
            )
        }
        2 => {
            let column = *draw.one_of(&["sequence", "lane", "batch", "batch_index"]);
            format!("UPDATE events SET {column} = {column} + {} WHERE rowid = {event}", draw.below(5) + 100)
        }
        3 => format!("DELETE FROM events WHERE rowid = {event}"),
        4 => format!(
            "INSERT INTO events SELECT aggregate_type, aggregate_id || '{letter}', sequence, event_type, event_version, \
             payload, metadata, lane, batch, batch_index + 1 + (SELECT max(batch_index) FROM events) FROM events \
             WHERE rowid = {event}"
        ),
        5 => {
            let other =
                format!("(SELECT rowid FROM events ORDER BY rowid LIMIT 1 OFFSET {})", 40 + draw.below(8));
            if draw.below(2) == 0 {
                exchanged(connection, &event, &other)
            } else {
                // What they say changes places.
                format!(
                    "UPDATE events SET payload = CASE rowid WHEN {event} THEN (SELECT payload FROM events WHERE rowid = \
                     {other}) ELSE (SELECT payload FROM events WHERE rowid = {event}) END, event_type = CASE rowid \
                     WHEN {event} THEN (SELECT event_type FROM events WHERE rowid = {other}) ELSE (SELECT event_type \
                     FROM events WHERE rowid = {event}) END WHERE rowid IN ({event}, {other})"
                )
            }
        }
        6 => of_a_batch(connection, draw),
        7 => hidden(&event, draw),
        // The end cut off. Where nothing that is left says so, only who has seen more can tell (F21).
        _ => match draw.below(3) {
            0 => "DELETE FROM batches WHERE first_position = (SELECT max(first_position) FROM batches)"
                .to_owned(),
            1 => "UPDATE lanes SET head = head - 1".to_owned(),
            _ => "UPDATE lanes SET chain = randomblob(32)".to_owned(),
        },
    };
    connection.execute_batch(&sql).unwrap();
    assert!(connection.changes() > 0, "{sql} must change something");
    (sql, touched)
}

/// Every edit, deletion, insertion, exchange and truncation is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_invariant_14_random_tampering_is_always_found() {
    let (directory, node) = log().await;
    let seed = environment::seed().unwrap_or_else(|| fastrand::u64(..));
    let (mut draw, mut placed) = (Draw(seed), 0);
    let live = directory.path().join("chancery.db");
    let kept = directory.path().join("kept.db");
    node.journal.engine().copy_to(&kept).await.unwrap();
    drop(node);
    let place = Place::Sqlite(directory);
    let engine = place.engine().await;
    for trial in 0..TRIALS {
        let mut connection = Connection::open(&live).unwrap();
        let (done, touched) = tamper(&connection, &mut draw);
        let found = verify(engine.as_ref(), &|_, _| ()).await;
        let found = found.expect_err(&format!("trial {trial} of seed {seed} was not found: {done}"));
        if let Some((first, last)) = touched {
            let is_there = named(&found).is_some_and(|named| (first..=last + 1).contains(&named));
            assert!(is_there, "trial {trial} of seed {seed}, {first} to {last}: {done}: {found}");
            placed += 1;
        }
        // Everything back, page by page.
        let original = Connection::open(&kept).unwrap();
        let backup = rusqlite::backup::Backup::new(&original, &mut connection).unwrap();
        backup.run_to_completion(1_000, Duration::ZERO, None).unwrap();
    }
    verified(engine.as_ref()).await;
    record(
        "F14",
        &format!(
            "SQLite: {TRIALS} changes behind its back (seed {seed}), all found; {placed} of events, all where they were"
        ),
    );
}

/// What whoever may write into the database can do to an event: to each of its columns, take it out, put one in
/// beside it or in no batch at all, let it change places with the one after it.
fn changes(victim: &str) -> Vec<(bool, String)> {
    let columns = [
        ("aggregate_type", "aggregate_type || 'x'"),
        ("aggregate_id", "aggregate_id || 'x'"),
        ("sequence", "sequence + 100"),
        ("event_type", "event_type || 'x'"),
        ("event_version", "event_version || '1'"),
        ("payload", "(payload::text || ' ')::json"),
        ("metadata", "(metadata::text || ' ')::json"),
        ("lane", "lane + 1"),
        ("batch", "batch + 1"),
        ("batch_index", "batch_index + 100"),
    ];
    let one_more = |id: &str, sequence: &str, place: &str| {
        format!(
            "INSERT INTO events SELECT aggregate_type, {id}, {sequence}, event_type, event_version, payload, metadata, \
             {place} FROM events WHERE ctid = {victim}"
        )
    };
    let edits = columns
        .map(|(column, to)| (true, format!("UPDATE events SET {column} = {to} WHERE ctid = {victim}")));
    let others = [
        (true, format!("DELETE FROM events WHERE ctid = {victim}")),
        (true, one_more("aggregate_id || 'x'", "sequence", "lane, batch, batch_index + 100")),
        (false, one_more("aggregate_id", "sequence + 100", "lane, batch + 1000000, 0")),
        (
            true,
            format!(
                "UPDATE events SET payload = other.payload, event_type = other.event_type FROM (SELECT * FROM events \
                 WHERE (batch, batch_index) > (SELECT batch, batch_index FROM events WHERE ctid = {victim}) \
                 ORDER BY batch, batch_index LIMIT 1) other WHERE events.ctid = {victim}"
            ),
        ),
    ];
    edits.into_iter().chain(others).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_whatever_is_done_to_any_event_is_found_on_postgresql() {
    let database = Database::empty();
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let place = Place::Postgres(database);
    let node = place.node().await;
    node.register("client").await;
    for _ in 0..25 {
        let id = node.grant().await;
        node.authorize(&id, node.redeem_command()).await.unwrap();
        node.issue().await.unwrap();
    }
    let engine = place.engine().await;
    verified(engine.as_ref()).await;
    connection.execute("CREATE TABLE kept AS SELECT * FROM events").await.unwrap();
    let mut done = 0;
    for event in 0..100 {
        let victim = format!("(SELECT ctid FROM events ORDER BY batch, batch_index LIMIT 1 OFFSET {event})");
        let sql = format!(
            "SELECT b.first_position, b.first_position + b.event_count FROM events e JOIN batches b \
             ON b.batch = e.batch WHERE e.ctid = {victim}"
        );
        let (first, next): Bounds = sqlx::query_as(&sql).fetch_one(&mut connection).await.unwrap();
        for (has_place, sql) in changes(&victim) {
            assert_eq!(connection.execute(sql.as_str()).await.unwrap().rows_affected(), 1, "{sql}");
            let found = verify(engine.as_ref(), &|_, _| ()).await.expect_err(&sql);
            let is_there = named(&found).map_or(!has_place, |named| (first..=next).contains(&named));
            assert!(is_there, "{first} to {next}: {sql}: {found}");
            done += 1;
            connection.execute("TRUNCATE events; INSERT INTO events SELECT * FROM kept").await.unwrap();
        }
    }
    verified(engine.as_ref()).await;
    record(
        "F14",
        &format!(
            "PostgreSQL: {done} changes behind its back, all columns, deletions, insertions and exchanges of 100 \
             events: all found, where they were"
        ),
    );
}

/// What became of a file of which a bit was flipped: it is what it was, or somebody says that it is not.
async fn with_a_flipped_bit(whole: &[u8], at: usize, bit: usize) -> Option<Report> {
    let directory = Directory::new();
    let mut bytes = whole.to_vec();
    bytes[at] ^= 1 << bit;
    std::fs::write(directory.path().join("chancery.db"), bytes).unwrap();
    let path = directory.path().join("chancery.db");
    let engine = chancery::journal::sqlite::SqliteEngine::open(&path, Duration::from_secs(5)).ok()?;
    verify(&engine, &|_, _| ()).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_a_flipped_bit_of_the_file_is_found_or_changes_nothing() {
    let (directory, node) = log().await;
    let kept = directory.path().join("kept.db");
    node.journal.engine().copy_to(&kept).await.unwrap();
    let whole = std::fs::read(&kept).unwrap();
    let original = verify(node.journal.engine(), &|_, _| ()).await.unwrap();
    let (mut draw, mut found) = (Draw(0xb17), 0);
    for _ in 0..FLIPS {
        match with_a_flipped_bit(&whole, draw.below(whole.len()), draw.below(8)).await {
            Some(report) => assert_eq!(report, original, "it says that all is well"),
            None => found += 1,
        }
    }
    // Much of a file is free space, or repeats what can be made anew.
    assert!(found > FLIPS / 20, "{found}");
    record(
        "F14",
        &format!("SQLite: {FLIPS} bits of the file flipped: {found} found, the others changed nothing"),
    );
}
