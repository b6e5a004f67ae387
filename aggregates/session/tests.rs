//! Given these events, when this is asked, then that happens.
