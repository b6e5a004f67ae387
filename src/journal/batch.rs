//! How do commands become one transaction? One writer, one batch in flight; whatever queued
//! meanwhile is the next batch. No timer: under light load a command waits for nobody.

#[cfg(test)]
mod model;

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use super::engine::{Append, Committed, EngineError, Lost, Outcome, leaves};
use super::{Inner, feed};
use crate::secret::random_bytes;
use crate::telemetry;

/// Submissions that may wait; beyond it submitters wait, and admission bounds those.
pub const QUEUE: usize = 4096;
/// Commands of one transaction. Larger ones gain nothing and make neighbours wait.
const LARGEST: usize = 512;
/// What became of a batch that was not answered is not asked for longer.
const SETTLED: Duration = Duration::from_millis(500);
/// Who queued behind a batch that got no connection for so long has waited as long as it.
const LONG_UNAVAILABLE: Duration = Duration::from_millis(100);
/// The same of one that got no answer. A connection that turned out to be broken takes nearly as long to find
/// out, and says nothing of the next one, unless the server refuses one at once.
const LONG_UNANSWERED: Duration = Duration::from_millis(500);
/// Nothing that is not said within this is said at once.
const AT_ONCE: Duration = Duration::from_millis(20);
/// A batch that meets losers again and again gives up on all of it.
const ROUNDS: usize = 64;
/// The first step of whoever reads that the database refused a command.
const LACKS: &str = "Give the database's role what the cause says it lacks. If it lacks nothing, report it.";

/// A command's events on their way into the log.
pub struct Submission {
    append: Append,
    answer: oneshot::Sender<Result<i64, AppendError>>,
}

/// Why a command's events were not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Another command extended the stream first: decide again.
    #[error("the stream was extended by another command")]
    Conflict,
    /// A name is taken.
    #[error("the {0} is taken")]
    Claimed(&'static str),
    /// Not written, or nobody knows: 503, never a guess.
    #[error("{0}")]
    Unavailable(String),
}

impl Inner {
    /// Queues a command's events and waits until they are durable and remembered; returns the
    /// position of the first.
    pub(super) async fn append(&self, append: Append) -> Result<i64, AppendError> {
        self.check_history().map_err(|error| AppendError::Unavailable(error.to_string()))?;
        let (answer, answered) = oneshot::channel();
        let submission = Submission { append, answer };
        self.writer
            .send(submission)
            .await
            .map_err(|_| AppendError::Unavailable("the writer has stopped".to_owned()))?;
        answered.await.map_err(|_| AppendError::Unavailable("the writer has stopped".to_owned()))?
    }

    /// A time-ordered batch id: 32 bits of seconds, 31 random ones. Two batches that draw the same one
    /// collide on a unique key, and the later goes again under another.
    fn batch_id(&self) -> i64 {
        let random = u32::from_be_bytes(random_bytes::<4>()) >> 1;
        (self.clock.now().timestamp() << 31) | i64::from(random)
    }
}

/// The writer: takes what waits, writes it, answers, until nobody can submit any more.
pub(super) async fn write(inner: Weak<Inner>, mut queue: mpsc::Receiver<Submission>) {
    let mut waiting = Vec::with_capacity(LARGEST);
    while queue.recv_many(&mut waiting, LARGEST).await > 0 {
        gather(&mut queue, &mut waiting).await;
        let Some(inner) = inner.upgrade() else { return };
        let batch = std::mem::take(&mut waiting);
        let begun = Instant::now();
        let span = telemetry::batch(batch.len());
        inner.is_writing.store(true, Ordering::Relaxed);
        let outcome = commit(&inner, batch).instrument(span).await;
        inner.is_writing.store(false, Ordering::Relaxed);
        if let Err(error) = outcome {
            let waited = begun.elapsed();
            let is_unavailable = matches!(error, EngineError::Unavailable(_));
            if waited >= LONG_UNANSWERED
                || waited >= LONG_UNAVAILABLE && (is_unavailable || is_refused_at_once(&inner).await)
            {
                refuse_waiting(&inner, &mut queue, error);
            }
        }
    }
}

async fn is_refused_at_once(inner: &Inner) -> bool {
    timeout(AT_ONCE, inner.engine.reach()).await.is_ok_and(|reached| reached.is_err())
}

/// To be tried in turn would make who queued behind such a batch wait as long again. Of what became of their
/// commands there is no doubt: they were never sent.
fn refuse_waiting(inner: &Inner, queue: &mut mpsc::Receiver<Submission>, error: EngineError) {
    let error =
        if let EngineError::Unknown(reason) = error { EngineError::Unavailable(reason) } else { error };
    let mut answers = Vec::new();
    while let Ok(submission) = queue.try_recv() {
        answers.push(submission.answer);
    }
    if !answers.is_empty() {
        fail(inner, answers, &error);
    }
}

/// Lets whoever can submit at once do so, for as long as that makes the batch larger. The answers to the
/// last batch have just woken its submitters: without this their next commands would miss this one.
async fn gather(queue: &mut mpsc::Receiver<Submission>, waiting: &mut Vec<Submission>) {
    while waiting.len() < LARGEST {
        let before = waiting.len();
        tokio::task::yield_now().await;
        while waiting.len() < LARGEST
            && let Ok(submission) = queue.try_recv()
        {
            waiting.push(submission);
        }
        if waiting.len() == before {
            return;
        }
    }
}

/// Writes a batch, dropping losers until the rest commits together. Whoever waits has an answer either way;
/// the error is why none of it could be written.
async fn commit(inner: &Arc<Inner>, batch: Vec<Submission>) -> Result<(), EngineError> {
    let (mut appends, mut answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|submission| (submission.append, submission.answer)).unzip();
    for _ in 0..ROUNDS {
        if appends.is_empty() {
            return Ok(());
        }
        let error = match write_once(inner, &appends).await {
            Ok(Outcome::Committed(batch)) => {
                committed(inner, batch, appends, answers).await;
                return Ok(());
            }
            Ok(Outcome::Lost(lost)) => {
                inner.metrics.failed("lost", lost.len());
                drop_losers(&mut appends, &mut answers, &lost);
                continue;
            }
            Err(EngineError::EpochMoved) => match feed::follow_epoch(inner).await {
                Ok(()) => continue,
                Err(error) => error,
            },
            Err(EngineError::Refused(reason)) => {
                // One alone goes again as well: it may have been the batch's id that was taken.
                let commands = appends.len();
                tracing::warn!(
                    reason,
                    commands,
                    what_to_do = "Nothing: a command that is refused again has a line of its own.",
                    "a batch was refused; its commands go one by one"
                );
                return one_by_one(inner, appends, answers).await;
            }
            Err(error) => error,
        };
        fail(inner, answers, &error);
        return Err(error);
    }
    fail(inner, answers, &EngineError::Unavailable("too many commands lost in one batch".to_owned()));
    Ok(())
}

/// A neighbour's command that the database refuses must not take the others with it. What is not a refusal
/// ends them all: each would wait as long for the same.
async fn one_by_one(
    inner: &Arc<Inner>,
    appends: Vec<Append>,
    answers: Vec<oneshot::Sender<Result<i64, AppendError>>>,
) -> Result<(), EngineError> {
    let mut waiting = appends.into_iter().zip(answers);
    while let Some((append, answer)) = waiting.next() {
        let alone = [append];
        let mut written = write_once(inner, &alone).await;
        if let Err(EngineError::EpochMoved) = written {
            written = match feed::follow_epoch(inner).await {
                Ok(()) => write_once(inner, &alone).await,
                Err(error) => Err(error),
            };
        }
        match written {
            Ok(Outcome::Committed(batch)) => committed(inner, batch, alone.into(), vec![answer]).await,
            Ok(Outcome::Lost(lost)) => drop_losers(&mut alone.into(), &mut vec![answer], &lost),
            Err(error @ EngineError::Refused(_)) => {
                tracing::error!(%error, what_to_do = LACKS, "a command was refused by the database");
                fail(inner, vec![answer], &error);
            }
            Err(error) => {
                let answers = std::iter::once(answer).chain(waiting.map(|(_, answer)| answer));
                fail(inner, answers.collect(), &error);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// One transaction; an outcome that the database did not tell is looked up by the batch's id.
async fn write_once(inner: &Arc<Inner>, appends: &[Append]) -> Result<Outcome, EngineError> {
    let batch = inner.batch_id();
    let begun = std::time::Instant::now();
    let epoch = inner.epoch.load(Ordering::Relaxed);
    match inner.engine.append(batch, epoch, appends).await {
        Err(EngineError::Unknown(reason)) => match timeout(SETTLED, inner.engine.find_batch(batch)).await {
            Ok(Ok(Some(committed))) => {
                inner.metrics.settled.inc();
                tracing::info!(batch, "an unknown outcome was settled: committed");
                Ok(Outcome::Committed(committed))
            }
            Ok(Ok(None) | Err(_)) | Err(_) => Err(EngineError::Unknown(reason)),
        },
        outcome => {
            inner.metrics.commit_seconds.observe(begun.elapsed().as_secs_f64());
            outcome
        }
    }
}

fn drop_losers(
    appends: &mut Vec<Append>,
    answers: &mut Vec<oneshot::Sender<Result<i64, AppendError>>>,
    lost: &[(usize, Lost)],
) {
    let mut lost = lost.to_vec();
    lost.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
    lost.dedup_by_key(|(index, _)| *index);
    for (index, why) in lost {
        if index < appends.len() {
            appends.remove(index);
            let error = match why {
                Lost::Conflict => AppendError::Conflict,
                Lost::Claimed(kind) => AppendError::Claimed(kind),
            };
            answer(answers.remove(index), Err(error));
        }
    }
}

/// Memory first, then the answers: whoever hears of it finds it everywhere on this node. When memory
/// cannot be brought there, what is written stays written, but nobody is told so yet: 503.
async fn committed(
    inner: &Arc<Inner>,
    batch: Committed,
    appends: Vec<Append>,
    answers: Vec<oneshot::Sender<Result<i64, AppendError>>>,
) {
    let leaves = leaves(&appends);
    let mut position = batch.first;
    let mut firsts = Vec::with_capacity(appends.len());
    let mut ops = Vec::new();
    for append in appends {
        firsts.push(position);
        for rows in append.rows {
            ops.extend(rows.into_iter().map(|op| (position, op)));
            position += 1;
        }
    }
    inner.metrics.commands.inc_by(u64::try_from(answers.len()).unwrap_or(u64::MAX));
    // Not exact above 2^52 events of one batch.
    #[allow(clippy::cast_precision_loss, reason = "a batch has at most some thousand events")]
    inner.metrics.batch_size.observe((position - batch.first) as f64);
    if let Err(error) = feed::apply_own(inner, batch, &leaves, &ops).await {
        return fail(inner, answers, &error);
    }
    for (reply, first) in answers.into_iter().zip(firsts) {
        answer(reply, Ok(first));
    }
}

fn fail(inner: &Inner, answers: Vec<oneshot::Sender<Result<i64, AppendError>>>, error: &EngineError) {
    let (why, what_to_do) = match error {
        EngineError::Unavailable(_) => ("unavailable", "See to the database. Clients come again."),
        EngineError::Unknown(_) => ("unknown", "See to the database. Clients come again."),
        EngineError::Refused(_) => ("refused", LACKS),
        EngineError::EpochMoved | EngineError::OtherVersion { .. } => {
            ("epoch", "See \"Upgrade\" in OPERATING.md.")
        }
        EngineError::Damaged(_) | EngineError::Later { .. } => {
            ("damaged", "Keep a copy of the database as evidence, then run `chancery verify`.")
        }
    };
    inner.metrics.failed(why, answers.len());
    tracing::warn!(%error, commands = answers.len(), what_to_do, "commands are answered 503");
    for reply in answers {
        answer(reply, Err(AppendError::Unavailable(error.to_string())));
    }
}

/// A submitter that has gone is no reason to stop: its command is whole either way.
fn answer(reply: oneshot::Sender<Result<i64, AppendError>>, result: Result<i64, AppendError>) {
    drop(reply.send(result));
}
