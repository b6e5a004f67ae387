//! What does an event say in plain words? One sentence, a seal, and details to fold behind it.
//!
//! Personal data is sealed in events and therefore not here; ids are.

mod access;
mod people;
mod refusals;

use aggregates::AnyEvent;
use aggregates::installation::InstallationEvent;
use aggregates::refusal::RefusalEvent;
use chrono::{DateTime, SecondsFormat, Utc};

/// What an event made of the thing it happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealKind {
    /// It can be used from here on.
    Live,
    /// It was used up.
    Used,
    /// It was taken back.
    Revoked,
    /// Its time was over.
    Expired,
    /// It was not given.
    Refused,
    /// Nothing of the kind.
    Neutral,
}

/// An event in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// What happened, in one sentence.
    pub text: String,
    /// What it made of the thing.
    pub seal_kind: SealKind,
    /// What else the event says: label and value.
    pub details: Vec<(&'static str, String)>,
}

/// The event in plain words.
#[must_use]
pub fn sentence(event: &AnyEvent) -> Sentence {
    match event {
        AnyEvent::Application(event) => access::application(event),
        AnyEvent::User(event) => people::user(event),
        AnyEvent::Session(event) => people::session(event),
        AnyEvent::LoginAttempts(event) => people::login_attempts(*event),
        AnyEvent::Authorization(event) => access::authorization(event),
        AnyEvent::ClientToken(event) => access::client_token(event),
        AnyEvent::Consent(event) => people::consent(event),
        AnyEvent::Refusal(RefusalEvent::RefusalRecorded { refused, at: _ }) => refusals::refused(refused),
        AnyEvent::Installation(event) => installation(event),
    }
}

fn installation(event: &InstallationEvent) -> Sentence {
    match event {
        InstallationEvent::ConfigurationChanged { revision, settings, at: _ } => {
            let mut sentence =
                Sentence::new(SealKind::Neutral, "The server started with another configuration.")
                    .with("revision", revision.to_string());
            let settings = settings.iter().map(|(name, value)| format!("{name} = {value}"));
            sentence.details.extend(settings.map(|setting| ("setting", setting)));
            sentence
        }
        InstallationEvent::RootSecretBound { fingerprint, at: _ } => {
            Sentence::new(SealKind::Neutral, "The log was begun with its root secret.")
                .with("fingerprint", fingerprint.as_str())
        }
        InstallationEvent::RollbackAccepted { key_epoch, seen, head, at: _ } => Sentence::new(
            SealKind::Revoked,
            "A restored backup was accepted; everything issued before is invalid.",
        )
        .with("events that are gone", seen.saturating_sub(*head).max(0).to_string())
        .with("key epoch", key_epoch.to_string()),
        InstallationEvent::HorizonAdvanced { horizon, at: _ } => Sentence::new(
            SealKind::Expired,
            "What had ended left the read models; its events stay on the roll.",
        )
        .with("ended before", time(*horizon)),
    }
}

impl Sentence {
    fn new(seal_kind: SealKind, text: impl Into<String>) -> Self {
        Self { text: text.into(), seal_kind, details: Vec::new() }
    }

    /// Adds a detail, unless there is nothing to say (a nameless application, an empty scope).
    fn with(mut self, label: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.details.push((label, value));
        }
        self
    }

    fn with_optional(self, label: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(label, value),
            None => self,
        }
    }
}

/// A time with its zone, to the second.
fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Texts one after the other; nothing when there is none.
fn listed(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Option<String> {
    let texts: Vec<String> = texts.into_iter().map(|text| text.as_ref().to_owned()).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}
