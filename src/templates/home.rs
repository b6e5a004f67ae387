//! What should somebody who opens `/` do next?

use serde::Serialize;

use super::roll::Roll;
use super::samples::{self, Sample};
use super::{Page, paths};

/// The home page.
#[derive(Debug, Clone, Serialize)]
pub struct Home {
    /// What to do next.
    pub next: NextStep,
    /// The configured issuer (RFC 8414 §2).
    pub issuer: String,
    /// How much there is; shown to those who are logged in.
    pub figures: Option<Figures>,
    /// The newest events the reader may see.
    pub roll: Option<Roll>,
}

/// The next step of a new installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum NextStep {
    /// Nobody can log in yet.
    CreateSuperuser {
        /// The command that creates one on this machine.
        command: String,
    },
    /// Somebody exists, the reader is not logged in.
    LogIn,
    /// The reader has no application.
    RegisterApplication,
    /// Everything is set up; the roll is what there is to read.
    ReadHistory,
}

/// How much the reader has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Applications the reader may see.
    pub applications: u64,
    /// Live authorizations the reader has given.
    pub authorizations: u64,
    /// Live tokens of both.
    pub live_tokens: u64,
    /// Events on the roll, all readers together.
    pub events: u64,
}

impl Home {
    /// The home page of somebody who is not logged in.
    #[must_use]
    pub fn outside(next: NextStep, issuer: impl Into<String>) -> Self {
        Self { next, issuer: issuer.into(), figures: None, roll: None }
    }
}

impl Page for Home {
    const TEMPLATE: &'static str = "pages/home.html";

    fn title(&self) -> String {
        match self.next {
            NextStep::CreateSuperuser { .. } => "Create the first superuser",
            NextStep::LogIn | NextStep::ReadHistory => "Home",
            NextStep::RegisterApplication => "Register your first application",
        }
        .to_owned()
    }

    fn samples() -> Vec<Sample<Self>> {
        let command = "chancery createsuperuser".to_owned();
        let home = |next| Self::outside(next, "http://127.0.0.1:8000");
        let figures = |applications, events| {
            Some(Figures { applications, authorizations: applications, live_tokens: 3, events })
        };
        vec![
            Sample::nobody("home_fresh", paths::HOME, home(NextStep::CreateSuperuser { command })),
            Sample::nobody("home_log_in", paths::HOME, home(NextStep::LogIn)),
            Sample::user(
                "home_no_application",
                paths::HOME,
                Self { figures: figures(0, 3), ..home(NextStep::RegisterApplication) },
            ),
            Sample::superuser(
                "home_history",
                paths::HOME,
                Self {
                    figures: figures(2, 4_217),
                    roll: Some(samples::application_roll()),
                    ..home(NextStep::ReadHistory)
                },
            ),
        ]
    }
}
