//! How is the client answered? By a redirect to where the request said, with `state` and `iss` in every
//! answer (RFC 6749 §4.1.2, §4.1.2.1; RFC 9207 §2). The registered text is never encoded anew.

use axum::http::StatusCode;
use axum::response::Response;
use url::form_urlencoded;

use crate::error::OAuthError;
use crate::pages::page_error::PageError;
use crate::pages::redirect;
use crate::secret::Secret;
use crate::state::AppState;

/// An answer on its way to a redirect URI that has been checked.
pub struct Answer<'a> {
    redirect_uri: &'a str,
    state: Option<String>,
    issuer: &'a str,
    status: StatusCode,
}

impl<'a> Answer<'a> {
    /// The answer to a GET: 302.
    #[must_use]
    pub fn to_get(state: &'a AppState, redirect_uri: &'a str, sent: Option<String>) -> Self {
        Self { redirect_uri, state: sent, issuer: state.config.issuer.as_str(), status: StatusCode::FOUND }
    }

    /// The answer to a POST: 303, so that no browser posts our form to the client.
    #[must_use]
    pub fn to_post(state: &'a AppState, redirect_uri: &'a str, sent: Option<String>) -> Self {
        Self { status: StatusCode::SEE_OTHER, ..Self::to_get(state, redirect_uri, sent) }
    }

    /// Granted.
    pub fn code(&self, code: &Secret) -> Result<Response, PageError> {
        redirect(self.status, &self.location(&[("code", code.expose())]))
    }

    /// Refused.
    pub fn error(&self, error: &OAuthError) -> Result<Response, PageError> {
        let mut parameters = vec![("error", error.code.as_str())];
        if !error.description.is_empty() {
            parameters.push(("error_description", &error.description));
        }
        redirect(self.status, &self.location(&parameters))
    }

    fn location(&self, parameters: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(parameters);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        query.append_pair("iss", self.issuer);
        format!("{}{}{}", self.redirect_uri, joint(self.redirect_uri), query.finish())
    }
}

/// What stands between a redirect URI and what is added to it.
fn joint(redirect_uri: &str) -> &'static str {
    match redirect_uri.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(redirect_uri: &str, state: Option<&str>) -> String {
        let (state, issuer) = (state.map(str::to_owned), "http://127.0.0.1:8000");
        let answer = Answer { redirect_uri, state, issuer, status: StatusCode::FOUND };
        answer.location(&[("code", "chc_abc")])
    }

    #[test]
    fn rfc_9207_section_2_every_answer_names_the_issuer() {
        let expected = "https://app.example/cb?code=chc_abc&state=a+b%26c&iss=http%3A%2F%2F127.0.0.1%3A8000";
        assert_eq!(location("https://app.example/cb", Some("a b&c")), expected);
    }

    #[test]
    fn rfc_6749_section_3_1_2_the_query_of_a_redirect_uri_is_kept_to_the_byte() {
        for (uri, start) in [
            ("https://app.example/cb?a=1", "https://app.example/cb?a=1&code="),
            ("https://app.example/cb?a=%7e%2F&", "https://app.example/cb?a=%7e%2F&code="),
            ("https://app.example/cb?", "https://app.example/cb?code="),
            ("com.example.app:/cb", "com.example.app:/cb?code="),
            ("HTTPS://App.Example", "HTTPS://App.Example?code="),
        ] {
            assert!(location(uri, None).starts_with(start), "{uri}");
        }
    }

    #[test]
    fn a_hostile_state_stays_in_its_place() {
        let answer = location("https://app.example/cb", Some("x\r\nSet-Cookie: a=b\"<&code=evil#"));
        assert!(answer.ends_with(
            "&state=x%0D%0ASet-Cookie%3A+a%3Db%22%3C%26code%3Devil%23&iss=http%3A%2F%2F127.0.0.1%3A8000"
        ));
    }
}
