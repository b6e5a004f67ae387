//! Which known name did somebody probably mean?

/// The known name nearest to the written one, if any is near enough to be worth suggesting.
pub(super) fn find_nearest(written: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let written = written.to_lowercase().replace('_', "-");
    let closeness =
        |name: &'static str| (strsim::jaro_winkler(&written, &name.to_lowercase().replace('_', "-")), name);
    let best = known.map(closeness).max_by(|left, right| left.0.total_cmp(&right.0))?;
    (best.0 > 0.8).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let known = ["listen", "data-dir", "database-url"];
        for (written, suggested) in [
            ("listen", Some("listen")),
            ("data_dir", Some("data-dir")),
            ("databse-url", Some("database-url")),
            ("zebra", None),
        ] {
            assert_eq!(find_nearest(written, known.into_iter()), suggested, "{written}");
        }
    }
}
