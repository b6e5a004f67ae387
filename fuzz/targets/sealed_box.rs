//! Does a seal open for anything but what it was made for?
//!
//! Input: where to edit and what to put there (two bytes), then a text: presented as a seal of each kind,
//! and sealed as each kind.
#![cfg_attr(fuzzing, no_main)]

use std::sync::{Arc, LazyLock};

use chancery::keys::{Keys, RootSecret};
use chancery::sealing::{SealedBox, SubjectKey, open_at_rest, open_personal, seal_at_rest, seal_personal};
use chrono::{DateTime, TimeDelta, Utc};

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

static KEYS: LazyLock<Arc<Keys>> = LazyLock::new(|| {
    let root = RootSecret::from_text(&"0123456789abcdef".repeat(4)).unwrap();
    Arc::new(Keys::derive(&root).unwrap())
});
static SUBJECT: LazyLock<SubjectKey> = LazyLock::new(SubjectKey::generate);

pub fn run(data: &[u8]) {
    let Some(([place, byte], text)) = data.split_first_chunk::<2>() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let edited = |seal: &str| edited(seal, *place, *byte);
    let in_progress = SealedBox::new(Arc::clone(&KEYS));
    let open =
        |purpose, bound_to: &str, now, seal: &str| in_progress.open::<String>(purpose, bound_to, now, seal);
    // For another use than any below: the fuzzer sees what is compared, and presents a seal it has seen.
    assert!(open("c", "b", NOW, text).is_err());
    let later = NOW + TimeDelta::milliseconds(1);
    let seal = in_progress.seal("a", "b", later, &text).unwrap();
    assert_eq!(open("a", "b", NOW, &seal).as_deref(), Ok(text));
    assert!(open("a", "b", later, &seal).is_err() && open("b", "b", NOW, &seal).is_err());
    assert!(open("a", text, NOW, &seal).is_err() || text == "b");
    assert!(edited(&seal).is_none_or(|seal| open("a", "b", NOW, &seal).is_err()));

    assert!(open_personal(&SUBJECT, "c", text).is_err());
    let seal = seal_personal(&SUBJECT, "a", text).unwrap();
    assert_eq!(open_personal(&SUBJECT, "a", &seal).as_deref(), Ok(text));
    assert!(open_personal(&SUBJECT, text, &seal).is_err() || text == "a");
    assert!(edited(&seal).is_none_or(|seal| open_personal(&SUBJECT, "a", &seal).is_err()));

    assert!(open_at_rest(&KEYS, "c", text).is_err() && SubjectKey::unwrap(&KEYS, text).is_err());
    let seal = seal_at_rest(&KEYS, "a", text.as_bytes()).unwrap();
    assert_eq!(open_at_rest(&KEYS, "a", &seal).as_deref(), Ok(&text.as_bytes().to_vec()));
    assert!(open_at_rest(&KEYS, text, &seal).is_err() || text == "a");
    assert!(edited(&seal).is_none_or(|seal| open_at_rest(&KEYS, "a", &seal).is_err()));
}

/// The seal with one byte changed; `None` if that changes nothing.
fn edited(seal: &str, place: u8, byte: u8) -> Option<String> {
    let mut bytes = seal.as_bytes().to_vec();
    let place = usize::from(place) % bytes.len();
    bytes[place] = byte & 0x7f;
    String::from_utf8(bytes).ok().filter(|edited| edited != seal)
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
