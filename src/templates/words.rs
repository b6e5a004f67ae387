//! How are times, numbers and long ids written? The filters and tests that templates use.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use minijinja::{Environment, Error, ErrorKind};
use projections::read::COUNTED;

/// Characters kept at each end of a shortened id.
const ID_END: usize = 6;
/// An id up to this long is shown whole.
const ID_WHOLE: usize = 18;

/// Makes the words available to templates.
pub(super) fn register(environment: &mut Environment<'static>) {
    environment.add_filter("short_id", id_parts);
    environment.add_filter("plural", |n: u64, one: &str, many: &str| plural(n, one, many));
    environment.add_filter("grouped", |n: u64| grouped(n));
    environment.add_filter("counted", |n: u64| counted(n));
    environment.add_filter("counted_plural", |n: u64, one: &str, many: &str| counted_plural(n, one, many));
    environment.add_filter("duration", |seconds: u64| duration(seconds));
    environment.add_filter("absolute", |at: &str| moment(at).map(absolute));
    environment.add_filter("clock", |at: &str| moment(at).map(clock));
    environment.add_filter("day", |at: &str| moment(at).map(day));
    environment
        .add_filter("relative", |at: &str, now: &str| Ok::<_, Error>(relative(moment(at)?, moment(now)?)));
    environment.add_test("identifier", is_identifier);
}

/// An id shortened in its middle: `0193a5…9f3c2e`. Pages keep the whole id in the text, so that
/// copying and screen readers get all of it.
#[must_use]
pub fn short_id(id: &str) -> String {
    match ends(id) {
        Some((head, _, tail)) => format!("{head}…{tail}"),
        None => id.to_owned(),
    }
}

/// Percent-encodes a text so that it is one path segment (RFC 3986 §3.3).
#[must_use]
pub fn segment(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.extend(percent(byte));
        }
    }
    encoded
}

fn percent(byte: u8) -> [char; 3] {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase();
    ['%', digit(byte >> 4), digit(byte & 15)]
}

/// A number with the word it counts: `1 live token`, `1,204 live tokens`.
#[must_use]
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// The same of what is counted up to [`COUNTED`] only: `1,000+ live tokens`.
#[must_use]
pub fn counted_plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", counted(n), if n == 1 { one } else { many })
}

/// How much there is of what is counted up to [`COUNTED`] only: `1,000+`.
#[must_use]
pub fn counted(n: u64) -> String {
    let is_more = n >= u64::from(COUNTED);
    if is_more { format!("{}+", grouped(u64::from(COUNTED))) } else { grouped(n) }
}

/// A number with its thousands grouped: `1,204`.
#[must_use]
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time in its largest whole unit: `90 seconds`, `10 hours`, `30 days`.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match seconds {
        s if s >= 86_400 && s % 86_400 == 0 => plural(s / 86_400, "day", "days"),
        s if s >= 3_600 && s % 3_600 == 0 => plural(s / 3_600, "hour", "hours"),
        s if s >= 60 && s % 60 == 0 => plural(s / 60, "minute", "minutes"),
        s => plural(s, "second", "seconds"),
    }
}

/// Day, time and zone: `24 November 2026, 14:03:05 UTC`.
#[must_use]
pub fn absolute(at: DateTime<Utc>) -> String {
    at.format("%-d %B %Y, %H:%M:%S UTC").to_string()
}

/// How far away a moment is: `3 minutes ago`, `in 2 hours`.
#[must_use]
pub fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = now.signed_duration_since(at).num_seconds();
    let distance = match seconds.unsigned_abs() {
        0..=9 => return "just now".to_owned(),
        s @ 10..=59 => plural(s, "second", "seconds"),
        s @ 60..=3_599 => plural(s / 60, "minute", "minutes"),
        s @ 3_600..=172_799 => plural(s / 3_600, "hour", "hours"),
        s @ 172_800..=5_183_999 => plural(s / 86_400, "day", "days"),
        s @ 5_184_000..=63_071_999 => plural(s / 2_592_000, "month", "months"),
        s => plural(s / 31_536_000, "year", "years"),
    };
    if seconds < 0 { format!("in {distance}") } else { format!("{distance} ago") }
}

fn clock(at: DateTime<Utc>) -> String {
    at.format("%H:%M:%S UTC").to_string()
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%A, %-d %B %Y").to_string()
}

fn moment(at: &str) -> Result<DateTime<Utc>, Error> {
    at.parse().map_err(|_| Error::new(ErrorKind::InvalidOperation, "not an RFC 3339 time"))
}

fn is_identifier(text: &str) -> bool {
    text.len() > ID_WHOLE && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
}

fn id_parts(id: &str) -> BTreeMap<&'static str, String> {
    let (head, middle, tail) = ends(id).unwrap_or((id, "", ""));
    [("head", head), ("middle", middle), ("tail", tail)]
        .into_iter()
        .map(|(part, text)| (part, text.to_owned()))
        .collect()
}

fn ends(id: &str) -> Option<(&str, &str, &str)> {
    if id.chars().count() <= ID_WHOLE {
        return None;
    }
    let head = id.char_indices().nth(ID_END)?.0;
    let tail = id.char_indices().nth_back(ID_END - 1)?.0;
    Some((id.get(..head)?, id.get(head..tail)?, id.get(tail..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn a_long_id_is_shortened_in_the_middle_and_a_short_one_is_not() {
        assert_eq!(short_id("0193a5f27bd4470c8a519f3c2e"), "0193a5…3c2e".replace("3c2e", "9f3c2e"));
        assert_eq!(short_id("reports"), "reports");
        assert_eq!(short_id("ééééééxxxxxxxxxxxxxéééééé"), "éééééé…éééééé");
    }

    #[test]
    fn numbers_take_their_word_and_their_commas() {
        assert_eq!(plural(1, "live token", "live tokens"), "1 live token");
        assert_eq!(plural(0, "live token", "live tokens"), "0 live tokens");
        assert_eq!(plural(1_204_567, "event", "events"), "1,204,567 events");
        assert_eq!(counted_plural(1, "live token", "live tokens"), "1 live token");
        assert_eq!(counted_plural(999, "live token", "live tokens"), "999 live tokens");
        assert_eq!(counted_plural(1_000, "live token", "live tokens"), "1,000+ live tokens");
    }

    #[test]
    fn lengths_of_time_use_their_largest_whole_unit() {
        assert_eq!(duration(36_000), "10 hours");
        assert_eq!(duration(90), "90 seconds");
        assert_eq!(duration(2_592_000), "30 days");
        assert_eq!(duration(0), "0 seconds");
    }

    #[test]
    fn relative_times_look_both_ways() {
        assert_eq!(relative(at(0), at(3)), "just now");
        assert_eq!(relative(at(0), at(180)), "3 minutes ago");
        assert_eq!(relative(at(7_200), at(0)), "in 2 hours");
        assert_eq!(relative(at(0), at(86_400 * 400)), "13 months ago");
    }

    #[test]
    fn a_client_id_that_is_a_url_is_one_path_segment() {
        assert_eq!(segment("https://a.example/x?y"), "https%3A%2F%2Fa.example%2Fx%3Fy");
        assert_eq!(segment("aZ0-._~"), "aZ0-._~");
    }
}
