//! Can a text that somebody typed become a part of the page? (OWASP ASVS 1.2.1)
//!
//! Input: a text, shown in every place of some pages. The page with it must have the tags and attributes
//! of the page with a plain word, and show the text to the letter.
#![cfg_attr(fuzzing, no_main)]

use std::sync::LazyLock;

use chancery::templates::account::Login;
use chancery::templates::errors::OAuthErrorPage;
use chancery::templates::{Chrome, Page, Templates};
use chrono::DateTime;

static TEMPLATES: LazyLock<Templates> = LazyLock::new(|| Templates::new().unwrap());
const PLAIN: &str = "plain";

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    is_text_of(text, login);
    is_text_of(text, error);
}

fn login(text: &str) -> Login {
    Login { username: text.to_owned(), next: text.to_owned(), reason: Some(text.to_owned()), problem: None }
}

fn error(text: &str) -> OAuthErrorPage {
    let text = text.to_owned();
    OAuthErrorPage { code: text.clone(), description: text.clone(), correlation_id: text }
}

/// What stands before, between and after the text is what stands there around any other.
fn is_text_of<P: Page>(text: &str, page: fn(&str) -> P) {
    let render = |text: &str| {
        let text = format!("\u{e000}{text}\u{e001}");
        let chrome = Chrome {
            username: Some(text.clone()),
            is_superuser: false,
            csrf_token: text.clone(),
            path: text.clone(),
            now: DateTime::UNIX_EPOCH,
            notice: Some(text.clone()),
        };
        TEMPLATES.render(&chrome, &page(&text)).unwrap()
    };
    if text.contains(['\u{e000}', '\u{e001}']) {
        return;
    }
    let (ours, plain) = (render(text), render(PLAIN));
    let (ours, plain) = (cut(&ours), cut(&plain));
    assert_eq!(ours.len(), plain.len());
    for ((before, shown), (plain_before, plain_shown)) in ours.iter().zip(&plain) {
        assert_eq!(before, plain_before);
        // Some are cut short or put into an address; none has a letter that HTML would read.
        assert!(!shown.contains(['<', '>', '"', '\'']), "{shown:?}");
        assert!(*plain_shown != PLAIN || unescaped(shown) == text, "{shown:?}");
    }
}

/// Pairs of what stands before a text and the text as it stands in the page.
fn cut(page: &str) -> Vec<(&str, &str)> {
    page.split('\u{e001}').map(|part| part.split_once('\u{e000}').unwrap_or((part, ""))).collect()
}

fn unescaped(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&amp;", "&")];
    named.iter().fold(text.to_owned(), |text, (name, letter)| text.replace(name, letter))
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
