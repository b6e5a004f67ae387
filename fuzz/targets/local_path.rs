//! Does the way back from the login page ever lead off the site? (RFC 9700 §4.11)
//!
//! Input: what stands in `next`. Differential against a reader that is as generous as any browser.
#![cfg_attr(fuzzing, no_main)]

use chancery::extract::form_pairs::Pairs;
use chancery::pages::found;
use chancery::pages::next::{local_path, login_path};
use url::Url;

pub fn run(data: &[u8]) {
    let Ok(next) = std::str::from_utf8(data) else { return };
    let login = login_path(next, false);
    let query = login.split_once('?').unwrap().1;
    assert_eq!(Pairs::parse_query(query).unwrap().raw("next"), Some(next));
    assert!(local_path(&login).is_some() || login.len() > 16 * 1024);
    let Some(path) = local_path(next) else { return };
    assert_eq!(path, next);
    for place in
        ["https://id.example/", "http://127.0.0.1:8000/o/authorize/?a=b", "https://id.example/deep/er/"]
    {
        let here = Url::parse(place).unwrap();
        assert!(here.join(path).unwrap().origin() == here.origin(), "{path:?}");
        // What is shown in a page is followed from there once more.
        let shown = here.join(path).unwrap();
        assert!(!shown.path().starts_with("//"), "{path:?}");
    }
    // Browsers forget tabs and line ends, trim the rest, and take a backslash for a slash.
    let read: String = path.chars().filter(|one| !one.is_control() && *one != ' ').collect();
    let read = read.replace('\\', "/");
    assert!(read.starts_with('/') && !read.starts_with("//") && read == path, "{path:?}");
    assert!(found(path).is_ok());
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
