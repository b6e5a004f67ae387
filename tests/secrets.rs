//! Does a secret ever stay anywhere? Marked values go through every flow, then everything that was
//! written is searched for them.

use std::fs;

use crate::harness::process::free_port;
use crate::harness::{App, Browser, Cli, Directory, Process, Registration, Request, Tokens, VERIFIER};

const MARKED_PASSWORD: &str = "canary-password-violet-umbrella";
const WRONG_PASSWORD: &str = "canary-wrong-password-orange-door";
const NEW_PASSWORD: &str = "canary-new-password-green-window";
const CHOSEN_SECRET: &str = "canary-client-secret-blue-chair";
/// People type their password into the name field.
const TYPED_AS_NAME: &str = "canary-password-in-the-wrong-field";

/// What nobody may keep, each value with what it is, and what people were shown meanwhile.
#[derive(Default)]
struct Canaries {
    marked: Vec<(&'static str, String)>,
    shown: Vec<String>,
}

impl Canaries {
    fn mark(&mut self, what: &'static str, value: &str) {
        self.marked.push((what, value.to_owned()));
    }

    /// Drives every flow.
    async fn of_every_flow(process: &Process, cli: &Cli) -> Self {
        let mut canaries = Self::default();
        for (what, value) in [
            ("password", MARKED_PASSWORD),
            ("wrong password", WRONG_PASSWORD),
            ("new password", NEW_PASSWORD),
            ("chosen client secret", CHOSEN_SECRET),
            ("password typed as a name", TYPED_AS_NAME),
            ("verifier", VERIFIER),
        ] {
            canaries.mark(what, value);
        }
        let admin = process.browser();
        admin.try_login("admin", MARKED_PASSWORD).await.is(303);
        canaries.shown.push(process.browser().try_login("admin", WRONG_PASSWORD).await.body);
        process.browser().try_login(TYPED_AS_NAME, WRONG_PASSWORD).await;
        let app = admin.register(&Registration::confidential()).await;
        canaries.mark("client secret", &app.secret);
        canaries.consent(&admin, &app).await;
        canaries.tokens(&admin, &app, &process.base).await;
        canaries.mark("session cookie", &admin.cookie("chancery").unwrap());
        canaries.changes(&admin, &app).await;
        canaries.read_pages(&admin, &app).await;
        canaries.command_line(cli).await;
        canaries
    }

    async fn consent(&mut self, admin: &Browser, app: &App) {
        let form = admin.consent(&app.query()).await;
        self.mark("form token", &form.value("csrfmiddlewaretoken"));
        self.mark("sealed request", &form.value("request"));
        let altered = form.set("request", "cheese").press("Authorize");
        self.shown.push(admin.submit(&altered).await.body);
    }

    /// Every token there is, each used rightly and wrongly, also where it does not belong.
    async fn tokens(&mut self, admin: &Browser, app: &App, base: &str) {
        let chosen = admin.register(&Registration::machine().set("client_secret", CHOSEN_SECRET)).await;
        let public = admin.register(&Registration::public()).await;
        let code = admin.code(app).await;
        let Tokens { access, refresh } = Tokens::of(&app.redeem(&code).send().await);
        let next = Tokens::of(&app.refresh(&refresh).send().await);
        let own = chosen.client_credentials().send().await.text("access_token");
        let public_code = admin.code(&public).await;
        let of_public = Tokens::of(&public.redeem(&public_code).send().await);
        app.introspect(&next.access).send().await.is(200);
        app.redeem(&code).send().await.is(400);
        app.refresh(&refresh).send().await.is(400);
        app.with_secret(WRONG_PASSWORD).refresh(&refresh).send().await.is(401);
        for token in [&access, &own] {
            Request::new(&app.client, "GET", format!("{base}/resource")).bearer(token).send().await;
        }
        app.revoke(&own).send().await;
        let misplaced = format!("/noexist?access_token={own}&code={code}&client_secret={CHOSEN_SECRET}");
        self.shown.push(admin.get(&misplaced).await.body);
        let swapped = app.query().set("client_id", CHOSEN_SECRET).set("redirect_uri", &code);
        self.shown.push(admin.authorize(&swapped).await.body);
        for (what, value) in [
            ("code", code),
            ("access token", access),
            ("refresh token", refresh),
            ("new access token", next.access),
            ("new refresh token", next.refresh),
            ("client's token", own),
            ("public client's code", public_code),
            ("public client's token", of_public.access),
            ("public client's refresh token", of_public.refresh),
        ] {
            self.mark(what, &value);
        }
    }

    /// A rotated secret and a changed password.
    async fn changes(&mut self, admin: &Browser, app: &App) {
        let rotated = admin.confirm(app, "rotate-secret").await;
        let rotated = if rotated.status == 303 { admin.follow(&rotated).await } else { rotated };
        let after = rotated.body.split("id=\"client_secret\">").nth(1).unwrap();
        self.mark("rotated secret", after.split('<').next().unwrap());
        let change = admin.get("/admin/password_change/").await.form("/admin/password_change/");
        let change = change
            .set("old_password", MARKED_PASSWORD)
            .set("new_password1", NEW_PASSWORD)
            .set("new_password2", NEW_PASSWORD);
        let mistaken = change.clone().set("old_password", WRONG_PASSWORD);
        self.shown.push(admin.submit(&mistaken).await.body);
        admin.submit(&change).await.is(303);
        self.mark("session cookie after the change", &admin.cookie("chancery").unwrap());
    }

    async fn read_pages(&mut self, admin: &Browser, app: &App) {
        let detail = format!("/o/applications/{}/", app.client_id);
        for path in [detail.as_str(), "/o/authorized_tokens/", "/"] {
            self.shown.push(admin.get(path).await.body);
        }
    }

    async fn command_line(&mut self, cli: &Cli) {
        let cli = cli.clone();
        let outputs = tokio::task::spawn_blocking(move || {
            ["verify", "config", "doctor"].map(|command| {
                let said = cli.run(&[command]);
                said.stdout + &said.stderr
            })
        });
        self.shown.extend(outputs.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adv_89_canary_secrets() {
    let home = Directory::new();
    let cli = Cli::in_home(home.path()).password(MARKED_PASSWORD);
    let create =
        ["createsuperuser", "--noinput", "--username", "admin", "--email", "canary-address@example.com"];
    cli.run(&create).succeeded();
    let process = Process::start_with(&cli, &home, free_port(), &["--log", "trace"]).await;
    let Canaries { mut marked, shown } = Canaries::of_every_flow(&process, &cli).await;

    let log = process.log();
    let requests = log.matches("http.path=").count();
    assert!(requests > 40, "the log tells of every request: {requests}\n{log}");
    let data = home.path().join("data/chancery");
    let root_secret = fs::read_to_string(data.join("root.secret")).unwrap();
    let mut written = vec![("the log".to_owned(), log.into_bytes())];
    let mut length = 0;
    for entry in fs::read_dir(&data).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("chancery.db") {
            let bytes = fs::read(entry.path()).unwrap();
            length += bytes.len();
            written.push((name, bytes));
        }
    }
    assert!(length > 50_000, "the database was read: {length} bytes");
    written.extend(
        shown.into_iter().enumerate().map(|(number, page)| (format!("page {number}"), page.into_bytes())),
    );

    marked.push(("root secret", root_secret.trim().to_owned()));
    let mut hits = Vec::new();
    for (place, bytes) in &written {
        for (what, value) in &marked {
            // The sealed request and the form's token belong into the page; the verifier's challenge may be stored.
            let belongs = place.starts_with("page") && matches!(*what, "form token" | "sealed request");
            if !belongs && contains(bytes, value.as_bytes()) {
                hits.push(format!("{what} in {place}"));
            }
        }
        let personal = place.starts_with("chancery.db") || place == "the log";
        if personal && contains(bytes, b"canary-address") {
            hits.push(format!("an e-mail address in {place}"));
        }
    }
    assert!(hits.is_empty(), "{hits:#?}");
    // The control: a search that finds nothing at all would pass, too.
    assert!(written.iter().any(|(_, bytes)| contains(bytes, b"application.registered")));
}

fn contains(bytes: &[u8], value: &[u8]) -> bool {
    bytes.windows(value.len()).any(|window| window == value)
}
