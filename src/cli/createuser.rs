//! `createuser` and `createsuperuser`: how does somebody get an account before anybody can log in?

use serde_json::json;

use super::arguments::CreateUser;
use super::ask;
use super::failure::Failure;
use super::run::Context;
use crate::accounts::{self, AccountError, NewUser};
use crate::state::AppState;

pub(super) async fn run(context: &Context, arguments: CreateUser, is_superuser: bool) -> Result<(), Failure> {
    let state = context.open().await?;
    let username = username(context, &state, &arguments).await?;
    let email = email(context, &arguments)?;
    let password = ask::new_password(context, arguments.password, &username, &email)?;
    let new = NewUser { username, email, password, is_superuser };
    let created = accounts::create_user(&state, new, &context.origin()).await?;
    if arguments.json {
        context.console.say(json!({
            "subject": created.subject,
            "username": created.username,
            "superuser": is_superuser,
        }));
        return Ok(());
    }
    let kind = if is_superuser { "Superuser" } else { "User" };
    context.console.done(format!("{kind} {} created successfully.", created.username));
    context.console.say(format!("  database  {}", context.config.database.described()));
    let home = context.config.issuer.as_str();
    context
        .console
        .next_step("start the server if it does not run, and log in", format!("{home}/admin/login/"));
    Ok(())
}

/// The name, free so far; whoever else asks for it at the same moment is settled by the claim.
async fn username(context: &Context, state: &AppState, arguments: &CreateUser) -> Result<String, Failure> {
    if let Some(username) = &arguments.username {
        accounts::check_username(username)?;
        return Ok(username.clone());
    }
    if !ask::is_interactive(arguments.password) {
        return Err(Failure::MissingOption("--username"));
    }
    loop {
        let username = ask::line(context.console, "Username", accounts::check_username)?;
        if accounts::find_by_username(state, &username).await?.is_none() {
            return Ok(username);
        }
        context.console.remark(AccountError::UsernameTaken);
    }
}

fn email(context: &Context, arguments: &CreateUser) -> Result<String, Failure> {
    match &arguments.email {
        Some(email) => {
            accounts::check_email(email)?;
            Ok(email.clone())
        }
        None if ask::is_interactive(arguments.password) => {
            ask::line(context.console, "E-mail address (may be empty)", accounts::check_email)
        }
        None => Ok(String::new()),
    }
}
