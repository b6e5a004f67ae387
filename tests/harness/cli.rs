//! What does the program answer on the command line? Runs the real binary with nothing inherited.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::directory::Directory;
use super::environment;

/// The binary under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_chancery");

/// A way to call the program on one installation.
#[derive(Debug, Clone)]
pub struct Cli {
    home: PathBuf,
    data_dir: Option<PathBuf>,
    variables: Vec<(String, String)>,
    stdin: String,
    prefix: Vec<String>,
    program: PathBuf,
}

/// What a command answered.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Cli {
    /// On the installation in `directory`, or on a PostgreSQL database with its root secret there.
    pub fn at(directory: &Path, database_url: Option<String>) -> Self {
        let variables = database_url.map(|url| ("DATABASE_URL".to_owned(), url));
        Self {
            home: directory.to_owned(),
            data_dir: Some(directory.to_owned()),
            variables: variables.into_iter().collect(),
            stdin: String::new(),
            prefix: Vec::new(),
            program: PROGRAM.into(),
        }
    }

    /// Where a person runs it without any option: data lands below their home.
    pub fn in_home(home: &Path) -> Self {
        Self {
            home: home.to_owned(),
            data_dir: None,
            variables: Vec::new(),
            stdin: String::new(),
            prefix: Vec::new(),
            program: PROGRAM.into(),
        }
    }

    /// With `CHANCERY_PASSWORD` set.
    pub fn password(self, password: &str) -> Self {
        self.variable("CHANCERY_PASSWORD", password)
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn stdin(mut self, text: &str) -> Self {
        text.clone_into(&mut self.stdin);
        self
    }

    /// Run by another command, whose arguments it follows.
    pub fn run_by(mut self, prefix: Vec<String>) -> Self {
        self.prefix = prefix;
        self
    }

    /// The call, not yet made.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let program = self.program.to_str().unwrap();
        let mut words = self.prefix.iter().map(String::as_str).chain([program]);
        let mut command = Command::new(words.next().unwrap_or(program));
        command
            .args(words)
            .args(arguments)
            .env_clear()
            .env("PATH", environment::path())
            .env("HOME", &self.home);
        command.env("XDG_DATA_HOME", self.home.join("data")).env("XDG_CONFIG_HOME", self.home.join("config"));
        command.env("XDG_STATE_HOME", Directory::memory_of(&self.home));
        if let Some(data_dir) = &self.data_dir {
            command.env("CHANCERY_DATA_DIR", data_dir);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Another build of the program on the same installation.
    pub fn of_program(&self, program: &Path) -> Self {
        Self { program: program.to_owned(), ..self.clone() }
    }

    /// Where its files lie.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The PostgreSQL database it works on, if it does.
    pub fn database_url(&self) -> Option<&str> {
        self.variables.iter().find(|(name, _)| name == "DATABASE_URL").map(|(_, url)| url.as_str())
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let mut child = self.command(arguments).spawn().unwrap();
        // A program that never reads closes the pipe; that is not this test's question.
        let _ = child.stdin.take().unwrap().write_all(self.stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Outcome {
    /// Fails the test unless the exit code is 0.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the command failed and said why, naming `what`, without a panic.
    #[track_caller]
    pub fn failed_about(self, what: &str) -> Self {
        assert!(self.code > 0, "code {}, stdout: {}\nstderr: {}", self.code, self.stdout, self.stderr);
        let said = format!("{}{}", self.stdout, self.stderr);
        assert!(said.to_lowercase().contains(&what.to_lowercase()), "{said:?} does not mention {what:?}");
        assert!(!said.contains("panicked"), "{said}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }
}
