//! Values are read strictly and kept verbatim (`tests/attacks` A and C as parsing).

mod pkce;
mod redirect_uri;
mod redirect_uri_edits;
mod resource;
mod scope;
mod uri;
