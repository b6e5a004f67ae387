//! RFC 6749 §3.3.

use proptest::prelude::*;

use crate::given::scope;
use crate::values::{Scope, ScopeError};

#[test]
fn names_keep_their_order_and_occur_once() {
    assert_eq!(scope("write read write").to_string(), "write read");
    assert_eq!(scope(" read  write ").iter().collect::<Vec<_>>(), ["read", "write"]);
    assert!(scope("").is_empty() && scope("  ").is_empty() && !scope("a").is_empty());
}

#[test]
fn names_consist_of_the_characters_of_the_rfc() {
    for text in ["a\"b", "a\\b", "a\tb", "a\nb", "é", "a\u{7f}"] {
        assert_eq!(Scope::parse(text), Err(ScopeError::InvalidCharacter), "{text:?}");
    }
    assert!(Scope::parse("!#[]~ https://a.example/read:all").is_ok());
}

#[test]
fn names_differ_by_case() {
    assert!(!scope("read").contains("Read") && scope("read").contains("read"));
    assert!(!scope("read").contains_all(&scope("READ")));
}

#[test]
fn sets_are_compared_joined_and_narrowed() {
    assert!(scope("a b c").contains_all(&scope("c a")) && !scope("a b").contains_all(&scope("a c")));
    assert_eq!(scope("b a").union(&scope("c a")), scope("b a c"));
    assert_eq!(scope("c b a").intersect(&scope("a x c")), scope("c a"));
}

#[test]
fn a_scope_is_stored_as_text() {
    assert_eq!(serde_json::to_string(&scope("read write")).unwrap(), r#""read write""#);
    assert_eq!(serde_json::from_str::<Scope>(r#""read write""#).unwrap(), scope("read write"));
    assert_eq!(serde_json::from_str::<Scope>(r#""""#).unwrap(), Scope::default());
    assert!(serde_json::from_str::<Scope>(r#""a\\b""#).is_err());
}

/// `adv_67`: quadratic work would take minutes here.
#[test]
fn ten_thousand_names_are_read_in_linear_time() {
    let names: Vec<String> = (0..10_000).map(|number| format!("s{number}")).collect();
    let all = scope(&format!("{0} {0}", names.join(" ")));
    assert_eq!(all.iter().count(), 10_000);
    assert!(all.contains_all(&all.union(&all).intersect(&all)));
}

fn any_scope() -> impl Strategy<Value = Scope> {
    proptest::collection::vec("[a-d]", 0..6).prop_map(|names| scope(&names.join(" ")))
}

proptest! {
    #[test]
    fn narrowing_never_widens(one in any_scope(), other in any_scope()) {
        let both = one.intersect(&other);
        prop_assert!(one.contains_all(&both) && other.contains_all(&both));
        let either = one.union(&other);
        prop_assert!(either.contains_all(&one) && either.contains_all(&other));
    }

    #[test]
    fn reading_never_panics(text in any::<String>()) {
        if let Ok(read) = Scope::parse(&text) {
            prop_assert_eq!(Scope::parse(&read.to_string()), Ok(read));
        }
    }
}
