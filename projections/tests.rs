//! What holds for every read model: its tables are those of the migrations, and every event ever stored
//! fits them.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::given::*;
use crate::row::{ColumnKind, Residency, RowOp, Table, Value};
use crate::{EVENTUAL, TRANSACTIONAL};

const POSTGRES: &str = include_str!("../migrations/postgres/0002_read_models.sql");
/// Written by the test below.
const MADE: &str = include_str!("made.txt");
const SQLITE: &str = include_str!("../migrations/sqlite/0002_read_models.sql");

fn tables() -> Vec<&'static Table> {
    TRANSACTIONAL.iter().chain(EVENTUAL).flat_map(|projection| projection.tables.iter().copied()).collect()
}

/// The lines of a table's columns, or of nothing when the migration does not create it.
fn column_lines<'a>(migration: &'a str, table: &str) -> Vec<&'a str> {
    let (_, body) = migration.split_once(&format!("CREATE TABLE {table} (\n")).unwrap();
    let (body, _) = body.split_once("\n)").unwrap();
    body.lines().map(str::trim).filter(|line| !line.starts_with("PRIMARY KEY")).collect()
}

fn columns_of(migration: &str, table: &str) -> Vec<(String, ColumnKind)> {
    let column = |line: &str| {
        let mut words = line.trim_end_matches(',').split_whitespace();
        let name = words.next().unwrap().to_owned();
        let kind = match words.next().unwrap() {
            "text" | "TEXT" => ColumnKind::Text,
            "bigint" | "INTEGER" => ColumnKind::Int,
            other => panic!("{table}.{name} is {other}"),
        };
        (name, kind)
    };
    column_lines(migration, table).into_iter().map(column).collect()
}

#[test]
fn migrations_create_the_tables_of_the_read_models() {
    for migration in [POSTGRES, SQLITE] {
        assert_eq!(migration.matches("CREATE TABLE").count(), tables().len());
        for table in tables() {
            let expected: Vec<(String, ColumnKind)> =
                table.columns.iter().map(|column| (column.name.to_owned(), column.kind)).collect();
            assert_eq!(columns_of(migration, table.name), expected, "{}", table.name);
            let key: Vec<&str> = table.columns[..table.key].iter().map(|column| column.name).collect();
            assert!(migration.contains(&format!("PRIMARY KEY ({})", key.join(", "))), "{}", table.name);
        }
    }
}

#[test]
fn both_engines_allow_the_same_nulls() {
    let not_null = |migration: &'static str, table: &str| -> Vec<bool> {
        column_lines(migration, table).iter().map(|line| line.contains("NOT NULL")).collect()
    };
    for table in tables() {
        assert_eq!(not_null(POSTGRES, table.name), not_null(SQLITE, table.name), "{}", table.name);
    }
}

#[test]
fn both_engines_have_the_same_indexes() {
    let indexes = |migration: &'static str| -> Vec<&str> {
        migration.lines().filter(|line| line.contains("INDEX")).collect()
    };
    assert_eq!(indexes(POSTGRES), indexes(SQLITE));
    for table in tables() {
        if let Some(column) = table.keep_until {
            let column = table.columns[column].name;
            let index = format!("CREATE INDEX {0}_{column} ON {0} ({column});", table.name);
            assert!(POSTGRES.contains(&index), "expiry of {} looks at every row", table.name);
        }
    }
}

#[test]
fn tables_are_well_formed() {
    let mut names = HashSet::new();
    for table in tables() {
        assert!(names.insert(table.name), "{} belongs to two read models", table.name);
        let columns: HashSet<&str> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(columns.len(), table.columns.len(), "{}", table.name);
        if let Some(column) = table.keep_until {
            assert_eq!(table.columns[column].kind, ColumnKind::Int, "{}", table.name);
        }
        if let Residency::Resident { gone } = table.residency {
            assert_eq!(table.columns[gone].name, "deleted", "{}: what lives would leave memory", table.name);
        }
        if table.residency != Residency::Stored {
            assert_eq!((table.key, table.columns[0].kind), (1, ColumnKind::Text), "{}", table.name);
        }
    }
}

#[test]
fn every_event_ever_stored_fits_every_table() {
    let mut touched = HashSet::new();
    for (position, (name, event)) in corpus().into_iter().enumerate() {
        for sequence in [1, 2] {
            let ops = ops("subject-1:client-1", sequence, i64::try_from(position).unwrap() + 1, &event);
            let mut keys = HashSet::new();
            for op in &ops {
                Tables::default().apply(op);
                touched.insert(op.table().name);
                assert!(keys.insert(key(op)), "{name} touches a row twice: memory would skip the second");
            }
        }
    }
    assert_eq!(touched.len(), tables().len(), "a table that no event changes");
}

/// What each read model makes of every event ever stored, as of its version, so that nobody changes it without a look
/// at the version: a server that makes something else of one than another on the same database would write other rows,
/// and remember what is not there.
#[test]
fn what_a_read_model_makes_of_every_event_is_written_down() {
    let mut made = String::new();
    for projection in TRANSACTIONAL.iter().chain(EVENTUAL) {
        writeln!(made, "{} {}", projection.name, projection.version).unwrap();
        for (name, event) in corpus() {
            for op in ops_of(&[projection], "subject-1:client-1", 1, 1, &event) {
                writeln!(made, "  {name}: {}", shown(&op)).unwrap();
            }
        }
    }
    if made != MADE {
        let path = std::env::temp_dir().join("made.txt");
        std::fs::write(&path, &made).unwrap();
        panic!(
            "rows differ from projections/made.txt: raise the version of the read model, then put {} in its place. \
             The version stays where a new type of event is new in an eventual read model only",
            path.display()
        );
    }
}

fn shown(op: &RowOp) -> String {
    let cell = |value: &Value| match value {
        Value::Null => "null".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Text(text) => format!("{text:?}"),
    };
    let cells = |row: &[Value]| row.iter().map(cell).collect::<Vec<_>>().join(", ");
    let table = op.table();
    match op {
        RowOp::Insert { row, .. } => format!("insert {} ({})", table.name, cells(row)),
        RowOp::Update { key, set, .. } => {
            let set = set
                .iter()
                .map(|(column, value)| format!("{} = {}", table.columns[*column].name, cell(value)));
            format!("update {} ({}): {}", table.name, cells(key), set.collect::<Vec<_>>().join(", "))
        }
        RowOp::Expire { before, .. } => format!("expire {} before {before}", table.name),
    }
}

fn key(op: &RowOp) -> (&'static str, Vec<Value>) {
    let table = op.table();
    let key = match op {
        RowOp::Insert { row, .. } => row[..table.key].to_vec(),
        RowOp::Update { key, .. } => key.clone(),
        RowOp::Expire { .. } => Vec::new(),
    };
    (table.name, key)
}

/// One of everything that changes a row.
fn story() -> Given {
    Given::nothing()
        .then("client", application("client", Some("alice"), 0))
        .then("alice", user("alice"))
        .then("session-1", session("session-1", "alice", 0))
        .then("session-2", session("session-2", "alice", 50))
        .then("grant-1", granted("grant-1", "client", "alice", 1))
        .then("grant-1", token_issued("token-1", 2, 102, Some((1, 900))))
        .then("grant-1", token_refreshed("token-1", "token-2", 20, (2, 900)))
        .then("grant-2", granted("grant-2", "client", "alice", 3))
        .then("grant-2", revoked(4))
        .then("token-3", client_token("client", "token-3", 500))
        .then("alice", password_changed(Some("session-2"), 60))
        .then("session-1", session_ended(70))
}

#[test]
fn the_database_and_the_map_agree() {
    let later = story().then("installation", horizon(110));
    for given in [story(), later] {
        for table in tables() {
            assert_eq!(given.stored(table), given.tables.rows(table), "{}", table.name);
        }
    }
}

#[test]
fn what_ended_before_the_horizon_leaves() {
    let given = story().then("installation", horizon(110));
    let left = |table: &'static Table| -> Vec<Value> {
        given.tables.rows(table).into_iter().map(|row| row[0].clone()).collect()
    };
    assert_eq!(left(&crate::tokens::TABLE), ["token-2".into(), "token-3".into()]);
    assert_eq!(left(&crate::authorizations::TABLE), ["grant-1".into()]);
    assert_eq!(left(&crate::sessions::TABLE), ["session-1".into(), "session-2".into()]);
    let at_the_end = story().then("installation", horizon(500));
    assert!(at_the_end.row(&crate::tokens::TABLE, "token-3").is_some(), "ends at the horizon, not before");
}
