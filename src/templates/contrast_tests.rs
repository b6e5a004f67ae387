//! Can everybody read it? Computes the contrast (WCAG 2.2 §1.4.3, §1.4.11) of every pair of
//! colours that the rules of `style.css` can put on each other, light and dark.

use std::collections::{BTreeMap, BTreeSet};

use super::STYLE;

/// What text stands on when its own rule names no background.
const GROUNDS: [&str; 2] = ["paper", "panel"];
/// Colours that carry no meaning and no text: rule lines.
const DECORATION: [&str; 1] = ["rule"];

type Palette = BTreeMap<String, [f64; 3]>;

fn without_comments(css: &str) -> String {
    css.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, rest)| rest)).collect()
}

/// The colours of the n-th `:root` block: 0 is light, 1 is dark.
fn palette(n: usize) -> Palette {
    let css = without_comments(STYLE);
    let block = css.split(":root {").nth(n + 1).unwrap().split_once('}').unwrap().0.to_owned();
    let colours = block.split(';').filter_map(|line| line.split_once(':')).filter_map(|(name, value)| {
        let hex = value.trim().strip_prefix('#')?;
        let channel = |at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
        Some((name.trim().trim_start_matches("--").to_owned(), [channel(0), channel(2), channel(4)]))
    });
    colours.collect()
}

fn luminance(colour: [f64; 3]) -> f64 {
    let [r, g, b] = colour.map(|c| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

fn contrast(a: [f64; 3], b: [f64; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// Bodies of all rules outside the palettes, media queries flattened.
fn rules() -> Vec<String> {
    let css = without_comments(STYLE);
    css.split('}').filter_map(|rule| rule.rsplit_once('{')).map(|(_, body)| body.to_owned()).collect()
}

fn colour_of(body: &str, property: &str) -> Option<String> {
    body.split(';').filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        let value = value.trim().strip_prefix("var(--")?.strip_suffix(')')?;
        (name.trim() == property).then(|| value.to_owned())
    })
}

/// Every pair of text and ground that a rule names, or can meet.
fn pairs() -> BTreeSet<(String, String)> {
    let mut pairs = BTreeSet::new();
    for body in rules() {
        let ground = colour_of(&body, "background");
        let text = colour_of(&body, "color");
        let texts = text.map_or_else(Vec::new, |text| vec![text]);
        match (texts.first(), ground) {
            (Some(text), Some(ground)) => drop(pairs.insert((text.clone(), ground))),
            (Some(text), None) => {
                for ground in GROUNDS {
                    pairs.insert((text.clone(), ground.to_owned()));
                }
            }
            (None, Some(ground)) if !DECORATION.contains(&ground.as_str()) => {
                for text in ["ink", "quiet", "blue", "red", "verdigris", "amber"] {
                    pairs.insert((text.to_owned(), ground.clone()));
                }
            }
            (None, Some(_) | None) => {}
        }
    }
    pairs
}

#[test]
fn every_text_can_be_read_on_every_ground_light_and_dark() {
    let pairs = pairs();
    assert!(pairs.len() >= 14, "the rules were read: {pairs:?}");
    for (n, theme) in ["light", "dark"].into_iter().enumerate() {
        let palette = palette(n);
        for (text, ground) in &pairs {
            let ratio = contrast(palette[text], palette[ground]);
            assert!(ratio >= 4.5, "{theme}: {text} on {ground} is {ratio:.2}");
        }
    }
}

#[test]
fn edges_and_marks_can_be_seen_light_and_dark() {
    for (n, theme) in ["light", "dark"].into_iter().enumerate() {
        let palette = palette(n);
        for mark in ["edge", "wax", "red", "verdigris", "amber", "blue"] {
            for ground in GROUNDS {
                let ratio = contrast(palette[mark], palette[ground]);
                assert!(ratio >= 3.0, "{theme}: {mark} on {ground} is {ratio:.2}");
            }
        }
    }
}

#[test]
fn colours_are_named_in_the_palettes_and_nowhere_else() {
    let (light, dark) = (palette(0), palette(1));
    assert_eq!(light.keys().collect::<Vec<_>>(), dark.keys().collect::<Vec<_>>());
    for body in rules().iter().filter(|body| !body.contains("--paper:")) {
        for (property, value) in body.split(';').filter_map(|line| line.split_once(':')) {
            for raw in ["#", "rgb", "hsl", "oklch"] {
                assert!(!value.contains(raw), "{property}:{value}");
            }
            for name in value.split("var(--").skip(1) {
                let name = name.split_once(')').unwrap().0;
                let known = light.contains_key(name) || ["serif", "sans", "mono"].contains(&name);
                assert!(known, "{property} uses --{name}");
            }
        }
    }
}

#[test]
fn the_measure_is_the_standard_one() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
    assert!((contrast([1.0; 3], [1.0; 3]) - 1.0).abs() < 1e-9);
}
