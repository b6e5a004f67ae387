//! Does every page do what a person expects of it? One file a page family, as in `src/pages/`.

mod applications;
mod authorized;
mod consent;
mod errors;
mod home;
mod login;
mod logout;
mod password;
mod timeline;
