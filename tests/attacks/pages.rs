//! Can a page be made to act, to show, or to say what it should not? Scripts, forged forms, frames,
//! and other people's objects.

use crate::harness::{App, Browser, PASSWORD, Registration, Server, expect_redirect};

/// What no name may have in it: a right-to-left override, a line break.
const INVISIBLE: [&str; 2] = ["\u{202e}gnp.exe", "x\r\nSet-Cookie: a=b"];
const PAYLOADS: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg onload=alert(1)>",
    "{{7*7}}",
    "{% raw %}",
    "javascript:alert(1)",
    "\u{202e}gnp.exe",
    "x\r\nSet-Cookie: a=b",
];

#[tokio::test(flavor = "multi_thread")]
async fn adv_83_reflected_text() {
    let server = Server::sqlite().await;
    let ada = server.user("ada").await;
    for payload in PAYLOADS {
        let named = Registration::confidential().set("name", payload);
        let app = if INVISIBLE.contains(&payload) {
            ada.try_register(&named).await.0.is(200).shows("Use visible characters only.");
            ada.register(&Registration::confidential()).await
        } else {
            ada.register(&named).await
        };
        let mut pages = Vec::new();
        for path in [
            "/",
            "/o/applications/",
            &format!("/o/applications/{}/", app.client_id),
            &format!("/o/applications/{}/update/", app.client_id),
            &format!("/o/applications/{}/delete/", app.client_id),
        ] {
            pages.push(ada.get(path).await.is(200));
        }
        pages.push(ada.authorize(&app.query().set("login_hint", payload)).await);
        ada.allow(&app.query().set("state", payload)).await;
        pages.push(ada.get("/o/authorized_tokens/").await);
        pages.push(server.browser().try_login(payload, "a wrong password").await);
        pages.push(ada.request("GET", "/admin/login/").set("next", payload).set("switch", "1").send().await);
        pages.push(ada.authorize(&app.query().set("client_id", payload)).await);
        pages.push(ada.request("GET", "/noexist").set("code", payload).send().await);
        for page in pages {
            // Markup may be shown as text, never stand in the page.
            assert!(
                !page.body.contains("<script") && !page.body.contains("<img src=x"),
                "{}: {payload}",
                page.to
            );
            assert!(
                !page.body.contains("<svg onload") && !page.body.contains(">49<"),
                "{}: {payload}",
                page.to
            );
            let policy = page.header("content-security-policy").unwrap();
            assert!(!policy.contains("unsafe-inline"), "{policy}");
            assert!(
                page.headers
                    .get_all("set-cookie")
                    .iter()
                    .all(|cookie| !cookie.to_str().unwrap().starts_with("a="))
            );
        }
        let query = app.query().set("scope", payload);
        let answer = ada.authorize(&query).await;
        expect_redirect(&answer, &query, "invalid_scope");
        let description = answer.sent("error_description").unwrap_or_default();
        assert!(
            description.bytes().all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)),
            "{description}"
        );
        let landing = ada.allow(&app.query().set("state", payload)).await;
        assert_eq!(landing.sent("state").as_deref(), Some(payload), "state comes back unchanged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_84_form_post_and_inline() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let query = app.query().set("response_mode", "form_post").set("state", "<script>");
    expect_redirect(&ada.authorize(&query).await, &query, "invalid_request");
    for path in
        ["/", "/o/applications/", "/o/applications/register/", "/o/authorized_tokens/", "/admin/logout/"]
    {
        let page = ada.get(path).await.is(200);
        assert!(!page.body.contains("<script") && !page.body.contains(" style="), "{path}");
        assert!(!page.body.contains(" onclick=") && !page.body.contains(" onload="), "{path}");
    }
    ada.allow(&app.query().set("response_mode", "query")).await.code();
}

/// Every page that is posted to, with a form that would succeed.
async fn posted_paths(server: &Server, browser: &Browser, app: &App) -> Vec<String> {
    let list = browser.get("/o/authorized_tokens/").await.is(200);
    let links = crate::harness::form::links(&list.body);
    let revoke =
        links.iter().find(|link| link.ends_with("/delete/")).expect("an authorization to revoke").clone();
    let below = |action: &str| format!("/o/applications/{}/{action}/", app.client_id);
    let _ = server;
    vec![
        "/admin/login/".into(),
        "/admin/password_change/".into(),
        "/o/applications/register/".into(),
        below("update"),
        below("rotate-secret"),
        below("disable"),
        below("delete"),
        revoke,
        "/admin/logout/".into(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_csrf_every_route() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    ada.tokens(&app).await;
    let consent = ada.consent(&app.query().set("prompt", "consent")).await.press("Authorize");
    let mut forms = vec![consent];
    for path in posted_paths(&server, &ada, &app).await {
        let page = if path == "/admin/login/" { "/admin/login/?switch=1" } else { &path };
        let mut form = ada.get(page).await.is(200).form(&path);
        if path == "/admin/login/" {
            form = form.set("username", "ada").set("password", PASSWORD);
        }
        forms.push(form);
    }
    for form in &forms {
        let good = ada.request("POST", &form.action).pairs(&form.fields);
        let attempts = [
            good.clone().with_header("origin", "https://evil.example"),
            good.clone().with_header("origin", "null"),
            good.clone().with_header("sec-fetch-site", "cross-site"),
            good.clone().with_header("sec-fetch-site", "same-site"),
            good.clone().without("csrfmiddlewaretoken"),
            good.clone().set("csrfmiddlewaretoken", "cheese"),
            good.clone()
                .without("csrfmiddlewaretoken")
                .without_header("origin")
                .without_header("sec-fetch-site"),
        ];
        for attempt in attempts {
            let answer = attempt.send().await;
            assert_eq!(answer.status, 403, "{answer:#?}");
        }
    }
    assert!(ada.is_logged_in().await);
    // Neither header (a script): the form token decides.
    let scripted = ada.request("POST", &forms[0].action).pairs(&forms[0].fields);
    scripted.without_header("origin").without_header("sec-fetch-site").send().await.is(303);
    // Of another form: a token is bound to its session.
    let bob = server.user("bob").await;
    let stolen = bob.get("/admin/logout/").await.form("/admin/logout/").value("csrfmiddlewaretoken");
    let logout = forms.last().unwrap();
    ada.submit(&logout.clone().set("csrfmiddlewaretoken", &stolen)).await.is(403);
    ada.submit(logout).await.is(303);
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_303() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let consent = ada.consent(&app.query()).await.press("Authorize");
    assert_eq!(ada.submit(&consent).await.status, 303);
    for action in ["disable", "enable", "delete"] {
        assert_eq!(ada.confirm(&app, action).await.status, 303, "{action}");
    }
    let logout = ada.get("/admin/logout/").await.form("/admin/logout/");
    assert_eq!(ada.submit(&logout).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn bcp_framing() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    let consent = ada.authorize(&app.query()).await.is(200);
    let login = server.get("/admin/login/").await.is(200);
    for page in [&consent, &login, &ada.get("/").await] {
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
    }
    for page in [&consent, &login] {
        // Chromium would kill the redirect to the application.
        assert!(!page.header("content-security-policy").unwrap().contains("form-action"), "{page:#?}");
    }
    for mode in ["web_message", "okmap"] {
        let query = app.query().set("response_mode", mode);
        expect_redirect(&ada.authorize(&query).await, &query, "invalid_request");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_91_admin_matrix() {
    let server = Server::sqlite().await;
    let (ada, app) = server.ada_and_app().await;
    ada.tokens(&app).await;
    let (bob, admin, nobody) = (server.user("bob").await, server.user("admin").await, server.browser());
    let list = ada.get("/o/authorized_tokens/").await;
    let authorization = crate::harness::form::links(&list.body);
    let authorization = authorization.iter().find(|link| link.ends_with("/delete/")).unwrap().clone();
    let detail = format!("/o/applications/{}/", app.client_id);
    let below = |action: &str| format!("{detail}{action}/");
    let objects = [
        detail.clone(),
        below("update"),
        below("rotate-secret"),
        below("disable"),
        below("delete"),
        below("enable"),
    ];
    for path in &objects {
        let anonymous = nobody.get(path).await;
        assert!(matches!(anonymous.status, 302 | 303), "{path}: {anonymous:#?}");
        assert!(anonymous.location().starts_with("/admin/login/"), "{path}");
        assert_eq!(bob.get(path).await.status, 404, "{path} shows bob somebody else's application");
        assert_eq!(admin.get(path).await.status, 200, "{path} for a superuser");
        if !path.ends_with("/enable/") {
            assert_eq!(ada.get(path).await.status, 200, "{path} for its owner");
        }
    }
    // Reading is refused by the page, writing by the command, with a form of one's own.
    let own = bob.register(&Registration::confidential()).await;
    for action in ["update", "rotate-secret", "disable", "delete", "enable"] {
        let own_path = format!("/o/applications/{}/{action}/", own.client_id);
        let form = bob.get(&own_path).await.form(&own_path);
        let answer = bob.request("POST", &below(action)).pairs(&form.fields).send().await;
        assert_eq!(answer.status, 404, "{action}: {answer:#?}");
        let answer = nobody.request("POST", &below(action)).pairs(&form.fields).send().await;
        assert!(matches!(answer.status, 303 | 403), "{action}: {answer:#?}");
    }
    // Nobody revokes another person's authorization but a superuser.
    assert_eq!(bob.get(&authorization).await.status, 404);
    assert_eq!(bob.get(authorization.trim_end_matches("delete/")).await.status, 404);
    let others = bob.get("/o/applications/").await.is(200);
    assert!(!others.body.contains(&app.client_id));
    assert!(admin.get("/o/applications/").await.is(200).body.contains(&app.client_id));
    // A locked superuser is nobody.
    server.run(&["lockuser", "admin"]).await.succeeded();
    assert!(matches!(admin.get(&detail).await.status, 302 | 303));
    ada.get(&detail).await.is(200);
}
