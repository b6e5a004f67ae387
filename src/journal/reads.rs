//! How are read models asked? By key from memory, once from the database when it is not there; the
//! rest with SQL.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use projections::memory::{Lookup, Memory};
use projections::read::{Read, ReadError};
use projections::row::{Row, Table, Value};
use tokio::time::Instant;

use super::{EngineError, Journal, feed, stripe};

/// Gives a started load up when its future is dropped, so that the next reader starts anew.
struct Loading<'a> {
    memory: &'a Memory,
    table: &'static Table,
    key: &'a str,
    done: bool,
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.memory.abandoned(self.table, self.key);
        }
    }
}

#[async_trait]
impl Read for Journal {
    async fn find(&self, table: &'static Table, key: &str) -> Result<Option<Arc<Row>>, ReadError> {
        if let Lookup::Known(row) = self.inner.memory.peek(table, key) {
            self.inner.metrics.looked(table.name, "memory");
            return Ok(row);
        }
        // Nothing is stored under it: PostgreSQL has no such text, and would refuse the question.
        if key.contains('\0') {
            return Ok(None);
        }
        // One load a key: whoever comes meanwhile finds the row when its turn comes.
        let asked = Instant::now();
        let turn = self.inner.loads.get(stripe(&(table.name, key)));
        let mut unanswered = match turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        if let Lookup::Known(row) = self.inner.memory.lookup(table, key) {
            return Ok(row);
        }
        let mut loading = Loading { memory: &self.inner.memory, table, key, done: false };
        // Each of those who wait would wait as long for the same.
        if let Some((at, reason)) = unanswered.as_deref().and_then(Option::as_ref)
            && *at > asked
        {
            return Err(EngineError::Unavailable(reason.clone()).into());
        }
        let read = self.read_row(table, key).await;
        if let Some(unanswered) = unanswered.as_deref_mut() {
            *unanswered = match &read {
                Err(EngineError::Unavailable(reason)) => Some((Instant::now(), reason.clone())),
                _ => None,
            };
        }
        let (row, as_of) = read?;
        loading.done = true;
        self.inner.metrics.looked(table.name, "database");
        Ok(self.inner.memory.loaded(table, key, row, as_of))
    }

    async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, ReadError> {
        Ok(self.engine().query(sql, parameters).await?)
    }
}

impl Journal {
    /// Another version's table may have a row of this key that says something else, or none: it counts in the epoch
    /// that this process has read, once more if that has just moved.
    async fn read_row(&self, table: &'static Table, key: &str) -> Result<(Option<Row>, i64), EngineError> {
        for _ in 0..2 {
            let applied = self.inner.applied();
            let (row, as_of) = self.engine().find_row(table, key).await?;
            as_of.check_not_before(applied)?;
            if as_of.epoch == self.inner.epoch.load(Ordering::Relaxed) {
                return Ok((row, as_of.position));
            }
            feed::follow_epoch(&self.inner).await?;
        }
        Err(EngineError::EpochMoved)
    }
}
