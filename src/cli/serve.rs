//! `serve`: the server, until it is told to stop. What is printed first says where everything is, and
//! on a new installation what to do next.

use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::run::Context;
use crate::serve::{Running, start};

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    // Asked for before the start, so that a signal in between is not missed.
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    let mut running = start(context.config.as_ref().clone(), context.clock.clone()).await?;
    greet(context, &running).await?;
    let is_broken = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = running.broken() => true,
    };
    context.console.remark("Stopping: requests in progress are finished first.");
    running.stop().await;
    context.console.remark("Stopped.");
    if is_broken { Err(Failure::Broken) } else { Ok(()) }
}

async fn greet(context: &Context, running: &Running) -> Result<(), Failure> {
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
    if projections::users::has_superuser(&running.state.journal).await? {
        console.say(format!("  home page       {home}"));
        return Ok(());
    }
    console.say("");
    console.next_step("create a superuser, in another terminal", context.command_line("createsuperuser"));
    console.next_step("then log in and register an application", home);
    Ok(())
}
