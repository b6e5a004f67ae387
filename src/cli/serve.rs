//! `serve`: the server, until it is told to stop. What is printed first says where everything is, and
//! on a new installation what to do next. A log for machines says it in its own form: nothing else is
//! written then, as whoever collects both streams reads every line alike.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;
use super::run::Context;
use crate::config::LogFormat;
use crate::serve::{Running, start};

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    // Asked for before the start, so that a signal in between is not missed.
    let mut signals = Signals::new().map_err(Failure::Signals)?;
    let mut running = tokio::select! {
        started = start(context.config.as_ref().clone(), context.clock.clone()) => started?,
        // Whatever it was waiting for, what it had begun is undone by the database.
        () = signals.next() => {
            remark(context, "Stopped before it had started.");
            return Ok(());
        }
    };
    greet(context, &running).await;
    let is_broken = tokio::select! {
        () = signals.next() => false,
        () = running.broken() => true,
    };
    remark(context, "Stopping: requests in progress are finished first.");
    running.stop_unless_hurried(signals.next()).await;
    remark(context, "Stopped.");
    if is_broken { Err(Failure::Broken) } else { Ok(()) }
}

/// SIGTERM and SIGINT: the first asks the server to finish what it does and stop, the second to leave it.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn remark(context: &Context, what: &'static str) {
    match context.config.log.format {
        LogFormat::Text => context.console.remark(what),
        LogFormat::Json => tracing::info!("{what}"),
    }
}

async fn greet(context: &Context, running: &Running) {
    let journal = &running.state.journal;
    // Where the read models are another version's, nobody knows yet who there is.
    let has_superuser = match journal.read().await {
        Ok(()) => projections::users::has_superuser(journal).await.map_err(Failure::from),
        Err(error) => Err(Failure::Engine(error)),
    };
    match context.config.log.format {
        LogFormat::Text => greet_people(context, running, has_superuser),
        LogFormat::Json => greet_machines(context, running, has_superuser),
    }
}

fn greet_machines(context: &Context, running: &Running, has_superuser: Result<bool, Failure>) {
    let config = &running.state.config;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"), data_dir = %config.data_dir.display(), database = config.database.described(),
        addresses = ?running.addresses, issuer = %config.issuer, metrics = ?running.metrics_addresses, "serving"
    );
    match has_superuser {
        Ok(true) => {}
        Ok(false) => {
            tracing::info!(command = context.command_line("createsuperuser"), "there is no superuser yet");
        }
        Err(failure) => failure.log(&context.config),
    }
}

fn greet_people(context: &Context, running: &Running, has_superuser: Result<bool, Failure>) {
    let console = context.console;
    let config = &running.state.config;
    console.say(format!("Chancery {}", env!("CARGO_PKG_VERSION")));
    console.say(format!("  data directory  {}", config.data_dir.display()));
    console.say(format!("  database        {}", config.database.described()));
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    for (index, address) in running.addresses.iter().enumerate() {
        let label = if index == 0 { "serving" } else { "" };
        console.say(format!("  {label:<14}  {scheme}://{address}"));
    }
    console.say(format!("  issuer          {}", config.issuer));
    for address in &running.metrics_addresses {
        console.say(format!("  metrics         http://{address}/metrics"));
    }
    let home = format!("{}/", config.issuer);
    match has_superuser {
        Ok(true) => console.say(format!("  home page       {home}")),
        Ok(false) => {
            console.say("");
            console.next_step(
                "create a superuser, in another terminal",
                context.command_line("createsuperuser"),
            );
            console.next_step("then log in and register an application", home);
        }
        Err(failure) => {
            console.say("");
            console.say(format!("Not ready: {failure}."));
            console.say(failure.advice(&context.config));
        }
    }
}
