//! What is asked of PostgreSQL for each connection? That it does not wait for a node that stands still, or is gone
//! without a word.

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use crate::journal::engine::EngineError;

/// What a node holds in a transaction in which nothing comes, be it the row that every batch needs, is free for the
/// others within a second; what it asked for is given up; and connections to nowhere do not take the place of others.
/// No `statement_timeout`, which ends the wait for a synchronous standby as if it had answered.
const SESSION: [(&str, &str); 6] = [
    ("idle_in_transaction_session_timeout", "1s"),
    ("client_connection_check_interval", "1s"),
    ("tcp_keepalives_idle", "10s"),
    ("tcp_keepalives_interval", "5s"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "25s"),
];

/// How a database is connected to. Whoever puts `options` into its URL asks for those alone, or for none: some of those
/// who stand in between let no such parameter pass, and nor does PostgreSQL on Windows let pass all of these.
pub(super) fn options(url: &str) -> Result<PgConnectOptions, EngineError> {
    let unreadable = || EngineError::Refused("the database URL cannot be read".to_owned());
    let mut url = Url::parse(url).map_err(|_| unreadable())?;
    let is_ours = |name: &str| name == "options" || name.starts_with("options[");
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let asks_for_its_own = pairs.iter().any(|(name, _)| is_ours(name));
    if asks_for_its_own {
        // The driver would send an empty one as well.
        let kept = pairs.iter().filter(|(name, value)| !(is_ours(name) && value.is_empty()));
        url.query_pairs_mut().clear().extend_pairs(kept);
    }
    let options = PgConnectOptions::from_url(&url).map_err(|_| unreadable())?.application_name("chancery");
    Ok(if asks_for_its_own { options } else { options.options(SESSION) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_asks_for_its_own_options_gets_those_alone() {
        let asked = |query: &str| {
            let url = format!("postgres://ada:s%26cret@localhost/chancery{query}");
            let options = options(&url).unwrap();
            assert_eq!((options.get_host(), options.get_username()), ("localhost", "ada"));
            options.get_options().map(str::to_owned)
        };
        for query in ["", "?sslmode=disable"] {
            let asked = asked(query).unwrap();
            assert!(asked.starts_with("-c idle_in_transaction_session_timeout=1s -c "), "{asked}");
        }
        assert_eq!(asked("?options="), None);
        assert_eq!(asked("?options=&sslmode=disable"), None);
        assert_eq!(asked("?options=-c%20geqo%3Doff").as_deref(), Some("-c geqo=off"));
        assert_eq!(asked("?options[geqo]=off").as_deref(), Some("-c geqo=off"));
        assert!(matches!(options("no URL"), Err(EngineError::Refused(_))));
    }
}
