//! What does a node remember? The rows that can be asked for by key, kept current by the same row
//! operations that the database executes.
//!
//! A row that is read from the database while events commit could be older than what memory has
//! already seen. So every remembered row carries the position it is *as of*: operations up to it are
//! skipped, later ones applied, and those that arrive while a row is on its way are kept aside for it.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashlink::LruCache;

use crate::row::{Residency, Row, RowOp, Table, Value};

const SHARDS: usize = 16;
/// Of the rows of a shard that are gone for good as many stay, for who still asks for them.
const GONE_KEPT: usize = if cfg!(test) { 1 } else { 64 };

/// The remembered rows of all tables.
pub struct Memory {
    tables: HashMap<&'static str, TableMemory>,
}

struct TableMemory {
    table: &'static Table,
    shards: Vec<Mutex<Shard>>,
    /// Moves after each change, so that whoever has read it before the rows can tell that they are the same.
    changes: AtomicU64,
}

struct Shard {
    /// Rows read as of before this are not remembered: what happened to them was not kept aside.
    since: i64,
    /// No row ends before this: where the horizon comes in slices, most of them are looked for nothing in most shards.
    first_end: i64,
    rows: LruCache<String, Remembered>,
    /// The keys of those that are gone for good, in the order in which they went.
    gone: VecDeque<String>,
    loading: HashMap<String, Vec<(i64, RowOp)>>,
}

#[derive(Clone)]
struct Remembered {
    row: Option<Arc<Row>>,
    as_of: i64,
}

/// What memory says about a key.
pub enum Lookup {
    /// It knows: the row, or that there is none.
    Known(Option<Arc<Row>>),
    /// It must be read; the caller reads it and reports with [`Memory::loaded`].
    MustLoad,
}

impl Memory {
    /// An empty memory for these tables, holding at most `capacity` rows of each cached one.
    pub fn new(tables: impl Iterator<Item = &'static Table>, capacity: usize) -> Self {
        let tables = tables
            .filter(|table| table.residency != Residency::Stored)
            .map(|table| (table.name, TableMemory::new(table, capacity)))
            .collect();
        Self { tables }
    }

    /// Looks a row up without I/O and without preparing to load it.
    #[must_use]
    pub fn peek(&self, table: &'static Table, key: &str) -> Lookup {
        let Some(memory) = self.tables.get(table.name) else { return Lookup::MustLoad };
        match memory.shard(key).rows.get(key) {
            Some(remembered) => Lookup::Known(remembered.row.clone()),
            None => Lookup::MustLoad,
        }
    }

    /// Looks a row up without I/O and, when it must be read, starts keeping its operations aside.
    #[must_use]
    pub fn lookup(&self, table: &'static Table, key: &str) -> Lookup {
        let Some(memory) = self.tables.get(table.name) else { return Lookup::MustLoad };
        let mut shard = memory.shard(key);
        if let Some(remembered) = shard.rows.get(key) {
            return Lookup::Known(remembered.row.clone());
        }
        shard.loading.entry(key.to_owned()).or_default();
        Lookup::MustLoad
    }

    /// Takes a row that was read as of a position, with what happened to it meanwhile. A row that memory
    /// has seen more of stays. Reads of one key go one at a time: the first to report ends the keeping
    /// aside.
    pub fn loaded(&self, table: &'static Table, key: &str, row: Option<Row>, as_of: i64) -> Option<Arc<Row>> {
        let Some(memory) = self.tables.get(table.name) else { return row.map(Arc::new) };
        let mut shard = memory.shard(key);
        let mut remembered = Remembered { row: row.map(Arc::new), as_of };
        for (position, op) in shard.loading.remove(key).unwrap_or_default() {
            remembered.apply(position, &op);
        }
        if let Some(present) = shard.rows.peek(key)
            && present.as_of > remembered.as_of
        {
            return present.row.clone();
        }
        let row = remembered.row.clone();
        // Where all rows are held, nobody may fill memory with keys that are none.
        let is_kept = row.is_some() || !table.is_resident();
        if is_kept && as_of >= shard.since {
            shard.insert(table, key.to_owned(), remembered);
        }
        row
    }

    /// Gives up a read that failed or was abandoned.
    pub fn abandoned(&self, table: &'static Table, key: &str) {
        if let Some(memory) = self.tables.get(table.name) {
            memory.shard(key).loading.remove(key);
        }
    }

    /// Applies an operation of the event at `position` to what is remembered.
    pub fn apply(&self, position: i64, op: &RowOp) {
        let Some(memory) = self.tables.get(op.table().name) else { return };
        match op {
            RowOp::Insert { row, .. } => memory.apply_to(row.first(), position, op),
            RowOp::Update { key, .. } => memory.apply_to(key.first(), position, op),
            RowOp::Expire { before, .. } => memory.expire(*before, position, op),
        }
        memory.changes.fetch_add(1, Ordering::Release);
    }

    /// How often the rows of a table were changed: to be asked before they are read, by whoever keeps what
    /// follows from them.
    #[must_use]
    pub fn changes(&self, table: &'static Table) -> u64 {
        self.tables.get(table.name).map_or(0, |memory| memory.changes.load(Ordering::Acquire))
    }

    /// Forgets what is remembered of a table as of before a position, and what is still on its way. Its rows
    /// are these now, each with what it is as of, which is not before that position: all of them where all are held,
    /// and none where they are read on first use. Nothing may be applied meanwhile.
    pub fn replace(&self, table: &'static Table, rows: Vec<(Row, i64)>, since: i64) {
        let Some(memory) = self.tables.get(table.name) else { return };
        let mut by_shard: Vec<Vec<(String, Remembered)>> = (0..SHARDS).map(|_| Vec::new()).collect();
        for (row, as_of) in rows {
            if let Some(Value::Text(key)) = row.first().cloned()
                && let Some(shard) = by_shard.get_mut(shard_of(&key))
            {
                shard.push((key, Remembered { row: Some(Arc::new(row)), as_of }));
            }
        }
        for (shard, rows) in memory.shards.iter().zip(by_shard) {
            let mut shard = lock(shard);
            shard.rows.clear();
            shard.gone.clear();
            (shard.since, shard.first_end) = (since, i64::MAX);
            for (key, remembered) in rows {
                shard.insert(table, key, remembered);
            }
        }
        memory.changes.fetch_add(1, Ordering::Release);
    }

    /// Every remembered row of a table: all there are where all are held.
    #[must_use]
    pub fn snapshot(&self, table: &'static Table) -> Vec<Arc<Row>> {
        let Some(memory) = self.tables.get(table.name) else { return Vec::new() };
        memory
            .shards
            .iter()
            .flat_map(|shard| {
                lock(shard)
                    .rows
                    .iter()
                    .filter_map(|(_, remembered)| remembered.row.clone())
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

impl TableMemory {
    fn new(table: &'static Table, capacity: usize) -> Self {
        let shards = (0..SHARDS)
            .map(|_| {
                let rows = if table.is_resident() {
                    LruCache::new_unbounded()
                } else {
                    LruCache::new((capacity / SHARDS).max(1))
                };
                let (gone, loading) = (VecDeque::new(), HashMap::new());
                Mutex::new(Shard { since: 0, first_end: i64::MAX, rows, gone, loading })
            })
            .collect();
        Self { table, shards, changes: AtomicU64::new(0) }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        #[allow(clippy::indexing_slicing, reason = "the index is taken modulo the number of shards")]
        lock(&self.shards[shard_of(key)])
    }

    fn apply_to(&self, key: Option<&Value>, position: i64, op: &RowOp) {
        let Some(Value::Text(key)) = key else { return };
        let mut shard = self.shard(key);
        if let Some(pending) = shard.loading.get_mut(key) {
            pending.push((position, op.clone()));
        }
        if let Some(remembered) = shard.rows.get_mut(key) {
            let was_gone = remembered.is_gone(self.table);
            remembered.apply(position, op);
            let (end, is_gone) = (remembered.end(self.table), remembered.is_gone(self.table));
            shard.first_end = shard.first_end.min(end);
            if is_gone && !was_gone {
                shard.goes(key.clone());
            }
        } else if self.keeps_new_rows(op) {
            let mut remembered = Remembered { row: None, as_of: 0 };
            remembered.apply(position, op);
            shard.insert(self.table, key.clone(), remembered);
        }
    }

    /// A new row is likely to be asked for soon: it enters memory without being read back.
    fn keeps_new_rows(&self, op: &RowOp) -> bool {
        matches!(op, RowOp::Insert { .. }) && self.table.residency != Residency::Stored
    }

    fn expire(&self, before: i64, position: i64, op: &RowOp) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            for pending in shard.loading.values_mut() {
                pending.push((position, op.clone()));
            }
            if shard.first_end >= before {
                continue;
            }
            let (mut gone, mut first_end) = (Vec::new(), i64::MAX);
            for (key, remembered) in &shard.rows {
                match remembered.end(self.table) {
                    end if end < before => gone.push(key.clone()),
                    end => first_end = first_end.min(end),
                }
            }
            for key in gone {
                shard.rows.remove(&key);
            }
            shard.first_end = first_end;
        }
    }
}

impl Shard {
    fn insert(&mut self, table: &Table, key: String, remembered: Remembered) {
        self.first_end = self.first_end.min(remembered.end(table));
        let is_gone = remembered.is_gone(table);
        let former = self.rows.insert(key.clone(), remembered);
        if is_gone && !former.is_some_and(|former| former.is_gone(table)) {
            self.goes(key);
        }
    }

    /// A row is gone for good from now on, and the one that went first may have to leave for it.
    fn goes(&mut self, key: String) {
        self.gone.push_back(key);
        if self.gone.len() > GONE_KEPT
            && let Some(first) = self.gone.pop_front()
        {
            self.rows.remove(&first);
        }
    }
}

impl Remembered {
    fn apply(&mut self, position: i64, op: &RowOp) {
        if position <= self.as_of {
            return;
        }
        self.as_of = position;
        match op {
            RowOp::Insert { row, .. } => self.row = Some(Arc::clone(row)),
            RowOp::Update { set, .. } => {
                if let Some(row) = &mut self.row {
                    update(Arc::make_mut(row), set);
                }
            }
            RowOp::Expire { table, before } => {
                if self.end(table) < *before {
                    self.row = None;
                }
            }
        }
    }

    fn is_gone(&self, table: &Table) -> bool {
        self.row.as_ref().is_some_and(|row| table.is_gone(row))
    }

    fn end(&self, table: &Table) -> i64 {
        self.row.as_ref().map_or(i64::MAX, |row| end(table, row))
    }
}

fn shard_of(key: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or_default()
}

/// Sets cells of a row.
pub fn update(row: &mut Row, set: &[(usize, Value)]) {
    for (column, value) in set {
        if let Some(cell) = row.get_mut(*column) {
            cell.clone_from(value);
        }
    }
}

/// Whether a row's last use lies before the horizon.
#[must_use]
pub fn ended(table: &Table, row: &Row, before: i64) -> bool {
    end(table, row) < before
}

/// When a row was last of use; one that stays has no end.
fn end(table: &Table, row: &Row) -> i64 {
    match table.keep_until.and_then(|column| row.get(column)) {
        Some(Value::Int(until)) => *until,
        Some(Value::Null | Value::Text(_)) | None => i64::MAX,
    }
}

/// A poisoned lock only says that another thread stopped; rows are replaced whole, never half.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
