//! What does each endpoint promise on the wire?

mod authorize;
mod introspect;
mod metadata;
mod resource;
mod revoke;
mod token;
