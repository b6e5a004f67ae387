//! What may happen: the commands, events and decisions of Chancery.
//!
//! Everything here is pure: no I/O, no clock, no randomness. A caller looks things up first, mints
//! ids and takes the time, and puts them into the command; the aggregate decides.
//!
//! | aggregate (`TYPE`) | stream id | commands → events |
//! |---|---|---|
//! | [`application`] | client id | `RegisterApplication`, `UpdateApplication`, `RotateSecret`, `DisableApplication`, `EnableApplication`, `DeleteApplication` → registered, updated, secret rotated, disabled, enabled, deleted |
//! | [`user`] | subject (`sub`) | `RegisterUser`, `ChangePassword`, `LockUser`, `UnlockUser`, `GrantRole`, `RevokeRole` → registered, password changed, locked, unlocked, role granted, role revoked |
//! | [`session`] | session id | `StartSession`, `RenewSession`, `EndSession` → started, renewed, ended |
//! | [`login_attempts`] | keyed hash of an account or an address | `RecordAttempt`, `TakeBack`, `Reset` → attempted, taken back, reset |
//! | [`authorization`] | authorization id | `GrantAuthorization`, `DenyAuthorization`, `RedeemCode`, `RefreshToken`, `ReportReuse`, `RevokeAccessToken`, `RevokeAuthorization` → granted, denied, code redeemed, token issued, token refreshed, reuse detected, token revoked, revoked |
//! | [`client_token`] | token id | `IssueToken`, `RevokeToken` → issued, revoked |
//! | [`consent`] | `sub` and client id | `RememberConsent`, `ForgetConsent` → remembered, forgotten |
//! | [`refusal`] | refusal id | `RecordRefusal` → recorded |
//! | [`installation`] | `installation` | `RecordConfiguration`, `BindRootSecret`, `AcceptRollback`, `AdvanceHorizon` → configuration changed, root secret bound, rollback accepted, horizon advanced |
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        reason = "a test that cannot go on should stop there"
    )
)]
#![warn(missing_docs)]

pub mod application;
pub mod authorization;
pub mod client_token;
pub mod consent;
pub mod installation;
pub mod login_attempts;
pub mod refusal;
pub mod session;
pub mod stored;
pub mod user;
pub mod values;

#[cfg(test)]
mod given;

pub use stored::{AnyEvent, DecodeError, EncodedEvent, StoredEvent};
