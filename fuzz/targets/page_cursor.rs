//! Does a list go on from anywhere but where its last page ended?
//!
//! Input: whose list (a byte), where to edit and what to put there (two bytes), and a query. A cursor is
//! good for its reader and its list, and an edited one for nobody.
#![cfg_attr(fuzzing, no_main)]

use std::sync::{Arc, LazyLock};

use chancery::extract::form_pairs::Pairs;
use chancery::keys::{Keys, RootSecret};
use chancery::pages::cursor::{open, seal};
use chancery::pages::position_before;
use chancery::sealing::SealedBox;
use chrono::{DateTime, TimeDelta, Utc};

const LISTS: [&str; 2] = ["/o/applications/", "/o/authorized_tokens/"];
const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

static SEALED: LazyLock<SealedBox> = LazyLock::new(|| {
    let root = RootSecret::from_text(&"0123456789abcdef".repeat(4)).unwrap();
    SealedBox::new(Arc::new(Keys::derive(&root).unwrap()))
});

pub fn run(data: &[u8]) {
    let Some(([whose, place, byte], query)) = data.split_first_chunk::<3>() else { return };
    let Ok(query) = std::str::from_utf8(query) else { return };
    if let Ok(pairs) = Pairs::parse_query(query) {
        // Nobody outside can make one.
        assert!(matches!(open(&SEALED, NOW, LISTS[0], "reader", &pairs), Ok(None) | Err(_)));
    }
    assert!(
        position_before(query).is_ok_and(|position| position.is_none_or(|position| position > 0))
            || position_before(query).is_err()
    );
    let (list, reader) = (LISTS[usize::from(whose & 1)], whose.to_string());
    let cursor = seal(&SEALED, NOW, list, &reader, query).unwrap();
    let after = |text: &str| Pairs::parse_query(&format!("after={text}")).unwrap();
    assert_eq!(open(&SEALED, NOW, list, &reader, &after(&cursor)).unwrap().as_deref(), Some(query));
    let other = LISTS[usize::from(!whose & 1)];
    assert!(open(&SEALED, NOW, other, &reader, &after(&cursor)).is_err());
    assert!(open(&SEALED, NOW, list, "another", &after(&cursor)).is_err());
    assert!(open(&SEALED, NOW + TimeDelta::days(14), list, &reader, &after(&cursor)).is_err());
    let mut bytes = cursor.clone().into_bytes();
    let place = usize::from(*place) % bytes.len();
    bytes[place] = if byte.is_ascii_alphanumeric() { *byte } else { b'-' };
    let edited = String::from_utf8(bytes).unwrap();
    assert!(edited == cursor || open(&SEALED, NOW, list, &reader, &after(&edited)).is_err());
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
