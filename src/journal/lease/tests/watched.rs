//! What is the database asked, and is it one that another may have replaced? SQLite in memory, watched.

use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;
use projections::projection::Projection;
use projections::row::{Row, RowOp, Table, Value};

use super::*;
use crate::journal::engine::{Append, Committed, Flip, Head, Outcome, StoredBatch, SubjectKeyRow};

pub struct Watched {
    inner: SqliteEngine,
    may_be_replaced: bool,
    asked: Mutex<Vec<String>>,
}

impl Watched {
    pub async fn new(may_be_replaced: bool) -> Arc<Self> {
        let inner = SqliteEngine::in_memory().unwrap();
        inner.migrate().await.unwrap();
        Arc::new(Self { inner, may_be_replaced, asked: Mutex::default() })
    }

    /// How often it was asked something that begins like this.
    pub fn times(&self, beginning: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|sql| sql.starts_with(beginning)).count()
    }

    fn note(&self, sql: &str) {
        self.asked.lock().unwrap().push(sql.to_owned());
    }
}

#[async_trait]
impl Engine for Watched {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn may_be_replaced(&self) -> bool {
        self.may_be_replaced
    }
    async fn migrate(&self) -> Result<usize, EngineError> {
        self.inner.migrate().await
    }
    async fn pending_migrations(&self) -> Result<usize, EngineError> {
        self.inner.pending_migrations().await
    }
    async fn append(&self, batch: i64, epoch: i64, appends: &[Append]) -> Result<Outcome, EngineError> {
        self.inner.append(batch, epoch, appends).await
    }
    async fn find_batch(&self, batch: i64) -> Result<Option<Committed>, EngineError> {
        self.inner.find_batch(batch).await
    }
    async fn batches_after(&self, position: i64, limit: i64) -> Result<Vec<StoredBatch>, EngineError> {
        self.inner.batches_after(position, limit).await
    }
    async fn head(&self) -> Result<Head, EngineError> {
        self.inner.head().await
    }
    async fn pulse(&self) -> Result<Pulse, EngineError> {
        self.inner.pulse().await
    }
    async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, EngineError> {
        self.note(sql);
        self.inner.query(sql, parameters).await
    }
    async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64, EngineError> {
        self.note(sql);
        self.inner.execute(sql, parameters).await
    }
    async fn keep_subject_key(&self, key: &SubjectKeyRow) -> Result<String, EngineError> {
        self.inner.keep_subject_key(key).await
    }
    async fn advance(
        &self,
        projection: &Projection,
        from: i64,
        to: i64,
        rows: &[RowOp],
    ) -> Result<bool, EngineError> {
        self.inner.advance(projection, from, to, rows).await
    }
    async fn copy_to(&self, file: &Path) -> Result<(), EngineError> {
        self.inner.copy_to(file).await
    }
    async fn make_shadows(&self, replay: &Projection, tables: &[&'static Table]) -> Result<(), EngineError> {
        self.inner.make_shadows(replay, tables).await
    }
    async fn flip(&self, flip: &Flip) -> Result<i64, EngineError> {
        self.inner.flip(flip).await
    }
}
