//! Why a consent command is refused: never. The type exists so that every aggregate has the same files.

/// There is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsentError {}
