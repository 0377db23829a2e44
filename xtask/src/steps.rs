//! Steps: external commands with a title, their time, and the tests that they counted.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

/// How cargo's closing lines begin.
const CARGO_RESULT: &str = "test result: ";

/// Tests that ran, by the closing lines of those who ran them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// A line for whoever watches.
pub(crate) fn say(text: &str) {
    // Nobody may be watching.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// `cargo` in the workspace.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root).args(arguments);
    command
}

/// Runs a step; whether it succeeded.
pub(crate) fn step(title: &str, command: &mut Command) -> Result<bool> {
    say(&format!("── {title}"));
    let start = now();
    let status = command
        .status()
        .with_context(|| format!("run {command:?}"))?;
    finish(title, start, status.success());
    Ok(status.success())
}

/// Runs a step that runs tests, showing its output; whether it succeeded, and what it counted.
pub(crate) fn counted_step(title: &str, command: &mut Command) -> Result<(bool, Counts)> {
    say(&format!("── {title}"));
    let start = now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {command:?}"))?;
    let stdout = child.stdout.take().context("the step has no output")?;
    let (mut of_cargo, mut of_suite) = (Counts::default(), Counts::default());
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        say(&line);
        match counts_of(&line) {
            // Cargo has a closing line for each of its test programs.
            Some(counted) if line.starts_with(CARGO_RESULT) => of_cargo.add(counted),
            // A suite's last one sums up those before it.
            Some(counted) => of_suite = counted,
            None => {}
        }
    }
    of_cargo.add(of_suite);
    let is_success = child.wait()?.success();
    finish(title, start, is_success);
    Ok((is_success, of_cargo))
}

fn finish(title: &str, start: Instant, is_success: bool) {
    let verdict = if is_success { "ok" } else { "FAILED" };
    say(&format!(
        "── {title}: {verdict}, {:.1} s\n",
        start.elapsed().as_secs_f64()
    ));
}

/// The present moment, for the times that are printed and for waiting.
#[expect(
    clippy::disallowed_methods,
    reason = "a tool that tells how long its steps took"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The counts in a closing line of cargo's tests ("test result: ok. 3 passed; 0 failed; …") or of
/// a suite ("3 passed, 0 failed", a word with a colon may stand before it).
fn counts_of(line: &str) -> Option<Counts> {
    let rest = match line.trim().strip_prefix(CARGO_RESULT) {
        Some(rest) => rest.split_once(". ")?.1,
        None => match line.trim().split_once(": ") {
            Some((word, rest)) if !word.contains(' ') => rest,
            Some(_) => return None,
            None => line.trim(),
        },
    };
    let mut parts = rest
        .split([',', ';'])
        .map(|part| part.trim().split_once(' '));
    let mut next = |word: &str| -> Option<u64> {
        let (number, said) = parts.next()??;
        if said == word {
            number.parse().ok()
        } else {
            None
        }
    };
    Some(Counts {
        passed: next("passed")?,
        failed: next("failed")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: Option<(u64, u64)>) {
        let counts = counts_of(line).map(|counts| (counts.passed, counts.failed));
        assert_eq!(counts, expect, "{line}");
    }

    #[test]
    fn closing_lines() {
        check(
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            Some((12, 0)),
        );
        check(
            "test result: FAILED. 7 passed; 1 failed; 0 ignored",
            Some((7, 1)),
        );
        check("9 passed, 2 failed", Some((9, 2)));
        check("nio: 9 passed, 2 failed, 1 skipped", Some((9, 2)));
        check("it says: 9 passed, 2 failed", None);
        check("test a::b ... ok", None);
        check("", None);
    }
}
