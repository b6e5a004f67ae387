//! chancery

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test that fails may say so by panicking"
    )
)]

pub mod clock;
pub mod keys;
pub mod password;
pub mod sealing;
pub mod secret;
pub mod token;
