//! How is a command executed? One cqrs-es framework a command over the journal's store, in a task of
//! its own, with bounded retry: a client that disconnects cannot cut it in half.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use cqrs_es::{AggregateError, CqrsFramework};
use tracing::Instrument as _;

use crate::clock::SharedClock;
use crate::journal::store::{JournalStore, Metadata, Remembered, StoreError};
use crate::journal::{Journal, SecretOp, SubjectKeyRow, Turn};
use crate::personal::PersonalData;
use crate::places::{Place, Places};
use crate::secret::new_id;
use crate::telemetry;

/// A command that loses against another node this often gives up: each loss means that somebody else
/// got something done, so this many in a row is overload, not bad luck.
const ATTEMPTS: usize = 24;

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// Nobody we know (yet).
    Anonymous,
    /// A logged-in user, by `sub`.
    User(String),
    /// An authenticated client, by `client_id`.
    Client(String),
    /// Somebody at the command line.
    Operator,
    /// The server itself.
    Server,
}

impl Actor {
    fn text(&self) -> String {
        match self {
            Actor::Anonymous => "anonymous".to_owned(),
            Actor::User(subject) => format!("user:{subject}"),
            Actor::Client(client_id) => format!("client:{client_id}"),
            Actor::Operator => "operator".to_owned(),
            Actor::Server => "server".to_owned(),
        }
    }
}

/// Where a command comes from: becomes the metadata of its events.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Who asked.
    pub actor: Actor,
    /// The client's address, behind trusted proxies the real one. Sealed before it is stored.
    pub address: Option<IpAddr>,
    /// What the browser or library calls itself. Sealed before it is stored.
    pub user_agent: Option<String>,
    /// This request.
    pub request_id: String,
    /// What belongs together: shown to people on error pages.
    pub correlation_id: String,
    /// The command or event that led to this one.
    pub causation_id: Option<String>,
}

impl Origin {
    /// A command from the command line or the server itself.
    #[must_use]
    pub fn internal(actor: Actor, clock: &SharedClock) -> Self {
        let request_id = new_id(clock.now());
        Self {
            actor,
            address: None,
            user_agent: None,
            correlation_id: request_id.clone(),
            request_id,
            causation_id: None,
        }
    }
}

/// The stream a command goes to.
#[derive(Clone, Debug)]
pub enum Stream {
    /// Its id was minted for this command: there is nothing to load.
    Fresh(String),
    /// It may exist.
    Existing(String),
}

impl Stream {
    fn id(&self) -> &str {
        match self {
            Stream::Fresh(id) | Stream::Existing(id) => id,
        }
    }
}

/// What is written beside the events, in their transaction.
#[derive(Clone, Default)]
pub struct Beside {
    /// Verifiers to keep or delete.
    pub secrets: Vec<SecretOp>,
    /// Keys of new subjects.
    pub subject_keys: Vec<SubjectKeyRow>,
}

/// A command that was accepted.
#[derive(Clone, Debug)]
pub struct Executed<A: cqrs_es::Aggregate> {
    /// The aggregate after it.
    pub state: A,
    /// What it led to; empty when nothing had to change.
    pub events: Vec<A::Event>,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<E: std::error::Error> {
    /// The aggregate refused: the reason is the caller's business.
    #[error("{0}")]
    Refused(E),
    /// A name it needs is taken (`username`, `email`).
    #[error("the {0} is taken")]
    Claimed(&'static str),
    /// Too much is going on: 503 with `Retry-After`.
    #[error("the server is busy")]
    Busy,
    /// The database does not answer, or did not say whether it committed: 503 with `Retry-After`.
    #[error("the command may not have been carried out: {0}")]
    Unavailable(String),
    /// What is stored cannot be read back: 500, and somebody must look at it.
    #[error("the stream is damaged: {0}")]
    Damaged(String),
}

/// Executes commands.
#[derive(Clone)]
pub struct Commands {
    journal: Journal,
    personal: PersonalData,
    clock: SharedClock,
    node: Arc<str>,
    /// Of those at work.
    admission: Places,
    /// Of those who wait for their stream's turn: who has many wait for one leaves others room to work.
    waiting: Places,
}

impl Commands {
    /// Executes over this journal; each command takes one of the places, and one of as many others for as long as it
    /// must wait for those before it on its stream.
    #[must_use]
    pub fn new(journal: Journal, personal: PersonalData, clock: SharedClock, admission: Places) -> Self {
        let node = Arc::from(new_id(clock.now()).as_str());
        let waiting = admission.beside();
        Self { journal, personal, clock, node, admission, waiting }
    }

    /// What this process is called in the metadata of its events, and among those that answer.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// How many commands have been admitted and not ended, whether or not somebody still waits for them.
    #[must_use]
    pub fn in_progress(&self) -> usize {
        self.admission.taken() + self.waiting.taken()
    }

    /// Executes a command that writes nothing beside its events.
    pub async fn execute<A>(
        &self,
        stream: Stream,
        command: A::Command,
        origin: &Origin,
    ) -> Result<Executed<A>, CommandError<A::Error>>
    where
        A: Remembered,
        A::Command: Clone + Send + Sync + 'static,
        A::Error: Send + Sync + 'static,
    {
        self.execute_with(stream, command, origin, Beside::default()).await
    }

    /// Executes a command that ends something. When nothing changes because it has ended already, the answer
    /// waits all the same until every process knows.
    pub async fn execute_ending<A>(
        &self,
        stream: Stream,
        command: A::Command,
        origin: &Origin,
    ) -> Result<Executed<A>, CommandError<A::Error>>
    where
        A: Remembered,
        A::Command: Clone + Send + Sync + 'static,
        A::Error: Send + Sync + 'static,
    {
        let result = self.execute(stream, command, origin).await;
        if writes_nothing(&result) {
            let settled = self.journal.settle().await;
            settled.map_err(|error| CommandError::Unavailable(error.to_string()))?;
        }
        result
    }

    /// Executes a command together with what is written beside its events.
    pub async fn execute_with<A>(
        &self,
        stream: Stream,
        command: A::Command,
        origin: &Origin,
        beside: Beside,
    ) -> Result<Executed<A>, CommandError<A::Error>>
    where
        A: Remembered,
        A::Command: Clone + Send + Sync + 'static,
        A::Error: Send + Sync + 'static,
    {
        let place = self.admission.take().ok_or(CommandError::Busy)?;
        let metadata = Arc::new(self.metadata(origin).await.map_err(CommandError::Unavailable)?);
        let commands = self.clone();
        let task = async move {
            let (turn, _place) = commands.in_turn::<A>(&stream, place).await.ok_or(CommandError::Busy)?;
            let journal = &commands.journal;
            let (result, ended) = attempt::<A>(journal, &stream, &command, &metadata, &beside).await;
            // Not in its turn: whoever waits for that would wait for the others twice.
            drop(turn);
            if let Some(position) = ended {
                journal.wait_for_others(position).await;
            }
            result
        };
        let task = tokio::spawn(task.instrument(telemetry::command(A::TYPE)));
        match task.await {
            Ok(result) => result,
            Err(error) => Err(CommandError::Unavailable(format!("the command's task stopped: {error}"))),
        }
    }

    /// The stream's turn, and a place. Who must wait for the one leaves the other to somebody else meanwhile, and has it
    /// again in the order of those who wait: who has a place waits for no turn.
    async fn in_turn<A: Remembered>(&self, stream: &Stream, place: Place) -> Option<(Option<Turn>, Place)> {
        let Stream::Existing(id) = stream else { return Some((None, place)) };
        if let Some(turn) = self.journal.try_turn::<A>(id) {
            return Some((Some(turn), place));
        }
        let _waits = self.waiting.take()?;
        drop(place);
        let turn = self.journal.turn::<A>(id).await;
        Some((turn, self.admission.wait().await?))
    }

    async fn metadata(&self, origin: &Origin) -> Result<Metadata, String> {
        let mut metadata = BTreeMap::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                metadata.insert(name.to_owned(), value);
            }
        };
        let sealed =
            self.personal.seal_origin(origin, self.clock.now()).await.map_err(|error| error.to_string())?;
        put("actor", Some(origin.actor.text()));
        put("client_address", sealed.address);
        put("user_agent", sealed.user_agent);
        put("request_id", Some(origin.request_id.clone()));
        put("correlation_id", Some(origin.correlation_id.clone()));
        put("causation_id", origin.causation_id.clone());
        put("command_id", Some(new_id(self.clock.now())));
        put("node", Some(self.node.to_string()));
        put("configuration", Some(self.journal.configuration_revision().to_string()));
        Metadata::new(metadata).map_err(|error| error.to_string())
    }
}

/// Decides and writes, which is to be done in the stream's turn. With it comes the event that ended something, if one did.
async fn attempt<A>(
    journal: &Journal,
    stream: &Stream,
    command: &A::Command,
    metadata: &Arc<Metadata>,
    beside: &Beside,
) -> (Result<Executed<A>, CommandError<A::Error>>, Option<i64>)
where
    A: Remembered,
    A::Command: Clone + Send + Sync + 'static,
    A::Error: Send + Sync + 'static,
{
    let mut fresh = matches!(stream, Stream::Fresh(_));
    for _ in 0..ATTEMPTS {
        let store = JournalStore::<A>::new(journal.clone(), fresh, Arc::clone(metadata), beside.clone());
        let seen = store.seen();
        let framework = CqrsFramework::new(store, Vec::new(), ());
        let result = match framework.execute(stream.id(), command.clone()).await {
            Ok(()) => seen.take_outcome().ok_or_else(|| CommandError::Damaged("no outcome".to_owned())),
            Err(AggregateError::AggregateConflict) => {
                fresh = false;
                continue;
            }
            Err(error) => Err(command_error(error)),
        };
        // What is written is held against the stream by its key. What is not must be decided on what
        // stands in the log: another process may know better than this one remembers.
        if writes_nothing(&result) && seen.is_from_memory() {
            journal.forget::<A>(stream.id());
            continue;
        }
        return (result, seen.ended());
    }
    (Err(CommandError::Busy), None)
}

fn writes_nothing<A: Remembered>(result: &Result<Executed<A>, CommandError<A::Error>>) -> bool {
    match result {
        Ok(executed) => executed.events.is_empty(),
        Err(error) => matches!(error, CommandError::Refused(_)),
    }
}

fn command_error<E: std::error::Error>(error: AggregateError<E>) -> CommandError<E> {
    match error {
        AggregateError::UserError(reason) => CommandError::Refused(reason),
        AggregateError::AggregateConflict => CommandError::Busy,
        AggregateError::DeserializationError(cause) => CommandError::Damaged(cause.to_string()),
        AggregateError::DatabaseConnectionError(cause) | AggregateError::UnexpectedError(cause) => {
            match cause.downcast::<StoreError>() {
                Ok(error) => match *error {
                    StoreError::Claimed(kind) => CommandError::Claimed(kind),
                    StoreError::Unavailable(reason) => CommandError::Unavailable(reason),
                },
                Err(cause) => CommandError::Unavailable(cause.to_string()),
            }
        }
    }
}
