//! Invariant 14: tampering is found and located.

use chancery::journal::verify::{VerifyError, verify};
use rusqlite::Connection;

use super::{Node, Place, verified};
use crate::harness::directory::Directory;

pub async fn log() -> (Directory, Node) {
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
    for hidden in [
        "INSERT INTO events SELECT aggregate_type, aggregate_id, sequence + 1000, event_type, event_version, payload, \
         metadata, lane, batch + 1000000, 0 FROM events WHERE rowid = 9",
        "INSERT INTO events SELECT aggregate_type, aggregate_id, sequence + 1000, event_type, event_version, payload, \
         metadata, lane + 1, batch, 0 FROM events WHERE rowid = 9",
        "INSERT INTO batches SELECT lane, 0, batch + 1000000, 0, chain FROM batches WHERE first_position = 1",
    ] {
        let hidden = after(hidden).await;
        assert!(matches!(hidden, VerifyError::Stray { .. }), "{hidden}");
    }
    let cut =
        after("DELETE FROM batches WHERE first_position = (SELECT max(first_position) FROM batches)").await;
    assert!(matches!(cut, VerifyError::Head { .. }), "{cut}");
    let moved = after("UPDATE lanes SET head = head - 1").await;
    assert!(matches!(moved, VerifyError::Head { .. }), "{moved}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_02_a_row_without_its_event_and_an_event_without_its_row_are_found() {
    let one = "token_id = (SELECT min(token_id) FROM tokens)";
    let forged = "INSERT INTO tokens SELECT 'forged', authorization_id, client_id, subject, grant_type, scope, resource, \
                  confirmation, issued_at, expires_at, revoked_at FROM tokens";
    for (sql, what, how) in [
        (format!("UPDATE tokens SET revoked_at = 1 WHERE {one}"), "tokens", "revoked_at"),
        (format!("DELETE FROM tokens WHERE {one}"), "tokens", "is missing"),
        (format!("{forged} WHERE {one}"), "tokens", "no event led to it"),
        ("UPDATE applications SET name = 'Another'".to_owned(), "applications", "name"),
        (
            "UPDATE authorizations SET scope = 'admin' WHERE authorization_id = (SELECT min(authorization_id) FROM authorizations)"
                .to_owned(),
            "authorizations",
            "scope",
        ),
    ] {
        let found = after(&sql).await;
        let is_it = matches!(&found, VerifyError::Row { table, difference, .. } if *table == what && difference.contains(how));
        assert!(is_it, "{sql}: {found}");
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
