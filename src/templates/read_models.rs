//! How far is each read model? For superusers.

use serde::Serialize;

use super::samples::Sample;
use super::{Page, paths};
use crate::journal::read_models::ReadModel;

/// The list of read models.
#[derive(Debug, Clone, Serialize)]
pub struct ReadModels {
    /// Each, the transactional ones first.
    pub rows: Vec<ReadModel>,
}

impl Page for ReadModels {
    const TEMPLATE: &'static str = "pages/read_models.html";

    fn title(&self) -> String {
        "Read models".to_owned()
    }

    fn samples() -> Vec<Sample<Self>> {
        let model = |name, eventual, position, trouble: Option<&str>| ReadModel {
            name,
            eventual,
            stored_version: 1,
            version: 1,
            position,
            lag: 4_217 - position,
            trouble: trouble.map(str::to_owned),
        };
        let rows = vec![
            model("applications", false, 4_217, None),
            model("tokens", false, 4_217, None),
            model("timeline", true, 4_211, None),
        ];
        let stopped = model("timeline", true, 3_998, Some("event at position 3999: unexpected end of input"));
        let stopped = vec![model("applications", false, 4_217, None), stopped];
        vec![
            Sample::superuser("read_models", paths::READ_MODELS, Self { rows }),
            Sample::superuser("read_models_stopped", paths::READ_MODELS, Self { rows: stopped }),
        ]
    }
}
