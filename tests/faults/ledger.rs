//! What was promised? Every 2xx is written down; afterwards each must be kept, and what never had a
//! clear answer may be there or not, but whole.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::front::{Front, is_alive, is_dead, is_refusal};
use super::grants::{Family, Person};
use super::oracle::each_is;
use super::report::count;
use crate::harness::request::Answer;
use crate::harness::{App, Request};

/// Whoever was not answered, or told to come again, does so a little later.
const PAUSE: Duration = Duration::from_millis(20);

/// What clients were told, and how often they were told nothing.
#[derive(Default)]
pub struct Ledger {
    pub(super) person: Option<Person>,
    may_be_silent: bool,
    alive: Mutex<Vec<String>>,
    dead: Mutex<Vec<String>>,
    doubtful: Mutex<Vec<String>>,
    pub(super) families: Mutex<Vec<Family>>,
    pub(super) ended: Mutex<Vec<Family>>,
    /// Families whose end had no clear answer.
    pub(super) torn: Mutex<Vec<Family>>,
    /// Codes that were redeemed, and refresh tokens that were used, without a clear answer.
    pub(super) codes: Mutex<Vec<String>>,
    pub(super) refreshes: Mutex<Vec<String>>,
    refused: AtomicUsize,
    silent: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
    slowest: Mutex<Duration>,
}

/// How much was promised, and how often there was no clear answer.
pub struct Totals {
    pub issued: usize,
    pub revoked: usize,
    /// Codes that were redeemed and refreshed, and how many of these families were ended.
    pub grants: usize,
    pub ended: usize,
    /// 503, and no answer at all.
    pub refused: usize,
    pub silent: usize,
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issued, revoked, grants, ended, refused, silent } = self;
        write!(formatter, "{issued} tokens issued, {revoked} of them revoked, ")?;
        if *grants > 0 {
            write!(formatter, "{grants} codes redeemed and refreshed, {ended} of these families ended, ")?;
        }
        write!(formatter, "{refused} requests refused, {silent} without an answer")
    }
}

impl Ledger {
    /// One that keeps what is promised to a person's application as well.
    pub fn with(person: Person) -> Self {
        Self::default().and(person)
    }

    /// The same, of the person as well.
    pub fn and(self, person: Person) -> Self {
        Self { person: Some(person), ..self }
    }

    /// Of servers that are killed or frozen and then say nothing. Whoever lives answers every request, be it with
    /// 503: a connection that hangs or is reset is a fault of its own (L6, L7).
    pub fn of_the_killed(self) -> Self {
        Self { may_be_silent: true, ..self }
    }

    /// Loads a server with token requests and revocations, and grants of the person, until told to stop.
    pub fn load(self: &Arc<Self>, app: &App, tasks: usize) -> Load {
        self.load_through(&Arc::new(app.clone()), app, tasks)
    }

    /// The same by way of whatever stands before the servers.
    pub fn load_through(self: &Arc<Self>, front: &Arc<impl Front>, app: &App, tasks: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for task in 0..tasks {
            let (ledger, front, app, stop) =
                (Arc::clone(self), Arc::clone(front), app.clone(), Arc::clone(&stop));
            running.spawn(async move {
                let mut turn = task;
                while !stop.load(Ordering::Relaxed) {
                    ledger.once(&*front, &app, turn.is_multiple_of(3)).await;
                    turn += 1;
                }
            });
        }
        if let Some(person) = self.person.clone() {
            let (ledger, front, stop) = (Arc::clone(self), Arc::clone(front), Arc::clone(&stop));
            running.spawn(async move {
                let mut turn = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    ledger.grant(&*front, &person, turn.is_multiple_of(3)).await;
                    turn += 1;
                }
            });
        }
        Load { stop, running }
    }

    /// A token is given, asked about, and ended or not.
    pub(super) async fn once(&self, front: &impl Front, app: &App, is_ended: bool) {
        let Some(given) = self.ask(front, app.client_credentials(), is_given).await else { return };
        let token = given.text("access_token");
        self.ask(front, app.introspect(&token), is_alive).await;
        if !is_ended {
            return self.promised(token);
        }
        match self.ask(front, app.revoke(&token), is_given).await {
            Some(_) => {
                self.ask_of_the_dead(front, app, &token).await;
                self.has_ended(token);
            }
            None => self.in_doubt(token),
        }
    }

    /// Whose end was acknowledged is dead to whoever asks from then on (L2).
    pub(super) async fn ask_of_the_dead(&self, front: &impl Front, app: &App, token: &str) {
        self.ask(front, app.introspect(token), is_dead).await;
        self.ask(front, app.resource(token), is_dead).await;
    }

    /// The right answer; any other that is no refusal is kept to be judged (L6). Nothing if there was none.
    pub async fn ask(
        &self,
        front: &impl Front,
        request: Request,
        is_right: fn(&Answer) -> bool,
    ) -> Option<Answer> {
        let begun = Instant::now();
        let told = front.ask(request).await;
        {
            let mut slowest = self.slowest.lock().unwrap();
            *slowest = begun.elapsed().max(*slowest);
        }
        match told {
            Ok(answer) if is_right(&answer) => return Some(answer),
            Ok(answer) if is_refusal(&answer) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            Ok(answer) => self.wrong.lock().unwrap().push(format!("{answer:?}")),
            Err(silence) => self.silent.lock().unwrap().push(silence),
        }
        tokio::time::sleep(PAUSE).await;
        None
    }

    /// A living token that somebody was given.
    pub fn promised(&self, token: String) {
        self.alive.lock().unwrap().push(token);
    }

    /// A token whose end was acknowledged.
    pub fn has_ended(&self, token: String) {
        self.dead.lock().unwrap().push(token);
    }

    /// A token whose end had no clear answer.
    pub fn in_doubt(&self, token: String) {
        self.doubtful.lock().unwrap().push(token);
    }

    /// An operator has ended everything that was given so far.
    pub fn all_has_ended(&self) {
        let Self { alive, dead, doubtful, families, ended, torn, .. } = self;
        for tokens in [alive, doubtful] {
            dead.lock().unwrap().append(&mut tokens.lock().unwrap());
        }
        for kind in [families, torn] {
            ended.lock().unwrap().append(&mut kind.lock().unwrap());
        }
    }

    /// What could be presented beside tokens: the secret of the person's application.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.person.iter().map(Person::secret)
    }

    /// A family whose end was acknowledged.
    pub(super) fn has_ended_all(&self, family: Family) {
        self.ended.lock().unwrap().push(family);
    }

    /// How many tokens were promised so far.
    pub fn issued(&self) -> usize {
        self.alive.lock().unwrap().len() + self.revoked()
    }

    /// How many ends were acknowledged so far.
    pub fn revoked(&self) -> usize {
        self.dead.lock().unwrap().len()
    }

    /// The longest that a request took so far, with an answer or without.
    pub fn slowest(&self) -> Duration {
        *self.slowest.lock().unwrap()
    }

    pub fn totals(&self) -> Totals {
        let ended = self.ended.lock().unwrap().len();
        Totals {
            issued: self.issued(),
            revoked: self.revoked(),
            grants: self.families.lock().unwrap().len() + ended,
            ended,
            refused: self.refused.load(Ordering::Relaxed),
            silent: self.silent.lock().unwrap().len(),
        }
    }

    /// Asks a server that remembers nothing of it about everything that was promised. Nothing acknowledged may
    /// be lost (L1), nothing dead may live (L2), and no fault of ours may be called the client's (L6).
    pub(super) async fn judge(&self, row: &str, app: &App) {
        let wrong = self.wrong.lock().unwrap().clone();
        assert!(wrong.is_empty(), "errors that only true reasons may have: {wrong:#?}");
        let silent = self.silent.lock().unwrap().clone();
        assert!(self.may_be_silent || silent.is_empty(), "no answer of a server that lives: {silent:#?}");
        for (tokens, active) in [(&self.alive, Some(true)), (&self.dead, Some(false)), (&self.doubtful, None)]
        {
            let tokens = tokens.lock().unwrap().clone();
            each_is(app, tokens, active).await;
        }
        if let Some(person) = &self.person {
            self.judge_grants(&person.at(app)).await;
        }
        let Totals { issued, revoked, grants, ended, refused, silent } = self.totals();
        // Of a grant: a code, its tokens, what they were refreshed to, and its end.
        count(row, issued + revoked + 3 * grants + ended + refused + silent, revoked + ended);
    }
}

pub(super) fn is_given(answer: &Answer) -> bool {
    answer.status == 200
}

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    running: JoinSet<()>,
}

impl Load {
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join_all().await;
    }
}
