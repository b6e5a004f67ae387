//! Does the token endpoint speak RFC 6749 §5, whatever it is sent?

use crate::harness::server::on_both_engines_with;
use crate::harness::{Registration, Server, expect_basic_401, expect_token_error, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_tutorials_members_and_is_never_stored() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let code = ada.code(&app).await;
        let answer = app.redeem(&code).send().await.is(200);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("pragma"), Some("no-cache"));
        assert!(answer.header("www-authenticate").is_none());
        let (access, refresh) = (answer.text("access_token"), answer.text("refresh_token"));
        let exact = format!(
            r#"{{"access_token": "{access}", "expires_in": 36000, "token_type": "Bearer", "scope": "read write", "refresh_token": "{refresh}"}}"#
        );
        assert_eq!(answer.body.trim_end(), exact, "byte for byte as in the tutorial");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_code_the_rfc_gives_them() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let good = app.client_credentials();
    expect_token_error(&good.clone().without("grant_type").send().await, "invalid_request");
    expect_token_error(&good.clone().set("grant_type", "").send().await, "invalid_request");
    expect_token_error(&good.clone().set("grant_type", "cheese").send().await, "unsupported_grant_type");
    expect_token_error(&good.clone().set("grant_type", "password").send().await, "unsupported_grant_type");
    expect_token_error(&good.clone().set("scope", "cheese").send().await, "invalid_scope");
    expect_token_error(
        &good.clone().set("grant_type", "authorization_code").send().await,
        "unauthorized_client",
    );
    expect_basic_401(&good.clone().set("client_secret", "wrong").send().await);
    expect_basic_401(&good.clone().set("client_id", "nobody").send().await);
    expect_basic_401(&good.clone().without("client_id").without("client_secret").send().await);
    good.send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_come_by_header_or_by_body() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let app = ada.register(&Registration::machine()).await;
        app.client_credentials().send().await.is(200);
        app.client_credentials().basic(&app.client_id, &app.secret).send().await.is(200);
        // An equal client_id beside Basic is fine (clients.md 1.3).
        let beside =
            app.client_credentials().basic(&app.client_id, &app.secret).set("client_id", &app.client_id);
        beside.send().await.is(200);
        expect_basic_401(&app.client_credentials().basic(&app.client_id, "wrong").send().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_somebody_chose_works_as_well() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let chosen = Registration::machine().set("client_secret", "a secret of my own choosing");
        let app = ada.register(&chosen).await;
        app.client_credentials().send().await.is(200);
        app.client_credentials().send().await.is(200);
        expect_basic_401(&app.with_secret("a secret of my own choosinG").client_credentials().send().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn form_bodies_are_accepted_with_a_charset_and_nothing_else_is() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    let good = app.client_credentials();
    for accepted in [
        "application/x-www-form-urlencoded;charset=UTF-8",
        "application/x-www-form-urlencoded; charset=utf-8",
        "Application/X-WWW-Form-URLencoded",
    ] {
        good.clone().body(accepted, good.encoded()).send().await.is(200);
    }
    for refused in ["application/json", "multipart/form-data; boundary=x", "text/plain", ""] {
        let answer = good.clone().body(refused, good.encoded()).send().await;
        expect_token_error(&answer, "invalid_request");
    }
    for broken in ["grant_type=%zz", "grant_type=%ff%fe", "grant_type=client_credentials&client_id=%c3%28"] {
        let answer = good.clone().body("application/x-www-form-urlencoded", broken).send().await;
        expect_token_error(&answer, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_post_is_allowed() {
    let server = Server::sqlite().await;
    for path in ["/o/token/", "/o/token", "/o/introspect/", "/o/revoke_token/", "/o/revoke/"] {
        for method in ["GET", "PUT", "DELETE"] {
            let answer = server.request(method, path).send().await.is(405);
            let allow = answer.header("allow").unwrap();
            assert!(allow.contains("POST"), "{path}: {allow}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_paths_answer() {
    let server = Server::sqlite().await;
    let app = server.user("ada").await.register(&Registration::machine()).await;
    for path in ["/o/token/", "/o/token"] {
        app.post(path).set("grant_type", "client_credentials").send().await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_can_be_taken_is_refused_at_once_and_nothing_else_suffers() {
    on_both_engines_with(
        |setup| setup.set("admission-queue", "2"),
        async |server| {
            let app = server.user("ada").await.register(&Registration::machine()).await;
            let mut requests = tokio::task::JoinSet::new();
            for _ in 0..200 {
                requests.spawn(app.client_credentials().send());
            }
            let (mut given, mut refused) = (Vec::new(), 0);
            while let Some(answer) = requests.join_next().await {
                let answer = answer.unwrap();
                match answer.status {
                    200 => given.push(answer.text("access_token")),
                    503 => {
                        assert_eq!(answer.error(), "temporarily_unavailable");
                        assert!(answer.header("retry-after").is_some(), "{answer:#?}");
                        refused += 1;
                    }
                    _ => panic!("{answer:#?}"),
                }
            }
            assert!(refused > 0 && !given.is_empty(), "{refused} refused, {} given", given.len());
            assert_eq!(server.state().metrics.turned_away("commands").get(), refused);
            for token in &given {
                assert!(app.sees_active(token).await);
            }
            app.client_credentials().send().await.is(200);
        },
    )
    .await;
}
