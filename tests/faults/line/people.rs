//! What people do on pages while the line breaks.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use super::{Stage, answer_to, is_dead_if, lives, sent};
use crate::faults::front::is_dead;
use crate::faults::machine::Way;
use crate::harness::form::{Form, links};
use crate::harness::request::Answer;
use crate::harness::{App, Browser, PASSWORD, Registration};

const LOG_IN: &str = "/admin/login/";
const LOG_OUT: &str = "/admin/logout/";
const AUTHORIZED: &str = "/o/authorized_tokens/";

/// Something that an application's owner is about to do to it.
#[derive(Clone)]
struct Owned {
    app: App,
    token: String,
    form: Form,
}

impl Stage {
    /// What owners do to their applications.
    pub(super) async fn applications(&self, way: Way) -> Vec<(&'static str, usize)> {
        let mut broken = Vec::new();
        for action in ["disable", "enable", "rotate-secret", "delete"] {
            let prepare = async || self.owned(action).await;
            let act = async |owned: Owned| answer_to(sent(&self.ada, &owned.form)).await;
            let look = async |owned, said| is_whole(action, &owned, said).await;
            broken.push((action, self.at_every_message(way, prepare, act, look).await));
        }
        broken
    }

    async fn owned(&self, action: &str) -> Owned {
        let app = self.ada.register(&Registration::machine()).await;
        let token = app.client_credentials().send().await.is(200).text("access_token");
        if action == "enable" {
            self.ada.confirm(&app, "disable").await.is(303);
        }
        let path = format!("/o/applications/{}/{action}/", app.client_id);
        Owned { form: self.ada.get(&path).await.is(200).form(&path), app, token }
    }

    /// What people do for themselves.
    pub(super) async fn people(&self, way: Way) -> Vec<(&'static str, usize)> {
        let log_in = self.log_in(way).await;
        let log_out = self.log_out(way).await;
        let allow = self.allow(way).await;
        let take_back = self.take_back(way).await;
        vec![("log in", log_in), ("log out", log_out), ("allow", allow), ("take back", take_back)]
    }

    /// Somebody who has opened the form and typed into it, at an address of their own: what is counted of one is
    /// never forgotten.
    async fn stranger(&self) -> (Browser, Form) {
        let number = self.strangers.fetch_add(1, Ordering::Relaxed);
        let bob = Browser::at(&self.server.base, Ipv4Addr::new(127, 0, 1, number).into());
        let form = bob.get(LOG_IN).await.is(200).form(LOG_IN);
        (bob, form.set("username", "bob").set("password", PASSWORD))
    }

    async fn log_in(&self, way: Way) -> usize {
        let prepare = async || self.stranger().await;
        let act = async |(bob, form): (Browser, Form)| answer_to(sent(&bob, &form)).await;
        let look = async |(bob, _): (Browser, Form), said: Option<Answer>| {
            if let Some(answer) = said {
                answer.is(303);
                assert!(bob.is_logged_in().await, "let in, and not known");
            }
            // An attempt of which nobody heard counts; whoever is let in begins anew.
            let (again, form) = self.stranger().await;
            again.submit(&form).await.is(303);
        };
        self.at_every_message(way, prepare, act, look).await
    }

    async fn log_out(&self, way: Way) -> usize {
        let prepare = async || {
            let (bob, form) = self.stranger().await;
            bob.submit(&form).await.is(303);
            let form = bob.get(LOG_OUT).await.is(200).form(LOG_OUT);
            let thief = Browser::new(&self.server.base);
            thief.set_cookie(&format!("chancery={}", bob.cookie("chancery").unwrap()));
            assert!(thief.is_logged_in().await, "what was copied is of use");
            (bob, form, thief)
        };
        let act = async |(bob, form, _): (Browser, Form, Browser)| answer_to(sent(&bob, &form)).await;
        let look = async |(_, _, thief): (Browser, Form, Browser), said: Option<Answer>| {
            let is_known = thief.is_logged_in().await;
            if let Some(answer) = said {
                answer.is(303);
                assert!(!is_known, "logged out, and still known");
            }
        };
        self.at_every_message(way, prepare, act, look).await
    }

    /// Consent, which is remembered, and a code.
    async fn allow(&self, way: Way) -> usize {
        let prepare = async || {
            let app = self.ada.register(&Registration::confidential()).await;
            (self.ada.consent(&app.query()).await.press("Authorize"), app)
        };
        let act = async |(form, _): (Form, App)| answer_to(sent(&self.ada, &form)).await;
        let look = async |(_, app): (Form, App), said: Option<Answer>| match said {
            Some(answer) => lives(&app, Some(app.redeem(&answer.code()).send().await)).await,
            // It is asked for, or was remembered: a code comes of either.
            None => drop(self.ada.tokens(&app).await),
        };
        self.at_every_message(way, prepare, act, look).await
    }

    /// An application may do nothing any more.
    async fn take_back(&self, way: Way) -> usize {
        let listed = async || links(&self.ada.get(AUTHORIZED).await.is(200).body);
        let prepare = async || {
            let app = self.ada.register(&Registration::confidential()).await;
            let before = listed().await;
            let access = self.ada.tokens(&app).await.access;
            let is_new = |link: &String| link.ends_with("/delete/") && !before.contains(link);
            let link = listed().await.into_iter().find(is_new).unwrap();
            (self.ada.get(&link).await.is(200).form(&link), app, access)
        };
        let act = async |(form, _, _): (Form, App, String)| answer_to(sent(&self.ada, &form)).await;
        let look = async |(form, app, access): (Form, App, String), said: Option<Answer>| {
            is_dead_if(said, &app, &access).await;
            let is_listed = listed().await.contains(&form.action);
            assert_eq!(is_listed, app.sees_active(&access).await, "half taken back");
        };
        self.at_every_message(way, prepare, act, look).await
    }
}

/// It is as it is said to be, and without an answer wholly so or not at all.
async fn is_whole(action: &str, owned: &Owned, said: Option<Answer>) {
    let Owned { app, token, form: _ } = owned;
    let issued = app.client_credentials().send().await;
    let is_served = issued.status == 200;
    assert!(is_served || issued.status == 401, "{action}: {issued:#?}");
    let is_done = is_served == (action == "enable");
    if let Some(answer) = said {
        // A new secret is shown on the page itself.
        let answer = answer.is(if action == "rotate-secret" { 200 } else { 303 });
        assert!(is_done, "{action}: acknowledged, and not done");
        if action == "rotate-secret" {
            let renewed = app.with_secret(&new_secret(&answer));
            lives(&renewed, Some(renewed.client_credentials().send().await)).await;
            assert!(renewed.sees_active(token).await, "a new secret ends no token");
        }
    }
    // A token of before an end stays dead, and only who knows the new secret may ask.
    if action == "enable" || is_done && action == "rotate-secret" {
        return;
    }
    if !is_done {
        return assert!(app.sees_active(token).await, "{action}: not done, and its token is dead");
    }
    // Nobody may ask any more; whoever is given the token is told that it is dead.
    let shown = app.resource(token).send().await;
    assert!(is_dead(&shown), "{action}: done, and its token lives: {shown:#?}");
}

/// What the page shows once.
fn new_secret(page: &Answer) -> String {
    let (_, shown) = page.body.split_once("id=\"client_secret\">").unwrap();
    shown.split('<').next().unwrap().to_owned()
}
