//! The endpoints clients talk to, one a file.
//!
//! | module | endpoint | RFC |
//! |---|---|---|
//! | [`token`], [`grants`] | `POST /o/token/` | 6749 §3.2 |
//! | [`introspect`] | `POST /o/introspect/` | 7662 |
//! | [`revoke`] | `POST /o/revoke_token/` | 7009 |
//! | [`metadata`] | `GET /.well-known/…` | 8414, 9728 |
//! | [`issue`] | what may be asked for, and what an answer looks like | 6749 §5.1 |
//! | [`exchange`] | what the POST endpoints have in common | 6749 §2.3 |

pub mod exchange;
pub mod grants;
pub mod introspect;
pub mod issue;
pub mod metadata;
pub mod revoke;
pub mod token;
