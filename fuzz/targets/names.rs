//! Is a name that was made one name still that name when it is read again? (Unicode UAX #15)
//!
//! Input: a user name or an address as typed.
#![cfg_attr(fuzzing, no_main)]

use chancery::password::{LONGEST_USERNAME, normalise_email, normalise_username};

pub fn run(data: &[u8]) {
    let Ok(typed) = std::str::from_utf8(data) else { return };
    if let Ok(name) = normalise_username(typed) {
        assert!(!name.is_empty() && name.chars().count() <= LONGEST_USERNAME);
        assert!(!name.chars().any(char::is_control) && name.trim() == name);
        // Else two people could hold what people read as one name.
        assert_eq!(normalise_username(&name).as_ref(), Ok(&name), "{typed:?}");
        assert_eq!(normalise_username(&format!(" {typed}\u{3000}")).as_ref(), Ok(&name));
    }
    if let Ok(address) = normalise_email(typed) {
        assert_eq!(address.matches('@').count(), 1);
        assert_eq!(normalise_email(&address).as_ref(), Ok(&address), "{typed:?}");
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
