//! Does the aggregate do what a much simpler model does, whatever is asked in whatever order?
//!
//! The model knows facts and no events: twenty thousand random histories are lived through both, and after
//! each step they must agree on what was given, what is alive, and what a second presentation ends.

use proptest::prelude::*;

use super::*;

const HISTORIES: u32 = 20_000;
const LONGEST: usize = 40;
const WINDOW: i64 = 30;
const ACCESS_LIVES: i64 = 36_000;

#[derive(Clone, Debug)]
enum Step {
    Redeem {
        is_own: bool,
        is_proved: bool,
    },
    /// How many generations before the live one; negative ones were never issued.
    Refresh {
        is_own: bool,
        back: i64,
        asks: Asks,
        has_window: bool,
    },
    RevokeToken {
        back: usize,
    },
    Revoke,
    Wait(i64),
}

#[derive(Clone, Copy, Debug)]
enum Asks {
    Nothing,
    Less,
    More,
}

fn step() -> impl Strategy<Value = Step> {
    let mostly = || prop::bool::weighted(0.9);
    let asks = prop_oneof![4 => Just(Asks::Nothing), 2 => Just(Asks::Less), 1 => Just(Asks::More)];
    let back = prop_oneof![8 => Just(0_i64), 3 => Just(1), 1 => Just(2), 1 => Just(-1)];
    let waits =
        prop::sample::select(vec![0_i64, 1, 29, 30, 31, 60, 3_600, 36_000, 1_000_000, 2_592_000, 9_000_000]);
    prop_oneof![
        3 => (mostly(), mostly()).prop_map(|(is_own, is_proved)| Step::Redeem { is_own, is_proved }),
        8 => (mostly(), back, asks, any::<bool>())
            .prop_map(|(is_own, back, asks, has_window)| Step::Refresh { is_own, back, asks, has_window }),
        1 => (0..3_usize).prop_map(|back| Step::RevokeToken { back }),
        1 => prop::bool::weighted(0.3).prop_map(|really| if really { Step::Revoke } else { Step::Wait(1) }),
        4 => waits.prop_map(Step::Wait),
    ]
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// A new pair, or the first.
    New,
    /// The same pair again.
    Again,
    /// Nothing, and nothing changed.
    Nothing,
    /// Nothing, and everything that was given is dead.
    TheEnd,
}

/// The facts.
#[derive(Default)]
struct Model {
    now: i64,
    is_over: bool,
    /// When each access token ends; the last is the only one that can be alive.
    tokens: Vec<i64>,
    is_last_revoked: bool,
    refreshed_at: Option<i64>,
    idle_ends: i64,
}

impl Model {
    /// The first pair has generation 1.
    fn live(&self) -> i64 {
        i64::try_from(self.tokens.len()).unwrap()
    }

    fn is_alive(&self) -> bool {
        !self.is_over && !self.is_last_revoked && self.tokens.last().is_some_and(|ends| self.now < *ends)
    }

    fn gives(&mut self) -> Came {
        self.tokens.push(self.now + ACCESS_LIVES);
        self.is_last_revoked = false;
        self.idle_ends = (self.now + IDLE_ENDS).min(FAMILY_ENDS);
        Came::New
    }

    fn ends(&mut self) -> Came {
        self.is_over = true;
        Came::TheEnd
    }

    fn redeem(&mut self, is_own: bool, is_proved: bool) -> Came {
        if !is_own || !is_proved || self.is_over {
            Came::Nothing
        } else if !self.tokens.is_empty() {
            self.ends()
        } else if self.now < CODE_ENDS {
            self.gives()
        } else {
            Came::Nothing
        }
    }

    fn refresh(&mut self, is_own: bool, generation: i64, asks: Asks, has_window: bool) -> Came {
        let is_known = (1..=self.live()).contains(&generation);
        if !is_own || self.is_over || !is_known {
            return Came::Nothing;
        }
        let is_soon = self.refreshed_at.is_some_and(|then| self.now - then <= WINDOW);
        let is_retry = generation + 1 == self.live() && has_window && is_soon && self.is_alive();
        if generation < self.live() && !is_retry {
            return self.ends();
        }
        let is_late = self.now >= self.idle_ends || self.now >= FAMILY_ENDS;
        if is_late || matches!(asks, Asks::More) {
            return Came::Nothing;
        }
        if is_retry {
            return Came::Again;
        }
        self.refreshed_at = Some(self.now);
        self.gives()
    }
}

/// The aggregate with its history.
#[derive(Default)]
struct Real {
    state: Authorization,
    issued: Vec<IssuedToken>,
}

impl Real {
    fn apply(&mut self, events: Vec<AuthorizationEvent>) {
        for event in events {
            if let AuthorizationEvent::TokenIssued { issued, .. }
            | AuthorizationEvent::TokenRefreshed { issued, .. } = &event
            {
                self.issued.push(issued.clone());
            }
            self.state.apply_event(event);
        }
    }

    /// Decides, reports what must be reported, and says what came of it.
    fn decide(&mut self, command: AuthorizationCommand, at: DateTime<Utc>, generation: u32) -> Came {
        let reused = match self.state.decide(command) {
            Ok(events) if events.is_empty() => return Came::Again,
            Ok(events) => {
                self.apply(events);
                return Came::New;
            }
            Err(AuthorizationError::AlreadyRedeemed) => Reused::Code,
            Err(AuthorizationError::RefreshTokenReused) => Reused::RefreshToken { generation },
            Err(_) => return Came::Nothing,
        };
        let events = self.state.decide(AuthorizationCommand::ReportReuse { reused, at }).unwrap();
        self.apply(events);
        Came::TheEnd
    }

    fn redeem(&mut self, now: i64, is_own: bool, is_proved: bool) -> Came {
        let command = AuthorizationCommand::RedeemCode {
            client_id: if is_own { "client" } else { "another" }.to_owned(),
            redirect_uri: Some(CALLBACK.to_owned()),
            verifier: Some(challenge(if is_proved { "v" } else { "w" })),
            resource: Vec::new(),
            access: token(&format!("access-{}", self.issued.len() + 1), now + ACCESS_LIVES),
            refresh: Some(terms(now + IDLE_ENDS, FAMILY_ENDS)),
            at: at(now),
        };
        self.decide(command, at(now), 0)
    }

    fn refresh(&mut self, now: i64, is_own: bool, generation: u32, asks: Asks, has_window: bool) -> Came {
        let command = AuthorizationCommand::RefreshToken {
            client_id: if is_own { "client" } else { "another" }.to_owned(),
            generation,
            scope: match asks {
                Asks::Nothing => None,
                Asks::Less => Some(scope("read")),
                Asks::More => Some(scope("read write admin")),
            },
            allowed_scope: scope("read write"),
            resource: Vec::new(),
            access: token(&format!("access-{}", self.issued.len() + 1), now + ACCESS_LIVES),
            idle_expires_at: at(now + IDLE_ENDS),
            retry_window: if has_window { u32::try_from(WINDOW).unwrap() } else { 0 },
            at: at(now),
        };
        self.decide(command, at(now), generation)
    }
}

/// One step through both; what came of it must be the same.
fn live_through(model: &mut Model, real: &mut Real, step: &Step) {
    let now = model.now;
    match *step {
        Step::Wait(seconds) => model.now += seconds,
        Step::Redeem { is_own, is_proved } => {
            assert_eq!(real.redeem(now, is_own, is_proved), model.redeem(is_own, is_proved));
        }
        Step::Refresh { is_own, back, asks, has_window } => {
            let generation = model.live() - back;
            let sent = u32::try_from(generation.max(0)).unwrap();
            let came = real.refresh(now, is_own, sent, asks, has_window);
            assert_eq!(came, model.refresh(is_own, generation, asks, has_window));
        }
        Step::RevokeToken { back } => {
            let Some(index) = real.issued.len().checked_sub(back + 1) else { return };
            let token_id = real.issued[index].token.id.clone();
            let reason = RevocationReason::Client;
            let command = AuthorizationCommand::RevokeAccessToken { token_id, reason, at: at(now) };
            let events = real.state.decide(command).unwrap();
            real.apply(events);
            model.is_last_revoked |= back == 0 && !model.is_over;
        }
        Step::Revoke => {
            let reason = RevocationReason::ResourceOwner;
            let command = AuthorizationCommand::RevokeAuthorization { reason, at: at(now) };
            let events = real.state.decide(command).unwrap();
            real.apply(events);
            model.is_over = true;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(HISTORIES))]

    #[test]
    fn twenty_thousand_histories_are_what_the_model_says(steps in prop::collection::vec(step(), 1..LONGEST)) {
        let (mut model, mut real) = (Model::default(), Real::default());
        real.apply(vec![granted()]);
        for step in &steps {
            live_through(&mut model, &mut real, step);
            prop_assert_eq!(real.state.is_access_token_alive(at(model.now)), model.is_alive(), "alive");
            prop_assert_eq!(real.state.is_revoked(), model.is_over, "over");
            prop_assert_eq!(real.issued.len(), model.tokens.len(), "given");
            let generation = real.state.generation().map_or(0, i64::from);
            prop_assert_eq!(generation, model.live(), "generation");
            prop_assert!(real.issued.iter().all(|one| scope("read write").contains_all(&one.scope)), "scope");
        }
    }
}
