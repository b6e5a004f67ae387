//! What is read out of a request before anything is decided?
//!
//! | module | question |
//! |---|---|
//! | [`request_context`] | who asks from where, and under which id do we remember it? |
//! | [`form_pairs`] | which parameters were sent, each once? |
//! | [`oauth_form`] | is this a form an OAuth endpoint reads? |
//! | [`client_auth`] | which client is this, and did it prove it? |
//! | [`bearer`] | which access token was presented? |

pub mod bearer;
pub mod client_auth;
pub mod form_pairs;
pub mod oauth_form;
pub mod request_context;
pub mod cookies;
pub mod csrf;
pub mod page_form;
pub mod session;
