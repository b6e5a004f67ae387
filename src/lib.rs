//! Chancery: an event-sourced OAuth 2.1 authorization server.
//!
//! | module | question it answers |
//! |---|---|
//! | [`cli`], [`config`], [`console`] | What did the operator ask for, and how is it answered? |
//! | [`clock`], [`secret`] | Where do time and randomness come from? |
//! | [`keys`], [`token`], [`sealing`], [`password`] | What proves that something is ours? |
//! | [`journal`] | How does a command become durable, and how is it read again? |
//! | [`templates`] | How does an answer become a page? |
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

pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod journal;
pub mod keys;
pub mod password;
pub mod sealing;
pub mod secret;
pub mod templates;
pub mod token;
