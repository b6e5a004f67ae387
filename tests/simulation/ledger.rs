//! What was promised, and is it so? Each token with what its holder may rely on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use chancery::secret::{new_client_id, new_client_secret};
use tokio::time::Instant;

/// What may be said of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Given, and nobody has asked to end it.
    Alive,
    /// Something that may have ended it has no clear answer yet.
    Doubtful,
    /// Its end was acknowledged.
    Dead,
}

/// A shared standing that only gets worse, and since when it is the worst.
#[derive(Debug, Clone)]
pub struct Fate(Rc<Cell<(Standing, Instant)>>);

impl Fate {
    pub fn new() -> Self {
        Self(Rc::new(Cell::new((Standing::Alive, Instant::now()))))
    }

    pub fn get(&self) -> Standing {
        self.0.get().0
    }

    pub fn fall(&self, to: Standing) {
        if to > self.get() {
            self.0.set((to, Instant::now()));
        }
    }

    /// Since when it is known to be over.
    fn dead_since(&self) -> Option<Instant> {
        let (standing, since) = self.0.get();
        (standing == Standing::Dead).then_some(since)
    }
}

/// What an application may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Codes, for somebody who is logged in.
    Web,
    /// Codes, when somebody who is logged in says so.
    Asking,
    /// Tokens for itself.
    Machine,
}

/// An application and its secret; who ends it ends every token of it.
#[derive(Debug, Clone)]
pub struct App {
    pub kind: Kind,
    pub client_id: String,
    pub secret: String,
    pub fate: Fate,
}

impl App {
    /// One that nobody has registered yet.
    pub fn minted(kind: Kind) -> Self {
        let secret = new_client_secret().expose().to_owned();
        Self { kind, client_id: new_client_id(), secret, fate: Fate::new() }
    }
}

/// A token that was given.
#[derive(Debug)]
pub struct Token {
    pub text: String,
    pub app: Rc<App>,
    pub own: Fate,
    pub family: Option<Rc<Family>>,
}

impl Token {
    pub fn standing(&self) -> Standing {
        let family = self.family.as_ref().map_or(Standing::Alive, |family| family.standing());
        self.own.get().max(family).max(self.app.fate.get())
    }

    /// Since when its end was acknowledged.
    pub fn dead_since(&self) -> Option<Instant> {
        let family = self.family.as_ref().and_then(|family| family.fate.dead_since());
        [self.own.dead_since(), family, self.app.fate.dead_since()].into_iter().flatten().min()
    }
}

/// What began with one code.
#[derive(Debug)]
pub struct Family {
    pub app: Rc<App>,
    pub code: String,
    pub fate: Fate,
    pub now: RefCell<Now>,
}

impl Family {
    pub fn standing(&self) -> Standing {
        self.fate.get().max(self.app.fate.get())
    }
}

/// What a family stands at.
#[derive(Debug, Default)]
pub struct Now {
    /// The refresh token to be used next.
    pub refresh: String,
    /// One that was used before, when that was acknowledged.
    pub former: Option<String>,
    /// The access token that goes with it.
    pub access: Option<Rc<Token>>,
    /// Somebody is about to use it.
    pub is_busy: bool,
}
