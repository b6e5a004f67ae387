//! How is a written value read: durations, counts, sizes, switches and lists?

use std::time::Duration;

use super::error::Problem;

/// No lifetime is longer: it keeps every sum of a time and a lifetime representable.
pub(super) const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// A value as written, before it means anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Raw {
    /// A flag's or variable's text, or a TOML string.
    Text(String),
    /// A TOML number.
    Integer(i64),
    /// A TOML boolean, or a switch on the command line.
    Switch(bool),
    /// A repeated flag, or a TOML array of strings.
    List(Vec<String>),
    /// `[[scopes]]`.
    Scopes(Vec<super::scopes::Scope>),
}

impl Raw {
    /// What TOML calls it.
    fn shape(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Switch(_) => "true or false",
            Self::List(_) => "a list",
            Self::Scopes(_) => "tables",
        }
    }

    fn unexpected(&self, expected: &'static str) -> Problem {
        Problem::WrongShape { expected, found: self.shape() }
    }

    /// One text. A repeated flag counts with its last value, as flags usually do.
    pub(super) fn text(&self) -> Result<&str, Problem> {
        let text = match self {
            Self::Text(text) => text.as_str(),
            Self::Integer(_) | Self::Switch(_) | Self::List(_) | Self::Scopes(_) => {
                return Err(self.unexpected("text in \"quotes\""));
            }
        };
        if text.trim().is_empty() { Err(Problem::Empty) } else { Ok(text.trim()) }
    }

    /// Several texts; commas and white space divide a single one.
    pub(super) fn list(&self) -> Result<Vec<String>, Problem> {
        let divide = |text: &String| {
            text.split([',', ' ', '\n']).map(str::trim).map(str::to_owned).collect::<Vec<_>>()
        };
        let parts = match self {
            Self::Text(text) => divide(text),
            Self::List(texts) => texts.iter().flat_map(divide).collect(),
            Self::Integer(_) | Self::Switch(_) | Self::Scopes(_) => {
                return Err(self.unexpected("a list such as [\"one\", \"two\"]"));
            }
        };
        Ok(parts.into_iter().filter(|part| !part.is_empty()).collect())
    }

    /// A switch.
    pub(super) fn switch(&self) -> Result<bool, Problem> {
        match self {
            Self::Switch(on) => Ok(*on),
            Self::Text(text) => match text.trim() {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                other => Err(Problem::NotASwitch(other.to_owned())),
            },
            Self::Integer(_) | Self::List(_) | Self::Scopes(_) => Err(self.unexpected("true or false")),
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn count(&self, least: usize, most: usize) -> Result<usize, Problem> {
        let written = self.number()?;
        let plain = written.replace('_', "");
        let count = plain.parse().map_err(|_| Problem::NotANumber(written.clone()))?;
        if (least..=most).contains(&count) {
            return Ok(count);
        }
        Err(Problem::OutOfRange { found: written, least: least.to_string(), most: most.to_string() })
    }

    /// A number of bytes from `least` to `most`.
    pub(super) fn size(&self, least: usize, most: usize) -> Result<usize, Problem> {
        let written = self.number()?;
        let size = parse_size(&written).ok_or_else(|| Problem::NotASize(written.clone()))?;
        if (least..=most).contains(&size) {
            return Ok(size);
        }
        Err(Problem::OutOfRange { found: written, least: show_size(least), most: show_size(most) })
    }

    /// A duration from `least` to `most`; a bare number counts seconds.
    pub(super) fn duration(&self, least: Duration, most: Duration) -> Result<Duration, Problem> {
        let written = self.number()?;
        let duration = parse_duration(&written).ok_or_else(|| Problem::NotADuration(written.clone()))?;
        if (least..=most).contains(&duration) {
            return Ok(duration);
        }
        Err(Problem::OutOfRange { found: written, least: show_duration(least), most: show_duration(most) })
    }

    fn number(&self) -> Result<String, Problem> {
        match self {
            Self::Integer(number) => Ok(number.to_string()),
            Self::Text(_) => self.text().map(str::to_owned),
            Self::Switch(_) | Self::List(_) | Self::Scopes(_) => Err(self.unexpected("a number")),
        }
    }
}

/// Units from the largest, so that showing picks the roundest one.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads `60s`, `10h`, `250ms` or a bare number of seconds.
fn parse_duration(text: &str) -> Option<Duration> {
    let unit_starts = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(unit_starts)?;
    let amount: u64 = digits.parse().ok()?;
    let milliseconds = match unit.trim() {
        "" => 1_000,
        unit => UNITS.iter().find(|(name, _)| *name == unit)?.1,
    };
    Some(Duration::from_millis(amount.checked_mul(milliseconds)?))
}

/// The shortest exact spelling, `10h` rather than `36000s`.
pub(super) fn show_duration(duration: Duration) -> String {
    let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fitting = UNITS.iter().find(|(_, unit)| milliseconds != 0 && milliseconds.is_multiple_of(*unit));
    fitting.map_or_else(|| "0s".to_owned(), |(name, unit)| format!("{}{name}", milliseconds / unit))
}

/// Reads `65536`, `64KiB` or `1MiB`.
fn parse_size(text: &str) -> Option<usize> {
    let (digits, unit) = if let Some(digits) = text.strip_suffix("KiB") {
        (digits, 1 << 10)
    } else if let Some(digits) = text.strip_suffix("MiB") {
        (digits, 1 << 20)
    } else {
        (text, 1)
    };
    digits.trim().replace('_', "").parse::<usize>().ok()?.checked_mul(unit)
}

/// `64KiB` rather than `65536`.
pub(super) fn show_size(bytes: usize) -> String {
    match bytes {
        0 => "0".to_owned(),
        bytes if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        bytes if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        bytes => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(written: &str) -> Raw {
        Raw::Text(written.to_owned())
    }

    #[test]
    fn a_duration_is_read_with_its_unit_and_shown_in_the_roundest_one() {
        for (written, shown) in [
            ("60s", "1m"),
            ("36000", "10h"),
            ("14d", "14d"),
            ("250ms", "250ms"),
            ("24h", "1d"),
            ("90 s", "90s"),
        ] {
            let duration = text(written).duration(Duration::ZERO, LONGEST).unwrap();
            assert_eq!(show_duration(duration), shown, "{written}");
        }
    }

    #[test]
    fn an_integer_is_a_number_of_seconds() {
        assert_eq!(Raw::Integer(60).duration(Duration::ZERO, LONGEST), Ok(Duration::from_mins(1)));
    }

    #[test]
    fn nonsense_is_not_a_duration() {
        for written in
            ["ten", "10 parsecs", "-1s", "1.5h", "s", "99999999999999999999d", "18446744073709551615d"]
        {
            let refused = text(written).duration(Duration::ZERO, LONGEST);
            assert_eq!(refused, Err(Problem::NotADuration(written.to_owned())));
        }
    }

    #[test]
    fn a_size_has_units_and_bounds() {
        assert_eq!(text("64KiB").size(1, 1 << 20), Ok(65_536));
        assert_eq!(show_size(65_536), "64KiB");
        assert!(matches!(text("2MiB").size(1, 1 << 20), Err(Problem::OutOfRange { .. })));
    }

    #[test]
    fn a_list_is_divided_at_commas_wherever_they_are() {
        let repeated = Raw::List(vec!["a, b".to_owned(), "c".to_owned()]);
        assert_eq!(repeated.list(), text("a,b,,c").list());
    }

    #[test]
    fn a_number_where_text_belongs_is_named() {
        let refused = Raw::Integer(8000).text().unwrap_err();
        assert_eq!(refused.to_string(), "expected text in \"quotes\", found a number");
    }
}
