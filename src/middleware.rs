//! What happens to every request, whatever it asks for?
//!
//! Outermost first: [`limits::close_unread`], [`request_id`] (and the log line), [`security_headers`],
//! [`rate_limit`], [`limits`]. [`cors`] is
//! added per route, because most routes must not have it, and [`freshness`] around those that answer from
//! memory.

pub mod cors;
pub mod freshness;
pub mod limits;
pub mod rate_limit;
pub mod request_id;
pub mod security_headers;
pub mod trace;
