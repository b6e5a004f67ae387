//! How does a command line become work? Configuration, log, runtime, then the command's own file.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::Level;

use super::doctor::must_exist;
use super::failure::Failure;
use super::{
    Cli, Command, acceptrollback, backup, changepassword, config, createapplication, createuser,
    disableapplication, doctor, export, import, lockuser, migrate, readmodels, replay, restore, serve,
    verify,
};
use crate::checkpoint::Checkpoint;
use crate::clock::{SharedClock, SystemClock};
use crate::commands::{Actor, Origin};
use crate::config::{Config, Environment, Flags, LogFormat, SETTINGS, Setting, find_setting};
use crate::console::Console;
use crate::logging;
use crate::open::open;
use crate::state::AppState;

/// How long a thread may still take for what nobody waits for any more: a name that is looked up, a slow disk.
const LEFT: Duration = Duration::from_secs(1);

/// What every command gets.
pub(super) struct Context {
    /// The terminal.
    pub(super) console: Console,
    /// What the operator decided.
    pub(super) config: Arc<Config>,
    /// What the process inherited.
    pub(super) environment: Environment,
    /// What time it is.
    pub(super) clock: SharedClock,
    /// The program as it was called, and the flags it was called with.
    program: String,
    flags: Flags,
    /// What a command has opened.
    opened: OnceLock<AppState>,
}

impl Context {
    /// Opens the same database and keys that the server uses, making them if need be.
    pub(super) async fn open(&self) -> Result<AppState, Failure> {
        let state = open(Arc::clone(&self.config), Arc::clone(&self.clock)).await?;
        Ok(self.opened.get_or_init(|| state).clone())
    }

    /// The same for a command that is about something in it.
    pub(super) async fn open_existing(&self) -> Result<AppState, Failure> {
        must_exist(self)?;
        self.open().await
    }

    /// What a command wrote may be a revocation: a backup from before it is to be noticed.
    async fn note_how_far(&self) {
        let Some(state) = self.opened.get() else { return };
        let (checkpoint, epoch) = (Checkpoint::of(&self.config, &state.keys), state.keys.current().number());
        if let Err(error) = checkpoint.note(&state.journal, &state.keys, epoch).await {
            tracing::debug!(%error, "how far the log goes could not be noted");
        }
    }

    /// Where the commands of an operator come from.
    pub(super) fn origin(&self) -> Origin {
        Origin::internal(Actor::Operator, &self.clock)
    }

    /// The command line that does something else to the same data, to be copied.
    pub(super) fn command_line(&self, command: &str) -> String {
        let mut words = self.variables();
        words.push(quoted(&self.program));
        for (setting, written) in
            self.flags.iter().filter_map(|(key, written)| Some((find_setting(key)?, written)))
        {
            if !leads_to_the_data(setting) {
                continue;
            }
            for value in written {
                words.push(format!("--{} {}", setting.key, shown(setting, value)));
            }
        }
        words.push(command.to_owned());
        words.join(" ")
    }

    /// What leads to the data and stands in the environment, which another terminal does not have.
    fn variables(&self) -> Vec<String> {
        let set = |setting: &Setting| {
            let name = setting.env?;
            let value = self.environment.text(name)?;
            let is_overruled = self.flags.contains_key(setting.key);
            (leads_to_the_data(setting) && !is_overruled).then(|| format!("{name}={}", shown(setting, value)))
        };
        SETTINGS.iter().filter_map(set).collect()
    }
}

/// Whether another command must be given the same value to find the same data and keys.
fn leads_to_the_data(setting: &Setting) -> bool {
    setting.says_where_data_is() || setting.key == "root-secret-file"
}

/// A value as a shell takes it; the URL of a database may hold a password, which belongs on no screen.
fn shown(setting: &Setting, value: &str) -> String {
    if setting.key == "database-url" { "…".to_owned() } else { quoted(value) }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:=@%,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Carries a command line out, program name first.
#[must_use]
pub fn run(arguments: Vec<OsString>, environment: Environment) -> ExitCode {
    let program =
        arguments.first().map_or_else(|| "chancery".into(), |name| name.to_string_lossy().into_owned());
    let console = Console::new(&environment);
    let cli = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be said about a closed terminal.
            let _ = error.print();
            return exit_code(error.exit_code());
        }
    };
    let config = match Config::load(&cli.options.flags, &environment) {
        Ok(config) => Arc::new(config),
        Err(error) => {
            console.fail_config(&error);
            return ExitCode::from(2);
        }
    };
    let command = cli.command();
    let is_for_machines = matches!(command, Command::Serve) && config.log.format == LogFormat::Json;
    let traces = matches!(command, Command::Serve).then_some(&config.traces);
    let filter = log_filter(&config, &command);
    let log = logging::start(&config.log, filter, console.colours_errors(), traces);
    let clock = SystemClock::shared();
    let context = Context {
        console,
        config,
        environment,
        clock,
        program,
        flags: cli.options.flags,
        opened: OnceLock::new(),
    };
    // Until the end of the command: what is still waiting goes out then.
    let carried_out = log.map_err(Failure::Traces).and_then(|_log| {
        let carried_out = carry_out(&context, command);
        if is_for_machines && let Err(failure) = &carried_out {
            failure.log(&context.config);
        }
        carried_out
    });
    match carried_out {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where it was logged, the other streams stay as they are expected to be.
            if !is_for_machines || matches!(failure, Failure::Traces(_)) || !tracing::enabled!(Level::ERROR) {
                failure.say(console, &context.config);
            }
            ExitCode::FAILURE
        }
    }
}

fn carry_out(context: &Context, command: Command) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)?;
    let carried_out = runtime.block_on(async {
        let result = match command {
            Command::Serve => serve::run(context).await,
            Command::Migrate => migrate::run(context).await,
            Command::Createsuperuser(arguments) => createuser::run(context, arguments, true).await,
            Command::Createuser(arguments) => createuser::run(context, arguments, false).await,
            Command::Createapplication(arguments) => createapplication::run(context, *arguments).await,
            Command::Changepassword(arguments) => changepassword::run(context, arguments).await,
            Command::Lockuser(arguments) => lockuser::run(context, arguments, true).await,
            Command::Unlockuser(arguments) => lockuser::run(context, arguments, false).await,
            Command::Disableapplication(arguments) => disableapplication::run(context, arguments, true).await,
            Command::Enableapplication(arguments) => disableapplication::run(context, arguments, false).await,
            Command::Verify(arguments) => verify::run(context, arguments).await,
            Command::Export(arguments) => Box::pin(export::run(context, arguments)).await,
            Command::Import(arguments) => import::run(context, arguments).await,
            Command::Backup(arguments) => backup::run(context, arguments).await,
            Command::Restore(arguments) => restore::run(context, arguments).await,
            Command::Acceptrollback(arguments) => acceptrollback::run(context, arguments).await,
            Command::Readmodels(arguments) => readmodels::run(context, arguments).await,
            Command::Replay(arguments) => replay::run(context, arguments).await,
            Command::Doctor(arguments) => doctor::run(context, arguments).await,
            Command::Config(arguments) => config::run(context, arguments),
        };
        context.note_how_far().await;
        result
    });
    runtime.shutdown_timeout(LEFT);
    carried_out
}

/// Only the server tells what it does at every step; of other commands people read the result.
fn log_filter<'a>(config: &'a Config, command: &Command) -> &'a str {
    let serves = matches!(command, Command::Serve);
    if !serves && config.log.filter == "info" { "warn" } else { &config.log.filter }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(flags: &[(&'static str, &str)]) -> Context {
        let environment = Environment::from_iter([("HOME", "/home/ada")]);
        let flags: Flags = flags.iter().map(|(key, value)| (*key, vec![(*value).to_owned()])).collect();
        Context {
            console: Console::plain(),
            config: Arc::new(Config::load(&flags, &environment).unwrap()),
            environment,
            clock: SystemClock::shared(),
            program: "target/release/chancery".to_owned(),
            flags,
            opened: OnceLock::new(),
        }
    }

    #[test]
    fn the_next_command_leads_to_the_same_data() {
        assert_eq!(context(&[]).command_line("createsuperuser"), "target/release/chancery createsuperuser");
        let elsewhere = context(&[("data-dir", "/srv/my data"), ("listen", "127.0.0.1:9000")]);
        assert_eq!(
            elsewhere.command_line("createsuperuser"),
            "target/release/chancery --data-dir '/srv/my data' createsuperuser"
        );
    }

    #[test]
    fn the_next_command_repeats_what_the_environment_says_of_the_data() {
        let mut shared = context(&[]);
        shared.environment = Environment::from_iter([
            ("HOME", "/home/ada"),
            ("CHANCERY_DATA_DIR", "/var/lib/chancery"),
            ("DATABASE_URL", "postgres://chancery:swordfish@db/chancery"),
            ("CHANCERY_LISTEN", "127.0.0.1:9000"),
        ]);
        let line = shared.command_line("createsuperuser");
        assert!(line.ends_with(" target/release/chancery createsuperuser"), "{line}");
        assert!(line.contains("CHANCERY_DATA_DIR=/var/lib/chancery"), "{line}");
        assert!(line.contains("DATABASE_URL=…"), "{line}");
        assert!(!line.contains("9000") && !line.contains("swordfish"), "{line}");
    }

    #[test]
    fn the_next_command_never_shows_the_password_of_the_database() {
        let shared = context(&[("database-url", "postgres://chancery:swordfish@db/chancery")]);
        assert!(!shared.command_line("createsuperuser").contains("swordfish"));
    }
}
