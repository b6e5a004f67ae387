//! Which files are the pages made of? A file that is missing here or on disk does not compile.

/// The stylesheet, served at `/static/style.css`.
pub const STYLE: &str = include_str!("../../templates/style.css");

macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../templates/", $name)))),*]
    };
}

/// Every template: its path below `templates/`, and its text.
pub(super) const TEMPLATES: &[(&str, &str)] = embed![
    "base.html",
    "components/application_form.html",
    "components/form.html",
    "components/marks.html",
    "components/object.html",
    "components/roll.html",
    "pages/application_detail.html",
    "pages/application_edit.html",
    "pages/application_list.html",
    "pages/application_register.html",
    "pages/application_secret.html",
    "pages/authorization_detail.html",
    "pages/authorization_list.html",
    "pages/confirm.html",
    "pages/consent.html",
    "pages/error.html",
    "pages/home.html",
    "pages/login.html",
    "pages/logout.html",
    "pages/not_found.html",
    "pages/oauth_error.html",
    "pages/password_change.html",
    "pages/read_models.html",
];
