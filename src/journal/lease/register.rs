//! Who is to be waited for? The table `nodes`: a process enters itself before it answers, says how far it has
//! applied, and leaves; one that is silent is told, and then counted out by the others.

use std::time::Duration;

use projections::row::Value;
use tokio::time::timeout;

use super::{Beat, LONGEST, Lease, Stale, millis};
use crate::journal::engine::{AsOf, Engine, EngineError, LANE, Pulse, sql};

/// How often a process that applies nothing says that it is there.
pub(super) const BEAT: Duration = Duration::from_secs(3);
/// A process whose beats have not changed for so long is told that it will be counted out.
pub(super) const GONE: Duration = Duration::from_secs(10);
/// So long after it was told it is: no lease is left that was renewed before.
pub(super) const TOLD: Duration = Duration::from_secs(2);
/// How often the others are looked at.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// How long a sign of life may take where it is not needed to answer: renewals that end and begin within a lease keep
/// it, though none of them can write.
const BEATEN: Duration = Duration::from_millis(400);
/// How long a process that stops tries to leave the register. The others count out who stays.
const LEAVING: Duration = Duration::from_secs(2);

/// A registered process, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Which.
    pub node: String,
    /// The position it has applied.
    pub applied: i64,
    /// How long its leases last.
    pub lease: Duration,
    /// Counts its signs of life; negative once it was told that it will be counted out.
    pub beats: i64,
}

impl Registered {
    pub(super) fn was_told(&self) -> bool {
        self.beats.is_negative()
    }
}

/// Every process that is registered on this log.
pub async fn list_registered(engine: &dyn Engine) -> Result<Vec<Registered>, EngineError> {
    registered_as_of(engine).await.map(|(registered, _)| registered)
}

/// The same, and up to which event whoever answered knows the log.
pub(super) async fn registered_as_of(engine: &dyn Engine) -> Result<(Vec<Registered>, AsOf), EngineError> {
    let sql = "SELECT l.head, l.projection_epoch, n.node, n.applied, n.lease, n.beats \
               FROM lanes l LEFT JOIN nodes n ON n.lane = l.lane WHERE l.lane = $1 ORDER BY n.node";
    let (mut registered, mut as_of) = (Vec::new(), AsOf { position: 0, epoch: 0 });
    for row in engine.query(sql, &[LANE.into()]).await? {
        match <[Value; 6]>::try_from(row) {
            Ok([Value::Int(position), Value::Int(epoch), node, applied, lease, beats]) => {
                as_of = AsOf { position, epoch };
                registered.extend(registered_in([node, applied, lease, beats])?);
            }
            _ => return Err(sql::other_shape("lanes")),
        }
    }
    Ok((registered, as_of))
}

/// The process of a row; none where no process is registered.
fn registered_in(row: [Value; 4]) -> Result<Option<Registered>, EngineError> {
    match row {
        [Value::Text(node), Value::Int(applied), Value::Int(lease), Value::Int(beats)] => {
            // Of what no process writes there nobody knows how long it lasts: as long as any.
            let lease = u64::try_from(lease).map_or(LONGEST, Duration::from_millis).min(LONGEST);
            Ok(Some(Registered { node, applied, lease, beats }))
        }
        [Value::Null, Value::Null, Value::Null, Value::Null] => Ok(None),
        _ => Err(sql::other_shape("nodes")),
    }
}

impl Lease {
    /// Ends it for good, and leaves the register if that can be done soon.
    pub(in crate::journal) async fn give_up(&self, engine: &dyn Engine) -> Result<(), EngineError> {
        {
            let mut state = self.state();
            state.has_ended = true;
            state.fresh_until = None;
            state.stale = Some(Stale::Stopping);
        }
        let leave = async {
            // After a renewal under way, which may enter it.
            let _one = self.renewing.lock().await;
            let sql = "DELETE FROM nodes WHERE node = $1";
            engine.execute(sql, &[self.node.as_str().into()]).await.map(|_| ())
        };
        timeout(LEAVING, leave).await.unwrap_or_else(|_| Err(EngineError::late()))
    }

    /// Others need not wait for a process that can answer nothing until the read models are its own again: not from
    /// when nothing may be told any more that was decided before.
    pub(super) async fn withdraw(&self, engine: &dyn Engine) -> Result<(), EngineError> {
        let now = self.uptime.now();
        {
            let mut state = self.state();
            if state.renewed_from.is_some_and(|begun| now < begun + self.vouched()) {
                return Ok(());
            }
            // Before it is asked for: whoever does not hear of the answer must register again all the same.
            state.leaves |= state.beat.take().is_some();
            if !state.leaves {
                return Ok(());
            }
        }
        let node = || self.node.as_str().into();
        let rows = engine.query("SELECT beats FROM nodes WHERE node = $1", &[node()]).await?;
        if let Some(beats) = rows.into_iter().next().and_then(|row| row.into_iter().next()) {
            // One that comes late does not meet a later registration.
            engine.execute("DELETE FROM nodes WHERE node = $1 AND beats = $2", &[node(), beats]).await?;
        }
        self.state().leaves = false;
        Ok(())
    }

    pub(super) fn beat_is_due(&self, applied: i64, revision: i64) -> bool {
        let now = self.uptime.now();
        self.state().beat.is_none_or(|beat| {
            now.saturating_sub(beat.at) >= BEAT || (beat.applied < revision && applied >= revision)
        })
    }

    pub(super) async fn register(&self, engine: &dyn Engine, applied: i64) -> Result<(), EngineError> {
        let at = self.uptime.now();
        let sql = "INSERT INTO nodes (node, lane, applied, lease, beats) VALUES ($1, $2, $3, $4, 1) \
                   ON CONFLICT (node) DO UPDATE SET applied = excluded.applied, beats = abs(nodes.beats) + 1";
        let lease = millis(self.vouched());
        let parameters = [self.node.as_str().into(), LANE.into(), applied.into(), lease.into()];
        engine.execute(sql, &parameters).await?;
        self.state().beat = Some(Beat { at, applied });
        Ok(())
    }

    /// Says how far this process is, as far as anything can be written, and hears where the log stands by the server
    /// that took it. Nothing if it is not registered, as of now, or was told that it will be counted out: then it
    /// must register again.
    pub(super) async fn beat(&self, engine: &dyn Engine, applied: i64) -> Result<Option<Pulse>, EngineError> {
        let at = self.uptime.now();
        let beat = engine.beat(&self.node, applied);
        // What must be heard is waited for as long as for anything else.
        let asked = if engine.may_be_replaced() {
            beat.await
        } else {
            timeout(BEATEN, beat).await.unwrap_or_else(|_| Err(EngineError::late()))
        };
        let beaten = match asked {
            Ok(Some(pulse)) => {
                self.state().beat = Some(Beat { at, applied });
                Some(pulse)
            }
            Ok(None) => None,
            Err(error) if engine.may_be_replaced() => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "no sign of life could be written");
                let sql = "SELECT beats FROM nodes WHERE node = $1 AND beats > 0";
                let is_known = !engine.query(sql, &[self.node.as_str().into()]).await?.is_empty();
                if is_known { Some(engine.pulse().await?) } else { None }
            }
        };
        if beaten.is_none() {
            let mut state = self.state();
            state.beat = None;
            state.fresh_until = None;
        }
        Ok(beaten)
    }

    /// Whether it is time to look at the others, from whoever asks first.
    pub(super) fn looks_around(&self) -> bool {
        let now = self.uptime.now();
        let mut state = self.state();
        let is_time = now.saturating_sub(state.looked) >= LOOK;
        if is_time {
            state.looked = now;
        }
        is_time
    }

    /// Tells whoever has been silent for too long, and counts out whoever is silent still.
    pub(super) async fn look_around(&self, engine: &dyn Engine) -> Result<(), EngineError> {
        let registered = list_registered(engine).await?;
        // Not from before it was asked: what is seen may have been written only just now.
        let (silent, gone) = self.silent(registered, self.uptime.now());
        for one in silent {
            tracing::warn!(
                node = one.node,
                what_to_do = "See to that node. Until then revocations may take a second.",
                "a process has been silent for too long and will be counted out"
            );
            let sql = "UPDATE nodes SET beats = -beats WHERE node = $1 AND beats = $2";
            engine.execute(sql, &[one.node.into(), one.beats.into()]).await?;
        }
        for one in gone {
            let sql = "DELETE FROM nodes WHERE node = $1 AND beats = $2";
            engine.execute(sql, &[one.node.into(), one.beats.into()]).await?;
        }
        Ok(())
    }

    /// Who of the registered is to be told, and who was told long enough ago.
    pub(super) fn silent(
        &self,
        registered: Vec<Registered>,
        now: Duration,
    ) -> (Vec<Registered>, Vec<Registered>) {
        let mut state = self.state();
        state.others.retain(|node, _| registered.iter().any(|one| one.node == *node));
        let (mut silent, mut gone) = (Vec::new(), Vec::new());
        for one in registered.into_iter().filter(|one| one.node != self.node) {
            let (beats, since) = *state.others.entry(one.node.clone()).or_insert((one.beats, now));
            let unchanged_for = now.saturating_sub(since);
            if beats != one.beats {
                state.others.insert(one.node, (one.beats, now));
            } else if one.was_told() && unchanged_for > TOLD {
                gone.push(one);
            } else if !one.was_told() && unchanged_for > GONE {
                silent.push(one);
            }
        }
        (silent, gone)
    }
}
