//! How does the program speak to the person at the terminal?
//!
//! Results go to standard output, remarks and errors to standard error, so output can be piped.
//! Colour and progress appear only on a terminal, and colour not under `NO_COLOR`
//! (<https://no-color.org>). A failure always says what to do about it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::{ConfigError, Environment};

/// The two streams of the terminal and how they may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Console {
    colour_out: bool,
    colour_err: bool,
    progress: bool,
}

/// How a piece of text stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Strong,
    Quiet,
    Good,
    Bad,
}

impl Tone {
    /// The SGR parameters (ECMA-48 §8.3.117). Only the 8 basic colours: they follow the
    /// terminal's theme, light or dark.
    fn sgr(self) -> &'static str {
        match self {
            Self::Strong => "1",
            Self::Quiet => "2",
            Self::Good => "32",
            Self::Bad => "1;31",
        }
    }
}

impl Console {
    /// The console of this process.
    #[must_use]
    pub fn new(environment: &Environment) -> Self {
        let colour = !environment.wants_no_colour();
        let on_terminal = io::stderr().is_terminal();
        Self {
            colour_out: colour && io::stdout().is_terminal(),
            colour_err: colour && on_terminal,
            progress: on_terminal,
        }
    }

    /// A console without colour or progress, as when output is piped.
    #[must_use]
    pub fn plain() -> Self {
        Self { colour_out: false, colour_err: false, progress: false }
    }

    /// Whether colours are shown on standard error, where the log goes.
    #[must_use]
    pub fn colours_errors(self) -> bool {
        self.colour_err
    }

    /// Whether a progress bar is seen.
    #[must_use]
    pub fn shows_progress(self) -> bool {
        self.progress
    }

    /// Says a result, on standard output.
    pub fn say(self, text: impl fmt::Display) {
        print_line(&mut io::stdout().lock(), &text.to_string());
    }

    /// Says that something was done, on standard output.
    pub fn done(self, text: impl fmt::Display) {
        self.say(paint(self.colour_out, Tone::Good, &text.to_string()));
    }

    /// Says something beside the result, on standard error.
    pub fn remark(self, text: impl fmt::Display) {
        print_line(&mut io::stderr().lock(), &paint(self.colour_err, Tone::Quiet, &text.to_string()));
    }

    /// Says what a person will want to do next, and the command or address that does it.
    pub fn next_step(self, what: impl fmt::Display, how: impl fmt::Display) {
        self.say(render_next_step(self.colour_out, &what.to_string(), &how.to_string()));
    }

    /// Says what went wrong, why, and what to do, on standard error.
    pub fn fail(self, error: &dyn Error, advice: &str) {
        print_line(&mut io::stderr().lock(), &render_failure(self.colour_err, error, advice));
    }

    /// Says what is wrong with the configuration.
    pub fn fail_config(self, error: &ConfigError) {
        self.fail(error, &error.advice());
    }

    /// Asks for a line on standard error, so that standard output stays the result alone.
    pub fn prompt(self, question: impl fmt::Display) -> io::Result<String> {
        let mut terminal = io::stderr().lock();
        write!(terminal, "{}", paint(self.colour_err, Tone::Strong, &format!("{question}: ")))?;
        terminal.flush()?;
        let mut line = String::new();
        match io::stdin().read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
        }
    }

    /// A progress bar over `total` steps; silent where there is no terminal.
    #[must_use]
    pub fn progress(self, label: impl Into<Cow<'static, str>>, total: u64) -> Progress {
        let target = if self.progress { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(label);
        let template = "{msg} [{wide_bar}] {human_pos}/{human_len} {per_sec:0}, {eta} left";
        // The template is ours and valid; without it the bar only looks plainer.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress(bar)
    }
}

/// A progress bar that leaves the terminal clean when it is dropped, also by an error.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// So many steps are done, of so many as there are by now.
    pub fn show(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A closed pipe (`chancery config | head -1`) is no reason to panic, as `println!` would.
fn print_line(stream: &mut impl Write, text: &str) {
    let _ = writeln!(stream, "{text}");
}

fn paint(colour: bool, tone: Tone, text: &str) -> String {
    if colour { format!("\x1b[{}m{text}\x1b[0m", tone.sgr()) } else { text.to_owned() }
}

fn render_next_step(colour: bool, what: &str, how: &str) -> String {
    format!("{} {what}\n  {}", paint(colour, Tone::Quiet, "next step:"), paint(colour, Tone::Strong, how))
}

/// The error, its causes if they say anything new, and the advice, each on a line of its own.
fn render_failure(colour: bool, error: &dyn Error, advice: &str) -> String {
    let mut text = format!("{} {error}", paint(colour, Tone::Bad, "error:"));
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(reason) = cause {
        let reason_text = reason.to_string();
        if !said.contains(&reason_text) {
            // Writing to a String cannot fail.
            let _ = write!(text, "\n  {} {reason_text}", paint(colour, Tone::Quiet, "because:"));
            said.push_str(&reason_text);
        }
        cause = reason.source();
    }
    if !advice.is_empty() {
        let _ = write!(text, "\n  {} {advice}", paint(colour, Tone::Strong, "what to do:"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the database does not answer")]
    struct Unreachable(#[source] io::Error);

    #[test]
    fn a_failure_says_why_and_what_to_do() {
        let error = Unreachable(io::Error::other("connection refused"));
        let text = render_failure(false, &error, "Start PostgreSQL.");
        assert_eq!(
            text,
            "error: the database does not answer\n  because: connection refused\n  what to do: Start PostgreSQL."
        );
    }

    #[test]
    fn without_colour_there_is_no_escape_and_with_it_the_words_are_the_same() {
        let plain = render_next_step(false, "create a superuser", "chancery createsuperuser");
        assert_eq!(plain, "next step: create a superuser\n  chancery createsuperuser");
        let coloured = render_next_step(true, "create a superuser", "chancery createsuperuser");
        let stripped = coloured.replace("\x1b[2m", "").replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert_eq!(stripped, plain);
    }

    #[test]
    fn no_color_turns_colour_off() {
        let console = Console::new(&Environment::from_iter([("NO_COLOR", "1")]));
        assert!(!console.colour_out && !console.colour_err);
    }

    #[test]
    fn progress_without_a_terminal_is_hidden() {
        let progress = Console::plain().progress("verifying", 10);
        progress.show(10, 10);
        assert!(progress.0.is_hidden());
    }
}
