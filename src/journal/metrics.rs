//! What does the journal count? For the listener of [`crate::metrics`].

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::engine::EngineError;

/// Labels of a look into memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Look {
    /// Which read model.
    pub table: &'static str,
    /// `memory` or `database`.
    pub found_in: &'static str,
}

/// Labels of a command's look at what a stream has come to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Load {
    /// The type of the aggregate.
    pub aggregate: &'static str,
    /// `memory` or `database`.
    pub found_in: &'static str,
}

/// Labels of an append that did not simply commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Ending {
    /// `lost` to another command, or what the database answered.
    pub why: &'static str,
}

/// Counts of one journal. Clones count the same.
#[derive(Clone, Debug)]
pub struct JournalMetrics {
    /// Commands that were committed.
    pub commands: Counter,
    /// Commands that were not, by reason.
    pub failures: Family<Ending, Counter>,
    /// Outcomes that the database did not tell and that were found out.
    pub settled: Counter,
    /// Events of a batch.
    pub batch_size: Histogram,
    /// Seconds of a batch, from its first statement to the answer of its commit.
    pub commit_seconds: Histogram,
    /// Seconds until no other process could answer from before a revocation.
    pub spread_seconds: Histogram,
    /// Rows asked for by key.
    pub looks: Family<Look, Counter>,
    /// Aggregates that commands went on with.
    pub loads: Family<Load, Counter>,
    /// How often an event could not be read: by whoever follows the log, by a command, by a projection.
    pub unreadable: Counter,
}

impl Default for JournalMetrics {
    fn default() -> Self {
        Self {
            commands: Counter::default(),
            failures: Family::default(),
            settled: Counter::default(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 14)),
            spread_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 11)),
            looks: Family::default(),
            loads: Family::default(),
            unreadable: Counter::default(),
        }
    }
}

impl JournalMetrics {
    /// Shows them under `journal_…`.
    pub fn register(&self, registry: &mut Registry) {
        let journal = registry.sub_registry_with_prefix("journal");
        journal.register("commands", "Commands that were committed", self.commands.clone());
        journal.register("failures", "Commands that were not committed, by reason", self.failures.clone());
        journal.register("unreadable", "Events that could not be read, each time", self.unreadable.clone());
        journal.register("settled", "Unknown outcomes that were found out", self.settled.clone());
        journal.register("batch_size", "Events of a transaction", self.batch_size.clone());
        journal.register_with_unit(
            "commit",
            "Time of a transaction",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        journal.register_with_unit(
            "spread",
            "Time until no other process could answer from before a revocation",
            Unit::Seconds,
            self.spread_seconds.clone(),
        );
        journal.register("lookups", "Rows asked for by key, by where they were found", self.looks.clone());
        journal.register(
            "loads",
            "Aggregates that commands went on with, by where they were found",
            self.loads.clone(),
        );
    }

    /// A row was asked for by its key.
    pub fn looked(&self, table: &'static str, found_in: &'static str) {
        self.looks.get_or_create(&Look { table, found_in }).inc();
    }

    /// A command needed an aggregate that is not new.
    pub fn loaded(&self, aggregate: &'static str, found_in: &'static str) {
        self.loads.get_or_create(&Load { aggregate, found_in }).inc();
    }

    /// Something could not be done; counted where it was an event that could not be read.
    pub fn met(&self, error: &EngineError) {
        if let EngineError::Damaged(_) | EngineError::Later { .. } = error {
            self.unreadable.inc();
        }
    }

    /// Commands were not committed.
    pub fn failed(&self, why: &'static str, commands: usize) {
        self.failures.get_or_create(&Ending { why }).inc_by(u64::try_from(commands).unwrap_or(u64::MAX));
    }
}
