//! What does Chancery consist of?
//!
//! | module | question it answers |
//! |---|---|
//! | [`templates`] | How does an answer become a page? |

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test that fails should say where"
    )
)]

pub mod templates;
