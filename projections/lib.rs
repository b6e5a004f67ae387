//! What is known: read models and the questions they answer. No HTTP, no database named.
//!
//! | projection | events read | question answered |
//! |---|---|---|
//! | [`applications`] | application | which client is this, and what may it do? |
//! | [`users`] | user | who is this, and may they log in? |
//! | [`sessions`] | session | is this browser logged in, as whom, since when? |
//! | [`authorizations`] | authorization | what did a person allow a client, and does it still stand? |
//! | [`tokens`] | authorization, client token | is this access token alive, and for what? |
//! | [`consents`] | consent | need the person be asked again? |
//! | [`timeline`] (eventual) | all | what happened to this thing, in order? |
//!
//! What stands on several of them at once is asked of [`validity`].
//!
//! A projection turns an event into row operations and nothing else. *Transactional* ones are written
//! in the transaction of their events and applied to memory from the same operations, so that what is
//! written and what is remembered cannot diverge. *Eventual* ones follow with a checkpoint.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test that cannot go on should stop there"
    )
)]
#![warn(missing_docs)]

pub mod applications;
pub mod authorizations;
pub mod consents;
pub mod memory;
pub mod projection;
pub mod read;
pub mod row;
pub mod sessions;
pub mod timeline;
pub mod tokens;
pub mod users;
pub mod validity;

#[cfg(test)]
mod given;
#[cfg(test)]
mod tests;

use projection::Projection;
use row::Table;

/// Read models written in the transaction of their events.
pub const TRANSACTIONAL: &[&Projection] = &[
    &applications::PROJECTION,
    &users::PROJECTION,
    &sessions::PROJECTION,
    &authorizations::PROJECTION,
    &tokens::PROJECTION,
    &consents::PROJECTION,
];

/// Read models that follow with a checkpoint of their own.
pub const EVENTUAL: &[&Projection] = &[&timeline::PROJECTION];

/// Whether a read model follows with a checkpoint of its own.
#[must_use]
pub fn is_eventual(projection: &Projection) -> bool {
    EVENTUAL.iter().any(|one| one.name == projection.name)
}

/// Every table of the transactional read models.
pub fn transactional_tables() -> impl Iterator<Item = &'static Table> {
    TRANSACTIONAL.iter().flat_map(|projection| projection.tables.iter().copied())
}
