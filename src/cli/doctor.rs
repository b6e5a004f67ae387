//! `doctor`: what is unsafe in this configuration, or will not work? Looks only; makes and changes nothing.

mod database;
mod settings;

use std::sync::Arc;

use serde_json::{Value, json};

use super::arguments::Report;
use super::failure::Failure;
use super::run::Context;
use crate::config::Database;
use crate::journal::Engine;
use crate::open::{open_engine_to_read, open_patient_engine};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Worth knowing; nothing has to be done.
    Note,
    /// Unsafe under circumstances that the finding names.
    Warning,
    /// Unsafe now, or it does not work.
    Error,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    severity: Severity,
    /// What is so, and what it means.
    what: String,
    /// What to do.
    advice: String,
}

impl Finding {
    fn new(severity: Severity, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { severity, what: what.into(), advice: advice.into() }
    }
}

pub(super) async fn run(context: &Context, arguments: Report) -> Result<(), Failure> {
    let mut findings = settings::check(&context.config);
    findings.extend(database::check(context).await);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let serious = findings.iter().filter(|finding| finding.severity > Severity::Note).count();
    if arguments.json {
        let listed: Vec<Value> = findings.iter().map(as_json).collect();
        context.console.say(json!({ "findings": listed, "serious": serious }));
    } else {
        for finding in &findings {
            context.console.say(format!("{}: {}", finding.severity.word(), finding.what));
            context.console.say(format!("  what to do: {}", finding.advice));
        }
        if serious == 0 {
            context.console.done(match must_exist(context) {
                Ok(()) => "Nothing unsafe was found.",
                Err(_) => {
                    "Nothing unsafe was found in the configuration. There is no database: nothing was checked of one, \
                     nor the root secret against it."
                }
            });
        }
    }
    if serious == 0 { Ok(()) } else { Err(Failure::Findings(serious)) }
}

fn as_json(finding: &Finding) -> Value {
    json!({ "severity": finding.severity.word(), "what": finding.what, "advice": finding.advice })
}

/// A database that is only meant must not be made by whoever asks for something in it.
pub(super) fn must_exist(context: &Context) -> Result<(), Failure> {
    let Database::Embedded(path) = &context.config.database else { return Ok(()) };
    match path.try_exists() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::NothingYet(path.clone())),
        Err(cause) => Err(Failure::File(path.clone(), cause)),
    }
}

/// Opens the database that is there, and never makes one: whoever works on a log must not begin one.
pub(super) fn open_existing(context: &Context) -> Result<Arc<dyn Engine>, Failure> {
    must_exist(context)?;
    Ok(open_patient_engine(&context.config)?)
}

/// Opens the database that is there, to look at it and change nothing.
pub(super) fn open_to_read(context: &Context) -> Result<Arc<dyn Engine>, Failure> {
    must_exist(context)?;
    Ok(open_engine_to_read(&context.config)?)
}
