//! `lockuser` and `unlockuser`: who is shut out, and who is let in again?

use projections::users::User;
use serde_json::json;

use super::arguments::UserName;
use super::failure::Failure;
use super::run::Context;
use crate::accounts;
use crate::state::AppState;

pub(super) async fn run(context: &Context, arguments: UserName, locked: bool) -> Result<(), Failure> {
    let state = context.open_existing().await?;
    let user = find(&state, &arguments.username).await?;
    let changed = accounts::set_locked(&state, &user.subject, locked, &context.origin()).await?;
    let name = arguments.username;
    if arguments.json {
        context.console.say(json!({
            "subject": user.subject, "username": name, "locked": locked, "changed": changed,
        }));
        return Ok(());
    }
    context.console.done(match (locked, changed) {
        (true, true) => format!("{name} is locked out: no login, no session, no token in this name works."),
        (true, false) => format!("{name} was locked out already; nothing changed."),
        (false, true) => format!("{name} may log in again."),
        (false, false) => format!("{name} was not locked; nothing changed."),
    });
    Ok(())
}

/// The user with this name.
pub(super) async fn find(state: &AppState, username: &str) -> Result<User, Failure> {
    let found = accounts::find_by_username(state, username).await?;
    found.ok_or_else(|| Failure::UnknownUser(username.to_owned()))
}
