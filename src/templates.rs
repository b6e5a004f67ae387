//! How does an answer become a page? One typed context per template, one way to render it.
//!
//! | page | context | template |
//! |---|---|---|
//! | `/` | [`home::Home`] | `pages/home.html` |
//! | login, logout, own password | [`account::Login`], [`account::Logout`], [`account::PasswordChange`] | `pages/login.html`, … |
//! | applications | [`applications::ApplicationList`], [`applications::ApplicationDetail`], [`applications::RotatedSecret`] | `pages/application_*.html` |
//! | the form | [`application_form::RegisterApplication`], [`application_form::EditApplication`] | `pages/application_register.html`, `pages/application_edit.html` |
//! | "are you sure" | [`confirm::Confirm`] | `pages/confirm.html` |
//! | consent | [`consent::Consent`] | `pages/consent.html` |
//! | what was granted | [`authorizations::AuthorizationList`], [`authorizations::AuthorizationDetail`] | `pages/authorization_*.html` |
//! | what went wrong | [`errors::OAuthErrorPage`], [`errors::ErrorPage`], [`errors::NotFound`] | `pages/oauth_error.html`, … |
//!
//! Every template is compiled into the binary, every value is escaped for HTML, an undefined
//! value is an error, and the filter `safe` does not exist. Pages carry no script and no inline
//! style, so `default-src 'none'; style-src 'self'; img-src 'self' data:` is all they need.

pub mod account;
pub mod application_form;
pub mod applications;
pub mod authorizations;
pub mod components;
pub mod confirm;
pub mod consent;
mod embedded;
pub mod errors;
pub mod home;
pub mod paths;
pub mod read_models;
pub mod roll;
pub mod samples;
pub mod words;

#[cfg(test)]
mod contrast_tests;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod tests;

use chrono::{DateTime, Utc};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{
    AutoEscape, Environment, Error, HtmlEscape, Output, State, UndefinedBehavior, context, escape_formatter,
};
use serde::Serialize;

pub use embedded::STYLE;

/// A page: a context bound to its template.
pub trait Page: Serialize + Sized {
    /// Path of the template below `templates/`.
    const TEMPLATE: &'static str;

    /// What the page is called, in the browser's tab and in the reader's history.
    fn title(&self) -> String;

    /// Contexts that show every shape the page can take, with the name of each.
    fn samples() -> Vec<samples::Sample<Self>>;
}

/// What surrounds every page: who is reading, the form token, where and when.
#[derive(Debug, Clone, Serialize)]
pub struct Chrome {
    /// Who is logged in; `None` shows a link to the login page instead.
    pub username: Option<String>,
    /// Whether that person sees what belongs to others.
    pub is_superuser: bool,
    /// Value of every form's hidden `csrfmiddlewaretoken`.
    pub csrf_token: String,
    /// Path of this request, without its query.
    pub path: String,
    /// The moment relative times are measured from.
    pub now: DateTime<Utc>,
    /// One sentence on what the last request did ("Saved."), shown above the page.
    pub notice: Option<String>,
}

/// Why a page could not be made; always our fault.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// An embedded template is not valid.
    #[error("the template {template} does not compile: {source}")]
    Compile {
        /// Path below `templates/`.
        template: &'static str,
        /// What the template engine says.
        source: minijinja::Error,
    },
    /// A template and its context do not fit.
    #[error("the template {template} could not be rendered: {source}")]
    Render {
        /// Path below `templates/`.
        template: &'static str,
        /// What the template engine says.
        source: minijinja::Error,
    },
}

/// All templates, compiled once at start and shared by every request.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
}

impl Templates {
    /// Compiles the embedded templates.
    pub fn new() -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_formatter(escape);
        environment.set_syntax(syntax());
        // Nothing that reaches a page is trusted HTML, so nothing may claim to be.
        environment.remove_filter("safe");
        words::register(&mut environment);
        paths::register(&mut environment);
        for (template, source) in embedded::TEMPLATES.iter().copied() {
            environment
                .add_template(template, source)
                .map_err(|source| TemplateError::Compile { template, source })?;
        }
        Ok(Self { environment })
    }

    /// Renders one page.
    pub fn render<C: Page>(&self, chrome: &Chrome, page: &C) -> Result<String, TemplateError> {
        let template = C::TEMPLATE;
        let context = context! {
            chrome => Value::from(Serde(chrome)),
            page => Value::from(Serde(page)),
            title => page.title(),
        };
        self.environment
            .get_template(template)
            .and_then(|compiled| compiled.render(context))
            .map_err(|source| TemplateError::Render { template, source })
    }
}

/// A tag on a line of its own leaves no empty line behind.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().unwrap_or_default()
}

/// Escapes as the engine does, except that a slash stays a slash, so that an address in the page
/// reads as it is. The engine has turned every `&` of the text into `&amp;` before, so what is
/// undone here is its own doing.
fn escape(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(text) if !value.is_safe() => {
            out.write_str(&HtmlEscape(text).to_string().replace("&#x2f;", "/")).map_err(Error::from)
        }
        Some(_) | None => escape_formatter(out, state, value),
    }
}
