//! `changepassword`: how does an operator set somebody's password? Their sessions end with it.

use serde_json::json;

use super::arguments::ChangePassword;
use super::ask;
use super::failure::Failure;
use super::run::Context;
use crate::accounts;

pub(super) async fn run(context: &Context, arguments: ChangePassword) -> Result<(), Failure> {
    let state = context.open_existing().await?;
    let user = super::lockuser::find(&state, &arguments.username).await?;
    let password = ask::new_password(context, arguments.password, &arguments.username, "")?;
    accounts::change_password(&state, &user, password, None, &context.origin()).await?;
    if arguments.json {
        context
            .console
            .say(json!({ "subject": user.subject, "username": arguments.username, "changed": true }));
    } else {
        context.console.done(format!("Password of {} changed; every session ended.", arguments.username));
    }
    Ok(())
}
