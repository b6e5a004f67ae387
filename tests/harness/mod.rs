//! What do all tests stand on?

pub mod directory;
pub mod environment;
pub mod postgres;
