//! Chancery: an event-sourced OAuth 2.1 authorization server.
//!
//! | module | question it answers |
//! |---|---|
//! | [`cli`], [`config`], [`console`] | What did the operator ask for, and how is it answered? |
//! | [`clock`], [`secret`] | Where do time and randomness come from? |
//! | [`keys`], [`token`], [`sealing`], [`password`] | What proves that something is ours? |
//! | [`open`], [`state`], [`checkpoint`], [`introduction`] | What does a process share, and how does it come to it? |
//! | [`commands`], [`personal`] | How is a command executed, and who can read what it says of a person? |
//! | [`journal`] | How does a command become durable, and how is it read again? |
//! | [`serve`], [`router`], [`middleware`], [`extract`] | How does a connection become a request, and a request a handler's? |
//! | [`room`] | How much of something is in use, by everybody and by one network? |
//! | [`health`], [`metrics`], [`logging`] | Is it well, and how much does it do? |
//! | [`oauth`], [`resource`] | What do clients get? |
//! | [`pages`], [`accounts`], [`registration`] | What do people see, and what is wrong with what they typed? |
//! | [`error`], [`refusals`], [`json`] | What goes out when something is refused, what is kept of it, how does it look? |
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

/// A command allocates some hundred small texts: half of the program's time went to the C library's
/// allocator, and freed memory of bursts was never given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub mod accounts;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod console;
pub mod error;
pub mod extract;
pub mod health;
pub mod introduction;
pub mod journal;
pub mod json;
pub mod keys;
pub mod logging;
pub mod metrics;
pub mod middleware;
pub mod oauth;
pub mod open;
pub mod pages;
pub mod password;
pub mod personal;
pub mod places;
pub mod refusals;
pub mod registration;
pub mod resource;
pub mod room;
pub mod router;
pub mod sealing;
pub mod secret;
pub mod serve;
pub mod state;
mod telemetry;
pub mod templates;
pub mod token;
