//! What does the configuration file say, and on which line?

use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::error::{ConfigError, Problem, Source};
use super::nearest::find_nearest;
use super::scopes::Scope;
use super::settings::{SETTINGS, Setting, find_setting};
use super::value::Raw;

/// One line that says something.
#[derive(Debug)]
pub(super) struct Entry {
    /// Which setting it is about.
    pub(super) setting: &'static Setting,
    /// What it says.
    pub(super) raw: Raw,
    /// Where it stands.
    pub(super) origin: Source,
}

/// Reads a file that must exist.
pub(super) fn read_file(path: &Path) -> Result<Vec<Entry>, ConfigError> {
    let unreadable = |cause| ConfigError::FileUnreadable { path: path.to_owned(), cause };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse_file(path, &text)
}

/// Reads the text of a file.
pub(super) fn parse_file(path: &Path, text: &str) -> Result<Vec<Entry>, ConfigError> {
    let lines = Lines { path, text };
    let table = DeTable::parse(text).map_err(|cause| ConfigError::FileMalformed {
        path: path.to_owned(),
        line: lines.line_at(cause.span().map_or(0, |span| span.start)),
        // `Display` would quote the line, which can hold the root secret.
        message: cause.message().to_owned(),
    })?;
    let mut written: Vec<_> = table.get_ref().iter().collect();
    // Of several errors the one at the top of the file is the one to report.
    written.sort_by_key(|(key, _)| key.span().start);
    let read = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        entry(lines, key.get_ref(), lines.source(key.span().start), value.get_ref())
    };
    written.into_iter().map(read).collect()
}

fn entry(lines: Lines<'_>, key: &str, origin: Source, value: &DeValue<'_>) -> Result<Entry, ConfigError> {
    let Some(setting) = find_setting(key).filter(|setting| setting.key != "config") else {
        let keys = SETTINGS.iter().map(|setting| setting.key).filter(|key| *key != "config");
        return Err(ConfigError::UnknownKey {
            key: key.to_owned(),
            origin,
            nearest: find_nearest(key, keys),
        });
    };
    let read = if setting.key == "scopes" {
        scopes(lines, value)
    } else {
        raw(value).map_err(|problem| (problem, None))
    };
    match read {
        Ok(raw) => Ok(Entry { setting, raw, origin }),
        Err((problem, place)) => {
            Err(ConfigError::Invalid { key: setting.key, origin: place.unwrap_or(origin), problem })
        }
    }
}

fn raw(value: &DeValue<'_>) -> Result<Raw, Problem> {
    let unexpected = |expected| Problem::WrongShape { expected, found: value.type_str() };
    match value {
        DeValue::String(text) => Ok(Raw::Text(text.to_string())),
        DeValue::Boolean(on) => Ok(Raw::Switch(*on)),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(Raw::Integer)
            // Not repeated: it may be a secret without its quotes.
            .map_err(|_| unexpected("text in \"quotes\", or a number below 2^63")),
        DeValue::Array(items) => {
            let text = |item: &Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned);
            let texts: Option<Vec<_>> = items.iter().map(text).collect();
            texts.map(Raw::List).ok_or_else(|| unexpected("a list of texts in \"quotes\""))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => {
            Err(unexpected("text in \"quotes\", a whole number, true or false, or a list"))
        }
    }
}

/// A problem inside `[[scopes]]`, with the line of the table if it is in one.
type ScopeProblem = (Problem, Option<Source>);

fn scopes(lines: Lines<'_>, value: &DeValue<'_>) -> Result<Raw, ScopeProblem> {
    let shape = || (Problem::WrongShape { expected: "[[scopes]] tables", found: value.type_str() }, None);
    let items: &DeArray<'_> = value.as_array().ok_or_else(shape)?;
    let read = |item: &Spanned<DeValue<'_>>| {
        let table = item.get_ref().as_table().ok_or_else(shape)?;
        scope(table).map_err(|problem| (problem, Some(lines.source(item.span().start))))
    };
    items.iter().map(read).collect::<Result<_, _>>().map(Raw::Scopes)
}

fn scope(table: &DeTable<'_>) -> Result<Scope, Problem> {
    let (mut name, mut description, mut default) = (None, None, false);
    for (key, value) in table {
        let written = raw(value.get_ref())?;
        match key.get_ref().as_ref() {
            "name" => name = Some(written.text()?.to_owned()),
            "description" => description = Some(written.text()?.to_owned()),
            "default" => default = written.switch()?,
            other => return Err(Problem::ScopeMember(other.to_owned())),
        }
    }
    Ok(Scope {
        name: name.ok_or(Problem::ScopeLacks("name"))?,
        description: description.ok_or(Problem::ScopeLacks("description"))?,
        default,
    })
}

/// Turns byte offsets into lines.
#[derive(Clone, Copy)]
struct Lines<'file> {
    path: &'file Path,
    text: &'file str,
}

impl Lines<'_> {
    fn line_at(self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    fn source(self, offset: usize) -> Source {
        Source::File { path: self.path.to_owned(), line: self.line_at(offset) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Entry>, ConfigError> {
        parse_file(Path::new("chancery.toml"), text)
    }

    #[test]
    fn a_value_remembers_its_line() {
        let entries = parse("# comment\nlisten = [\"localhost:9000\"]\n\nmax-body = 1024\n").unwrap();
        let seen: Vec<_> =
            entries.iter().map(|entry| (entry.setting.key, entry.origin.to_string())).collect();
        let expected = [("listen", "chancery.toml:2".to_owned()), ("max-body", "chancery.toml:4".to_owned())];
        assert_eq!(seen, expected);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_one() {
        let refused = parse("log = \"info\"\ndata_dir = \"/srv\"\n").unwrap_err();
        assert_eq!(refused.to_string(), "there is no setting `data_dir` (chancery.toml:2)");
        assert_eq!(refused.advice(), "Did you mean `data-dir`? Correct the key or remove the line.");
    }

    #[test]
    fn a_file_cannot_name_another_file() {
        assert!(matches!(parse("config = \"other.toml\""), Err(ConfigError::UnknownKey { .. })));
    }

    #[test]
    fn a_syntax_error_names_the_line_and_not_its_text() {
        let refused = parse("log = \"info\"\nroot-secret = hunter2\n").unwrap_err();
        assert!(refused.to_string().starts_with("chancery.toml:2 is not TOML"), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }

    #[test]
    fn a_secret_without_quotes_is_not_repeated() {
        let secret = "8319407562831940756283194075628319407562831940756283194075628319";
        let refused = parse(&format!("root-secret = {secret}")).unwrap_err();
        assert!(!format!("{refused} {refused:?} {}", refused.advice()).contains(secret));
        assert_eq!(refused.advice(), "Write text in \"quotes\", or a number below 2^63.");
    }

    #[test]
    fn scopes_are_tables_of_name_description_and_default() {
        let text = "[[scopes]]\nname = \"orders\"\ndescription = \"See your orders\"\ndefault = true\n";
        let entries = parse(text).unwrap();
        let expected =
            Scope { name: "orders".to_owned(), description: "See your orders".to_owned(), default: true };
        assert_eq!(entries[0].raw, Raw::Scopes(vec![expected]));
    }

    #[test]
    fn a_scope_with_an_unknown_member_is_refused_where_it_stands() {
        let first = "[[scopes]]\nname = \"a\"\ndescription = \"A\"\n";
        let refused = parse(&format!("{first}[[scopes]]\nnmae = \"b\"\n")).unwrap_err();
        assert_eq!(refused.to_string(), "`scopes` (chancery.toml:4): a scope has no member `nmae`");
    }

    #[test]
    fn a_float_or_a_table_is_no_value() {
        for text in ["max-body = 1.5", "[listen]\nport = 8000", "listen = [8000]"] {
            assert!(matches!(parse(text), Err(ConfigError::Invalid { .. })), "{text}");
        }
    }
}
