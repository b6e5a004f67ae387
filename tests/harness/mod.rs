//! What does a test need to speak to a server? Servers, browsers, applications and answers, with
//! defaults, so that a test spells only what matters.
//!
//! | module | holds |
//! |---|---|
//! | [`environment`] | what `tests/run` prepared |
//! | [`server`], [`process`], [`cli`] | the server in this process, the program in its own, its commands |
//! | [`browser`], [`form`] | a person's browser and the forms in it |
//! | [`application`], [`request`] | an application, what it sends and what it hears |
//! | [`expect`] | the answers that `tests/attacks` knows by name |

pub mod application;
pub mod browser;
pub mod cli;
pub mod directory;
pub mod environment;
pub mod expect;
pub mod form;
pub mod postgres;
pub mod prepared;
pub mod process;
pub mod request;
pub mod server;

pub use application::{App, CHALLENGE, Query, Registration, Tokens, VERIFIER};
pub use browser::Browser;
pub use cli::Cli;
pub use directory::Directory;
pub use expect::{
    expect_basic_401, expect_bearer_401, expect_dead, expect_error_page, expect_redirect, expect_token_error,
    expect_too_large,
};
pub use prepared::PASSWORD;
pub use process::Process;
pub use request::Request;
pub use server::{Engine, Server, Setup, on_both_engines};
