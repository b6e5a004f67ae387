//! What is read out of a request before anything is decided?
//!
//! | module | question |
//! |---|---|
//! | [`request_context`] | who asks from where, and under which id do we remember it? |
//! | [`form_pairs`] | which parameters were sent, each once? |
//! | [`oauth_form`] | is this a form an OAuth endpoint reads? |
//! | [`client_auth`] | which client is this, and did it prove it? |
//! | [`bearer`] | which access token was presented? |
//! | [`cookies`], [`session`] | who is sitting at this browser? |
//! | [`csrf`], [`page_form`] | what was typed into a form of ours, and did it come from our page? |

pub mod bearer;
pub mod client_auth;
pub mod cookies;
pub mod csrf;
pub mod form_pairs;
pub mod oauth_form;
pub mod page_form;
pub mod request_context;
pub mod session;
