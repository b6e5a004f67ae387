//! Is what the documents say still true? Kept by reading the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chancery::config::settings_markdown;
use chancery::templates::paths;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rust_files(directory: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut left = vec![root().join(directory)];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

/// The paths given to `.at(…)` in the router, those in constants resolved.
fn routes() -> BTreeSet<String> {
    let router = read("src/router.rs");
    let well_known = |name: &str| format!("/.well-known/{name}");
    let mut paths_served = BTreeSet::new();
    for call in router.split(".at(").skip(1) {
        let argument = call.split([',', ')']).next().unwrap().trim();
        match argument {
            "paths::HOME" => paths_served.insert(paths::HOME.to_owned()),
            "paths::LOGIN" => paths_served.insert(paths::LOGIN.to_owned()),
            "paths::LOGOUT" => paths_served.insert(paths::LOGOUT.to_owned()),
            "paths::PASSWORD_CHANGE" => paths_served.insert(paths::PASSWORD_CHANGE.to_owned()),
            "paths::APPLICATIONS" => paths_served.insert(paths::APPLICATIONS.to_owned()),
            "paths::REGISTER" => paths_served.insert(paths::REGISTER.to_owned()),
            "paths::AUTHORIZE" => paths_served.insert(paths::AUTHORIZE.to_owned()),
            "paths::AUTHORIZATIONS" => paths_served.insert(paths::AUTHORIZATIONS.to_owned()),
            "paths::STYLE" => paths_served.insert(paths::STYLE.to_owned()),
            literal if literal.starts_with('"') => paths_served.insert(literal.trim_matches('"').to_owned()),
            formatted if formatted.starts_with("&format!(") => true,
            _ => continue,
        };
    }
    for prefix in ["", "/o"] {
        for document in
            ["oauth-authorization-server", "oauth-protected-resource", "oauth-protected-resource/resource"]
        {
            paths_served.insert(format!("{prefix}{}", well_known(document)));
        }
    }
    paths_served
}

#[test]
fn every_route_stands_in_the_readmes_table_and_no_other() {
    let readme = read("README.md");
    let section = readme.split("## Endpoints").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `/"));
    let cells = rows.map(|line| line.split('|').nth(1).unwrap().to_owned());
    let documented: BTreeSet<String> = cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let bare = |paths: &BTreeSet<String>| -> BTreeSet<String> {
        paths.iter().map(|path| path.trim_end_matches('/').to_owned()).collect()
    };
    assert_eq!(bare(&routes()), bare(&documented));
    assert!(routes().len() > 25, "{:?}", routes());
}

#[test]
fn every_grant_is_supported_named_and_tested() {
    let mut grants: Vec<String> = rust_files("src/oauth/grants")
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "mod" && name != "tests")
        .collect();
    grants.sort();
    let listed =
        ["src/oauth/grants/mod.rs", "src/oauth/grants.rs"].map(|path| fs::read_to_string(root().join(path)));
    let listed = listed.into_iter().find_map(Result::ok).unwrap();
    assert!(listed.contains("SUPPORTED"), "the list of grants has a name");
    let readme = read("README.md");
    for grant in &grants {
        assert!(listed.contains(&format!("mod {grant};")), "{grant}");
        assert!(readme.contains(&format!("`{grant}`")), "{grant} in the README");
        assert!(root().join(format!("tests/grants/{grant}.rs")).exists(), "{grant} has tests");
    }
    assert_eq!(grants, ["authorization_code", "client_credentials", "refresh_token"]);
}

#[test]
fn every_event_has_a_golden_file() {
    let mut named = BTreeSet::new();
    for file in rust_files("aggregates") {
        let text = fs::read_to_string(&file).unwrap();
        for list in text.split("stored_events! {").skip(1) {
            let list = list.split("\n}").next().unwrap();
            named.extend(list.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    named.retain(|name| name.contains('.'));
    let files = fs::read_dir(root().join("tests/events")).unwrap().flatten();
    let golden: BTreeSet<String> =
        files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    for name in &named {
        assert!(golden.contains(&format!("{name}.v1.json")), "{name} has no golden file");
    }
    assert!(named.len() > 25, "{named:?}");
}

/// Whatever an aggregate needs to know it is told in the command.
#[test]
fn aggregates_do_no_input_or_output() {
    let manifest = read("aggregates/Cargo.toml");
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    for line in dependencies.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        let name = line.split(['.', ' ', '=']).next().unwrap();
        let pure = [
            "async-trait",
            "base64",
            "chrono",
            "cqrs-es",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "url",
            "aws-lc-rs",
        ];
        assert!(pure.contains(&name), "aggregates depends on {name}");
    }
    for file in rust_files("aggregates") {
        let text = fs::read_to_string(&file).unwrap();
        for forbidden in [
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "SystemTime",
            "Utc::now",
            "tokio::",
            "rand::",
        ] {
            assert!(
                !text.contains(forbidden) || file.ends_with("tests.rs"),
                "{} uses {forbidden}",
                file.display()
            );
        }
    }
}

#[test]
fn only_the_engines_name_a_database() {
    for file in rust_files("src").into_iter().chain(rust_files("projections")) {
        let path = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        // `projections/given*` is what that crate's tests start from: tables in memory.
        let may = ["src/journal/postgres", "src/journal/sqlite", "projections/given"]
            .iter()
            .any(|engine| path.starts_with(engine));
        let text = fs::read_to_string(&file).unwrap();
        for driver in ["rusqlite", "sqlx", "postgres_es"] {
            let uses = text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(&format!("{driver}::")));
            assert!(may || !uses, "{path} uses {driver}");
        }
        // Nor does anything else ask in one database's own words, or which one it is.
        let may = may || path == "src/journal/migrations.rs";
        for word in ["pg_settings", "pg_stat_", "current_setting(", "sqlite_master", "pragma_", ".name() =="]
        {
            assert!(may || !text.contains(word), "{path} says {word}");
        }
    }
}

#[test]
fn the_readmes_table_of_settings_is_the_one_the_program_knows() {
    let readme = read("README.md");
    let table = readme
        .split("<!-- settings: begin -->")
        .nth(1)
        .unwrap()
        .split("<!-- settings: end -->")
        .next()
        .unwrap();
    assert_eq!(table.trim(), settings_markdown().trim());
}

/// Sources open by saying which question they answer.
#[test]
fn every_source_file_says_what_it_is_for() {
    for directory in ["src", "aggregates", "projections", "tests", "benches"] {
        for file in rust_files(directory) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("//!"), "{}", file.display());
        }
    }
}

/// A test that ARCHITECTURE.md names exists.
#[test]
fn the_tests_that_the_architecture_names_exist() {
    let document = read("ARCHITECTURE.md");
    let invariants = document.split("## Invariants").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut sources = String::new();
    for directory in ["src", "aggregates", "projections", "tests"] {
        for file in rust_files(directory) {
            sources.push_str(&fs::read_to_string(file).unwrap());
        }
    }
    let quoted = invariants.split('`').skip(1).step_by(2);
    for name in quoted.filter(|name| name.matches('_').count() >= 3 && !name.contains(['/', ' ', '.'])) {
        let name = name.rsplit("::").next().unwrap();
        assert!(sources.contains(&format!("fn {name}")), "{name} does not exist");
    }
}

/// A source without its comments, continued lines joined: only what it says stands between quotation marks.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n").replace("\\\n", "").replace("\\\"", "'")
}

/// Whatever stands between two quotation marks in what the program is made of.
fn spoken() -> Vec<String> {
    let mut pieces = Vec::new();
    for directory in ["src", "aggregates", "projections"] {
        for file in rust_files(directory).iter().filter(|file| !file.ends_with("tests.rs")) {
            pieces.extend(code_of(file).split('"').map(str::to_owned));
        }
    }
    pieces
}

/// Whether this text begins with what is quoted, `…` standing for anything.
fn says(text: &str, quoted: &str) -> bool {
    let mut fragments = quoted.split('…');
    let Some(mut rest) = fragments.next().and_then(|first| text.strip_prefix(first)) else { return false };
    for fragment in fragments {
        let Some((_, behind)) = rest.split_once(fragment) else { return false };
        rest = behind;
    }
    true
}

/// What the operator's guide quotes of the program.
fn quoted() -> Vec<String> {
    let guide = read("OPERATING.md");
    let section = guide.split("## What you may read, and what to do").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells =
        section.lines().filter(|line| line.starts_with("| `")).map(|row| row.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Whoever looks for a message finds it as it was printed.
#[test]
fn every_message_of_the_operators_guide_is_one_that_the_program_says() {
    let pieces = spoken();
    let quoted = quoted();
    for message in &quoted {
        assert!(pieces.iter().any(|piece| says(piece, message)), "nothing says “{message}”");
    }
    assert!(quoted.len() > 80, "{}", quoted.len());
    assert!(says("the log has a hole: {found}", "the log has … hole: …"));
    assert!(!says("the log has a hole: {found}", "log has a hole") && !says("a {hole}", "a … log"));
}

/// Errors that an operator meets: of a start, of the database, of a lease, of `verify`. All others are said to
/// whoever has just given a command, with what to do about them.
const OPERATORS_ERRORS: &[&str] = &[
    "src/checkpoint.rs",
    "src/journal/engine.rs",
    "src/journal/lease.rs",
    "src/journal/verify.rs",
    "src/keys/root_secret.rs",
    "src/open.rs",
    "src/serve/error.rs",
];

/// The first text of each call or attribute that opens like this, unless it closes before.
fn first_texts<'a>(code: &'a str, opens: &'a str, closes: char) -> impl Iterator<Item = &'a str> {
    code.split(opens).skip(1).filter_map(move |rest| {
        let (before, text) = rest.split_once('"')?;
        (!before.contains(closes)).then(|| text.split('"').next().unwrap())
    })
}

/// What stands between the parentheses of a call, up to the one that closes it.
fn arguments(opened: &str) -> &str {
    let (mut depth, mut is_quoted) = (1, false);
    let end = opened.find(|letter: char| {
        match letter {
            '"' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    &opened[..end.unwrap()]
}

/// The arguments of each call that tells of trouble in the log.
fn log_lines(code: &str) -> impl Iterator<Item = &str> {
    let levels = ["tracing::warn!(", "tracing::error!("];
    levels.into_iter().flat_map(move |opens| code.split(opens).skip(1)).map(arguments)
}

/// What a line of the log says, behind its fields.
fn message_of(line: &str) -> &str {
    line.split('"').nth_back(1).unwrap()
}

/// Whether a line of the log has this field: its name begins an argument, outside of quotation marks.
fn has_field(line: &str, name: &str) -> bool {
    let arguments = line.split('"').step_by(2).flat_map(|outside| outside.split(','));
    arguments.filter_map(|argument| argument.split('=').next()).any(|field| field.trim() == name)
}

/// Whoever is told something finds it in the guide, with what to do: a new message cannot be forgotten.
#[test]
fn every_message_for_operators_stands_in_their_guide() {
    let quoted = quoted();
    let in_the_guide = |message: &str| quoted.iter().any(|quoted| says(message, quoted));
    // What only passes on another message has no words of its own.
    let has_words = |message: &str| {
        let own = message.split('{').filter_map(|piece| piece.rsplit('}').next());
        own.collect::<String>().contains(char::is_alphabetic)
    };
    let (mut messages, mut lines) = (BTreeSet::new(), 0);
    for file in rust_files("src").iter().filter(|file| !file.ends_with("tests.rs")) {
        let code = code_of(file);
        let path = file.strip_prefix(root()).unwrap().to_str().unwrap();
        let mut told: Vec<&str> = Vec::new();
        for line in log_lines(&code) {
            let message = message_of(line);
            assert!(has_field(line, "what_to_do"), "{path}: “{message}” is said without `what_to_do`");
            told.push(message);
            lines += 1;
        }
        if path.starts_with("src/cli/doctor") {
            told.extend(first_texts(&code, "Finding::new(", ';'));
        }
        if path == "src/health.rs" {
            told.extend(first_texts(&code, "Err(", ')'));
        }
        if OPERATORS_ERRORS.contains(&path) {
            told.extend(first_texts(&code, "#[error(", ']'));
        }
        for message in told.into_iter().filter(|message| has_words(message)) {
            assert!(in_the_guide(message), "{path}: OPERATING.md says nothing of “{message}”");
            messages.insert(message.to_owned());
        }
    }
    assert!(messages.len() > 90, "{}: {messages:?}", messages.len());
    assert!(!in_the_guide("a message that nobody has written a row for"));
    assert!(lines > 20, "{lines}");
}

/// Whoever reads the log knows of the field with the first step. A line without it is found by what is looked for.
#[test]
fn the_operators_guide_tells_of_the_first_step_that_each_line_of_the_log_has() {
    let guide = read("OPERATING.md");
    let of_the_log = guide.split("\n\n").find(|paragraph| paragraph.contains("level ERROR")).unwrap();
    assert!(of_the_log.contains("`what_to_do`"), "{of_the_log}");
    for (code, is_there) in [
        (r#"tracing::warn!(%error, what_to_do = "See to it (now), at once.", "it is");"#, true),
        (r#"tracing::error!(reason = of(1), what_to_do, "it is")"#, true),
        ("tracing::error!(\n    a = \"1\",\n    what_to_do = stale.what_to_do(),\n    \"it is\"\n);", true),
        (r#"tracing::warn!("it is"); told(what_to_do, "");"#, false),
        (r#"tracing::warn!(reason = stale.what_to_do(), "it is");"#, false),
        (r#"tracing::warn!(of = ", what_to_do = ", "it is");"#, false),
    ] {
        let line = log_lines(code).next().unwrap();
        assert_eq!((message_of(line), has_field(line, "what_to_do")), ("it is", is_there), "{code}");
    }
}

/// The metrics that the program registers, without what the format adds to a name: a unit, a kind.
fn registered_metrics() -> BTreeSet<String> {
    let sources = [("src/metrics.rs", ""), ("src/journal/metrics.rs", "journal_")];
    for file in rust_files("src") {
        let is_known = sources.iter().any(|(path, _)| file.ends_with(path));
        let registers = code_of(&file).contains("prometheus_client::registry");
        assert!(is_known || !registers, "{} registers metrics", file.display());
    }
    let of_source = |(path, prefix): (&str, &str)| {
        let code = code_of(&root().join(path));
        let opens = ["register(", "register_with_unit(", "show("].into_iter();
        let names =
            opens.flat_map(|opens| first_texts(&code, opens, ')').map(|name| format!("{prefix}{name}")));
        names.collect::<Vec<_>>()
    };
    sources.into_iter().flat_map(of_source).collect()
}

/// Whoever sets up an alarm finds every metric, and none that is not there.
#[test]
fn every_metric_stands_in_the_operators_guide_and_no_other() {
    let guide = read("OPERATING.md");
    let table = guide.split("| metric (`chancery_…`)").nth(1).unwrap().split("\n\n").next().unwrap();
    let cells =
        table.lines().filter(|line| line.starts_with("| `")).map(|row| row.split('|').nth(1).unwrap());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let bare = |name: &str| {
        let name = name.split('{').next().unwrap();
        ["_total", "_seconds", "_info"].iter().fold(name, |name, end| name.trim_end_matches(end)).to_owned()
    };
    assert_eq!(names.map(bare).collect::<BTreeSet<_>>(), registered_metrics());
    assert!(registered_metrics().len() > 20, "{:?}", registered_metrics());
}

/// The rows of the table of attacks; those of features to come assert that the feature is not there.
const ATTACKS: std::ops::RangeInclusive<u32> = 1..=91;
/// The other rows of the table: RFC 9700, OAuth 2.1, OWASP ASVS.
const STANDARDS: &[&str] = &[
    "bcp_exact_redirect",
    "bcp_no_open_redirector",
    "bcp_iss_everywhere",
    "bcp_pkce_table",
    "bcp_no_implicit",
    "bcp_sender_constrained",
    "bcp_refresh_expiry",
    "bcp_audience",
    "bcp_no_password_grant",
    "bcp_client_auth",
    "bcp_sub_namespaces",
    "bcp_metadata_and_tls",
    "bcp_nothing_leaks_by_url",
    "bcp_csrf_every_route",
    "bcp_resource_server",
    "bcp_303",
    "bcp_framing",
    "v21_code_replay",
    "v21_redirect_uri_at_token",
    "v21_no_query_credentials",
    "v21_parameters",
    "v21_bearer",
    "v21_refresh_scope",
    "asvs_passwords",
    "asvs_paths",
    "asvs_recovery",
    "asvs_upstream",
    "asvs_session_timeouts",
    "asvs_session_control",
    "asvs_consent",
    "asvs_pkce_gap_listed",
    "asvs_dcr",
    "asvs_logout",
    "asvs_headers_every_route",
];

#[test]
fn every_attack_of_the_table_has_its_test() {
    let mut sources = read("tests/secrets.rs");
    for file in rust_files("tests/attacks") {
        sources.push_str(&fs::read_to_string(file).unwrap());
    }
    sources.push_str(&read("tests/cli.rs"));
    for name in STANDARDS {
        assert!(sources.contains(&format!("fn {name}(")), "{name} has no test");
    }
    for number in ATTACKS {
        assert!(sources.contains(&format!("fn adv_{number:02}_")), "adv_{number:02} has no test");
    }
}
