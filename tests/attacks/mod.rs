//! Which attacks are withstood? One test a known attack, named for its row in the table of attacks
//! (`adv_`: advisories of other servers), of RFC 9700 (`bcp_`) or of OAuth 2.1 (`v21_`).
//!
//! Every test has a positive control: the same request, correct, succeeds. Without it a server that
//! refuses everything would pass.

mod again;
mod binding;
mod client_auth;
mod disabled;
mod flooding;
mod input;
mod introspection;
mod jose;
mod leakage;
mod login;
mod pages;
mod pkce;
mod redirects;
mod refresh;
mod sessions;
