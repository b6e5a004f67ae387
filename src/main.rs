//! Where does the program begin? The command line does the rest.

use std::process::ExitCode;

use chancery::cli;
use chancery::config::Environment;

fn main() -> ExitCode {
    cli::run(std::env::args_os().collect(), Environment::capture())
}
