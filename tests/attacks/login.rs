//! Can a password be guessed, or a name be found out? (NIST SP 800-63B-4 §3.2.2, ASVS 6.3)

use std::time::{Duration, Instant};

use crate::harness::server::on_both_engines_with;
use crate::harness::{Browser, PASSWORD, Server, on_both_engines};

#[tokio::test(flavor = "multi_thread")]
async fn adv_75_user_enumeration() {
    on_both_engines(async |server| {
        server.run(&["lockuser", "bob"]).await.succeeded();
        let mut seen = Vec::new();
        // Names of one length: the form shows what was typed.
        for name in ["ada", "bob", "zyx"] {
            let answer = server.browser().try_login(name, "a wrong password").await;
            let mut headers: Vec<_> = answer
                .headers
                .iter()
                .map(|(name, value)| {
                    let differs =
                        ["set-cookie", "date", "x-request-id", "content-length"].contains(&name.as_str());
                    format!("{name}: {}", if differs { "…" } else { value.to_str().unwrap() })
                })
                .collect();
            headers.sort_unstable();
            seen.push((answer.status, headers, answer.body.len(), answer.page_text().replace(name, "NAME")));
        }
        assert_eq!(seen[0], seen[1], "a locked name answers like a known one");
        assert_eq!(seen[0], seen[2], "an unknown name answers like a known one");
        // The right password of a locked user is no better.
        let locked = server.browser().try_login("bob", PASSWORD).await;
        assert_eq!(
            (locked.status, locked.page_text().replace("bob", "NAME")),
            (seen[0].0, seen[0].3.clone())
        );
        server.user("ada").await;
    })
    .await;
}

async fn time_of_a_wrong_login(browser: &Browser, name: &str) -> Duration {
    let form = browser.get("/admin/login/").await.form("/admin/login/");
    let started = Instant::now();
    browser.submit(&form.set("username", name).set("password", "a wrong password")).await;
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_76_dummy_hash() {
    // The same work for an unknown name: without the dummy hash it would take a twentieth.
    let generous = crate::harness::Setup::new(crate::harness::Engine::Sqlite)
        .set("login-failures-per-account", "100")
        .set("login-failures-per-address", "100");
    let server = generous.start().await;
    let browser = server.browser();
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        known.push(time_of_a_wrong_login(&browser, "ada").await);
        unknown.push(time_of_a_wrong_login(&browser, "eve").await);
    }
    known.sort_unstable();
    unknown.sort_unstable();
    assert!(unknown[4] > known[4] / 2, "known {:?}, unknown {:?}", known[4], unknown[4]);
    assert!(known[4] > unknown[4] / 2, "known {:?}, unknown {:?}", known[4], unknown[4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_77_lockout_aliases() {
    on_both_engines(async |server| {
        // Five failures an account by default, whichever way the account is written.
        for alias in ["ada", "ADA", "Ada", "\u{ff41}\u{ff44}\u{ff41}", "ada@example.com", "ADA@example.com"] {
            let answer = server.browser().try_login(alias, "a wrong password").await;
            assert!(matches!(answer.status, 200 | 429), "{alias}: {answer:#?}");
        }
        let answer = server.browser().try_login("ada", PASSWORD).await.is(429);
        let wait: i64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!(wait > 0);
        server.user("bob").await;
        server.advance(wait + 1);
        server.user("ada").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_78_parallel_guesses() {
    on_both_engines(async |server| {
        let sibling = server.sibling().await;
        let mut guesses = Vec::new();
        for number in 0..200 {
            let node = if number % 2 == 0 { &server } else { &sibling };
            let browser = node.browser();
            guesses.push(tokio::spawn(async move { browser.try_login("ada", "a wrong password").await }));
        }
        let mut verified = 0;
        let mut longest = 0;
        for guess in guesses {
            let answer = guess.await.unwrap();
            if answer.status == 429 {
                let wait: i64 = answer.header("retry-after").unwrap().parse().unwrap();
                longest = longest.max(wait);
            } else {
                assert!(matches!(answer.status, 200 | 503), "{answer:#?}");
                verified += usize::from(answer.status == 200);
            }
        }
        assert!((1..=6).contains(&verified), "{verified} guesses were looked at");
        // Strangers lock nobody out for good.
        assert!(longest <= 900, "{longest} s");
        server.advance(901);
        server.user("ada").await;
    })
    .await;
}

/// A whole office logs in in the morning from one address, and whoever has an account there gets no more guesses at
/// others by it.
#[tokio::test(flavor = "multi_thread")]
async fn right_logins_from_one_address_are_no_guesses_and_wipe_none_out() {
    on_both_engines_with(
        |setup| setup.set("login-failures-per-address", "4"),
        async |server| {
            for _ in 0..10 {
                server.user("ada").await;
            }
            let mut looked_at = 0;
            for number in 0..10 {
                let guess = server.browser().try_login(&format!("name-{number}"), "a wrong password").await;
                looked_at += usize::from(guess.status == 200);
                if guess.status == 200 {
                    assert!(matches!(server.browser().try_login("ada", PASSWORD).await.status, 303 | 429));
                }
            }
            // Four; upon the login after them everybody there waits for two seconds, and then for four.
            assert!((4..=5).contains(&looked_at), "{looked_at} guesses were looked at");
        },
    )
    .await;
}

/// One line at home has 256 networks of IPv6, and whoever asks for one gets 65,536: none of them is used twice.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_many_networks_of_one_line_are_counted_together() {
    let setup =
        crate::harness::Setup::new(crate::harness::Engine::Sqlite).set("trusted-proxies", "127.0.0.1");
    let server = setup.set("login-failures-per-address", "4").start().await;
    let browser = server.browser();
    let guess = async |name: &str, address: &str| {
        let form = browser.get("/admin/login/").await.form("/admin/login/");
        let form = form.set("username", name).set("password", "a wrong password");
        let request = browser.request("POST", &form.action).pairs(&form.fields);
        request.header("x-forwarded-for", address).send().await
    };
    let mut looked_at = 0;
    for network in 0..100 {
        let answer = guess(&format!("name-{network}"), &format!("2001:db8:1:{network:x}::1")).await;
        assert!(matches!(answer.status, 200 | 429), "{answer:#?}");
        looked_at += usize::from(answer.status == 200);
    }
    // Three times what one network has, and the one after which it waits.
    assert_eq!(looked_at, 13);
    for other in ["2001:db8:2::1", "192.0.2.1"] {
        guess("somebody", other).await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_81_password_change() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        let elsewhere = server.user("ada").await;
        let path = "/admin/password_change/";
        let new = "an entirely different phrase";
        let form = ada.get(path).await.is(200).form(path).set("new_password1", new).set("new_password2", new);
        for old in [None, Some(""), Some("a wrong password"), Some(new)] {
            let form =
                old.map_or(form.clone().without("old_password"), |old| form.clone().set("old_password", old));
            assert!(matches!(ada.submit(&form).await.status, 200 | 400), "old password {old:?}");
        }
        server.user("ada").await;
        server.advance(1);
        ada.submit(&form.set("old_password", PASSWORD)).await.is(303);
        assert!(ada.is_logged_in().await, "whoever changed it stays");
        assert!(!elsewhere.is_logged_in().await, "other sessions end");
        assert_ne!(server.browser().try_login("ada", PASSWORD).await.status, 303);
        server.browser().try_login("ada", new).await.is(303);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_passwords() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    let path = "/admin/password_change/";
    let form = ada.get(path).await.is(200).form(path).set("old_password", PASSWORD);
    let change = async |password: &str| {
        let form = form.clone().set("new_password1", password).set("new_password2", password);
        ada.submit(&form).await
    };
    for refused in ["short 7", "password1", "12345678", "chancery1", "ada", "aaaaaaaa"] {
        let answer = change(refused).await;
        assert_eq!(answer.status, 200, "{refused} was accepted");
        assert!(answer.body.contains("aria-invalid=\"true\""), "{refused}");
    }
    let long = "\u{e9}tude no. 7 ".repeat(8);
    change(&long).await.is(303);
    // Unicode is normalised: the same text typed on another keyboard.
    let decomposed = "e\u{301}tude no. 7 ".repeat(8);
    server.browser().try_login("ada", &decomposed).await.is(303);
    assert_ne!(server.browser().try_login("ada", &long[..41]).await.status, 303, "never cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_paths() {
    // No default account: nobody can log in to a fresh installation.
    let server = crate::harness::Setup::new(crate::harness::Engine::Sqlite).without_users().start().await;
    for (name, password) in [("admin", "admin"), ("admin", ""), ("root", "root"), ("chancery", "chancery")] {
        assert_ne!(server.browser().try_login(name, password).await.status, 303, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asvs_session_timeouts() {
    on_both_engines(async |server| {
        let ada = server.user("ada").await;
        for _ in 0..13 {
            server.advance(86_300);
            assert!(ada.is_logged_in().await, "a session that is used lives");
        }
        server.advance(86_300);
        server.advance(2_000);
        assert!(!ada.is_logged_in().await, "fourteen days and no more");
    })
    .await;
}
