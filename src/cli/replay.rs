//! `replay`: read models anew, from the events. How far it is shows a bar on a terminal, and lines on
//! standard error elsewhere, for it may take an hour.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::arguments::ReplayNames;
use super::doctor::open_existing;
use super::failure::Failure;
use super::run::Context;
use crate::journal::replay::{Replay, find_projection};

/// Between two lines, for programs and for people.
const EVERY_JSON: Duration = Duration::from_secs(1);
const EVERY_TEXT: Duration = Duration::from_secs(10);

/// Lines on standard error, not more often than somebody reads.
#[derive(Default)]
struct Lines(Mutex<Option<Instant>>);

impl Lines {
    fn say(&self, context: &Context, every: Duration, line: impl Display) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_none_or(|at| at.elapsed() >= every) {
            *said = Some(Instant::now());
            context.console.remark(line);
        }
    }
}

pub(super) async fn run(context: &Context, arguments: ReplayNames) -> Result<(), Failure> {
    let find = |name: &String| find_projection(name).ok_or_else(|| Failure::UnknownReadModel(name.clone()));
    let projections = arguments.names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let engine = open_existing(context)?;
    engine.migrate().await?;
    let bar = context.console.progress("replaying", 0);
    let replay = Replay::new(projections);
    let lines = Lines::default();
    let progress = |done, total| {
        bar.show(done, total);
        if arguments.json {
            lines.say(context, EVERY_JSON, json!({ "replaying": { "done": done, "total": total } }));
        } else if !context.console.shows_progress() {
            lines.say(context, EVERY_TEXT, format!("replaying: {done} of {total} events"));
        }
    };
    let replayed = replay.run(engine.as_ref(), &progress).await;
    drop(bar);
    let replayed = replayed?;
    if arguments.json {
        context.console.say(json!({
            "events": replayed.events, "resumed_at": replayed.resumed_at, "repaired_rows": replayed.repaired,
        }));
        return Ok(());
    }
    if replayed.resumed_at > 0 {
        context
            .console
            .remark(format!("An interrupted replay was taken up at event {}.", replayed.resumed_at));
    }
    context.console.done(format!("The read models were rebuilt from {} events.", replayed.events));
    context.console.say(match replayed.repaired {
        Some(0) => "The live ones were the same.".to_owned(),
        Some(rows) => format!("The live ones differed in {rows} rows, which are right now."),
        None => "They could not be compared with the live ones; `chancery verify` can.".to_owned(),
    });
    Ok(())
}
