//! What is a projection? A name, its tables, and a pure function from an event to row operations.

use std::collections::BTreeMap;

use aggregates::AnyEvent;

use crate::row::{RowOp, Table};

/// An event as projections see it.
pub struct Recorded<'a> {
    /// Its place in the log, counted from 1. Transactional projections run before it is known.
    pub position: Option<i64>,
    /// Which kind of stream.
    pub aggregate_type: &'a str,
    /// Which stream.
    pub aggregate_id: &'a str,
    /// Its place in the stream, counted from 1.
    pub sequence: i64,
    /// What happened.
    pub event: &'a AnyEvent,
    /// Actor, correlation and so on: strings only.
    pub metadata: &'a BTreeMap<String, String>,
}

/// A read model.
#[derive(Clone, Copy)]
pub struct Projection {
    /// Its name on the command line and in checkpoints.
    pub name: &'static str,
    /// Moves when an event leads to other rows than before, or one of a new type to any in a transactional read
    /// model: programs of another version must not write into its tables, nor remember what is in them.
    pub version: u32,
    /// The tables it alone writes.
    pub tables: &'static [&'static Table],
    /// What an event does to them.
    pub apply: fn(&Recorded<'_>, &mut Vec<RowOp>),
}

/// The row operations of an event on a list of read models.
#[must_use]
pub fn row_ops(projections: &[&Projection], recorded: &Recorded<'_>) -> Vec<RowOp> {
    let mut ops = Vec::new();
    for projection in projections {
        (projection.apply)(recorded, &mut ops);
    }
    ops
}

/// What the horizon does to a table: rows whose last use lies before it leave.
pub(crate) fn expire(
    table: &'static Table,
    event: &aggregates::installation::InstallationEvent,
    ops: &mut Vec<RowOp>,
) {
    use aggregates::installation::InstallationEvent;
    match event {
        InstallationEvent::HorizonAdvanced { horizon, .. } => {
            ops.push(RowOp::Expire { table, before: horizon.timestamp_millis() });
        }
        InstallationEvent::ConfigurationChanged { .. }
        | InstallationEvent::RootSecretBound { .. }
        | InstallationEvent::RollbackAccepted { .. } => {}
    }
}
