//! What about an address where nothing lives? The tutorial ends on one: its application is not there,
//! and the code is in the address bar.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::page_error::PageError;
use super::render_as;
use crate::extract::form_pairs::Pairs;
use crate::extract::request_context::RequestContext;
use crate::state::AppState;
use crate::templates::Chrome;
use crate::templates::errors::{Arrival, NotFound};

/// Whatever no route knows.
pub async fn fallback(State(_): State<AppState>) -> PageError {
    PageError::NotFound
}

/// The page, with a word on what the address carries.
pub fn page(state: &AppState, context: &RequestContext, chrome: &Chrome) -> Result<Response, PageError> {
    let arrival = arrival(context.query.as_deref().unwrap_or_default());
    render_as(StatusCode::NOT_FOUND, state, chrome, &NotFound { arrival })
}

fn arrival(query: &str) -> Arrival {
    let Ok(pairs) = Pairs::parse_query(query) else { return Arrival::Plain };
    if pairs.raw("code").is_some() {
        Arrival::WithCode
    } else if pairs.raw("error").is_some() {
        Arrival::WithError
    } else {
        Arrival::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_knows_what_the_browser_brought() {
        assert_eq!(arrival("code=abc&state=x"), Arrival::WithCode);
        assert_eq!(arrival("error=access_denied"), Arrival::WithError);
        assert_eq!(arrival("encode=1&%zz"), Arrival::Plain);
        assert_eq!(arrival(""), Arrival::Plain);
    }
}
