//! Do all parsers still bear every input of their fuzz targets? (`fuzz/targets`, one file each)
//!
//! `tests/run fuzz` looks for new ones. Run here are the seeds that somebody wrote or that were once not borne
//! (`fuzz/seeds`), and what `tests/run corpus` has kept of all that was found (`fuzz/corpus`, an input a line).

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[path = "../fuzz/targets/archive_line.rs"]
mod archive_line;
#[path = "../fuzz/targets/authorize_query.rs"]
mod authorize_query;
#[path = "../fuzz/targets/basic_header.rs"]
mod basic_header;
#[path = "../fuzz/targets/bearer_header.rs"]
mod bearer_header;
#[path = "../fuzz/targets/checkpoint_note.rs"]
mod checkpoint_note;
#[path = "../fuzz/targets/config_file.rs"]
mod config_file;
#[path = "../fuzz/targets/event_decode.rs"]
mod event_decode;
#[path = "../fuzz/targets/form_pairs.rs"]
mod form_pairs;
#[path = "../fuzz/targets/forwarded.rs"]
mod forwarded;
#[path = "../fuzz/targets/issuer.rs"]
mod issuer;
#[path = "../fuzz/targets/local_path.rs"]
mod local_path;
#[path = "../fuzz/targets/names.rs"]
mod names;
#[path = "../fuzz/targets/page_cursor.rs"]
mod page_cursor;
#[path = "../fuzz/targets/pkce.rs"]
mod pkce;
#[path = "../fuzz/targets/redirect_match.rs"]
mod redirect_match;
#[path = "../fuzz/targets/registration_form.rs"]
mod registration_form;
#[path = "../fuzz/targets/request_id.rs"]
mod request_id;
#[path = "../fuzz/targets/resource.rs"]
mod resource;
#[path = "../fuzz/targets/root_secret.rs"]
mod root_secret;
#[path = "../fuzz/targets/scope.rs"]
mod scope;
#[path = "../fuzz/targets/sealed_box.rs"]
mod sealed_box;
#[path = "../fuzz/targets/session_cookie.rs"]
mod session_cookie;
#[path = "../fuzz/targets/stream_state.rs"]
mod stream_state;
#[path = "../fuzz/targets/template_escape.rs"]
mod template_escape;
#[path = "../fuzz/targets/token_text.rs"]
mod token_text;

type Target = fn(&[u8]);

/// Every target with its body.
const TARGETS: &[(&str, Target)] = &[
    ("archive_line", archive_line::run),
    ("authorize_query", authorize_query::run),
    ("basic_header", basic_header::run),
    ("bearer_header", bearer_header::run),
    ("checkpoint_note", checkpoint_note::run),
    ("config_file", config_file::run),
    ("event_decode", event_decode::run),
    ("form_pairs", form_pairs::run),
    ("forwarded", forwarded::run),
    ("issuer", issuer::run),
    ("local_path", local_path::run),
    ("names", names::run),
    ("page_cursor", page_cursor::run),
    ("pkce", pkce::run),
    ("redirect_match", redirect_match::run),
    ("registration_form", registration_form::run),
    ("request_id", request_id::run),
    ("resource", resource::run),
    ("root_secret", root_secret::run),
    ("scope", scope::run),
    ("sealed_box", sealed_box::run),
    ("session_cookie", session_cookie::run),
    ("stream_state", stream_state::run),
    ("template_escape", template_escape::run),
    ("token_text", token_text::run),
];

/// A clone brings them along, and every run of the tests runs them.
const MOST_KEPT: usize = 200 << 10;
/// The golden files are the seeds of what reads events: a new event is fuzzed without anybody's doing.
const GOLDEN: &str = "tests/events";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(directory))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_seed_and_every_kept_input_is_borne() {
    let mut kept_bytes = 0_usize;
    for (name, target) in TARGETS {
        let mut seeds = files(&format!("fuzz/seeds/{name}"));
        if *name == "event_decode" {
            seeds.extend(files(GOLDEN));
        }
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            // Seen only if the next line panics.
            eprintln!("{}", seed.display());
            target(&fs::read(&seed).unwrap());
        }
        let corpus = format!("fuzz/corpus/{name}");
        let kept = fs::read_to_string(root().join(&corpus));
        let kept = kept.unwrap_or_else(|error| panic!("{corpus}: {error}; `tests/run corpus` makes it"));
        for (number, input) in (1..).zip(kept.lines()) {
            eprintln!("{corpus}, line {number}");
            target(&STANDARD.decode(input).unwrap());
        }
        kept_bytes += kept.len();
    }
    assert!((1..=MOST_KEPT).contains(&kept_bytes), "{kept_bytes} bytes are kept");
}

#[test]
fn every_fuzz_target_is_built_and_replayed() {
    let stem = |path: &PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut written: Vec<String> = files("fuzz/targets").iter().map(stem).collect();
    written.sort();
    let replayed: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(written, replayed);
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for name in written {
        let entry = format!("[[bin]]\nname = \"{name}\"\npath = \"targets/{name}.rs\"\n");
        assert!(manifest.contains(&entry), "fuzz/Cargo.toml lacks {name}");
    }
}
