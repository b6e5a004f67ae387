//! Where do names and passwords come from? A prompt, the first line of standard input, or
//! `CHANCERY_PASSWORD`; never an argument, which everybody on the machine can read.

use std::io::{self, IsTerminal};

use super::arguments::PasswordInput;
use super::failure::Failure;
use super::run::Context;
use crate::accounts::AccountError;
use crate::console::Console;
use crate::password::{PolicyError, check_passphrase, check_policy};
use crate::secret::Secret;

/// Whether somebody can be asked again when an answer will not do.
pub(super) fn is_interactive(input: PasswordInput) -> bool {
    !input.noinput && !input.password_stdin
}

/// The new password of somebody called `username`.
pub(super) fn new_password(
    context: &Context,
    input: PasswordInput,
    username: &str,
    email: &str,
) -> Result<Secret, Failure> {
    new_secret(context, input, "Password", |password| check_policy(password, username, email))
}

/// The passphrase of something that is made now.
pub(super) fn new_passphrase(context: &Context, input: PasswordInput) -> Result<Secret, Failure> {
    new_secret(context, input, "Passphrase", check_passphrase)
}

/// Asked for twice, and again while it will not do.
fn new_secret(
    context: &Context,
    input: PasswordInput,
    what: &str,
    check: impl Fn(&str) -> Result<(), PolicyError>,
) -> Result<Secret, Failure> {
    if input.noinput || input.password_stdin {
        let secret = given(context, input)?;
        check(secret.expose()).map_err(AccountError::from)?;
        return Ok(secret);
    }
    loop {
        let secret = hidden(context.console, what)?;
        if let Err(problem) = check(secret.expose()) {
            context.console.remark(problem);
            continue;
        }
        if secret.ct_eq(hidden(context.console, &format!("{what} (again)"))?.expose()) {
            return Ok(secret);
        }
        context.console.remark("The two are not the same; type both again.");
    }
}

/// The passphrase of something that exists: asked for once.
pub(super) fn passphrase(context: &Context, input: PasswordInput) -> Result<Secret, Failure> {
    if input.noinput || input.password_stdin {
        return given(context, input);
    }
    hidden(context.console, "Passphrase")
}

/// What is given without being asked for.
fn given(context: &Context, input: PasswordInput) -> Result<Secret, Failure> {
    if input.noinput {
        let given = context.environment.password().ok_or(Failure::NoPassword)?;
        return Ok(Secret::new(given.expose()));
    }
    first_line()
}

/// A line that is asked for until it will do.
pub(super) fn line<T>(
    console: Console,
    question: &str,
    check: impl Fn(&str) -> Result<T, AccountError>,
) -> Result<String, Failure> {
    loop {
        let answer = console.prompt(question).map_err(Failure::Prompt)?;
        match check(&answer) {
            Ok(_) => return Ok(answer),
            Err(problem) => console.remark(problem),
        }
    }
}

/// The first line of standard input without its end.
pub(super) fn first_line() -> Result<Secret, Failure> {
    let mut line = zeroize::Zeroizing::new(String::new());
    io::stdin().read_line(&mut line).map_err(Failure::Prompt)?;
    match line.trim_end_matches(['\n', '\r']) {
        "" => Err(Failure::NoPassword),
        text => Ok(Secret::new(text)),
    }
}

/// Asks without showing what is typed. Piped input has nothing to hide and is read line by line.
fn hidden(console: Console, question: &str) -> Result<Secret, Failure> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(format!("{question}: ")).map(Secret::new).map_err(Failure::Prompt);
    }
    console.prompt(question).map(Secret::new).map_err(Failure::Prompt)
}
