//! Invariant 14: tampering is found and located.

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
