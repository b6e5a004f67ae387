//! How is a row read back? Cell by cell in the order of its table, naming the column that does not fit.

use aggregates::values::SecretRef;
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;

use super::{Table, Value};
use crate::read::ReadError;

/// Reads the cells of a row one after the other, with the column named when one does not fit.
pub struct Cells<'a> {
    table: &'static Table,
    row: &'a [Value],
    next: usize,
}

impl<'a> Cells<'a> {
    /// Starts at the first column.
    #[must_use]
    pub fn new(table: &'static Table, row: &'a [Value]) -> Self {
        Self { table, row, next: 0 }
    }

    fn take(&mut self) -> Option<&'a Value> {
        let value = self.row.get(self.next);
        self.next += 1;
        value
    }

    fn damaged(&self) -> ReadError {
        let column = self.table.columns.get(self.next.saturating_sub(1)).map_or("?", |column| column.name);
        ReadError::Damaged { table: self.table.name, column }
    }

    /// Text, not null.
    pub fn text(&mut self) -> Result<String, ReadError> {
        self.optional_text()?.ok_or_else(|| self.damaged())
    }

    /// Text or null.
    pub fn optional_text(&mut self) -> Result<Option<String>, ReadError> {
        match self.take() {
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(Value::Null) => Ok(None),
            Some(Value::Int(_)) | None => Err(self.damaged()),
        }
    }

    /// An integer, not null.
    pub fn int(&mut self) -> Result<i64, ReadError> {
        self.optional_int()?.ok_or_else(|| self.damaged())
    }

    /// An integer or null.
    pub fn optional_int(&mut self) -> Result<Option<i64>, ReadError> {
        match self.take() {
            Some(Value::Int(number)) => Ok(Some(*number)),
            Some(Value::Null) => Ok(None),
            Some(Value::Text(_)) | None => Err(self.damaged()),
        }
    }

    /// A truth value.
    pub fn truth(&mut self) -> Result<bool, ReadError> {
        Ok(self.int()? != 0)
    }

    /// A time, not null.
    pub fn time(&mut self) -> Result<DateTime<Utc>, ReadError> {
        self.optional_time()?.ok_or_else(|| self.damaged())
    }

    /// A time or null.
    pub fn optional_time(&mut self) -> Result<Option<DateTime<Utc>>, ReadError> {
        match self.optional_int()? {
            None => Ok(None),
            Some(millis) => DateTime::from_timestamp_millis(millis).map(Some).ok_or_else(|| self.damaged()),
        }
    }

    /// Text parsed by the type it belongs to.
    pub fn parsed<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, ReadError> {
        let text = self.text()?;
        parse(&text).ok_or_else(|| self.damaged())
    }

    /// The serde name of a unit variant, as [`super::name`] writes it.
    pub fn named<T: DeserializeOwned>(&mut self) -> Result<T, ReadError> {
        self.parsed(parse_name)
    }

    /// The serde name of a unit variant, or null.
    pub fn optional_named<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ReadError> {
        let text = self.optional_text()?;
        text.map(|text| parse_name(&text).ok_or_else(|| self.damaged())).transpose()
    }

    /// A secret's reference: its id and kind, or two nulls.
    pub fn secret(&mut self) -> Result<Option<SecretRef>, ReadError> {
        match (self.optional_text()?, self.optional_named()?) {
            (Some(id), Some(kind)) => Ok(Some(SecretRef { id, kind })),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => Err(self.damaged()),
        }
    }

    /// JSON text of a serde type.
    pub fn json<T: DeserializeOwned>(&mut self) -> Result<T, ReadError> {
        self.parsed(|text| serde_json::from_str(text).ok())
    }
}

fn parse_name<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}
