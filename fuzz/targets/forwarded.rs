//! Can anybody choose the address they are known by? (RFC 7239 §8.1)
//!
//! Input: headers, a line each: `X-Forwarded-For`, or `Forwarded` when the line begins with `for`.
#![cfg_attr(fuzzing, no_main)]

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue};
use chancery::extract::request_context::{client_address, is_trusted};

pub fn run(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        let is_standard = line.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"for"));
        headers.append(if is_standard { "forwarded" } else { "x-forwarded-for" }, value);
    }
    let trusted = ["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let stranger: IpAddr = "203.0.113.9".parse().unwrap();
    assert_eq!(client_address(stranger, &headers, &trusted), stranger);
    for peer in ["10.0.0.1", "::1", "::ffff:10.0.0.1"].map(|peer| peer.parse::<IpAddr>().unwrap()) {
        assert!(is_trusted(peer, &trusted));
        let seen = client_address(peer, &headers, &trusted);
        assert_eq!(seen, seen.to_canonical());
        // What our proxy adds counts, whatever a stranger wrote before it.
        for kind in ["forwarded", "x-forwarded-for"] {
            let other = if kind == "forwarded" { "x-forwarded-for" } else { "forwarded" };
            let mut added = headers.clone();
            added.remove(other);
            added.append(
                kind,
                HeaderValue::from_static(if kind == "forwarded" { "for=192.0.2.7" } else { "192.0.2.7" }),
            );
            assert_eq!(client_address(peer, &added, &trusted).to_string(), "192.0.2.7");
        }
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| run(data));
