//! What does the log say of itself? The names of its own stream, and of the events in it.

/// The stream of the installation; there is one.
pub const INSTALLATION: &str = "installation";

/// The event that says which root secret a log belongs to.
pub const ROOT_SECRET_BOUND: &str = "installation.root_secret_bound";

/// After it nothing that was issued before is valid.
pub const ROLLBACK_ACCEPTED: &str = "installation.rollback_accepted";

/// Which root secret the event of its binding names.
#[must_use]
pub fn bound_fingerprint(payload: &str) -> Option<String> {
    let payload: serde_json::Value = serde_json::from_str(payload).ok()?;
    Some(payload.get("fingerprint")?.as_str()?.to_owned())
}
