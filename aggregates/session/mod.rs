//! A browser in which a person has logged in, from then until logout or expiry.

pub mod command;
pub mod error;
pub mod event;

#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use command::{EndReason, SessionCommand};
pub use error::SessionError;
pub use event::SessionEvent;

use crate::stored::{Decide, aggregate};

/// State of a session stream.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Session {
    started: Option<Started>,
    ended: Option<EndReason>,
    latest: DateTime<Utc>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Started {
    session_id: String,
    subject: String,
    methods: Vec<String>,
    auth_time: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    idle_expires_at: DateTime<Utc>,
}

aggregate!(Session, "session", SessionCommand, SessionEvent, SessionError);

impl Decide for Session {
    fn decide(&self, command: SessionCommand) -> Result<Vec<SessionEvent>, SessionError> {
        match command {
            SessionCommand::StartSession {
                session_id,
                subject,
                methods,
                auth_time,
                expires_at,
                idle_expires_at,
                at,
            } => self
                .start(Started { session_id, subject, methods, auth_time, expires_at, idle_expires_at }, at),
            SessionCommand::RenewSession { idle_expires_at, at } => self.renew(idle_expires_at, at),
            SessionCommand::EndSession { reason, at } => self.end(reason, at),
        }
    }
}

impl Session {
    fn start(&self, new: Started, at: DateTime<Utc>) -> Result<Vec<SessionEvent>, SessionError> {
        if self.started.is_some() {
            return Err(SessionError::AlreadyStarted);
        }
        let Started { session_id, subject, methods, auth_time, expires_at, idle_expires_at } = new;
        let idle_expires_at = idle_expires_at.min(expires_at);
        Ok(vec![SessionEvent::SessionStarted {
            session_id,
            subject,
            methods,
            auth_time,
            expires_at,
            idle_expires_at,
            at,
        }])
    }

    fn renew(
        &self,
        idle_expires_at: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Result<Vec<SessionEvent>, SessionError> {
        let own = self.started.as_ref().ok_or(SessionError::Unknown)?;
        if self.ended.is_some() {
            return Err(SessionError::Ended);
        }
        if !self.is_alive(at) {
            return Err(SessionError::Expired);
        }
        let idle_expires_at = idle_expires_at.min(own.expires_at);
        if idle_expires_at <= own.idle_expires_at {
            return Ok(Vec::new());
        }
        Ok(vec![SessionEvent::SessionRenewed { idle_expires_at, at }])
    }

    fn end(&self, reason: EndReason, at: DateTime<Utc>) -> Result<Vec<SessionEvent>, SessionError> {
        if self.started.is_none() {
            return Err(SessionError::Unknown);
        }
        Ok(if self.ended.is_some() { Vec::new() } else { vec![SessionEvent::SessionEnded { reason, at }] })
    }

    fn apply_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::SessionStarted {
                session_id,
                subject,
                methods,
                auth_time,
                expires_at,
                idle_expires_at,
                at: _,
            } => {
                self.started =
                    Some(Started { session_id, subject, methods, auth_time, expires_at, idle_expires_at });
            }
            SessionEvent::SessionRenewed { idle_expires_at, at: _ } => {
                if let Some(own) = &mut self.started {
                    own.idle_expires_at = idle_expires_at;
                }
            }
            SessionEvent::SessionEnded { reason, at: _ } => self.ended = Some(reason),
        }
    }

    /// Whether it counts at this instant: started, not ended, neither idle for too long nor too old.
    #[must_use]
    pub fn is_alive(&self, at: DateTime<Utc>) -> bool {
        self.ended.is_none()
            && self.started.as_ref().is_some_and(|own| at < own.expires_at && at < own.idle_expires_at)
    }

    /// The session's id, once started.
    #[must_use]
    pub fn session_id(&self) -> Option<&str> {
        self.started.as_ref().map(|own| own.session_id.as_str())
    }

    /// Who logged in.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.started.as_ref().map(|own| own.subject.as_str())
    }

    /// Authentication methods (RFC 8176).
    #[must_use]
    pub fn methods(&self) -> &[String] {
        self.started.as_ref().map_or(&[], |own| &own.methods)
    }

    /// When the person authenticated.
    #[must_use]
    pub fn auth_time(&self) -> Option<DateTime<Utc>> {
        self.started.as_ref().map(|own| own.auth_time)
    }

    /// Why it ended, if it did by command.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.ended
    }
}
