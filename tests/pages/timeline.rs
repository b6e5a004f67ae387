//! Does the roll tell in words what happened, newest on top?

use crate::harness::form::links;
use crate::harness::{Tokens, expect_token_error, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn an_applications_life_stands_on_its_page() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let code = ada.code(&app).await;
        let tokens = Tokens::of(&app.redeem(&code).send().await);
        app.refresh(&tokens.refresh).send().await.is(200);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
        ada.confirm(&app, "disable").await.is(303);
        let path = format!("/o/applications/{}/", app.client_id);
        let page = ada.get(&path).await.is(200).shows("What happened");
        let sentences: Vec<_> = page.body.split("class=\"roll-sentence\">").skip(1).collect();
        assert!(sentences.len() >= 6, "{} entries on the roll: {}", sentences.len(), page.page_text());
        assert!(
            sentences[0].to_lowercase().contains("disabled"),
            "newest on top: {}",
            &sentences[0][..200.min(sentences[0].len())]
        );
        let last = sentences.last().unwrap();
        assert!(last.to_lowercase().contains("registered"), "{}", &last[..200.min(last.len())]);
        for word in ["№", "by ada"] {
            assert!(page.page_text().contains(word), "{word}: {}", page.page_text());
        }
        for secret in [&code, &tokens.access, &tokens.refresh, &app.secret] {
            assert!(!page.body.contains(secret.as_str()), "a secret stands on the roll");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorizations_life_stands_on_its_page() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let code = ada.code(&app).await;
        Tokens::of(&app.redeem(&code).send().await);
        expect_token_error(&app.redeem(&code).send().await, "invalid_grant");
        let list = ada.get("/o/authorized_tokens/").await.is(200);
        let links = links(&list.body);
        let detail = links
            .iter()
            .find(|link| {
                link.len() > "/o/authorized_tokens/".len() && link.starts_with("/o/authorized_tokens/")
            })
            .unwrap();
        let detail = detail.trim_end_matches("delete/");
        let text = ada.get(detail).await.is(200).page_text().to_lowercase();
        for word in ["code", "revoked", "twice"] {
            let synonyms = if word == "twice" {
                vec!["twice", "again", "second time", "reuse", "replay", "already"]
            } else {
                vec![word]
            };
            assert!(synonyms.iter().any(|word| text.contains(word)), "{word}: {text}");
        }
    })
    .await;
}
