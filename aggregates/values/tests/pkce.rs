//! RFC 7636: verifiers, challenges and the transform between them.

use crate::values::{CodeChallenge, CodeVerifier};

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[test]
fn the_transform_is_that_of_the_rfc() {
    let verifier = CodeVerifier::parse(VERIFIER).unwrap();
    assert_eq!(Some(verifier.challenge()), CodeChallenge::parse(CHALLENGE));
    assert_eq!(verifier.challenge().as_str(), CHALLENGE);
}

#[test]
fn a_challenge_is_43_base64url_characters() {
    for text in [
        "",
        &CHALLENGE[1..],
        &format!("{CHALLENGE}A"),
        &CHALLENGE.replace('-', "+"),
        &CHALLENGE.replace('M', "="),
    ] {
        assert_eq!(CodeChallenge::parse(text), None, "{text}");
    }
}

#[test]
fn a_verifier_has_43_to_128_unreserved_characters() {
    for length in [43, 128] {
        assert!(CodeVerifier::parse(&"~".repeat(length)).is_some());
    }
    for text in [
        "a".repeat(42),
        "a".repeat(129),
        format!("{VERIFIER}+"),
        format!("{VERIFIER} "),
        format!("{VERIFIER}é"),
    ] {
        assert!(CodeVerifier::parse(&text).is_none(), "{text}");
    }
    assert!(CodeVerifier::parse(&format!("{VERIFIER}._~-")).is_some());
}

#[test]
fn a_verifier_is_not_shown() {
    let verifier = CodeVerifier::parse(VERIFIER).unwrap();
    assert_eq!(format!("{verifier:?}"), "CodeVerifier([secret])");
}
