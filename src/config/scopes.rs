//! Which scopes and resources can be asked for?
//!
//! Scopes: RFC 6749 §3.3. Resource identifiers: RFC 8707 §2.

use url::Url;

use super::error::Problem;

/// One entry of the scope catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The scope as clients write it.
    pub name: String,
    /// What the consent page says it allows.
    pub description: String,
    /// Whether a request without `scope` gets it.
    pub default: bool,
}

/// The catalogue when the configuration names none.
pub(super) fn preset_scopes() -> Vec<Scope> {
    [("read", "Reading scope"), ("write", "Writing scope")]
        .map(|(name, description)| Scope {
            name: name.to_owned(),
            description: description.to_owned(),
            default: true,
        })
        .to_vec()
}

/// Checks names, and that there is each of them once.
pub(super) fn check_scopes(scopes: &[Scope]) -> Result<(), Problem> {
    if scopes.is_empty() {
        return Err(Problem::NoScopes);
    }
    for (index, scope) in scopes.iter().enumerate() {
        if !is_scope_token(&scope.name) {
            return Err(Problem::ScopeName(scope.name.clone()));
        }
        if scopes.iter().take(index).any(|earlier| earlier.name == scope.name) {
            return Err(Problem::ScopeTwice(scope.name.clone()));
        }
    }
    Ok(())
}

/// RFC 6749 §3.3: `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`.
fn is_scope_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// Checks resource identifiers; they are kept as written, because clients compare them as text.
pub(super) fn check_resources(resources: &[String]) -> Result<(), Problem> {
    let refused = resources.iter().find(|written| match Url::parse(written) {
        Ok(url) => url.fragment().is_some(),
        Err(_) => true,
    });
    refused.map_or(Ok(()), |written| Err(Problem::NotAResource(written.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Scope {
        Scope { name: name.to_owned(), description: "A scope".to_owned(), default: false }
    }

    #[test]
    fn a_scope_name_is_a_scope_token_of_rfc_6749() {
        assert_eq!(check_scopes(&preset_scopes()), Ok(()));
        assert_eq!(check_scopes(&[named("https://api.example.com/orders:read")]), Ok(()));
        for name in ["", "two words", "quo\"te", "back\\slash", "é"] {
            assert_eq!(check_scopes(&[named(name)]), Err(Problem::ScopeName(name.to_owned())));
        }
    }

    #[test]
    fn a_scope_is_there_once() {
        let refused = check_scopes(&[named("read"), named("read")]);
        assert_eq!(refused, Err(Problem::ScopeTwice("read".to_owned())));
    }

    #[test]
    fn a_resource_is_absolute_and_has_no_fragment() {
        assert_eq!(check_resources(&["https://api.example.com/v1?tenant=a".to_owned()]), Ok(()));
        for written in ["api.example.com", "/orders", "https://api.example.com/#part"] {
            assert!(check_resources(&[written.to_owned()]).is_err(), "{written}");
        }
    }
}
