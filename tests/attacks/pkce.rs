//! Is a stolen code worthless? (RFC 7636, RFC 9700 §2.1.1 and §4.8)

use crate::harness::{
    CHALLENGE, Registration, Server, Tokens, VERIFIER, expect_redirect, expect_token_error, on_both_engines,
};

#[tokio::test(flavor = "multi_thread")]
async fn adv_27_verifier_checked() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let code = ada.allow(&app.query().pkce()).await.code();
        for absent in [app.redeem(&code), app.redeem(&code).set("code_verifier", "")] {
            let answer = absent.send().await;
            expect_token_error(&answer, "invalid_request");
            assert_eq!(answer.text("error_description"), "Code verifier required.");
        }
        let other = VERIFIER.replace('d', "e");
        let plus = VERIFIER.replace('-', "+");
        for wrong in [other.as_str(), &VERIFIER[..42], &"a".repeat(129), &plus, CHALLENGE] {
            expect_token_error(&app.redeem(&code).set("code_verifier", wrong).send().await, "invalid_grant");
        }
        app.redeem(&code).set("code_verifier", VERIFIER).send().await.is(200);
    })
    .await;
}

/// S256 of 42 times `a`: the hash would match, but RFC 7636 §4.1 asks for at least 43 characters.
#[tokio::test(flavor = "multi_thread")]
async fn adv_27_short_verifier_whose_hash_matches() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    for (verifier, allowed) in
        [("a".repeat(42), false), ("a".repeat(43), true), ("a".repeat(128), true), ("a".repeat(129), false)]
    {
        let code =
            ada.allow(&app.query().pkce().set("code_challenge", &challenge_of(&verifier))).await.code();
        let answer = app.redeem(&code).set("code_verifier", &verifier).send().await;
        if allowed {
            answer.is(200);
        } else {
            expect_token_error(&answer, "invalid_grant");
        }
    }
}

pub fn challenge_of(verifier: &str) -> String {
    use base64::Engine;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest)
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_28_pkce_downgrade() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        // (a) no challenge, then a verifier: somebody removed the challenge on the way.
        let code = ada.code(&app).await;
        expect_token_error(&app.redeem(&code).set("code_verifier", VERIFIER).send().await, "invalid_request");
        app.redeem(&code).send().await.is(200);
        // (b) those who must, without.
        let public = ada.register(&Registration::public()).await;
        let strict = ada.register(&Registration::confidential().tick("require_pkce")).await;
        for app in [&public, &strict] {
            let bare = app.query().without("code_challenge").without("code_challenge_method");
            let answer = ada.authorize(&bare).await;
            expect_redirect(&answer, &bare, "invalid_request");
            assert_eq!(answer.sent("error_description").as_deref(), Some("Code challenge required."));
        }
        // (c) plain, also by leaving the method out; (d) not a challenge.
        let challenged = app.query().pkce();
        for query in [
            challenged.clone().set("code_challenge_method", "plain"),
            challenged.clone().without("code_challenge_method"),
        ] {
            let answer = ada.authorize(&query).await;
            expect_redirect(&answer, &query, "invalid_request");
            assert_eq!(
                answer.sent("error_description").as_deref(),
                Some("Transform algorithm not supported.")
            );
        }
        for bad in [&CHALLENGE[..42], &format!("{CHALLENGE}a"), &CHALLENGE.replace('-', "+")] {
            let query = challenged.clone().set("code_challenge", bad);
            expect_redirect(&ada.authorize(&query).await, &query, "invalid_request");
        }
        // (e) a challenge, then no verifier.
        let code = ada.allow(&challenged).await.code();
        expect_token_error(&app.redeem(&code).send().await, "invalid_request");
        app.redeem(&code).set("code_verifier", VERIFIER).send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_pkce_table() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let wrong = "b".repeat(43);
    for (challenge, verifier, outcome) in [
        (None, None, "ok"),
        (None, Some(VERIFIER), "invalid_request"),
        (None, Some(wrong.as_str()), "invalid_request"),
        (Some("S256"), None, "invalid_request"),
        (Some("S256"), Some(VERIFIER), "ok"),
        (Some("S256"), Some(wrong.as_str()), "invalid_grant"),
    ] {
        let query = if challenge.is_some() { app.query().pkce() } else { app.query() };
        let code = ada.allow(&query).await.code();
        let request = app.redeem(&code).set("code_verifier", verifier.unwrap_or_default());
        let answer = request.send().await;
        if outcome == "ok" {
            Tokens::of(&answer);
        } else {
            expect_token_error(&answer, outcome);
        }
    }
    for method in ["plain", "s256", "S512", ""] {
        let query = app.query().pkce().set("code_challenge_method", method);
        expect_redirect(&ada.authorize(&query).await, &query, "invalid_request");
    }
}
