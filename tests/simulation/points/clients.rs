//! What is asked of a node over HTTP, and of applications: tokens, their ends, and who may have any.

use std::rc::Rc;

use aggregates::application::{Application, ApplicationCommand};
use aggregates::values::Scope;
use axum::body::Body;
use axum::http::{Request, header};
use chancery::commands::{Actor, Origin, Stream};
use chancery::registration::{rotate_secret, update};
use chancery::secret::Secret;
use projections::applications::find_application;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use super::Stage;
use crate::harness::form::Form;
use crate::simulation::client::{REDIRECT, Said, authorize_path, json, text};
use crate::simulation::ledger::{App, Kind};
use crate::simulation::register_app;

/// The tokens of a grant.
#[derive(Clone)]
struct Pair {
    access: String,
    refresh: String,
}

impl Stage {
    /// What gives something, and what is said instead.
    pub(super) async fn tokens(&self) {
        let (web, machine) = (&self.clients.app(Kind::Web), &self.clients.app(Kind::Machine));
        let nothing = async || ();
        let issue = async |()| self.issue(machine).await;
        let lives = async |(), said, happened| self.lives(machine, said, happened).await;
        self.at_every_call(nothing, issue, lives).await;

        let authorize = async |()| self.clients.code(0, web).await;
        let usable = async |(), code: Option<String>, happened: bool| {
            if let Some(code) = code {
                self.lives(web, self.redeem(web, &code).await, happened).await;
            }
        };
        self.at_every_call(nothing, authorize, usable).await;

        let redeem = async |code: String| self.redeem(web, &code).await;
        let once = async |code: String, said, happened| match said {
            Said::Unclear => self.happened_or_is_done(web, self.redeem(web, &code).await, happened).await,
            said @ (Said::Yes(_) | Said::No(_)) => self.lives(web, said, happened).await,
        };
        self.at_every_call(async || self.code(web).await, redeem, once).await;

        let refresh = async |pair: Pair| self.refresh(web, &pair.refresh).await;
        let once = async |pair: Pair, said, happened| match said {
            Said::Unclear => {
                self.happened_or_is_done(web, self.refresh(web, &pair.refresh).await, happened).await;
            }
            said @ (Said::Yes(_) | Said::No(_)) => self.lives(web, said, happened).await,
        };
        self.at_every_call(async || self.pair(web).await, refresh, once).await;

        let form = async || self.consent(&self.asking).await;
        let deny = async |form: Form| self.submit(&form).await;
        let told = async |_, said, happened| match said {
            Said::Yes(answer) => {
                let location = answer.headers[header::LOCATION].to_str().unwrap();
                assert!(location.contains("error=access_denied") && happened, "{location}");
            }
            Said::No(error) => panic!("a fault of ours is called the client's: {error}"),
            Said::Unclear => {}
        };
        self.at_every_call(form, deny, told).await;

        let stranger = self.registered(Kind::Web).await;
        let steal = async |code: String| self.redeem(&stranger, &code).await;
        let refused = async |code: String, said, _| {
            match said {
                Said::Yes(answer) => panic!("to another client: {answer:?}"),
                Said::No(error) => assert_eq!(error, "invalid_grant"),
                Said::Unclear => {}
            }
            self.lives(web, self.redeem(web, &code).await, true).await;
        };
        self.at_every_call(async || self.code(web).await, steal, refused).await;
    }

    /// What takes something away.
    pub(super) async fn ends(&self) {
        let (web, machine) = (&self.clients.app(Kind::Web), &self.clients.app(Kind::Machine));
        let own = async || text(&granted(self.issue(machine).await), "access_token").to_owned();
        let revoke = async |token: String| self.revoke(machine, &token).await;
        let dead = async |token: String, said, happened| {
            self.is_dead_if(is_done(&said), happened, machine, &token).await;
        };
        self.at_every_call(own, revoke, dead).await;

        let pair = async || self.pair(web).await;
        let revoke = async |pair: Pair| self.revoke(web, &pair.access).await;
        let dead_alone = async |pair: Pair, said, happened| {
            self.is_dead_if(is_done(&said), happened, web, &pair.access).await;
            self.lives(web, self.refresh(web, &pair.refresh).await, true).await;
        };
        self.at_every_call(pair, revoke, dead_alone).await;

        let revoke = async |pair: Pair| self.revoke(web, &pair.refresh).await;
        let dead = async |pair: Pair, said, happened| {
            self.is_dead_if(is_done(&said), happened, web, &pair.access).await;
        };
        self.at_every_call(pair, revoke, dead).await;

        let used = async || {
            let pair = self.pair(web).await;
            let next = granted(self.refresh(web, &pair.refresh).await);
            (pair.refresh, text(&next, "access_token").to_owned())
        };
        let replay = async |(refresh, _): (String, String)| self.refresh(web, &refresh).await;
        let dead = async |(_, access): (String, String), said, happened| {
            let is_refused = match said {
                Said::Yes(answer) => panic!("used twice: {answer:?}"),
                Said::No(error) => error == "invalid_grant",
                Said::Unclear => false,
            };
            // It is only said once it is so.
            self.is_dead_if(is_refused, happened, web, &access).await;
        };
        self.at_every_call(used, replay, dead).await;
    }

    /// Who may have tokens at all.
    pub(super) async fn applications(&self) {
        let state = || self.clients.nodes.state(0);
        let origin = || Origin::internal(Actor::Operator, &state().clock);
        let minted = async || Rc::new(App::minted(Kind::Machine));
        let register = async |app: Rc<App>| self.is_heard(register_app(&state(), &app, false).await.is_ok());
        let known = async |app: Rc<App>, is_done: bool, happened| {
            assert!(happened || !is_done, "acknowledged, and not in the log");
            assert_eq!(self.is_let_in(&app).await, happened);
        };
        self.at_every_call(minted, register, known).await;

        let machine = async || self.registered(Kind::Machine).await;
        let rotate = async |app: Rc<App>| {
            let rotated = rotate_secret(&state(), &app.client_id, &origin()).await.ok();
            rotated.filter(|_| self.is_heard(true))
        };
        let one_secret = async |app: Rc<App>, new: Option<Secret>, happened| {
            assert!(happened || new.is_none(), "acknowledged, and not in the log");
            assert_eq!(self.is_let_in(&app).await, !happened, "the old secret");
            if let Some(new) = new {
                assert!(self.is_let_in(&App { secret: new.expose().to_owned(), ..(*app).clone() }).await);
            }
        };
        self.at_every_call(machine, rotate, one_secret).await;

        let with_token = async || {
            let app = self.registered(Kind::Machine).await;
            let token = text(&granted(self.issue(&app).await), "access_token").to_owned();
            (app, token)
        };
        let take_scope_away = async |(app, _): (Rc<App>, String)| {
            let found = find_application(&state().journal, &app.client_id).await;
            let Ok(Some(found)) = found else { return false };
            let mut settings = found.settings;
            settings.scope = Some(Scope::parse("write").unwrap());
            self.is_heard(update(&state(), &app.client_id, settings, true, &origin()).await.is_ok())
        };
        let has_nothing = async |(app, token): (Rc<App>, String), is_done, happened| {
            self.is_dead_if(is_done, happened, &app, &token).await;
        };
        self.at_every_call(with_token, take_scope_away, has_nothing).await;

        let at = || state().clock.now();
        let disable =
            async |app: Rc<App>| self.change(&app, ApplicationCommand::DisableApplication { at: at() }).await;
        let enable =
            async |app: Rc<App>| self.change(&app, ApplicationCommand::EnableApplication { at: at() }).await;
        let delete =
            async |app: Rc<App>| self.change(&app, ApplicationCommand::DeleteApplication { at: at() }).await;
        let shut_out = async |app: Rc<App>, is_done: bool, happened| {
            assert!(happened || !is_done, "acknowledged, and not in the log");
            assert_eq!(self.is_let_in(&app).await, !happened);
        };
        self.at_every_call(machine, disable, shut_out).await;
        self.at_every_call(machine, delete, shut_out).await;
        let disabled = async || {
            let app = machine().await;
            assert!(disable(Rc::clone(&app)).await);
            app
        };
        self.at_every_call(disabled, enable, known).await;
    }

    async fn change(&self, app: &App, command: ApplicationCommand) -> bool {
        let state = self.clients.nodes.state(0);
        let origin = Origin::internal(Actor::Operator, &state.clock);
        let stream = Stream::Existing(app.client_id.clone());
        let executed = state.commands.execute_ending::<Application>(stream, command, &origin).await;
        self.is_heard(executed.is_ok())
    }

    async fn registered(&self, kind: Kind) -> Rc<App> {
        let app = App::minted(kind);
        register_app(&self.clients.nodes.state(0), &app, false).await.unwrap();
        Rc::new(app)
    }

    // ── Asking ───────────────────────────────────────────────────────────────

    async fn post(&self, app: &App, path: &str, pairs: &[(&str, &str)]) -> Said {
        self.clients.post(0, path, app, pairs).await
    }

    async fn issue(&self, app: &App) -> Said {
        self.post(app, "/o/token/", &[("grant_type", "client_credentials")]).await
    }

    async fn redeem(&self, app: &App, code: &str) -> Said {
        let pairs = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", REDIRECT)];
        self.post(app, "/o/token/", &pairs).await
    }

    async fn refresh(&self, app: &App, token: &str) -> Said {
        self.post(app, "/o/token/", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    async fn revoke(&self, app: &App, token: &str) -> Said {
        self.post(app, "/o/revoke_token/", &[("token", token)]).await
    }

    async fn code(&self, app: &App) -> String {
        self.clients.code(0, app).await.unwrap()
    }

    async fn pair(&self, app: &App) -> Pair {
        let answer = granted(self.redeem(app, &self.code(app).await).await);
        let own = |name| text(&answer, name).to_owned();
        Pair { access: own("access_token"), refresh: own("refresh_token") }
    }

    /// The page that asks somebody.
    async fn consent(&self, app: &App) -> Form {
        let request = Request::get(authorize_path(app))
            .header(header::COOKIE, &self.clients.cookie)
            .body(Body::empty())
            .unwrap();
        let Said::Yes(page) = self.clients.ask(0, request).await else { panic!("no page") };
        let forms = Form::all(std::str::from_utf8(&page.body).unwrap());
        forms.into_iter().find(|form| form.get("request").is_some()).expect("a question")
    }

    /// No button is pressed: the answer is no.
    async fn submit(&self, form: &Form) -> Said {
        let path = Url::parse("http://node/").unwrap().join(&form.action).unwrap().path().to_owned();
        let request = Request::post(path)
            .header(header::COOKIE, &self.clients.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(Serializer::new(String::new()).extend_pairs(&form.fields).finish()))
            .unwrap();
        self.clients.ask(0, request).await
    }

    // ── Looking ──────────────────────────────────────────────────────────────

    /// What was given lives, and is in the log; something may have been given without anybody hearing of it.
    async fn lives(&self, app: &App, said: Said, happened: bool) {
        match said {
            Said::Yes(answer) => {
                assert!(happened, "acknowledged, and not in the log");
                assert!(self.is_active(app, text(&json(&answer), "access_token")).await);
            }
            Said::No(error) => panic!("a fault of ours is called the client's: {error}"),
            Said::Unclear => {}
        }
    }

    /// A second try after one without an answer gives tokens, unless the first one did.
    async fn happened_or_is_done(&self, app: &App, second: Said, happened: bool) {
        match second {
            Said::No(error) => assert!(happened && error == "invalid_grant", "lost: {error}"),
            second @ Said::Yes(_) => {
                assert!(!happened, "given twice");
                self.lives(app, second, true).await;
            }
            Said::Unclear => panic!("nothing goes wrong any more"),
        }
    }

    /// Once its end is in the log a token is dead, and it is if that was said.
    async fn is_dead_if(&self, is_said: bool, happened: bool, app: &App, token: &str) {
        assert!(happened || !is_said, "acknowledged, and not in the log");
        assert_eq!(self.is_active(app, token).await, !happened);
    }

    async fn is_active(&self, app: &App, token: &str) -> bool {
        let answer = granted(self.post(app, "/o/introspect/", &[("token", token)]).await);
        answer["active"].as_bool().unwrap()
    }

    async fn is_let_in(&self, app: &App) -> bool {
        match self.issue(app).await {
            said @ Said::Yes(_) => {
                self.lives(app, said, true).await;
                true
            }
            Said::No(error) => {
                assert_eq!(error, "invalid_client");
                false
            }
            Said::Unclear => panic!("nothing goes wrong any more"),
        }
    }
}

#[track_caller]
fn is_done(said: &Said) -> bool {
    match said {
        Said::Yes(_) => true,
        Said::No(error) => panic!("a fault of ours is called the client's: {error}"),
        Said::Unclear => false,
    }
}

#[track_caller]
fn granted(said: Said) -> Value {
    match said {
        Said::Yes(answer) => json(&answer),
        Said::No(_) | Said::Unclear => panic!("{said:?}"),
    }
}
