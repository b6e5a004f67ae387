//! Invariants 1 and 7, at the engine's edge: unknown outcomes are settled and never guessed, and a
//! poisoned neighbour does not harm a batch.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aggregates::authorization::AuthorizationCommand;
use async_trait::async_trait;
use chancery::clock::SystemClock;
use chancery::config::{Config, Environment};
use chancery::journal::archive::{ArchiveError, export};
use chancery::journal::engine::{
    Append, AsOf, Committed, Engine, EngineError, Flip, Head, Outcome, Pulse, StoredBatch, SubjectKeyRow,
};
use chancery::journal::installation::ROLLBACK_ACCEPTED;
use chancery::journal::replay::{Replay, find_projection};
use chancery::open::{OpenError, open_on};
use projections::EVENTUAL;
use projections::projection::Projection;
use projections::row::{Row, RowOp, Table, Value};
use projections::tokens::find_token;

use super::{Node, Place, Refused, verified};
use crate::harness::directory::Directory;

/// What goes wrong at the `n`th commit.
#[derive(Clone, Copy, PartialEq)]
pub enum Fault {
    /// The commit happened, its answer was lost.
    AnswerLost,
    /// The connection was lost before the commit; nobody can tell.
    NeverArrived,
    /// The database has gone.
    Gone,
    /// What other nodes wrote cannot be read.
    Deaf,
    /// Rows are asked for, and no answer comes.
    Hung,
    /// The answer to the tables beside the live ones was lost, and then one about rows.
    Stumbles,
    /// The tables changed places, and the answer was lost.
    FlipUnanswered,
    /// They did not, and another replay was faster.
    FlipOvertaken,
    /// Whenever accepted roll-backs are counted there is one more.
    RollbackAccepted,
    /// Whenever somebody asks where the log ends it has grown.
    Grows,
    /// Connections break, and there are no others.
    Broken,
    /// The writer meets a fault of the program.
    Panics,
    /// What follows the log cannot be written.
    Unprojected,
    /// Rows are read from a server that has not heard of anything since the first one.
    Behind,
}

/// How long an engine that hangs is asked.
pub const HUNG: Duration = Duration::from_millis(300);

/// How long it takes to find out that a connection is broken and there is no other.
const BROKEN: Duration = Duration::from_millis(150);

/// An engine that fails every third append, or as its fault says.
pub struct Faulty {
    pub inner: Arc<dyn Engine>,
    fault: Fault,
    appends: AtomicUsize,
    /// How often it has been asked for what is never the same twice, or cannot be done.
    pub asked: AtomicI64,
    /// What the server that is behind knows.
    known: Mutex<Option<(Option<Row>, AsOf)>>,
    /// Whether the fault is over.
    pub healed: Arc<AtomicBool>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Engine>, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            appends: AtomicUsize::new(0),
            asked: AtomicI64::new(0),
            known: Mutex::default(),
            healed: Arc::default(),
        }
    }

    fn count(&self) -> i64 {
        self.asked.fetch_add(1, Ordering::SeqCst)
    }
}

#[async_trait]
impl Engine for Faulty {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    async fn reach(&self) -> Result<(), EngineError> {
        if self.fault == Fault::Broken {
            return Err(EngineError::Unavailable("too many clients already".to_owned()));
        }
        self.inner.reach().await
    }
    async fn migrate(&self) -> Result<usize, EngineError> {
        self.inner.migrate().await
    }
    async fn pending_migrations(&self) -> Result<usize, EngineError> {
        self.inner.pending_migrations().await
    }
    async fn append(&self, batch: i64, epoch: i64, appends: &[Append]) -> Result<Outcome, EngineError> {
        if !self.appends.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
            return self.inner.append(batch, epoch, appends).await;
        }
        match self.fault {
            Fault::AnswerLost => {
                self.inner.append(batch, epoch, appends).await?;
                Err(EngineError::Unknown("the answer was lost".to_owned()))
            }
            Fault::NeverArrived => Err(EngineError::Unknown("the connection was lost".to_owned())),
            Fault::Gone => Err(EngineError::Unavailable("gone".to_owned())),
            Fault::Panics => panic!("a fault of the program"),
            Fault::Broken => {
                tokio::time::sleep(BROKEN).await;
                Err(EngineError::Unknown("the connection was lost".to_owned()))
            }
            Fault::Deaf
            | Fault::Hung
            | Fault::Stumbles
            | Fault::FlipUnanswered
            | Fault::FlipOvertaken
            | Fault::RollbackAccepted
            | Fault::Behind
            | Fault::Unprojected
            | Fault::Grows => self.inner.append(batch, epoch, appends).await,
        }
    }
    async fn find_batch(&self, batch: i64) -> Result<Option<Committed>, EngineError> {
        self.inner.find_batch(batch).await
    }
    async fn batches_after(&self, position: i64, limit: i64) -> Result<Vec<StoredBatch>, EngineError> {
        if self.fault == Fault::Deaf && !self.healed.load(Ordering::SeqCst) {
            return Err(EngineError::Unavailable("cannot be read".to_owned()));
        }
        self.inner.batches_after(position, limit).await
    }
    async fn head(&self) -> Result<Head, EngineError> {
        let head = self.inner.head().await?;
        let is_growing = self.fault == Fault::Grows && !self.healed.load(Ordering::SeqCst);
        Ok(if is_growing { Head { position: head.position + self.count(), ..head } } else { head })
    }
    async fn pulse(&self) -> Result<Pulse, EngineError> {
        self.inner.pulse().await
    }
    async fn execute(&self, sql: &str, parameters: &[Value]) -> Result<u64, EngineError> {
        self.inner.execute(sql, parameters).await
    }
    async fn find_row(&self, table: &'static Table, key: &str) -> Result<(Option<Row>, AsOf), EngineError> {
        if self.fault == Fault::Hung && !self.healed.load(Ordering::SeqCst) {
            tokio::time::sleep(HUNG).await;
            return Err(EngineError::Unavailable("no answer in time".to_owned()));
        }
        let found = self.inner.find_row(table, key).await?;
        if self.fault == Fault::Behind && !self.healed.load(Ordering::SeqCst) {
            return Ok(self.known.lock().unwrap().get_or_insert(found).clone());
        }
        Ok(found)
    }
    async fn query(&self, sql: &str, parameters: &[Value]) -> Result<Vec<Row>, EngineError> {
        if self.fault == Fault::RollbackAccepted
            && sql.starts_with("SELECT count(*) FROM events")
            && parameters.contains(&ROLLBACK_ACCEPTED.into())
        {
            return Ok(vec![vec![self.count().into()]]);
        }
        if self.fault == Fault::Stumbles && sql.contains("EXCEPT") && self.count() == 2 {
            return Err(EngineError::Unavailable("no answer in time".to_owned()));
        }
        self.inner.query(sql, parameters).await
    }
    async fn keep_subject_key(&self, key: &SubjectKeyRow) -> Result<String, EngineError> {
        self.inner.keep_subject_key(key).await
    }
    async fn advance(
        &self,
        projection: &Projection,
        from: i64,
        to: i64,
        ops: &[RowOp],
    ) -> Result<bool, EngineError> {
        if self.fault == Fault::Unprojected && !self.healed.load(Ordering::SeqCst) {
            self.count();
            return Err(EngineError::Unavailable("no answer in time".to_owned()));
        }
        self.inner.advance(projection, from, to, ops).await
    }
    async fn copy_to(&self, file: &std::path::Path) -> Result<(), EngineError> {
        self.inner.copy_to(file).await
    }
    async fn make_shadows(&self, replay: &Projection, tables: &[&'static Table]) -> Result<(), EngineError> {
        self.inner.make_shadows(replay, tables).await?;
        if self.fault == Fault::Stumbles && self.count() == 0 {
            return Err(EngineError::Unavailable("no answer in time".to_owned()));
        }
        Ok(())
    }
    async fn flip(&self, flip: &Flip) -> Result<i64, EngineError> {
        let is_first = || !self.healed.swap(true, Ordering::SeqCst);
        if self.fault == Fault::FlipUnanswered && is_first() {
            self.inner.flip(flip).await?;
            return Err(EngineError::Unavailable("no answer in time".to_owned()));
        }
        if self.fault == Fault::FlipOvertaken && is_first() {
            let other = Replay::new(vec![find_projection("tokens").unwrap()]);
            other.run(self.inner.as_ref(), &|_, _| {}).await.unwrap();
            return Err(EngineError::Unavailable("no answer in time".to_owned()));
        }
        self.inner.flip(flip).await
    }
}

/// Issues tokens under a fault and returns those acknowledged and how many were not.
async fn issue_under(place: &Place, fault: Fault) -> (Node, Vec<String>, usize) {
    let faulty = Faulty::new(place.engine().await, fault);
    let node = Node::on(Arc::new(faulty)).await;
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for _ in 0..60 {
        match node.issue().await {
            Ok(id) => acknowledged.push(id),
            Err(Refused::ByUs(_)) => refused += 1,
            Err(Refused::ByTheAggregate(reason)) => panic!("never the client's fault: {reason}"),
        }
    }
    (node, acknowledged, refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_01_a_lost_commit_answer_is_settled_by_the_batch_id() {
    for place in Place::both() {
        let (node, acknowledged, refused) = issue_under(&place, Fault::AnswerLost).await;
        assert_eq!((acknowledged.len(), refused), (60, 0), "every commit was found out");
        assert_eq!(verified(node.journal.engine()).await, 60);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_01_an_outcome_that_cannot_be_settled_is_not_acknowledged() {
    for (place, fault) in Place::both().into_iter().flat_map(|place| {
        let again = match &place {
            Place::Sqlite(_) => Place::Sqlite(crate::harness::directory::Directory::new()),
            Place::Postgres(_) => Place::Postgres(crate::harness::postgres::Database::empty()),
        };
        [(place, Fault::NeverArrived), (again, Fault::Gone)]
    }) {
        let (node, acknowledged, refused) = issue_under(&place, fault).await;
        assert_eq!((acknowledged.len(), refused), (40, 20));
        for id in &acknowledged {
            assert!(find_token(&node.journal, id).await.unwrap().is_some());
        }
        assert_eq!(verified(node.journal.engine()).await, 40, "what was refused left nothing behind");
    }
}

/// F10: its own batch would wait as long again for the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_queued_behind_a_connection_that_broke_is_refused_with_it_when_there_is_no_other() {
    for place in Place::both() {
        let faulty = Arc::new(Faulty::new(place.engine().await, Fault::Broken));
        let node = Node::on(Arc::clone(&faulty) as Arc<dyn Engine>).await;
        let first = tokio::spawn({
            let node = node.clone();
            async move { node.issue().await }
        });
        while faulty.appends.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let second = node.issue().await;
        // Of what was never sent there is no doubt.
        for (refused, why) in [
            (first.await.unwrap(), "the database did not say whether it committed: the connection was lost"),
            (second, "the database is not available: the connection was lost"),
        ] {
            let Err(Refused::ByUs(reason)) = refused else { panic!("{refused:?}") };
            assert_eq!(reason, format!("the command may not have been carried out: {why}"));
        }
        assert_eq!(faulty.appends.load(Ordering::SeqCst), 1, "the second was not tried");
    }
}

/// Nothing could be written from then on, and the process would stay and say so for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_meets_a_fault_of_the_program_is_told_of() {
    for place in Place::both() {
        let node = Node::on(Arc::new(Faulty::new(place.engine().await, Fault::Panics))).await;
        let lives = tokio::time::timeout(Duration::from_millis(100), node.journal.ended()).await;
        assert!(lives.is_err(), "{lives:?}");
        let refused = node.issue().await.expect_err("nobody writes");
        assert!(matches!(refused, Refused::ByUs(_)), "{refused:?}");
        let ended = tokio::time::timeout(Duration::from_secs(5), node.journal.ended()).await.unwrap();
        assert!(ended.starts_with("the journal's writer has ended: "), "{ended}");
        assert!(ended.contains("a fault of the program"), "{ended}");
    }
}

/// A node that cannot bring its memory to its own commit does not acknowledge it, does not hang, and has
/// both as soon as it can read again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_memory_cannot_follow_is_not_acknowledged_and_comes_later() {
    for place in Place::both() {
        let other = place.node().await;
        let faulty = Faulty::new(place.engine().await, Fault::Deaf);
        let healed = Arc::clone(&faulty.healed);
        let node = Node::on(Arc::new(faulty)).await;
        let theirs = other.issue().await.unwrap();
        let started = std::time::Instant::now();
        let refused = node.issue().await.expect_err("memory is behind");
        assert!(matches!(refused, Refused::ByUs(_)), "{refused:?}");
        assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
        assert_eq!(node.journal.applied(), 0, "nothing is skipped");
        healed.store(true, Ordering::SeqCst);
        let mine = node.issue().await.unwrap();
        for id in [&theirs, &mine] {
            assert!(find_token(&node.journal, id).await.unwrap().is_some());
        }
        assert_eq!(node.journal.applied(), 3, "the one that was not acknowledged is there");
        assert_eq!(verified(node.journal.engine()).await, 3);
    }
}

/// All at once: what a row's key refuses, and 15 tokens. Returns the tokens, or why not.
async fn issue_beside(
    node: &Node,
    id: String,
    poisoned: AuthorizationCommand,
) -> Vec<Result<String, Refused>> {
    let mut issuing = tokio::task::JoinSet::new();
    for number in 0..15 {
        let issued = node.clone();
        issuing.spawn(async move { issued.issue().await });
        if number == 7 {
            let (node, id, poisoned) = (node.clone(), id.clone(), poisoned.clone());
            issuing.spawn(async move { node.authorize(&id, poisoned).await.map(|_| "poisoned".to_owned()) });
        }
    }
    issuing.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_07_a_poisoned_neighbour_does_not_harm_a_batch() {
    // Also while every third commit fails, or its answer is lost.
    for fault in [None, Some(Fault::AnswerLost), Some(Fault::NeverArrived), Some(Fault::Gone)] {
        for place in Place::both() {
            let well = place.node().await;
            let (taken, mut poisoned) = (well.issue().await.unwrap(), Vec::new());
            for _ in 0..4 {
                // Redeems into a token row that exists: the row's key refuses, not the log's.
                let (id, mut command) = (well.grant().await, well.redeem_command());
                if let AuthorizationCommand::RedeemCode { access, .. } = &mut command {
                    access.id.clone_from(&taken);
                }
                poisoned.push((id, command));
            }
            let node = match fault {
                None => well,
                Some(fault) => Node::on(Arc::new(Faulty::new(place.engine().await, fault))).await,
            };
            let (mut given, mut beside) = (Vec::new(), 0);
            for (round, (id, command)) in poisoned.into_iter().enumerate() {
                // So that it is not always the same append of a round that fails.
                for _ in 0..round % 3 {
                    given.extend(node.issue().await.ok());
                }
                for result in issue_beside(&node, id, command).await {
                    assert!(!matches!(result, Err(Refused::ByTheAggregate(_))), "{result:?}");
                    beside += usize::from(result.is_ok());
                    given.extend(result.ok());
                }
            }
            match fault {
                None | Some(Fault::AnswerLost) => assert_eq!((given.len(), beside), (63, 60)),
                Some(_) => assert!(given.len() < 63 && beside > 0, "{} and {beside}", given.len()),
            }
            for id in &given {
                assert!(
                    find_token(&node.journal, id).await.unwrap().is_some(),
                    "{id}: acknowledged, and not there"
                );
            }
            let left = verified(node.journal.engine()).await;
            assert_eq!(left, 1 + 4 + i64::try_from(given.len()).unwrap(), "and they left only their grants");
        }
    }
}

/// Read models of another epoch belong to another program: nothing is written into them, and nothing of
/// the command is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_projection_epoch_writes_nothing() {
    for place in Place::both() {
        let node = place.node().await;
        node.issue().await.unwrap();
        let before = verified(node.journal.engine()).await;
        let set_version = async |version: i64| {
            let sql = "UPDATE read_models SET version = $1 WHERE projection = 'tokens'";
            node.journal.engine().execute(sql, &[version.into()]).await.unwrap();
        };
        set_version(2).await;
        set_epoch(&place, 2).await;
        let refused = node.issue().await.expect_err("the epoch is another one");
        assert!(
            matches!(&refused, Refused::ByUs(reason) if reason.contains("is of version 2 in the database")),
            "{refused:?}"
        );
        assert_eq!(verified(node.journal.engine()).await, before);
        // A table of another version may hold the same key for something else, or not at all.
        let unread = find_token(&node.journal, "unheard of").await.expect_err("the table is not its own");
        assert!(unread.to_string().contains("is of version 2 in the database"), "{unread}");
        // Rebuilt by a program of its own version they are its own again.
        set_version(1).await;
        set_epoch(&place, 3).await;
        node.issue().await.unwrap();
        assert_eq!(verified(node.journal.engine()).await, before + 1);
    }
}

/// What follows with a checkpoint has no epoch: there the version itself is looked at, under the lock that an
/// exchange of tables takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eventual_projection_of_another_version_writes_nothing() {
    for place in Place::both() {
        let node = place.node().await;
        node.issue().await.unwrap();
        let engine = node.journal.engine();
        let own = EVENTUAL[0];
        let other = Projection { version: own.version + 1, ..*own };
        let refused = engine.advance(&other, 0, 1, &[]).await.expect_err("the tables are of another version");
        assert!(
            matches!(refused, EngineError::OtherVersion { stored: 1, own: 2, .. }),
            "{refused:?} of {}",
            own.name
        );
        assert_eq!(engine.checkpoint(own).await.unwrap(), 0);
        assert!(engine.advance(own, 0, 1, &[]).await.unwrap());
        assert!(!engine.advance(own, 0, 1, &[]).await.unwrap(), "another was faster");
        assert_eq!(engine.checkpoint(own).await.unwrap(), 1);
    }
}

/// The keys were derived before it, and it lies behind what is followed: nobody else would tell this process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f21_a_roll_back_that_is_accepted_during_a_start_refuses_it() {
    let (home, place) = (Directory::new(), Place::Sqlite(Directory::new()));
    let flags = [("data-dir", vec![home.text().to_owned()])].into_iter().collect();
    let config = Arc::new(Config::load(&flags, &Environment::default()).unwrap());
    let open = async |engine| open_on(engine, Arc::clone(&config), SystemClock::shared()).await.map(|_| ());
    open(place.engine().await).await.unwrap();
    let meanwhile = Arc::new(Faulty::new(place.engine().await, Fault::RollbackAccepted));
    let refused = open(meanwhile).await.expect_err("its keys are not the right ones any more");
    assert!(matches!(refused, OpenError::RollbackMeanwhile), "{refused}");
}

/// A verifier that is exchanged between the last event of an export and its secrets would be missing there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_export_seals_is_as_of_its_last_event() {
    for place in Place::both() {
        place.node().await.issue().await.unwrap();
        let growing = Faulty::new(place.engine().await, Fault::Grows);
        let mut written = Vec::new();
        let root = "0123456789abcdef".repeat(4);
        let sealed_with = || Some((root.as_str(), "a passphrase".to_owned().into()));
        let refused = export(&growing, &mut written, sealed_with(), &|_, _| ()).await.map(|_| ());
        assert!(matches!(refused, Err(ArchiveError::Growing)), "{refused:?}");
        assert!(written.is_empty(), "nothing was written");
        growing.healed.store(true, Ordering::SeqCst);
        let moved = export(&growing, &mut written, sealed_with(), &|_, _| ()).await.unwrap();
        assert!(moved.with_secrets);
    }
}

async fn set_epoch(place: &Place, epoch: i64) {
    let sql = format!("UPDATE lanes SET projection_epoch = {epoch}");
    match place {
        Place::Sqlite(directory) => {
            let file = rusqlite::Connection::open(directory.path().join("chancery.db")).unwrap();
            assert_eq!(file.execute(&sql, []).unwrap(), 1);
        }
        Place::Postgres(_) => {
            let sql = format!("{sql} RETURNING projection_epoch");
            place.engine().await.query(&sql, &[]).await.unwrap();
        }
    }
}
