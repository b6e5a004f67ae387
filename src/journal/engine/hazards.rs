//! What about a database may cost what was acknowledged, or keep others from writing? Plain data, for whoever judges it.

/// Found by [`super::Engine::hazards`]; `doctor` judges it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hazards {
    /// Settings that are off although a crash then loses what was acknowledged.
    pub switched_off: Vec<&'static str>,
    /// Whether it waits for more than two seconds for a node that stands still in a transaction: what is asked of each
    /// connection does not reach it.
    pub waits_too_long: bool,
    /// How long the oldest transaction has been open that we may see, in seconds.
    pub oldest_transaction: i64,
    /// How much of what it can keep for those who listen and do not hear it keeps, in percent.
    pub unheard: i64,
    /// What time it is to the database, in milliseconds since 1970; `None` on the same machine.
    pub clock: Option<i64>,
    /// Who has copies; `None` where no other machine could.
    pub replication: Option<Replication>,
}

/// Who has copies of a database, and whether a commit waits for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// What a commit waits for.
    pub awaits: Awaited,
    /// The setting that says so, as it is written.
    pub setting: String,
    /// Which standbys are to be waited for, as it is written; empty for none.
    pub named: String,
    /// Standbys that follow now.
    pub standbys: i64,
    /// Those of them that a commit waits for.
    pub synchronous: i64,
    /// Those of which we may not know whether it does.
    pub hidden: i64,
}

/// Where an acknowledged command is, besides the disk of the server that took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Nowhere.
    Nothing,
    /// In the memory of a standby's machine.
    Memory,
    /// On the disk of a standby.
    Disk,
}
