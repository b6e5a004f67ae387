//! How is a stream read? By postgres-es, whose repository has connections of our pool.

use aggregates::application::Application;
use aggregates::authorization::Authorization;
use aggregates::client_token::ClientToken;
use aggregates::consent::Consent;
use aggregates::installation::Installation;
use aggregates::login_attempts::LoginAttempts;
use aggregates::refusal::Refusal;
use aggregates::session::Session;
use aggregates::user::User;
use cqrs_es::Aggregate;
use cqrs_es::persist::{PersistedEventRepository, PersistenceError, SerializedEvent};
use postgres_es::PostgresEventRepository;
use tokio::time::timeout;

use super::PostgresEngine;
use super::connections::{TRIES, late};
use crate::journal::engine::{EngineError, StoredRow};
use crate::journal::store::from_serialized;

type Found = Result<Vec<SerializedEvent>, PersistenceError>;

/// The events of a stream after a sequence, in order.
pub(super) async fn load(
    engine: &PostgresEngine,
    kind: &str,
    id: &str,
    after: i64,
) -> Result<Vec<StoredRow>, EngineError> {
    let loading = async {
        match timeout(engine.deadline, on_whole_connection(engine, kind, id, after)).await {
            Ok(Ok(events)) => Ok(events.into_iter().map(from_serialized).collect()),
            Ok(Err(error)) => Err(EngineError::Unavailable(error.to_string())),
            Err(_) => Err(late()),
        }
    };
    engine.reads.unless_refused(loading).await
}

/// As everywhere, a connection that is broken shows by being asked, and another is.
async fn on_whole_connection(engine: &PostgresEngine, kind: &str, id: &str, after: i64) -> Found {
    for _ in 1..TRIES {
        match of_kind(&engine.streams, kind, id, after).await {
            Err(PersistenceError::ConnectionError(_)) => engine.reads.forget_idle(),
            result => return result,
        }
    }
    of_kind(&engine.streams, kind, id, after).await
}

async fn of_kind(streams: &PostgresEventRepository, kind: &str, id: &str, after: i64) -> Found {
    match kind {
        Application::TYPE => of::<Application>(streams, id, after).await,
        User::TYPE => of::<User>(streams, id, after).await,
        Session::TYPE => of::<Session>(streams, id, after).await,
        LoginAttempts::TYPE => of::<LoginAttempts>(streams, id, after).await,
        Authorization::TYPE => of::<Authorization>(streams, id, after).await,
        ClientToken::TYPE => of::<ClientToken>(streams, id, after).await,
        Consent::TYPE => of::<Consent>(streams, id, after).await,
        Refusal::TYPE => of::<Refusal>(streams, id, after).await,
        Installation::TYPE => of::<Installation>(streams, id, after).await,
        // One that is not in this list would be decided on as if nothing had happened to it.
        unknown => Err(PersistenceError::UnknownError(format!("no stream is a {unknown}").into())),
    }
}

async fn of<A: Aggregate>(streams: &PostgresEventRepository, id: &str, after: i64) -> Found {
    match usize::try_from(after) {
        Ok(0) | Err(_) => streams.get_events::<A>(id).await,
        Ok(after) => streams.get_last_events::<A>(id, after).await,
    }
}
