//! Is a note of how far the log was seen one of ours, whole, or refused? (F21)
//!
//! Input: `checkpoint.json`, presented as it stands, and once more with the right MAC over what it says.
#![cfg_attr(fuzzing, no_main)]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use chancery::checkpoint::{Checkpoint, RollbackError};
use chancery::config::{Config, Environment, Flags};
use chancery::keys::{Keys, RootSecret};
use serde_json::{Value, json};

static KEYS: LazyLock<Keys> =
    LazyLock::new(|| Keys::derive(&RootSecret::from_text(&"0123456789abcdef".repeat(4)).unwrap()).unwrap());

static CHECKPOINT: LazyLock<Checkpoint> = LazyLock::new(|| {
    // In memory where files can be: on a disk each would take milliseconds.
    let memory = PathBuf::from("/dev/shm");
    let base = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let directory = base.join(format!("chancery-note-{}", std::process::id()));
    let flags = Flags::from([("data-dir", vec![directory.display().to_string()])]);
    // Without a home it is in the data directory.
    Checkpoint::of(&Config::load(&flags, &Environment::default()).unwrap(), &KEYS)
});

pub fn run(data: &[u8]) {
    let signed = serde_json::from_slice(data).ok().and_then(signed);
    match seen(data) {
        Ok(position) => {
            let (note, said) = signed.as_ref().unwrap();
            assert_eq!(position, Some(*said));
            assert_eq!(serde_json::from_slice::<Value>(data).unwrap(), *note);
        }
        Err(RollbackError::Forged(_)) => {}
        // What is not text is no note; whoever reads it is told what the system says.
        Err(RollbackError::File { .. }) => assert!(std::str::from_utf8(data).is_err()),
        Err(other) => panic!("{other}"),
    }
    if let Some((note, said)) = &signed {
        assert_eq!(seen(note.to_string().as_bytes()).unwrap(), Some(*said), "{note}");
    }
}

/// The note is a file: there is one for as long as it is looked at.
fn seen(text: &[u8]) -> Result<Option<i64>, RollbackError> {
    let directory = CHECKPOINT.path().parent().unwrap();
    fs::create_dir_all(directory).unwrap();
    fs::write(CHECKPOINT.path(), text).unwrap();
    let seen = CHECKPOINT.seen(&KEYS);
    fs::remove_dir_all(directory).unwrap();
    seen
}

/// The note with the MAC that belongs to it, and how far it says the log was seen; `None` if it has not the
/// shape of one.
fn signed(mut note: Value) -> Option<(Value, i64)> {
    let optional = |value: &Value| Some(value.clone()).filter(|value| !value.is_null());
    let (position, chain) = (note.get("position")?.as_i64()?, note.get("chain")?.as_str()?.to_owned());
    let log = note.get("log").and_then(optional).map(|log| log.as_str().map(str::to_owned).ok_or(()));
    let epoch = note.get("epoch").and_then(optional).map(|epoch| epoch.as_u64().ok_or(()));
    let epoch = epoch.transpose().ok()?.map(u8::try_from).transpose().ok()?;
    let restored = note.get("restored").map_or(Some(false), Value::as_bool)?;
    let said = match (log.transpose().ok()?, epoch) {
        (Some(log), Some(epoch)) => {
            format!("{position} {chain} {} {log} {epoch} {restored}", KEYS.fingerprint())
        }
        _ => format!("{position} {chain} {}", KEYS.fingerprint()),
    };
    note["mac"] = json!(KEYS.checkpoint_mac(&said));
    Some((note, position))
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
