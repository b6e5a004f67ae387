//! Does a refresh token end when it must? Rotation, reuse, revocation and expiry.
//! RFC 9700 §2.2.2 and §4.14, RFC 7009 §2.1.

use crate::harness::server::on_both_engines_with;
use crate::harness::{
    App, Browser, Cli, Directory, Process, Registration, Server, Tokens, expect_basic_401, expect_bearer_401,
    expect_dead, expect_token_error, on_both_engines,
};

const DAY: i64 = 86_400;

async fn with_window(browser: &Browser, seconds: &str) -> App {
    browser.register(&Registration::confidential().set("retry_window_seconds", seconds)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_29_rotation_survives_crash() {
    let home = Directory::new();
    let cli = Cli::in_home(home.path()).password(crate::harness::PASSWORD);
    let create = ["createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.com"];
    cli.run(&create).succeeded();
    let process = Process::start(&home, &[]).await;
    let admin = process.browser();
    admin.login("admin").await;
    let app = with_window(&admin, "60").await;
    let first = admin.tokens(&app).await;
    let second = Tokens::of(&app.refresh(&first.refresh).send().await);
    drop(process);

    let process = Process::start(&home, &[]).await;
    let app = App { base: process.base.clone(), ..app };
    assert_eq!(Tokens::of(&app.refresh(&first.refresh).send().await), second, "the identical pair");
    let third = Tokens::of(&app.refresh(&second.refresh).send().await);
    drop(process);

    let process = Process::start(&home, &[]).await;
    let app = App { base: process.base.clone(), ..app };
    expect_token_error(&app.refresh(&first.refresh).send().await, "invalid_grant");
    expect_token_error(&app.refresh(&third.refresh).send().await, "invalid_grant");
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_30_refresh_race() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        for (window, winners) in [("0", 1), ("60", 64)] {
            let app = with_window(&ada, window).await;
            let tokens = ada.tokens(&app).await;
            let racers: Vec<_> = (0..64).map(|_| tokio::spawn(app.refresh(&tokens.refresh).send())).collect();
            let mut pairs = Vec::new();
            for racer in racers {
                let answer = racer.await.unwrap();
                if answer.status == 200 {
                    pairs.push(Tokens::of(&answer));
                } else {
                    expect_token_error(&answer, "invalid_grant");
                }
            }
            assert_eq!(pairs.len(), winners, "window {window}");
            pairs.dedup();
            assert_eq!(pairs.len(), 1, "every 200 carries the same pair");
            assert_eq!(app.sees_active(&pairs[0].access).await, window != "0", "reuse ends the family");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_31_refresh_after_change() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let path = format!("/o/applications/{}/update/", app.client_id);
        let edit = async |change: &dyn Fn(crate::harness::form::Form) -> crate::harness::form::Form| {
            let form = ada.get(&path).await.is(200).form(&path);
            ada.submit(&change(form)).await.is(303);
        };
        // (a) revoked
        let tokens = ada.tokens(&app).await;
        app.revoke(&tokens.refresh).send().await.is(200);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
        // (e) a scope taken away
        let tokens = ada.tokens(&app).await;
        edit(&|form| form.without("scope.write")).await;
        let answer = app.refresh(&tokens.refresh).send().await;
        assert_eq!(answer.text("scope"), "read");
        edit(&|form| form.without("scope.read").set("scope.write", "on")).await;
        let only_read = Tokens::of(&answer);
        let answer = app.refresh(&only_read.refresh).send().await;
        if answer.status == 200 {
            // The grant was for both: what is left of it is given.
            assert_eq!(answer.text("scope"), "write");
        } else {
            expect_token_error(&answer, "invalid_scope");
        }
        edit(&|form| form.set("scope.read", "on").set("scope.write", "on")).await;
        // (d) the grant taken away
        let tokens = ada.tokens(&app).await;
        edit(&|form| form.set("authorization_grant_type", "client-credentials")).await;
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "unauthorized_client");
        edit(&|form| form.set("authorization_grant_type", "authorization-code")).await;
        // (c) disabled
        let tokens = ada.tokens(&app).await;
        ada.confirm(&app, "disable").await.is(303);
        expect_basic_401(&app.refresh(&tokens.refresh).send().await);
        ada.confirm(&app, "enable").await.is(303);
        server.advance(1);
        // (b) the person locked
        let tokens = ada.tokens(&app).await;
        server.run(&["lockuser", "ada"]).await.succeeded();
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_32_revoked_within_window() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let app = with_window(&ada, "30").await;
        let first = ada.tokens(&app).await;
        let second = Tokens::of(&app.refresh(&first.refresh).send().await);
        app.revoke(&second.refresh).send().await.is(200);
        for _ in 0..3 {
            for token in [&first.refresh, &second.refresh] {
                expect_token_error(&app.refresh(token).send().await, "invalid_grant");
            }
            server.advance(15);
        }
        let third = ada.tokens(&app).await;
        app.refresh(&third.refresh).send().await.is(200);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_33_older_generation() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let app = with_window(&ada, "60").await;
        for replayed in [0, 1] {
            let mut chain = vec![ada.tokens(&app).await];
            for _ in 0..=1 + replayed {
                let last = chain.last().unwrap().refresh.clone();
                chain.push(Tokens::of(&app.refresh(&last).send().await));
            }
            // n-2 within the window; n-1 after n was used.
            expect_token_error(&app.refresh(&chain[replayed].refresh).send().await, "invalid_grant");
            let newest = chain.last().unwrap();
            expect_dead(&app.introspect(&newest.access).send().await);
            expect_token_error(&app.refresh(&newest.refresh).send().await, "invalid_grant");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_34_revoke_foreign_token() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let other = ada.register(&Registration::confidential()).await;
        let tokens = ada.tokens(&app).await;
        for token in [&tokens.access, &tokens.refresh] {
            let answer = other.revoke(token).send().await.is(200);
            assert_eq!(answer.body, "");
        }
        assert!(app.sees_active(&tokens.access).await);
        let tokens = Tokens::of(&app.refresh(&tokens.refresh).send().await);
        app.revoke(&tokens.access).send().await.is(200);
        expect_dead(&app.introspect(&tokens.access).send().await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_35_revoke_takes_family() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        for hint in ["refresh_token", "access_token", "cheese"] {
            let tokens = ada.tokens(&app).await;
            app.revoke(&tokens.refresh).set("token_type_hint", hint).send().await.is(200);
            expect_dead(&app.introspect(&tokens.access).send().await);
            expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");

            let tokens = ada.tokens(&app).await;
            app.revoke(&tokens.access).set("token_type_hint", hint).send().await.is(200);
            expect_dead(&app.introspect(&tokens.access).send().await);
            app.refresh(&tokens.refresh).send().await.is(200);
        }
        let tokens = ada.tokens(&app).await;
        revoke_all_on_the_page(&ada).await;
        expect_dead(&app.introspect(&tokens.access).send().await);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
    })
    .await;
}

async fn revoke_all_on_the_page(browser: &Browser) {
    let list = browser.get("/o/authorized_tokens/").await.is(200);
    for link in crate::harness::form::links(&list.body).iter().filter(|link| link.ends_with("/delete/")) {
        let form = browser.get(link).await.is(200).form(link);
        browser.submit(&form).await.is(303);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_36_expiry_without_jobs() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        for (after, alive) in [(59, true), (60, false), (61, false)] {
            let code = ada.code(&app).await;
            server.advance(after);
            assert_eq!(app.redeem(&code).send().await.status == 200, alive, "a code after {after} s");
        }
        for (after, alive) in [(35_999, true), (36_000, false), (36_001, false)] {
            let fresh = server.user("ada").await;
            let tokens = fresh.tokens(&app).await;
            server.advance(after);
            assert_eq!(app.sees_active(&tokens.access).await, alive, "an access token after {after} s");
        }
        for (after, alive) in [(30 * DAY - 1, true), (30 * DAY, false), (30 * DAY + 1, false)] {
            let fresh = server.user("ada").await;
            let tokens = fresh.tokens(&app).await;
            server.advance(after);
            assert_eq!(
                app.refresh(&tokens.refresh).send().await.status == 200,
                alive,
                "a refresh token after {after} s"
            );
        }
        for (after, alive) in [(DAY - 1, true), (DAY, false), (DAY + 1, false)] {
            let fresh = server.user("ada").await;
            server.advance(after);
            assert_eq!(fresh.is_logged_in().await, alive, "an idle session after {after} s");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_37_storage_error_is_no_success() {
    let impatient = |setup: crate::harness::Setup| setup.set("database-deadline", "300ms");
    let server = impatient(crate::harness::Setup::new(crate::harness::Engine::Sqlite)).start().await;
    let (ada, app) = server.ada_and_app().await;
    let tokens = ada.tokens(&app).await;
    let logout = ada.get("/admin/logout/").await.form("/admin/logout/");
    let path = format!("/o/applications/{}/disable/", app.client_id);
    let disable = ada.get(&path).await.form(&path);
    {
        // Somebody else holds the only write lock: no commit can succeed.
        let lock = rusqlite::Connection::open(server.directory.path().join("chancery.db")).unwrap();
        lock.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        let answer = app.revoke(&tokens.access).send().await.is(503);
        assert_eq!(answer.error(), "temporarily_unavailable");
        assert!(answer.header("retry-after").is_some());
        for form in [&logout, &disable] {
            assert!(ada.submit(form).await.is(503).header("retry-after").is_some());
        }
        lock.execute_batch("ROLLBACK").unwrap();
    }
    assert!(app.sees_active(&tokens.access).await, "as before");
    ada.submit(&disable).await.is(303);
    ada.confirm(&app, "enable").await.is(303);
    server.advance(1);
    let tokens = ada.tokens(&app).await;
    app.revoke(&tokens.access).send().await.is(200);
    ada.submit(&logout).await.is(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_38_codes_of_revoked_grant() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let code = ada.code(&app).await;
        revoke_all_on_the_page(&ada).await;
        expect_token_error(&app.redeem(&code).send().await, "invalid_grant");
        ada.tokens(&app).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_39_no_5xx_in_any_sequence() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut values = vec!["cheese".to_owned()];
    for step in 0..400 {
        let value = values[usize::try_from(next(values.len() as u64)).unwrap()].clone();
        let answer = match next(9) {
            0 => {
                let answer = ada.allow(&app.query()).await;
                values.push(answer.code());
                answer
            }
            1 => app.redeem(&value).send().await,
            2 => app.refresh(&value).send().await,
            3 => app.revoke(&value).send().await,
            4 => app.introspect(&value).send().await,
            5 => server.resource(&value).await,
            6 => ada.get("/o/authorized_tokens/").await,
            7 => ada.get(&format!("/o/applications/{}/", app.client_id)).await,
            _ => ada.get(&format!("/o/authorized_tokens/{value}/")).await,
        };
        assert!(answer.status < 500, "step {step}: {answer:#?}");
        if answer.status == 200 && answer.body.starts_with("{\"access_token\"") {
            let tokens = Tokens::of(&answer);
            values.extend([tokens.access, tokens.refresh]);
        }
        server.advance(i64::try_from(next(30)).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_refresh_expiry() {
    let shorter = |setup: crate::harness::Setup| {
        setup.set("refresh-token-idle-lifetime", "1h").set("refresh-token-lifetime", "3h")
    };
    on_both_engines_with(shorter, async |server| {
        let (ada, app) = server.ada_and_app().await;
        let mut tokens = ada.tokens(&app).await;
        for _ in 0..3 {
            server.advance(3_599);
            tokens = Tokens::of(&app.refresh(&tokens.refresh).send().await);
        }
        server.advance(3);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
        let tokens = ada.tokens(&app).await;
        server.advance(3_600);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v21_code_replay() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let other = ada.register(&Registration::confidential()).await;
        let code = ada.code(&app).await;
        let tokens = Tokens::of(&app.redeem(&code).send().await);
        // A replay that is not otherwise valid revokes nothing (OAuth 2.1 §7.5.2).
        expect_basic_401(&app.with_secret("wrong").redeem(&code).send().await);
        expect_token_error(&other.redeem(&code).send().await, "invalid_grant");
        expect_token_error(
            &app.redeem(&code).set("redirect_uri", "https://app.example/x").send().await,
            "invalid_grant",
        );
        assert!(app.sees_active(&tokens.access).await);
        expect_token_error(&app.redeem(&code).send().await, "invalid_grant");
        expect_dead(&app.introspect(&tokens.access).send().await);
        expect_bearer_401(&server.resource(&tokens.access).await);
        expect_token_error(&app.refresh(&tokens.refresh).send().await, "invalid_grant");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn v21_redirect_uri_at_token() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let code = ada.code(&app).await;
    expect_token_error(&app.redeem(&code).without("redirect_uri").send().await, "invalid_request");
    expect_token_error(
        &app.redeem(&code).set("redirect_uri", "https://app.example/CB").send().await,
        "invalid_grant",
    );
    app.redeem(&code).send().await.is(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn v21_refresh_scope() {
    on_both_engines(async |server| {
        let (ada, app) = server.ada_and_app().await;
        let first = ada.tokens(&app).await;
        let narrow = app.refresh(&first.refresh).set("scope", "read").send().await;
        assert_eq!(narrow.text("scope"), "read");
        let second = Tokens::of(&narrow);
        expect_dead(&app.introspect(&first.access).send().await);
        let said = app.introspect(&second.access).send().await.json();
        assert_eq!(said["scope"], "read");
        let wide = app.refresh(&second.refresh).send().await;
        assert_eq!(wide.text("scope"), "read write", "the refresh token kept its scope");
    })
    .await;
}
