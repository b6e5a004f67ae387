//! How does a command become durable, and how is it read again?
