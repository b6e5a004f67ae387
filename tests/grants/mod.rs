//! Does each grant type keep the promises of its RFC? One file a grant, as in `src/oauth/grants/`.

mod authorization_code;
mod client_credentials;
mod refresh_token;
