//! The limit: the same rows, prepared beforehand, inserted in batches as large as there are tasks. No
//! decision, no chain, no position, no memory.

use std::path::Path;
use std::time::Instant;

use aggregates::stored::Decide;
use aggregates::{AnyEvent, StoredEvent};
use chancery::clock::{SharedClock, SystemClock};
use chancery::secret::new_id;
use projections::TRANSACTIONAL;
use projections::projection::{Recorded, row_ops};
use projections::row::{RowOp, Value};
use sqlx::{Connection, Executor};

use super::{Kind, Measured, RUN, cpu, issue_command, token};

/// An event row and its token row, as text.
struct Prepared {
    event: [String; 6],
    sequence: i64,
    token: Vec<Value>,
    replaced: String,
}

fn prepare(clock: &SharedClock, kind: Kind) -> Prepared {
    let token = token(clock);
    let id = token.id.clone();
    let command = issue_command(token, clock);
    let event = aggregates::client_token::ClientToken::default().decide(command).unwrap().remove(0);
    let encoded = event.encode().unwrap();
    let any: AnyEvent = event.into();
    let metadata = std::collections::BTreeMap::from([
        ("actor".to_owned(), "operator".to_owned()),
        ("command_id".to_owned(), new_id(clock.now())),
        ("configuration".to_owned(), "0".to_owned()),
        ("correlation_id".to_owned(), new_id(clock.now())),
        ("node".to_owned(), new_id(clock.now())),
        ("request_id".to_owned(), new_id(clock.now())),
    ]);
    let recorded = Recorded {
        position: None,
        aggregate_type: "client_token",
        aggregate_id: &id,
        sequence: 1,
        event: &any,
        metadata: &metadata,
    };
    let token = row_ops(TRANSACTIONAL, &recorded).into_iter().find_map(|op| match op {
        RowOp::Insert { row, .. } => Some(row),
        RowOp::Update { .. } | RowOp::Delete { .. } | RowOp::Expire { .. } => None,
    });
    let aggregate = if kind == Kind::Fresh { "client_token" } else { "authorization" };
    Prepared {
        event: [
            format!("plain_{aggregate}"),
            id.clone(),
            encoded.event_type,
            encoded.event_version,
            encoded.payload,
            serde_json::to_string(&metadata).unwrap(),
        ],
        sequence: 1,
        token: token.unwrap(),
        replaced: id,
    }
}

/// PostgreSQL, with the same tables.
pub async fn postgres(url: &str, kind: Kind, tasks: usize) -> Measured {
    let clock = SystemClock::shared();
    let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
    let (mut done, mut spent, mut cpu_spent) = (0_usize, 0.0, 0.0);
    while spent < RUN.as_secs_f64() {
        // Prepared beforehand, so that only inserting is counted.
        let batches: Vec<Vec<Prepared>> = (0..(2048 / tasks).min(512))
            .map(|_| (0..tasks).map(|_| prepare(&clock, kind)).collect())
            .collect();
        let (started, before) = (Instant::now(), cpu());
        for (number, rows) in batches.iter().enumerate() {
            insert(&mut connection, rows, kind, (clock.now().timestamp_millis() << 16) + number as i64).await;
            done += rows.len();
        }
        spent += started.elapsed().as_secs_f64();
        cpu_spent += cpu() - before;
    }
    let (per_second, cpu_micros) = (done as f64 / spent, cpu_spent * 1e6 / done as f64);
    Measured { engine: "PostgreSQL", system: "limit", kind, tasks, per_second, cpu_micros }
}

async fn insert(connection: &mut sqlx::PgConnection, rows: &[Prepared], kind: Kind, batch: i64) {
    let column = |index: usize| rows.iter().map(|row| row.event[index].clone()).collect::<Vec<_>>();
    connection.execute("BEGIN").await.unwrap();
    sqlx::query(
        "INSERT INTO events (aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
         lane, batch, batch_index) SELECT a, b, c, d, e, f::json, g::json, 99, $8, h FROM UNNEST($1::text[], \
         $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $9::bigint[]) \
         AS v(a, b, c, d, e, f, g, h)",
    )
    .bind(column(0))
    .bind(column(1))
    .bind(rows.iter().map(|row| row.sequence).collect::<Vec<_>>())
    .bind(column(2))
    .bind(column(3))
    .bind(column(4))
    .bind(column(5))
    .bind(batch)
    .bind((0..rows.len() as i64).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await
    .unwrap();
    insert_tokens(connection, rows).await;
    if kind == Kind::Loaded {
        sqlx::query(
            "UPDATE tokens t SET revoked_at = 1 FROM UNNEST($1::text[]) AS v(id) WHERE t.token_id = v.id",
        )
        .bind(rows.iter().map(|row| row.replaced.clone()).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await
        .unwrap();
    }
    connection.execute("COMMIT").await.unwrap();
}

async fn insert_tokens(connection: &mut sqlx::PgConnection, rows: &[Prepared]) {
    let table = &projections::tokens::TABLE;
    let names: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
    let arrays: Vec<String> = table
        .columns
        .iter()
        .zip(1..)
        .map(|(column, place)| match column.kind {
            projections::row::ColumnKind::Text => format!("${place}::text[]"),
            projections::row::ColumnKind::Int => format!("${place}::bigint[]"),
        })
        .collect();
    let sql =
        format!("INSERT INTO tokens ({}) SELECT * FROM UNNEST({})", names.join(", "), arrays.join(", "));
    let mut query = sqlx::query(&sql);
    for (index, column) in table.columns.iter().enumerate() {
        let cells = rows.iter().map(|row| row.token[index].clone());
        query = match column.kind {
            projections::row::ColumnKind::Text => query.bind(
                cells
                    .map(|cell| match cell {
                        Value::Text(text) => Some(text),
                        Value::Null | Value::Int(_) => None,
                    })
                    .collect::<Vec<_>>(),
            ),
            projections::row::ColumnKind::Int => query.bind(
                cells
                    .map(|cell| match cell {
                        Value::Int(number) => Some(number),
                        Value::Null | Value::Text(_) => None,
                    })
                    .collect::<Vec<_>>(),
            ),
        };
    }
    query.execute(connection).await.unwrap();
}

/// SQLite, with the same tables and durability.
pub fn sqlite(path: &Path, kind: Kind, tasks: usize) -> Measured {
    let clock = SystemClock::shared();
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.set_prepared_statement_cache_capacity(16);
    for sql in [
        include_str!("../../migrations/sqlite/0001_journal.sql"),
        include_str!("../../migrations/sqlite/0002_read_models.sql"),
    ] {
        // The second round finds the tables there.
        let _ = connection.execute_batch(sql);
    }
    let (mut done, mut spent, mut cpu_spent) = (0_usize, 0.0, 0.0);
    while spent < RUN.as_secs_f64() {
        let batches: Vec<Vec<Prepared>> =
            (0..(2048 / tasks)).map(|_| (0..tasks).map(|_| prepare(&clock, kind)).collect()).collect();
        let (started, before) = (Instant::now(), cpu());
        for (number, rows) in batches.iter().enumerate() {
            sqlite_batch(&connection, rows, kind, (clock.now().timestamp_millis() << 16) + number as i64);
            done += rows.len();
        }
        spent += started.elapsed().as_secs_f64();
        cpu_spent += cpu() - before;
    }
    let per_second = done as f64 / spent;
    Measured {
        engine: "SQLite",
        system: "limit",
        kind,
        tasks,
        per_second,
        cpu_micros: cpu_spent * 1e6 / done as f64,
    }
}

fn sqlite_batch(connection: &rusqlite::Connection, rows: &[Prepared], kind: Kind, batch: i64) {
    let places: Vec<String> =
        (1..=projections::tokens::TABLE.columns.len()).map(|place| format!("?{place}")).collect();
    let tokens = format!("INSERT INTO tokens VALUES ({})", places.join(", "));
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    for (index, row) in rows.iter().enumerate() {
        let [aggregate, id, event_type, version, payload, metadata] = &row.event;
        connection
            .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 99, ?8, ?9)")
            .unwrap()
            .execute(rusqlite::params![
                aggregate,
                id,
                row.sequence,
                event_type,
                version,
                payload,
                metadata,
                batch,
                index as i64
            ])
            .unwrap();
        let cells = row.token.iter().map(|cell| match cell {
            Value::Null => rusqlite::types::Value::Null,
            Value::Int(number) => rusqlite::types::Value::Integer(*number),
            Value::Text(text) => rusqlite::types::Value::Text(text.clone()),
        });
        connection.prepare_cached(&tokens).unwrap().execute(rusqlite::params_from_iter(cells)).unwrap();
        if kind == Kind::Loaded {
            connection
                .prepare_cached("UPDATE tokens SET revoked_at = 1 WHERE token_id = ?1")
                .unwrap()
                .execute([&row.replaced])
                .unwrap();
        }
    }
    connection.execute_batch("COMMIT").unwrap();
}
