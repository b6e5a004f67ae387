//! Cells are written and read by the same rules, and what does not fit is named.

use aggregates::values::{SecretKind, SecretRef};

use super::*;
use crate::read::ReadError;

static TABLE: Table = Table {
    name: "examples",
    key: 1,
    columns: &[text("id"), int("number"), text("json")],
    keep_until: None,
    residency: Residency::Stored,
};

fn damaged<T: std::fmt::Debug>(result: Result<T, ReadError>) -> &'static str {
    match result.unwrap_err() {
        ReadError::Damaged { table, column } => {
            assert_eq!(table, "examples");
            column
        }
        ReadError::Unavailable { reason } => panic!("{reason}"),
    }
}

#[test]
fn cells_are_read_in_order() {
    let row = vec!["a".into(), Value::Int(5), json(&vec![1, 2])];
    let mut cells = Cells::new(&TABLE, &row);
    assert_eq!(cells.text().unwrap(), "a");
    assert_eq!(cells.int().unwrap(), 5);
    assert_eq!(cells.json::<Vec<i64>>().unwrap(), [1, 2]);
    assert_eq!(damaged(cells.text()), "?", "there are no more");
}

#[test]
fn what_does_not_fit_is_named() {
    let row = vec![Value::Int(1), Value::Null, "{".into()];
    let mut cells = Cells::new(&TABLE, &row);
    assert_eq!(damaged(cells.text()), "id");
    assert_eq!(damaged(cells.int()), "number");
    assert_eq!(damaged(cells.json::<Vec<i64>>()), "json");
}

#[test]
fn times_keep_their_milliseconds() {
    let time = DateTime::from_timestamp_millis(1_800_000_000_123).unwrap();
    let row = vec![Value::from(time), Value::Null, Value::Int(i64::MAX)];
    let mut cells = Cells::new(&TABLE, &row);
    assert_eq!(cells.time().unwrap(), time);
    assert_eq!(cells.optional_time().unwrap(), None);
    assert_eq!(damaged(cells.time()), "json");
}

#[test]
fn truth_is_one_or_zero() {
    assert_eq!((Value::from(true), Value::from(false)), (Value::Int(1), Value::Int(0)));
    let row = vec![Value::Int(1), Value::Int(0)];
    let mut cells = Cells::new(&TABLE, &row);
    assert!(cells.truth().unwrap() && !cells.truth().unwrap());
}

#[test]
fn a_secret_is_two_cells_or_none() {
    let read = |id: Value, kind: Value| Cells::new(&TABLE, &[id, kind]).secret();
    let secret = SecretRef { id: "secret-1".to_owned(), kind: SecretKind::Argon2id };
    assert_eq!(read("secret-1".into(), name(&secret.kind)).unwrap(), Some(secret));
    assert_eq!(read(Value::Null, Value::Null).unwrap(), None);
    assert_eq!(damaged(read("secret-1".into(), Value::Null)), "number");
    assert_eq!(damaged(read("secret-1".into(), "rot13".into())), "number");
}

#[test]
fn only_a_unit_variant_has_a_name() {
    assert_eq!(name(&SecretKind::KeyedSha256), "keyed-sha256".into());
    assert_eq!(name(&vec![1]), Value::Null);
}

#[test]
fn an_update_names_its_columns() {
    let RowOp::Update { key, set, .. } = RowOp::update(&TABLE, "a", vec![("json", "x".into())]) else {
        panic!("not an update")
    };
    assert_eq!((key, set), (vec!["a".into()], vec![(2, "x".into())]));
}

#[test]
#[should_panic(expected = "table examples has no column jason")]
fn a_misspelt_column_is_noticed() {
    let _ = RowOp::update(&TABLE, "a", vec![("jason", Value::Null)]);
}
