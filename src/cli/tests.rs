//! Is the command line well-formed, taught, and the same thing as the settings?

use super::*;
use crate::config::SETTINGS;

fn read(line: &[&str]) -> Result<Cli, clap::Error> {
    Cli::read(std::iter::once("chancery").chain(line.iter().copied()).map(OsString::from))
}

fn message(line: &[&str]) -> String {
    read(line).unwrap_err().to_string()
}

#[test]
fn the_definition_is_sound() {
    definition().debug_assert();
    <Cli as CommandFactory>::command().debug_assert();
}

#[test]
fn every_command_has_an_example_in_its_help() {
    for command in definition().get_subcommands() {
        if command.get_name() == "help" {
            continue;
        }
        let help = message(&[command.get_name(), "--help"]);
        let example = format!("chancery {}", command.get_name());
        let taught = help.split("Example").nth(1).is_some_and(|after| after.contains(&example));
        assert!(taught, "{help}");
    }
}

#[test]
fn the_help_of_a_command_is_about_the_command() {
    let help = message(&["lockuser", "--help"]);
    assert!(help.contains("--data-dir") && !help.contains("--max-body"), "{help}");
    assert!(message(&["serve", "--help"]).contains("--max-body"));
}

#[test]
fn the_whole_help_names_every_flag_with_its_variable() {
    // Where a line is wrapped depends on the width of the terminal.
    let help = message(&["--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in SETTINGS {
        if let (Some(flag), Some(env)) = (setting.flag, setting.env) {
            assert!(help.contains(&format!("--{flag}")) && help.contains(&format!("env: {env}")), "{flag}");
        }
    }
    assert!(!help.contains("--root-secret <"), "{help}");
}

#[test]
fn without_a_command_it_serves() {
    assert_eq!(read(&[]).unwrap().command(), Command::Serve);
}

#[test]
fn a_setting_can_stand_before_or_after_the_command() {
    for line in [["--listen", "[::1]:1", "serve"], ["serve", "--listen", "[::1]:1"]] {
        let cli = read(&line).unwrap();
        assert_eq!(cli.options.flags["listen"], ["[::1]:1"]);
        assert_eq!(cli.options.flags.len(), 1);
    }
}

#[test]
fn a_switch_is_given_without_a_value() {
    let cli = read(&["migrate", "--no-migrate", "--allow-insecure-issuer"]).unwrap();
    assert!(cli.options.flags.keys().eq(["allow-insecure-issuer", "no-migrate"].iter()));
}

#[test]
fn a_password_is_never_an_argument() {
    for command in ["createuser", "createsuperuser"] {
        assert!(read(&[command, "--password", "hunter2"]).is_err());
    }
    assert!(read(&["changepassword", "ada", "hunter2"]).is_err());
    assert!(read(&["--root-secret", "hunter2"]).is_err());
}

#[test]
fn createapplication_takes_the_options_people_know() {
    let cli = read(&[
        "createapplication",
        "confidential",
        "authorization-code",
        "--client-id",
        "shop",
        "--user",
        "ada",
        "--redirect-uris",
        "https://a.example/cb https://b.example/cb",
        "--post-logout-redirect-uris",
        "https://a.example/bye",
        "--client-secret",
        "s3cret",
        "--name",
        "Shop",
        "--skip-authorization",
        "--algorithm",
        "RS256",
        "--require-pkce",
        "--scopes",
        "read write",
        "--json",
    ])
    .unwrap();
    let Command::Createapplication(arguments) = cli.command() else { panic!("another command") };
    assert_eq!(arguments.redirect_uris, ["https://a.example/cb", "https://b.example/cb"]);
    assert_eq!(arguments.scopes, ["read", "write"]);
    assert_eq!(arguments.algorithm, Some(SigningAlgorithm::Rs256));
    assert!(arguments.skip_authorization && arguments.require_pkce && arguments.json);
}

#[test]
fn what_oauth_2_1_left_out_is_refused_with_a_reason() {
    for (line, reason) in [
        (["confidential", "implicit", "--json"], "address bar"),
        (["confidential", "password", "--json"], "type their password"),
        (["confidential", "openid-hybrid", "--json"], "address bar"),
        (["public", "client-credentials", "--json"], "no credentials"),
        (["confidential", "authorization-code", "--no-hash-client-secret"], "verifier only"),
        (["confidential", "authorization-code", "--algorithm=HS256"], "verifier of it"),
        (["public", "authorization-code", "--client-secret=x"], "has no secret"),
    ] {
        let refused = message(&["createapplication", line[0], line[1], line[2]]);
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn two_sources_of_a_secret_are_refused() {
    let line = [
        "createapplication",
        "confidential",
        "authorization-code",
        "--client-secret=x",
        "--client-secret-stdin",
    ];
    assert!(read(&line).is_err());
}
