//! Which parameters were sent, each once? (RFC 6749 §3.1, §3.2, appendix B)
//!
//! Read strictly: a bad percent-encoding or bad UTF-8 is an error, because two readers that repair
//! such text differently would see two different requests. A parameter without a value is absent.

use std::collections::HashSet;
use std::fmt;

/// May be sent more than once (RFC 8707 §2, RFC 8693 §2.1).
const MAY_REPEAT: &[&str] = &["resource", "audience"];
const FORM: &str = "application/x-www-form-urlencoded";

/// Why a form cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// JSON, multipart, or nothing.
    #[error("The body must be application/x-www-form-urlencoded.")]
    ContentType,
    /// `%` without two hex digits.
    #[error("The parameters are not percent-encoded correctly.")]
    PercentEncoding,
    /// Not UTF-8.
    #[error("The parameters are not UTF-8.")]
    Encoding,
    /// Sent more than once.
    #[error("The parameter {0} was sent more than once.")]
    Repeated(String),
}

/// The parameters in the order they were sent. `Debug` shows none of them: some are secrets.
#[derive(Clone, Default)]
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    /// Reads a query, without its `?`.
    pub fn parse_query(query: &str) -> Result<Self, FormError> {
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(name)?, decode(value)?))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Reads a body of the given content type, which may carry a charset, in any case.
    pub fn parse_body(content_type: Option<&str>, body: &[u8]) -> Result<Self, FormError> {
        let media_type = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        if !media_type.trim().eq_ignore_ascii_case(FORM) {
            return Err(FormError::ContentType);
        }
        Self::parse_query(std::str::from_utf8(body).map_err(|_| FormError::Encoding)?)
    }

    /// The value of a parameter; `None` when it is absent or empty.
    pub fn get(&self, name: &str) -> Result<Option<&str>, FormError> {
        let mut values = self.values(name);
        let value = values.next();
        if values.next().is_some() {
            return Err(FormError::Repeated(name.to_owned()));
        }
        Ok(value.filter(|value| !value.is_empty()))
    }

    /// Every value of a parameter that may repeat, without empty ones.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values(name).filter(|value| !value.is_empty())
    }

    /// The first value as it was sent, empty or not, for showing a form again.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Whether every parameter is there once, but for those that may repeat. In linear time.
    pub fn each_once(&self) -> Result<(), FormError> {
        let mut seen = HashSet::new();
        let mut names = self.0.iter().map(|(name, _)| name.as_str());
        match names.find(|name| !seen.insert(*name) && !MAY_REPEAT.contains(name)) {
            Some(name) => Err(FormError::Repeated(name.to_owned())),
            None => Ok(()),
        }
    }

    /// Every parameter but those of this name, as they were sent.
    pub fn without<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let others = self.0.iter().filter(move |(own, _)| own != name);
        others.map(|(own, value)| (own.as_str(), value.as_str()))
    }

    /// Whether nothing was sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{} parameters]", self.0.len())
    }
}

/// `application/x-www-form-urlencoded` text to what it stands for: `+` is a blank.
pub fn decode(text: &str) -> Result<String, FormError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (hex(bytes.next())?, hex(bytes.next())?);
                high << 4 | low
            }
            other => other,
        });
    }
    String::from_utf8(decoded).map_err(|_| FormError::Encoding)
}

fn hex(digit: Option<u8>) -> Result<u8, FormError> {
    let value = digit.and_then(|digit| char::from(digit).to_digit(16));
    value.and_then(|value| u8::try_from(value).ok()).ok_or(FormError::PercentEncoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Pairs {
        Pairs::parse_query(text).unwrap()
    }

    #[test]
    fn rfc_6749_section_3_2_an_empty_parameter_is_absent_and_a_repeated_one_an_error() {
        let pairs = query("a=1&b=&c=x&c=y&d&resource=r&resource=s&resource=");
        assert_eq!(pairs.get("a"), Ok(Some("1")));
        assert_eq!(pairs.get("b"), Ok(None));
        assert_eq!(pairs.get("d"), Ok(None));
        assert_eq!(pairs.get("nothing"), Ok(None));
        assert_eq!(pairs.get("c"), Err(FormError::Repeated("c".to_owned())));
        assert_eq!(pairs.raw("b"), Some(""));
        assert_eq!(pairs.get_all("resource").collect::<Vec<_>>(), ["r", "s"]);
        assert_eq!(pairs.each_once(), Err(FormError::Repeated("c".to_owned())));
        assert_eq!(query("resource=r&resource=s&a=1").each_once(), Ok(()));
        assert!(query("a=1&a=").get("a").is_err());
    }

    #[test]
    fn names_and_values_are_decoded_strictly() {
        let pairs = query("n%61me=a+b%2Bc%C3%A9&x=1=2");
        assert_eq!(pairs.get("name"), Ok(Some("a b+c\u{e9}")));
        assert_eq!(pairs.get("x"), Ok(Some("1=2")));
        for broken in ["a=%", "a=%z1", "a=%1", "%=1", "a=%+1"] {
            assert_eq!(Pairs::parse_query(broken).unwrap_err(), FormError::PercentEncoding, "{broken}");
        }
        assert_eq!(Pairs::parse_query("a=%FF").unwrap_err(), FormError::Encoding);
    }

    #[test]
    fn a_body_is_a_form_with_or_without_a_charset_in_any_case() {
        for accepted in [
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded;charset=UTF-8",
            "Application/X-WWW-Form-Urlencoded ; charset=utf-8",
        ] {
            assert_eq!(Pairs::parse_body(Some(accepted), b"a=1").unwrap().get("a"), Ok(Some("1")));
        }
        for refused in [None, Some(""), Some("application/json"), Some("multipart/form-data; boundary=x")] {
            assert_eq!(Pairs::parse_body(refused, b"a=1").unwrap_err(), FormError::ContentType);
        }
        assert_eq!(Pairs::parse_body(Some(FORM), b"a=\xff").unwrap_err(), FormError::Encoding);
    }

    #[test]
    fn parameters_do_not_show_themselves() {
        assert_eq!(format!("{:?}", query("client_secret=s3cret")), "[1 parameters]");
    }
}
