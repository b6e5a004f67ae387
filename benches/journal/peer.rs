//! The peer: cqrs-es over postgres-es with a `GenericQuery` view, as their documentation has it.

use std::sync::Arc;

use aggregates::authorization::Authorization;
use aggregates::client_token::ClientToken;
use chancery::clock::SystemClock;
use chancery::secret::new_id;
use cqrs_es::persist::GenericQuery;
use cqrs_es::{Aggregate, EventEnvelope, View};
use postgres_es::{PostgresCqrs, PostgresViewRepository, postgres_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::Executor;
use tokio::sync::Mutex;

use super::{
    Kind, Measured, STREAMS, futures_in_order, grant_command, issue_command, metadata, redeem_command,
    refresh_command, run, token,
};

const TABLES: &str = "\
CREATE TABLE IF NOT EXISTS events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint NOT NULL, \
  event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL, \
  PRIMARY KEY (aggregate_type, aggregate_id, sequence));
CREATE TABLE IF NOT EXISTS token_view (view_id text PRIMARY KEY, version bigint NOT NULL, payload json NOT NULL);";

/// The last event of a stream: as little as a view can be.
#[derive(Debug, Default, Serialize, Deserialize)]
struct LastEvent {
    event: serde_json::Value,
}

impl<A: Aggregate> View<A> for LastEvent {
    fn update(&mut self, event: &EventEnvelope<A>) {
        self.event = serde_json::to_value(&event.payload).unwrap();
    }
}

fn framework<A>(pool: &sqlx::PgPool) -> PostgresCqrs<A>
where
    A: Aggregate<Services = ()> + 'static,
{
    let repository = Arc::new(PostgresViewRepository::<LastEvent, A>::new("token_view", pool.clone()));
    postgres_cqrs(pool.clone(), vec![Box::new(GenericQuery::new(repository))], ())
}

/// The same commands, through their store.
pub async fn postgres(url: &str, kind: Kind, tasks: usize) -> Measured {
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(16).connect(url).await.unwrap();
    pool.execute(TABLES).await.unwrap();
    let clock = SystemClock::shared();
    let tokens = Arc::new(framework::<ClientToken>(&pool));
    let authorizations = Arc::new(framework::<Authorization>(&pool));
    let streams = match kind {
        Kind::Fresh => Vec::new(),
        Kind::Loaded => {
            futures_in_order(STREAMS, |_| async {
                let id = new_id(clock.now());
                authorizations.execute(&id, grant_command(&id, &clock)).await.unwrap();
                authorizations.execute(&id, redeem_command(&clock)).await.unwrap();
                Mutex::new((id, 1))
            })
            .await
        }
    };
    let streams = Arc::new(streams);
    let (per_second, cpu_micros) = run(tasks, move |task, turn| {
        let (tokens, authorizations) = (Arc::clone(&tokens), Arc::clone(&authorizations));
        let (streams, clock) = (Arc::clone(&streams), Arc::clone(&clock));
        async move {
            match streams.get((task + turn * 64) % STREAMS) {
                None => {
                    let token = token(&clock);
                    let id = token.id.clone();
                    let command = issue_command(token, &clock);
                    tokens.execute_with_metadata(&id, command, metadata(&clock)).await.unwrap();
                }
                Some(stream) => {
                    let mut stream = stream.lock().await;
                    let command = refresh_command(stream.1, &clock);
                    authorizations.execute_with_metadata(&stream.0, command, metadata(&clock)).await.unwrap();
                    stream.1 += 1;
                }
            }
        }
    })
    .await;
    Measured { engine: "PostgreSQL", system: "peer", kind, tasks, per_second, cpu_micros }
}
