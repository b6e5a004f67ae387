//! `createapplication`: how is an application registered without a browser? By the same rules.

use aggregates::application::Provenance;
use serde_json::{Value, json};

use super::arguments::{ClientType, CreateApplication, GrantType, SigningAlgorithm};
use super::ask;
use super::failure::Failure;
use super::run::Context;
use crate::registration::{Bounds, Initial, RawApplication, read_registration, register};
use crate::secret::{Secret, new_client_id, new_client_secret};
use crate::state::AppState;

pub(super) async fn run(context: &Context, arguments: CreateApplication) -> Result<(), Failure> {
    let state = context.open().await?;
    let owner = match &arguments.user {
        Some(username) => Some(super::lockuser::find(&state, username).await?.subject),
        None => None,
    };
    let generated = generated_secret(&arguments);
    let raw = raw(&state, &arguments, generated.clone())?;
    let initial = generated.as_ref().map(|_| Initial::generated_here());
    let registration =
        read_registration(&raw, initial.as_ref(), Bounds::of(&state, true)).map_err(Failure::Fields)?;
    register(&state, registration, owner, Provenance::CommandLine, &context.origin()).await?;
    report(context, &arguments, &raw, generated.as_ref());
    Ok(())
}

fn generated_secret(arguments: &CreateApplication) -> Option<Secret> {
    let is_given = arguments.client_secret.is_some() || arguments.client_secret_stdin;
    (arguments.client_type == ClientType::Confidential && !is_given).then(new_client_secret)
}

fn raw(
    state: &AppState,
    arguments: &CreateApplication,
    generated: Option<Secret>,
) -> Result<RawApplication, Failure> {
    let given = if arguments.client_secret_stdin {
        Some(ask::first_line()?)
    } else {
        arguments.client_secret.as_deref().map(Secret::new)
    };
    let every_scope = || state.config.scopes.iter().map(|scope| scope.name.clone()).collect();
    Ok(RawApplication {
        name: arguments.name.clone().unwrap_or_default(),
        client_id: arguments.client_id.clone().unwrap_or_else(new_client_id),
        client_secret: given.or(generated),
        hash_client_secret: !arguments.no_hash_client_secret,
        client_type: client_type(arguments.client_type).to_owned(),
        authorization_grant_type: grant_type(arguments.authorization_grant_type).to_owned(),
        redirect_uris: arguments.redirect_uris.join(" "),
        post_logout_redirect_uris: arguments.post_logout_redirect_uris.join(" "),
        algorithm: arguments.algorithm.map_or("", algorithm).to_owned(),
        scopes: if arguments.scopes.is_empty() { every_scope() } else { arguments.scopes.clone() },
        require_pkce: arguments.require_pkce,
        skip_authorization: arguments.skip_authorization,
        ..RawApplication::default()
    })
}

/// What is new to the operator is printed; what they gave is not repeated.
fn report(
    context: &Context,
    arguments: &CreateApplication,
    raw: &RawApplication,
    generated: Option<&Secret>,
) {
    let console = context.console;
    if arguments.json {
        let secret = generated.map_or(Value::Null, |secret| json!(secret.expose()));
        let mut answer = json!({
            "name": raw.name,
            "client_id": raw.client_id,
            "client_type": raw.client_type,
            "authorization_grant_type": raw.authorization_grant_type,
        });
        if let (Some(answer), Value::String(_)) = (answer.as_object_mut(), &secret) {
            answer.insert("client_secret".to_owned(), secret);
        }
        console.say(answer);
        return;
    }
    let name = if raw.name.is_empty() { String::new() } else { format!(" {}", raw.name) };
    console.done(format!("New application{name} created successfully."));
    if arguments.client_id.is_none() {
        console.say(format!("client_id: {}", raw.client_id));
    }
    if let Some(secret) = generated {
        console.say(format!("client_secret: {}", secret.expose()));
        console.remark("Copy the secret now: only a verifier of it is kept.");
    }
}

fn client_type(given: ClientType) -> &'static str {
    match given {
        ClientType::Confidential => "confidential",
        ClientType::Public => "public",
    }
}

fn grant_type(given: GrantType) -> &'static str {
    match given {
        GrantType::AuthorizationCode => "authorization-code",
        GrantType::ClientCredentials => "client-credentials",
        GrantType::Implicit => "implicit",
        GrantType::Password => "password",
        GrantType::OpenidHybrid => "openid-hybrid",
    }
}

fn algorithm(given: SigningAlgorithm) -> &'static str {
    match given {
        SigningAlgorithm::Rs256 => "RS256",
        SigningAlgorithm::Es256 => "ES256",
        SigningAlgorithm::EdDsa => "EdDSA",
        SigningAlgorithm::Ps256 => "PS256",
        SigningAlgorithm::Hs256 => "HS256",
    }
}
