//! Which grants are there? A plain match: one file a grant, each of which looks up, sends one command,
//! and reads the answer off the aggregate. (RFC 6749 §1.3)

pub mod authorization_code;
pub mod client_credentials;
pub mod refresh_token;

use aggregates::authorization::{Authorization, AuthorizationCommand, AuthorizationError, Reused};
use aggregates::refusal::Rule;
use aggregates::values::GrantType;
use projections::authorizations::find_authorization;
use projections::users::find_user;

use super::exchange::Exchange;
use super::issue::TokenAnswer;
use super::token::refusal_of;
use crate::commands::{CommandError, Stream};
use crate::error::{ErrorCode, OAuthError};
use crate::extract::client_auth::Caller;
use crate::extract::oauth_form::OAuthForm;
use crate::refusals::Refused;

/// What the token endpoint offers and metadata lists.
pub const SUPPORTED: &[GrantType] = GrantType::ALL;

/// Carries a grant out.
pub async fn redeem(grant_type: GrantType, exchange: &Exchange) -> Result<TokenAnswer, Refused> {
    match grant_type {
        GrantType::AuthorizationCode => authorization_code::redeem(exchange).await,
        GrantType::ClientCredentials => client_credentials::redeem(exchange).await,
        GrantType::RefreshToken => refresh_token::redeem(exchange).await,
    }
}

/// The grant asked for.
pub fn requested(form: &OAuthForm) -> Result<GrantType, OAuthError> {
    let name = form.require("grant_type", "Missing grant_type parameter.")?;
    let known = GrantType::parse(name).filter(|grant_type| SUPPORTED.contains(grant_type));
    known.ok_or_else(|| OAuthError::new(ErrorCode::UnsupportedGrantType, "This grant type is not offered."))
}

/// Whether this client may use the grant.
pub fn check_allowed(caller: &Caller, grant_type: GrantType) -> Result<(), Refused> {
    if caller.application.settings.may_use(grant_type) {
        return Ok(());
    }
    let error =
        OAuthError::new(ErrorCode::UnauthorizedClient, "The application may not use this grant type.");
    Err(Refused::by(Rule::GrantNotAllowed, error))
}

/// A text that we did not make, or made as something else.
fn forged(description: &'static str) -> Refused {
    Refused::by(Rule::RequestForged, OAuthError::invalid_grant(description))
}

/// What was granted before its user was locked or its application disabled gives nothing, also after
/// they were let in again. Whether the authorization is the caller's at all is the aggregate's to say.
async fn check_admitted(exchange: &Exchange, authorization_id: &str) -> Result<(), Refused> {
    let journal = &exchange.state.journal;
    let authorization = find_authorization(journal, authorization_id).await?;
    let own = authorization.filter(|authorization| authorization.client_id == exchange.caller.client_id());
    let Some(authorization) = own else { return Ok(()) };
    let granted_at = authorization.granted_at;
    let user = find_user(journal, &authorization.subject).await?;
    let rule = if !user.is_some_and(|user| user.admits_grant_of(granted_at)) {
        Rule::UserLocked
    } else if !exchange.caller.application.admits_grant_of(granted_at) {
        Rule::ApplicationDisabled
    } else {
        return Ok(());
    };
    let error = OAuthError::invalid_grant("The code or refresh token is invalid, expired, revoked or used.");
    let refused = Refused::by(rule, error).of_user(&authorization.subject);
    Err(refused.of_authorization(authorization_id))
}

/// One command on an authorization, and what it gave; of a second use, a second command that ends
/// everything the authorization gave.
async fn redeem_at(
    exchange: &Exchange,
    authorization_id: &str,
    command: AuthorizationCommand,
    reused: Reused,
) -> Result<TokenAnswer, Refused> {
    check_admitted(exchange, authorization_id).await?;
    let Exchange { state, context, .. } = exchange;
    let stream = Stream::Existing(authorization_id.to_owned());
    let executed = state.commands.execute::<Authorization>(stream, command, &exchange.origin()).await;
    match executed {
        Ok(executed) => {
            let issued = executed.state.current();
            let issued = issued.ok_or_else(|| OAuthError::fault("an authorization without its token"))?;
            Ok(TokenAnswer::for_authorization(&state.keys, authorization_id, issued, context.now)?)
        }
        Err(error) => {
            let reason = OAuthError::reason_of(error)?;
            if matches!(reason, AuthorizationError::AlreadyRedeemed | AuthorizationError::RefreshTokenReused)
            {
                report_reuse(exchange, authorization_id, reused).await?;
            }
            Err(refusal_of(reason).of_authorization(authorization_id))
        }
    }
}

/// The refusal goes out only once what the stolen value gave is dead: if that fails, the answer is 503
/// and the client, or the thief, comes again.
async fn report_reuse(exchange: &Exchange, authorization_id: &str, reused: Reused) -> Result<(), OAuthError> {
    let command = AuthorizationCommand::ReportReuse { reused, at: exchange.context.now };
    let stream = Stream::Existing(authorization_id.to_owned());
    let commands = &exchange.state.commands;
    match commands.execute::<Authorization>(stream, command, &exchange.origin()).await {
        Ok(_) | Err(CommandError::Refused(_)) => Ok(()),
        Err(error) => OAuthError::reason_of(error).map(drop),
    }
}
