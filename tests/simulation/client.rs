//! What do clients do? Ask any node for anything, believe what they are told, and hold every later answer
//! against it (rules L1 to L3 and L6).

mod families;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use aggregates::application::{Application, ApplicationCommand};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use chancery::commands::{Actor, Origin, Stream};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use url::form_urlencoded::Serializer;

use super::ledger::{App, Family, Fate, Kind, Standing, Token};
use super::node::{Answer, Nodes};
use super::world::NODES;

pub const REDIRECT: &str = "https://app.example/cb";
/// Tokens that are asked about; older ones are forgotten until the end.
const RECENT: usize = 200;

/// Of those that ended last somebody asks more often: there a stale answer would be.
const JUST_ENDED: usize = 8;

/// Where clients mostly end tokens this node is only asked: its own commands would tell it of what came before
/// them, and so it learns of ends by its polls alone.
pub const READER: usize = NODES - 1;

/// Whoever ends a token draws so often until it is a living one; now and then none is.
const DRAWS: usize = 4;

/// So long after an end was committed nobody may tell anything from before (rule R2). A hundredth more, for
/// clocks that are slow.
const LEASES_ARE_OVER: Duration = Duration::from_millis(1_010);

/// Those who ask, and what they know together.
pub struct Clients {
    pub mix: Mix,
    pub nodes: Rc<Nodes>,
    pub apps: RefCell<Vec<Rc<App>>>,
    pub cookie: String,
    pub tokens: RefCell<Vec<Rc<Token>>>,
    /// Those that ended last.
    pub ended: RefCell<VecDeque<Rc<Token>>>,
    pub families: RefCell<Vec<Rc<Family>>>,
    pub tally: RefCell<Tally>,
}

/// What it came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    pub requests: usize,
    pub done: usize,
    pub refused: usize,
    pub unavailable: usize,
    pub unanswered: usize,
    pub issued: usize,
    pub revoked: usize,
    pub races: usize,
    pub asked_dead: usize,
    pub late_polls: usize,
    pub late_hints: usize,
    pub slowest: Duration,
    /// Every answer, in order: the same seed gives the same.
    pub trace: u64,
}

impl std::ops::AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Self) {
        self.requests += other.requests;
        self.done += other.done;
        self.refused += other.refused;
        self.unavailable += other.unavailable;
        self.unanswered += other.unanswered;
        self.issued += other.issued;
        self.revoked += other.revoked;
        self.races += other.races;
        self.asked_dead += other.asked_dead;
        self.late_polls += other.late_polls;
        self.late_hints += other.late_hints;
        self.slowest = self.slowest.max(other.slowest);
        self.trace ^= other.trace;
    }
}

/// An answer as clients understand it.
#[derive(Debug, Default)]
pub enum Said {
    /// 2xx, or a redirect.
    Yes(Answer),
    /// 400 or 401 with this error.
    No(String),
    /// 503, or nothing at all: it may have been done.
    #[default]
    Unclear,
}

/// What is done how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    Everything,
    /// Mostly: something is given, and ended.
    Ends,
}

impl Clients {
    /// One thing that somebody does.
    pub async fn act(&self) {
        let (node, draw) = {
            let mut random = self.nodes.world.random();
            (random.usize(..NODES), random.u32(..100))
        };
        let writes = if self.mix == Mix::Ends { node % READER } else { node };
        match (self.mix, draw) {
            (Mix::Ends, 0..40) | (Mix::Everything, 0..28) => self.issue(writes).await,
            (Mix::Ends, 40..80) | (Mix::Everything, 68..76) => self.revoke(writes).await,
            (Mix::Ends, 80..95) | (Mix::Everything, 28..60) => self.introspect(node).await,
            (Mix::Everything, 60..68) => self.use_token(node).await,
            (Mix::Everything, 76..85) => self.authorize(node).await,
            (Mix::Everything, 85..94) => self.refresh(node).await,
            (Mix::Ends, 95..97) | (Mix::Everything, 94..97) => self.race(writes).await,
            (_, 97..99) => self.replay(writes).await,
            (Mix::Ends | Mix::Everything, _) => self.disable(writes).await,
        }
    }

    // ── Asking ───────────────────────────────────────────────────────────────

    pub async fn ask(&self, node: usize, request: Request<Body>) -> Said {
        let begun = Instant::now();
        let answer = self.nodes.ask(node, request).await;
        let mut tally = self.tally.borrow_mut();
        tally.requests += 1;
        tally.slowest = tally.slowest.max(begun.elapsed());
        let code = answer.as_ref().map_or(0, |answer| answer.status.as_u16());
        let age = self.nodes.world.age().as_micros();
        let seen = u64::from(code) << 40 | u64::try_from(age).unwrap() << 2 | node as u64;
        tally.trace = (tally.trace ^ seen).wrapping_mul(0x0000_0100_0000_01b3);
        let Some(answer) = answer else {
            tally.unanswered += 1;
            return Said::Unclear;
        };
        if answer.status.is_success() || answer.status.is_redirection() {
            tally.done += 1;
            return Said::Yes(answer);
        }
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(answer.headers.contains_key(header::RETRY_AFTER), "{answer:?}");
            tally.unavailable += 1;
            return Said::Unclear;
        }
        assert!(matches!(answer.status.as_u16(), 400 | 401), "{answer:?}");
        tally.refused += 1;
        let error = json(&answer)["error"].as_str().unwrap_or_default().to_owned();
        Said::No(error)
    }

    pub async fn post(&self, node: usize, path: &str, app: &App, pairs: &[(&str, &str)]) -> Said {
        let mut form = Serializer::new(String::new());
        form.append_pair("client_id", &app.client_id).append_pair("client_secret", &app.secret);
        form.extend_pairs(pairs);
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.finish()))
            .unwrap();
        self.ask(node, request).await
    }

    /// Any application of a kind.
    pub fn app(&self, kind: Kind) -> Rc<App> {
        let apps: Vec<_> = self.apps.borrow().iter().filter(|app| app.kind == kind).cloned().collect();
        Rc::clone(&apps[self.nodes.world.random().usize(..apps.len())])
    }

    /// One of the latest tokens.
    fn token(&self) -> Option<Rc<Token>> {
        let tokens = self.tokens.borrow();
        let oldest = tokens.len().saturating_sub(RECENT);
        (!tokens.is_empty())
            .then(|| Rc::clone(&tokens[self.nodes.world.random().usize(oldest..tokens.len())]))
    }

    /// One of those that ended last.
    fn ended(&self) -> Option<Rc<Token>> {
        let ended = self.ended.borrow();
        (!ended.is_empty()).then(|| Rc::clone(&ended[self.nodes.world.random().usize(..ended.len())]))
    }

    /// The end of a token was acknowledged, and of whatever else shares this fate. It counts once, however
    /// often it is asked for.
    fn has_ended(&self, token: &Rc<Token>, fate: &Fate) {
        let is_first = token.standing() != Standing::Dead;
        fate.fall(Standing::Dead);
        self.tally.borrow_mut().revoked += usize::from(is_first);
        let mut ended = self.ended.borrow_mut();
        ended.push_back(Rc::clone(token));
        if ended.len() > JUST_ENDED {
            ended.pop_front();
        }
    }

    fn family(&self) -> Option<Rc<Family>> {
        let families = self.families.borrow();
        let oldest = families.len().saturating_sub(RECENT);
        let index = (!families.is_empty()).then(|| self.nodes.world.random().usize(oldest..families.len()));
        index.map(|index| Rc::clone(&families[index]))
    }

    fn keep(&self, text: &str, app: &Rc<App>, family: Option<Rc<Family>>) -> Rc<Token> {
        self.tally.borrow_mut().issued += 1;
        let token = Rc::new(Token { text: text.to_owned(), app: Rc::clone(app), own: Fate::new(), family });
        self.tokens.borrow_mut().push(Rc::clone(&token));
        token
    }

    // ── What they do ─────────────────────────────────────────────────────────

    async fn issue(&self, node: usize) {
        let app = self.app(Kind::Machine);
        match self.post(node, "/o/token/", &app, &[("grant_type", "client_credentials")]).await {
            Said::Yes(answer) => drop(self.keep(text(&json(&answer), "access_token"), &app, None)),
            Said::No(error) => assert_ne!(app.fate.get(), Standing::Alive, "{error}"),
            Said::Unclear => {}
        }
    }

    async fn introspect(&self, node: usize) {
        let ended = self.nodes.world.random().u32(..3) == 0;
        let token = if ended { self.ended() } else { self.token() };
        if let Some(token) = token {
            self.look_at(node, &token).await;
        }
    }

    /// What a node says of a token, if it says anything; wrong answers end the simulation.
    pub async fn look_at(&self, node: usize, token: &Token) -> Option<bool> {
        let before = token.standing();
        // A disabled application cannot ask any more: the first one may ask about every token.
        let asks = if token.app.fate.get() == Standing::Alive {
            Rc::clone(&token.app)
        } else {
            self.apps.borrow()[0].clone()
        };
        match self.post(node, "/o/introspect/", &asks, &[("token", &token.text)]).await {
            Said::Yes(answer) => {
                let is_active = json(&answer)["active"].as_bool().unwrap();
                assert!(!is_active || before != Standing::Dead, "alive after its end was acknowledged");
                assert!(!is_active || is_recent(token, &answer), "alive from too long ago");
                assert!(is_active || token.standing() != Standing::Alive, "dead, and nobody ended it");
                self.tally.borrow_mut().asked_dead += usize::from(before == Standing::Dead);
                Some(is_active)
            }
            Said::No(error) => {
                assert_ne!(asks.fate.get(), Standing::Alive, "{error}");
                None
            }
            Said::Unclear => None,
        }
    }

    async fn use_token(&self, node: usize) {
        let Some(token) = self.token() else { return };
        let before = token.standing();
        let request = Request::get("/resource")
            .header(header::AUTHORIZATION, format!("Bearer {}", token.text))
            .body(Body::empty())
            .unwrap();
        match self.ask(node, request).await {
            Said::Yes(answer) => {
                assert_ne!(before, Standing::Dead, "served after its end was acknowledged");
                assert!(is_recent(&token, &answer), "served from too long ago");
            }
            Said::No(error) => assert_ne!(token.standing(), Standing::Alive, "{error}"),
            Said::Unclear => {}
        }
    }

    async fn revoke(&self, node: usize) {
        let drawn: Vec<_> = (0..DRAWS).filter_map(|_| self.token()).collect();
        let living = drawn.iter().find(|token| token.standing() != Standing::Dead);
        let Some(token) = living.or(drawn.first()) else { return };
        if token.app.fate.get() != Standing::Alive {
            return;
        }
        let asked = match self.mix {
            Mix::Ends => READER,
            Mix::Everything => self.nodes.world.random().usize(..NODES),
        };
        // It remembers the token, as alive.
        self.look_at(asked, token).await;
        // The revocation of an access token leaves its family alone.
        token.own.fall(Standing::Doubtful);
        match self.post(node, "/o/revoke_token/", &token.app, &[("token", &token.text)]).await {
            Said::Yes(_) => {
                self.has_ended(token, &token.own);
                // From here on it may not say so any more.
                self.look_at(asked, token).await;
            }
            Said::No(error) => assert_ne!(token.app.fate.get(), Standing::Alive, "{error}"),
            Said::Unclear => {}
        }
    }

    /// An application is disabled: whatever was given to it is dead. The first one stays.
    async fn disable(&self, node: usize) {
        let kind = if self.nodes.world.random().bool() { Kind::Web } else { Kind::Machine };
        let app = self.app(kind);
        let is_first = app.client_id == self.apps.borrow()[0].client_id;
        let is_rare = self.nodes.world.random().u32(..10) == 0;
        let others = self.apps.borrow().iter().filter(|one| one.kind == kind).count() - 1;
        if is_first || !is_rare || others == 0 || !self.nodes.is_running(node) {
            return;
        }
        self.apps.borrow_mut().retain(|one| one.client_id != app.client_id);
        app.fate.fall(Standing::Doubtful);
        let state = self.nodes.state(node);
        let command = ApplicationCommand::DisableApplication { at: state.clock.now() };
        let origin = Origin::internal(Actor::Operator, &state.clock);
        let stream = Stream::Existing(app.client_id.clone());
        let executed = state.commands.execute_ending::<Application>(stream, command, &origin).await;
        if executed.is_ok() && self.nodes.is_running(node) {
            let last = self.tokens.borrow().iter().rev().find(|token| Rc::ptr_eq(&token.app, &app)).cloned();
            match last {
                Some(token) => self.has_ended(&token, &app.fate),
                None => app.fate.fall(Standing::Dead),
            }
        }
    }

    /// A pause, as people make.
    pub async fn pause(&self) {
        let pause = self.nodes.world.random().u64(..20_000);
        sleep(Duration::from_micros(pause)).await;
    }
}

/// Where somebody who is logged in goes to let an application have something.
pub fn authorize_path(app: &App) -> String {
    let query = Serializer::new(String::new())
        .append_pair("response_type", "code")
        .append_pair("client_id", &app.client_id)
        .append_pair("redirect_uri", REDIRECT)
        .append_pair("state", "s")
        .finish();
    format!("/o/authorize/?{query}")
}

/// Whether the token may have been alive at some time in the second before the answer (rule R2).
fn is_recent(token: &Token, answer: &Answer) -> bool {
    token.dead_since().is_none_or(|since| answer.at < since + LEASES_ARE_OVER)
}

pub fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

#[track_caller]
pub fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer}"))
}
