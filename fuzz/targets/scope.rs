//! Does narrowing a scope ever widen it? (RFC 6749 §3.3)
//!
//! Input: three lists of names, a line each: what there is, what is allowed, what is asked for.
#![cfg_attr(fuzzing, no_main)]

use std::collections::BTreeSet;

use aggregates::values::Scope;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n').map(|line| {
        let read = Scope::parse(line);
        assert_eq!(read.is_ok(), line.chars().all(|one| matches!(one, ' ' | '!' | '#'..='[' | ']'..='~')));
        read.inspect(|scope| is_the_list(scope, line)).unwrap_or_default()
    });
    let mut next = || lines.next().unwrap_or_default();
    let (all, allowed, asked) = (next(), next(), next());
    let narrowed = asked.intersect(&allowed);
    assert!(asked.contains_all(&narrowed) && allowed.contains_all(&narrowed));
    // Whatever is taken away from what is allowed is never given.
    let less = allowed.intersect(&all);
    assert!(narrowed.contains_all(&asked.intersect(&less)));
    assert_eq!(set(&asked.intersect(&less)), set(&narrowed.intersect(&all)));
    let both = asked.union(&allowed);
    assert!(both.contains_all(&asked) && both.contains_all(&allowed));
    assert_eq!(both.intersect(&asked), asked);
    assert_eq!(allowed.contains_all(&asked), set(&asked).is_subset(&set(&allowed)));
}

/// The names of the line, each once, in their order; and the text of it is the same scope again.
fn is_the_list(scope: &Scope, line: &str) {
    let mut names: Vec<&str> = Vec::new();
    for name in line.split_ascii_whitespace() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    assert_eq!(scope.iter().collect::<Vec<_>>(), names);
    assert!(names.iter().all(|name| scope.contains(name)) && scope.is_empty() == names.is_empty());
    assert_eq!(Scope::parse(&scope.to_string()).as_ref(), Ok(scope));
}

fn set(scope: &Scope) -> BTreeSet<&str> {
    scope.iter().collect()
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
