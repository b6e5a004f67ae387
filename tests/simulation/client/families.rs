//! What do clients do with grants? They ask for codes, redeem and refresh, all at once, and present what is over.

use std::cell::RefCell;
use std::rc::Rc;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::Value;
use tokio::time::sleep;
use url::Url;

use super::{Clients, LEASES_ARE_OVER, REDIRECT, Said, authorize_path, json, text};
use crate::simulation::ledger::{App, Family, Fate, Kind, Now, Standing};
use crate::simulation::world::NODES;

impl Clients {
    /// A browser that is logged in brings a code, which is redeemed.
    pub(super) async fn authorize(&self, node: usize) {
        let app = self.app(Kind::Web);
        let Some(code) = self.code(node, &app).await else { return };
        let family = Rc::new(Family { app, code, fate: Fate::new(), now: RefCell::new(Now::default()) });
        let other = self.nodes.world.random().usize(..NODES);
        match self.redeem(other, &family).await {
            Said::Yes(answer) => self.found(&family, &json(&answer)),
            Said::No(error) => assert_ne!(family.app.fate.get(), Standing::Alive, "{error}"),
            Said::Unclear => {}
        }
    }

    pub async fn code(&self, node: usize, app: &App) -> Option<String> {
        let request = Request::get(authorize_path(app))
            .header(header::COOKIE, &self.cookie)
            .body(Body::empty())
            .unwrap();
        match self.ask(node, request).await {
            Said::Yes(answer) => {
                let location = answer.headers[header::LOCATION].to_str().unwrap();
                let url = Url::parse(location).unwrap_or_else(|_| panic!("{location}"));
                let find = |name: &str| {
                    url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
                };
                match find("error") {
                    Some(error) => assert_eq!(error, "temporarily_unavailable"),
                    None => return Some(find("code").unwrap()),
                }
            }
            Said::No(error) => assert_ne!(app.fate.get(), Standing::Alive, "{error}"),
            Said::Unclear => {}
        }
        None
    }

    pub async fn redeem(&self, node: usize, family: &Family) -> Said {
        let pairs =
            [("grant_type", "authorization_code"), ("code", &family.code), ("redirect_uri", REDIRECT)];
        self.post(node, "/o/token/", &family.app, &pairs).await
    }

    /// The first tokens of a family.
    pub(super) fn found(&self, family: &Rc<Family>, answer: &Value) {
        let access = self.keep(text(answer, "access_token"), &family.app, Some(Rc::clone(family)));
        let refresh = text(answer, "refresh_token").to_owned();
        *family.now.borrow_mut() = Now { refresh, former: None, access: Some(access), is_busy: false };
        self.families.borrow_mut().push(Rc::clone(family));
    }

    pub(super) async fn refresh(&self, node: usize) {
        let Some(family) = self.family() else { return };
        if !family.now.borrow().is_busy && family.fate.get() != Standing::Doubtful {
            self.use_refresh(node, &family).await;
        }
    }

    /// Whether a node gives something for a refresh token, if it says anything; wrong answers end the
    /// simulation.
    pub async fn use_refresh(&self, node: usize, family: &Rc<Family>) -> Option<bool> {
        family.now.borrow_mut().is_busy = true;
        let refresh = family.now.borrow().refresh.clone();
        let before = family.standing();
        // The new access token takes the place of the former one, which others may know for a while.
        if let Some(access) = &family.now.borrow().access {
            access.own.fall(Standing::Doubtful);
        }
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
        let is_given = match self.post(node, "/o/token/", &family.app, &pairs).await {
            Said::Yes(answer) => {
                assert_ne!(before, Standing::Dead, "refreshed after its end was acknowledged");
                let answer = json(&answer);
                let access = self.keep(text(&answer, "access_token"), &family.app, Some(Rc::clone(family)));
                let mut now = family.now.borrow_mut();
                now.former = Some(refresh);
                text(&answer, "refresh_token").clone_into(&mut now.refresh);
                now.access = Some(access);
                Some(true)
            }
            Said::No(error) => {
                assert_ne!(family.standing(), Standing::Alive, "{error}");
                Some(false)
            }
            Said::Unclear => {
                // It may have been used: the next use may be the end of the family.
                family.fate.fall(Standing::Doubtful);
                None
            }
        };
        family.now.borrow_mut().is_busy = false;
        is_given
    }

    /// One code at three nodes at once: one of them gives something for it, or at most one where an answer is
    /// missing.
    pub(super) async fn race(&self, node: usize) {
        let app = self.app(Kind::Web);
        let Some(code) = self.code(node, &app).await else { return };
        let family = Rc::new(Family { app, code, fate: Fate::new(), now: RefCell::new(Now::default()) });
        family.fate.fall(Standing::Doubtful);
        let racers = (self.redeem(0, &family), self.redeem(1, &family), self.redeem(2, &family));
        let answers: [Said; NODES] =
            <[Said; NODES]>::from(tokio::join!(biased; racers.0, racers.1, racers.2));
        let winners: Vec<&Said> = answers.iter().filter(|said| matches!(said, Said::Yes(_))).collect();
        assert!(winners.len() <= 1, "{winners:?}");
        self.tally.borrow_mut().races += 1;
        if let Some(Said::Yes(answer)) = winners.first() {
            self.found(&family, &json(answer));
        }
        if family.app.fate.get() != Standing::Alive {
            return;
        }
        let is_clear = answers.iter().all(|said| !matches!(said, Said::Unclear));
        assert!(winners.len() == 1 || !is_clear, "a code is good for nothing: {answers:?}");
        // Who was refused came second, which is the end of all that the first was given.
        if answers.iter().any(|said| matches!(said, Said::No(_))) {
            sleep(LEASES_ARE_OVER).await;
            self.family_has_ended(&family);
        }
    }

    pub(super) fn family_has_ended(&self, family: &Family) {
        let access = family.now.borrow().access.clone();
        match access {
            Some(access) => self.has_ended(&access, &family.fate),
            None => family.fate.fall(Standing::Dead),
        }
    }

    /// What was used is used again: refused, and the end of all it gave.
    pub(super) async fn replay(&self, node: usize) {
        let Some(family) = self.family() else { return };
        if family.standing() != Standing::Alive || family.now.borrow().is_busy {
            return;
        }
        family.fate.fall(Standing::Doubtful);
        let former = family.now.borrow().former.clone();
        let said = match former {
            Some(former) => {
                let pairs = [("grant_type", "refresh_token"), ("refresh_token", former.as_str())];
                self.post(node, "/o/token/", &family.app, &pairs).await
            }
            None => self.redeem(node, &family).await,
        };
        match said {
            Said::Yes(answer) => panic!("used twice: {answer:?}"),
            Said::No(error) if family.app.fate.get() == Standing::Alive => {
                assert_eq!(error, "invalid_grant");
                self.family_has_ended(&family);
            }
            Said::No(_) | Said::Unclear => {}
        }
    }
}
