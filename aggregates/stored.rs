//! How an event becomes columns and comes back: dotted type, integer version, JSON payload.
//!
//! The stored name of an event is its serde name, so it is written once, beside the variant. Rust
//! names may change; stored names and the meaning of a stored payload never do: a new shape is a new
//! version that [`StoredEvent::decode`] upcasts, and `tests/events` keeps a golden file of each.

#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::application::ApplicationEvent;
use crate::authorization::AuthorizationEvent;
use crate::client_token::ClientTokenEvent;
use crate::consent::ConsentEvent;
use crate::installation::InstallationEvent;
use crate::login_attempts::LoginAttemptsEvent;
use crate::refusal::RefusalEvent;
use crate::session::SessionEvent;
use crate::user::UserEvent;

/// An event as the journal stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEvent {
    /// Dotted text, a public contract: `authorization.code_redeemed`.
    pub event_type: String,
    /// Version of the payload's shape, counted from 1.
    pub event_version: String,
    /// The variant's own fields as a JSON object. This exact text is hashed into the chain.
    pub payload: String,
}

/// Why a stored event could not be read back.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The type or version was written by a newer program, or never existed.
    #[error("unknown event {event_type} version {event_version}")]
    Unknown {
        /// The stored type.
        event_type: String,
        /// The stored version.
        event_version: String,
    },
    /// The payload does not have the shape its type and version promise.
    #[error("event {event_type} version {event_version} is damaged: {reason}")]
    Damaged {
        /// The stored type.
        event_type: String,
        /// The stored version.
        event_version: String,
        /// What serde said.
        reason: String,
    },
    /// An event that cannot be written as a JSON object.
    #[error("event cannot be encoded: {reason}")]
    Unencodable {
        /// What serde said.
        reason: String,
    },
}

/// An enum of events whose serde names are the stored names.
pub trait StoredEvent: Serialize + DeserializeOwned {
    /// Stored names of every variant, in order: what the golden corpus must cover.
    const EVENT_TYPES: &'static [&'static str];

    /// Splits the serde form `{"name":{…}}` into columns without parsing it again.
    fn encode(&self) -> Result<EncodedEvent, DecodeError> {
        let text = serde_json::to_string(self)
            .map_err(|error| DecodeError::Unencodable { reason: error.to_string() })?;
        let columns = text
            .strip_prefix("{\"")
            .and_then(|rest| rest.strip_suffix('}'))
            .and_then(|rest| rest.split_once("\":"));
        let Some((event_type, payload)) = columns else {
            return Err(DecodeError::Unencodable { reason: "not a struct variant".to_owned() });
        };
        Ok(EncodedEvent {
            event_type: event_type.to_owned(),
            event_version: CURRENT_VERSION.to_owned(),
            payload: payload.to_owned(),
        })
    }

    /// Reads an event by its type and version columns, upcasting older versions first.
    fn decode(event_type: &str, event_version: &str, payload: &Value) -> Result<Self, DecodeError> {
        if !Self::EVENT_TYPES.contains(&event_type) || event_version != CURRENT_VERSION {
            return Err(DecodeError::Unknown {
                event_type: event_type.to_owned(),
                event_version: event_version.to_owned(),
            });
        }
        let tagged = serde_json::json!({ event_type: payload });
        serde_json::from_value(tagged).map_err(|error| DecodeError::Damaged {
            event_type: event_type.to_owned(),
            event_version: event_version.to_owned(),
            reason: error.to_string(),
        })
    }

    /// The stored name of this event.
    fn stored_type(&self) -> String {
        self.encode().map(|event| event.event_type).unwrap_or_default()
    }
}

/// A command or an event: each says when it was asked for, or happened.
pub trait Dated {
    /// That time, to be read or put in order.
    fn at_mut(&mut self) -> &mut DateTime<Utc>;
}

/// A clock further off is a wrong one, and its node decides nothing.
pub const MOST_SKEW: TimeDelta = TimeDelta::seconds(2);

/// When something happens to a stream whose latest event has this time: not before it, as far as two clocks
/// may differ that are not wrong. What a wrong one has written does not hold back time for longer.
#[must_use]
pub fn in_order(at: DateTime<Utc>, latest: DateTime<Utc>) -> DateTime<Utc> {
    if latest - at <= MOST_SKEW * 2 { at.max(latest) } else { at }
}

/// Every event has had one version so far.
pub const CURRENT_VERSION: &str = "1";

macro_rules! any_event {
    ($($variant:ident($event:ty) = $aggregate_type:literal),+ $(,)?) => {
        /// Any event of the log, for readers that cross aggregates (projections, verification).
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "each variant is named for its aggregate")]
        pub enum AnyEvent { $($variant($event)),+ }

        impl AnyEvent {
            /// Every aggregate type with the stored names of its events.
            pub const TYPES: &'static [(&'static str, &'static [&'static str])] =
                &[$(($aggregate_type, <$event as StoredEvent>::EVENT_TYPES)),+];

            /// Decodes by the three columns that name an event.
            pub fn decode(aggregate_type: &str, event_type: &str, event_version: &str, payload: &Value) -> Result<Self, DecodeError> {
                match aggregate_type {
                    $($aggregate_type => <$event>::decode(event_type, event_version, payload).map(AnyEvent::$variant),)+
                    _ => Err(DecodeError::Unknown { event_type: event_type.to_owned(), event_version: event_version.to_owned() }),
                }
            }

            /// The type of the aggregate the event belongs to.
            #[must_use]
            pub fn aggregate_type(&self) -> &'static str {
                match self { $(AnyEvent::$variant(_) => $aggregate_type),+ }
            }

            /// Splits the event into columns, like [`StoredEvent::encode`].
            pub fn encode(&self) -> Result<EncodedEvent, DecodeError> {
                match self { $(AnyEvent::$variant(event) => event.encode()),+ }
            }
        }

        $(impl From<$event> for AnyEvent {
            fn from(event: $event) -> Self { AnyEvent::$variant(event) }
        })+
    };
}

any_event! {
    Application(ApplicationEvent) = "application",
    User(UserEvent) = "user",
    Session(SessionEvent) = "session",
    LoginAttempts(LoginAttemptsEvent) = "login_attempts",
    Authorization(AuthorizationEvent) = "authorization",
    ClientToken(ClientTokenEvent) = "client_token",
    Consent(ConsentEvent) = "consent",
    Refusal(RefusalEvent) = "refusal",
    Installation(InstallationEvent) = "installation",
}

/// Finds the time in every variant of an enum.
macro_rules! dated {
    ($type:ty: $($variant:ident),+ $(,)?) => {
        impl $crate::stored::Dated for $type {
            fn at_mut(&mut self) -> &mut chrono::DateTime<chrono::Utc> {
                match self { $(Self::$variant { at, .. })|+ => at }
            }
        }
    };
}
pub(crate) use dated;

/// Implements the traits of an event enum: ours, and cqrs-es's by way of ours.
macro_rules! stored_events {
    ($event:ty: $($variant:ident = $name:literal),+ $(,)?) => {
        $crate::stored::dated!($event: $($variant),+);

        impl $crate::stored::StoredEvent for $event {
            const EVENT_TYPES: &'static [&'static str] = &[$($name),+];
        }
        impl cqrs_es::DomainEvent for $event {
            fn event_type(&self) -> String {
                $crate::stored::StoredEvent::stored_type(self)
            }
            fn event_version(&self) -> String {
                $crate::stored::CURRENT_VERSION.to_owned()
            }
        }
    };
}
pub(crate) use stored_events;

/// A command handled as a pure decision: the events it leads to, or the reason it is refused.
pub trait Decide: cqrs_es::Aggregate {
    /// Decides without changing anything; `handle` applies what was decided.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Error>;
}

/// Writes `cqrs_es::Aggregate` for a state with `decide`, `apply_event` and the time of its `latest` event.
macro_rules! aggregate {
    ($state:ty, $aggregate_type:literal, $command:ty, $event:ty, $error:ty) => {
        impl cqrs_es::Aggregate for $state {
            const TYPE: &'static str = $aggregate_type;
            type Command = $command;
            type Event = $event;
            type Error = $error;
            type Services = ();

            async fn handle(
                &mut self,
                mut command: Self::Command,
                (): &Self::Services,
                sink: &cqrs_es::event_sink::EventSink<Self>,
            ) -> Result<(), Self::Error> {
                let at = $crate::stored::Dated::at_mut(&mut command);
                *at = $crate::stored::in_order(*at, self.latest);
                for event in $crate::stored::Decide::decide(self, command)? {
                    sink.write(event, self).await;
                }
                Ok(())
            }

            fn apply(&mut self, mut event: Self::Event) {
                let at = *$crate::stored::Dated::at_mut(&mut event);
                self.apply_event(event);
                self.latest = at;
            }
        }
    };
}
pub(crate) use aggregate;
