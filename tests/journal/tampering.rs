//! Invariant 14: tampering is found and located.

use std::time::Duration;

use chancery::journal::verify::{VerifyError, verify};
use rusqlite::Connection;

use super::{Node, Place, verified};
use crate::harness::directory::Directory;

async fn log() -> (Directory, Node) {
    let place = Place::Sqlite(Directory::new());
    let node = place.node().await;
    node.register("client").await;
    for _ in 0..12 {
        let id = node.grant().await;
        node.authorize(&id, node.redeem_command()).await.unwrap();
        node.issue().await.unwrap();
    }
    verified(node.journal.engine()).await;
    let Place::Sqlite(directory) = place else { unreachable!() };
    (directory, node)
}

/// Changes the file behind the server's back and returns what verification says.
async fn after(sql: &str) -> VerifyError {
    let (directory, node) = log().await;
    let connection = Connection::open(directory.path().join("chancery.db")).unwrap();
    let changed = connection.execute(sql, []).unwrap();
    assert!(changed > 0, "{sql} must change something");
    verify(node.journal.engine(), &|_, _| ()).await.expect_err(sql)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_14_an_edited_column_breaks_the_chain_at_its_batch() {
    let victim =
        "rowid = (SELECT rowid FROM events WHERE event_type = 'client_token.issued' LIMIT 1 OFFSET 5)";
    for column in ["payload", "metadata", "event_type", "event_version", "aggregate_id", "aggregate_type"] {
        let edit = format!("UPDATE events SET {column} = {column} || ' ' WHERE {victim}");
        let found = after(&edit).await;
        assert!(
            matches!(found, VerifyError::Chain { first, last } if first > 1 && last >= first),
            "{column}: {found}"
        );
    }
    let found = after(&format!("UPDATE events SET sequence = 9 WHERE {victim}")).await;
    assert!(matches!(found, VerifyError::Chain { .. }), "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_14_deletion_insertion_and_truncation_are_found() {
    let deleted = after("DELETE FROM events WHERE rowid = 9").await;
    assert!(matches!(deleted, VerifyError::Density { .. }), "{deleted}");
    let doubled = after(
        "INSERT INTO events SELECT aggregate_type, 'forged', 1, event_type, event_version, payload, metadata, lane, \
         batch, batch_index + 1 FROM events WHERE rowid = 9",
    )
    .await;
    assert!(matches!(doubled, VerifyError::Density { .. }), "{doubled}");
    let cut =
        after("DELETE FROM batches WHERE first_position = (SELECT max(first_position) FROM batches)").await;
    assert!(matches!(cut, VerifyError::Head { .. }), "{cut}");
    let moved = after("UPDATE lanes SET head = head - 1").await;
    assert!(matches!(moved, VerifyError::Head { .. }), "{moved}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_02_a_row_without_its_event_and_an_event_without_its_row_are_found() {
    for (sql, what) in [
        ("UPDATE tokens SET revoked_at = 1 WHERE rowid = 2", "tokens"),
        ("DELETE FROM tokens WHERE token_id = (SELECT min(token_id) FROM tokens)", "tokens"),
        ("UPDATE applications SET name = 'Another'", "applications"),
        (
            "UPDATE authorizations SET scope = 'admin' WHERE authorization_id = (SELECT min(authorization_id) FROM authorizations)",
            "authorizations",
        ),
    ] {
        let sql = sql.replace("rowid = 2", "token_id = (SELECT min(token_id) FROM tokens)");
        let found = after(&sql).await;
        assert!(matches!(&found, VerifyError::Row { table, .. } if *table == what), "{found}");
    }
}

/// What stands beside the events is not made anew from them: whoever changes it changes what is decided.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_14_names_and_states_that_no_event_led_to_are_found() {
    let (directory, node) = log().await;
    let connection = Connection::open(directory.path().join("chancery.db")).unwrap();
    let id = node.grant().await;
    node.authorize(&id, node.redeem_command()).await.unwrap();
    for generation in 1..=40 {
        node.authorize(&id, node.refresh_command(generation)).await.unwrap();
    }
    verified(node.journal.engine()).await;
    let tampered = async |sql: &str| {
        assert!(connection.execute(sql, []).unwrap() > 0, "{sql} must change something");
        let found = verify(node.journal.engine(), &|_, _| ()).await.expect_err(sql);
        let VerifyError::Beside { table, .. } = found else { panic!("{sql}: {found}") };
        table
    };
    let name = "INSERT INTO claims (kind, value, aggregate_type, aggregate_id) VALUES ('username', 'v', 'user', 'u')";
    assert_eq!(tampered(name).await, "claims");
    connection.execute("DELETE FROM claims WHERE value = 'v'", []).unwrap();
    // A later event than it holds, so that those between are passed over.
    let state = "UPDATE stream_states SET sequence = sequence + 1";
    assert_eq!(tampered(state).await, "stream_states");
    connection.execute("UPDATE stream_states SET sequence = sequence - 1", []).unwrap();
    verified(node.journal.engine()).await;
    // And one in which what was revoked is not.
    node.authorize(&id, node.refresh_command(41)).await.unwrap();
    let edited = "UPDATE stream_states SET state = replace(state, 'read write', 'read admin')";
    assert_eq!(tampered(edited).await, "stream_states");
}

/// A reader that meets a hole stops there: it neither skips it nor takes what stands behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_05_a_reader_never_skips_a_hole() {
    use projections::applications::find_application;
    use std::time::Duration;
    let place = Place::Sqlite(Directory::new());
    let (writer, reader) = (place.node().await, place.node().await);
    writer.register("before").await;
    let reached = writer.journal.applied();
    tokio::time::timeout(Duration::from_secs(5), async {
        while reader.journal.applied() < reached {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a whole log is followed");

    let Place::Sqlite(directory) = &place else { unreachable!() };
    let connection = Connection::open(directory.path().join("chancery.db")).unwrap();
    // In one transaction, so that no reader sees the log between the two: a batch that does not continue
    // the last one, behind a position that is missing.
    connection
        .execute_batch(
            "BEGIN IMMEDIATE;
             INSERT INTO events SELECT aggregate_type, 'behind the hole', 1, event_type, event_version, \
                 replace(payload, 'before', 'behind the hole'), metadata, lane, 77, 0 FROM events \
                 WHERE aggregate_id = 'before';
             INSERT INTO batches SELECT lane, head + 2, 77, 1, chain FROM lanes;
             UPDATE lanes SET head = head + 2;
             COMMIT;",
        )
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(reader.journal.applied(), reached, "it stands before the hole");
    let behind = find_application(&reader.journal, "behind the hole").await.unwrap();
    assert_eq!(behind, None, "nothing from behind it is believed");
    let found = verify(writer.journal.engine(), &|_, _| ()).await.expect_err("a hole");
    assert!(matches!(found, VerifyError::Density { expected, .. } if expected == reached + 1), "{found}");
}

/// A few milliseconds each.
const TRIALS: usize = 10_000;

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

/// Changes something of the history, all kinds in turn; returns what it did.
fn tamper(connection: &Connection, draw: &mut Draw) -> String {
    let event = format!("(SELECT rowid FROM events ORDER BY rowid LIMIT 1 OFFSET {})", draw.below(40));
    let batch = format!("(SELECT first_position FROM batches LIMIT 1 OFFSET {})", draw.below(30));
    let letter = char::from(b'a' + u8::try_from(draw.below(26)).unwrap());
    let sql = match draw.below(8) {
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
            // Two of a kind change places.
            let other =
                format!("(SELECT rowid FROM events ORDER BY rowid LIMIT 1 OFFSET {})", 40 + draw.below(8));
            format!(
                "UPDATE events SET payload = CASE rowid WHEN {event} THEN (SELECT payload FROM events WHERE rowid = \
                 {other}) ELSE (SELECT payload FROM events WHERE rowid = {event}) END, event_type = CASE rowid WHEN \
                 {event} THEN (SELECT event_type FROM events WHERE rowid = {other}) ELSE (SELECT event_type FROM \
                 events WHERE rowid = {event}) END WHERE rowid IN ({event}, {other})"
            )
        }
        6 => match draw.below(4) {
            0 => format!("UPDATE batches SET event_count = event_count + 1 WHERE first_position = {batch}"),
            1 => format!("UPDATE batches SET chain = randomblob(32) WHERE first_position = {batch}"),
            2 => format!(
                "UPDATE batches SET first_position = first_position + 1000 WHERE first_position = {batch}"
            ),
            _ => format!("DELETE FROM batches WHERE first_position = {batch}"),
        },
        // The end cut off, with and without an attempt to hide it.
        _ => match draw.below(3) {
            0 => "DELETE FROM batches WHERE first_position = (SELECT max(first_position) FROM batches)"
                .to_owned(),
            1 => "UPDATE lanes SET head = head - 1".to_owned(),
            _ => "UPDATE lanes SET chain = randomblob(32)".to_owned(),
        },
    };
    assert!(connection.execute(&sql, []).unwrap() > 0, "{sql} must change something");
    sql
}

/// Every edit, deletion, insertion, exchange and truncation is found.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f14_invariant_14_random_tampering_is_always_found() {
    let (directory, node) = log().await;
    let mut draw = Draw(0x5eed);
    let live = directory.path().join("chancery.db");
    let kept = directory.path().join("kept.db");
    node.journal.engine().copy_to(&kept).await.unwrap();
    drop(node);
    let place = Place::Sqlite(directory);
    let engine = place.engine().await;
    for trial in 0..TRIALS {
        let mut connection = Connection::open(&live).unwrap();
        let done = tamper(&connection, &mut draw);
        let found = verify(engine.as_ref(), &|_, _| ()).await;
        assert!(found.is_err(), "trial {trial} was not found: {done}");
        // Everything back, page by page.
        let original = Connection::open(&kept).unwrap();
        let backup = rusqlite::backup::Backup::new(&original, &mut connection).unwrap();
        backup.run_to_completion(1_000, Duration::ZERO, None).unwrap();
    }
    verified(engine.as_ref()).await;
}
