//! The developer tool: `cargo xtask check | test | tidy | suites | bench | coverage`.
//!
//! It drives cargo and the other tools that are there, and installs what is missing where it may.
//! Everything that it starts ends with it. It knows no crate of Lyceum but by name.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

mod bench;
mod check;
mod coverage;
mod http;
mod lyceum;
mod postgres;
mod programs;
mod steps;
mod test;
mod tidy;

const HELP: &str = "\
cargo xtask COMMAND

  check     formatting, layout (tidy), clippy with warnings as errors
  test      everything: the workspace's tests with both engines, then the suites
              --without-postgres   leave the engine on PostgreSQL out
              --without-suites     leave tests/*/run out
  suites    only the suites: tests/*/run with a release build [names…]
  tidy      only the layout: crate edges, names, documentation
  bench     the load driver on a release build; see bench/README.md
              --peer synapse       install Synapse from PyPI and measure it beside ours
              all else goes to the driver: --phases, --budget-s, --json, --members, --course, …
  coverage  FILE.tsv [--url http://127.0.0.1:PORT] [--all-apis]
              which endpoints of a table a server has; starts a server when no url is given";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            steps::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was in order.
fn run(arguments: &[String]) -> Result<bool> {
    let root = root()?;
    let Some((command, rest)) = arguments.split_first() else {
        steps::say(HELP);
        return Ok(false);
    };
    match command.as_str() {
        "check" => check::run(&root, rest),
        "test" => test::run(&root, rest),
        "suites" => test::suites(&root, rest),
        "tidy" => tidy::run(&root, rest),
        "bench" => bench::run(&root, rest),
        "coverage" => coverage::run(&root, rest),
        "help" | "--help" | "-h" => {
            steps::say(HELP);
            Ok(true)
        }
        _ => bail!("no command is called {command}; `cargo xtask help` lists them"),
    }
}

/// The workspace's folder.
fn root() -> Result<PathBuf> {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(xtask
        .parent()
        .context("xtask lies in the workspace")?
        .to_owned())
}

/// Refuses arguments where a command has none.
fn no_arguments(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(first) => bail!("unknown argument {first}; `cargo xtask help` lists them"),
    }
}
