//! Which access token was presented? (RFC 6750 §2.1)
//!
//! In the header only. A token in the query would end up in logs and histories and is not read
//! (OAuth 2.1 §5.1); one in the body is not read either, but two at once are an error (RFC 6750 §2).

use axum::http::{HeaderMap, header};

use super::form_pairs::Pairs;

/// Why no token could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// RFC 6750 §2: "Clients MUST NOT use more than one method".
    #[error("The access token was sent more than once.")]
    MoreThanOne,
}

/// The token in the `Authorization` header; `None` when there is none, or another scheme. `body` is
/// the form that came with the request, if one did.
pub fn presented<'a>(headers: &'a HeaderMap, body: Option<&Pairs>) -> Result<Option<&'a str>, BearerError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(BearerError::MoreThanOne);
    }
    let token = first.and_then(|value| value.to_str().ok()).and_then(token_of);
    let in_body = body.is_some_and(|body| body.raw("access_token").is_some());
    if token.is_some() && in_body { Err(BearerError::MoreThanOne) } else { Ok(token) }
}

/// The scheme in any case (RFC 9110 §11.1), one blank, the token as it stands.
fn token_of(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn rfc_6750_section_2_1_the_scheme_is_case_insensitive_and_the_token_verbatim() {
        for (value, token) in [("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER abc=", "abc="), ("Bearer  a", " a")] {
            assert_eq!(presented(&headers(&[value]), None), Ok(Some(token)));
        }
        for value in ["Basic abc", "Bearer", "Bearerabc", "DPoP abc", ""] {
            assert_eq!(presented(&headers(&[value]), None), Ok(None));
        }
        assert_eq!(presented(&HeaderMap::new(), None), Ok(None));
    }

    #[test]
    fn rfc_6750_section_2_two_methods_are_an_error() {
        let body = Pairs::parse_query("access_token=abc").unwrap();
        assert_eq!(presented(&headers(&["Bearer abc"]), Some(&body)), Err(BearerError::MoreThanOne));
        assert_eq!(presented(&headers(&["Bearer a", "Bearer a"]), None), Err(BearerError::MoreThanOne));
        assert_eq!(presented(&HeaderMap::new(), Some(&body)), Ok(None));
    }
}
