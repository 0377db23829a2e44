//! `test`: the workspace's tests with both engines, then the suites under `tests/`.
//!
//! A suite is a folder of `tests/` with an executable `run`, which gets the path of the server's
//! release binary and ends with zero when all went well. What it needs from package registries it
//! fetches itself; the programs of the machine are seen to here. The last line sums up all tests.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::lyceum::release_binary;
use crate::postgres::Cluster;
use crate::programs::{PYTHON, Program, require};
use crate::steps::{Counts, cargo, counted_step, now, say};

/// Where tests of the engine on PostgreSQL find their database.
const POSTGRES_VARIABLE: &str = "LYCEUM_TEST_POSTGRES";

/// What suites may expect to find on the machine; a browser they see to themselves.
const SUITE_PROGRAMS: &[Program] = &[
    Program {
        name: "node",
        probe: &["--version"],
        package: "nodejs",
    },
    Program {
        name: "npm",
        probe: &["--version"],
        package: "npm",
    },
    PYTHON,
];

pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<bool> {
    let (mut with_postgres, mut with_suites) = (true, true);
    for argument in arguments {
        match argument.as_str() {
            "--without-postgres" => with_postgres = false,
            "--without-suites" => with_suites = false,
            _ => bail!("unknown argument {argument}; `cargo xtask help` lists them"),
        }
    }
    let start = now();
    let mut counts = Counts::default();
    let mut is_success = true;
    if with_suites {
        require(SUITE_PROGRAMS)?;
    }

    let mut tests = cargo(root, &["test", "--workspace", "--no-fail-fast"]);
    let cluster = if with_postgres {
        Some(Cluster::start()?)
    } else {
        None
    };
    if let Some(cluster) = &cluster {
        tests.env(POSTGRES_VARIABLE, cluster.url());
    }
    let (passed, counted) = counted_step("cargo test", &mut tests)?;
    counts.add(counted);
    if !passed && counted.failed == 0 {
        // What does not compile has counted nothing.
        counts.failed += 1;
    }
    is_success &= passed;

    if with_suites {
        let suites = all_suites(root)?;
        let (passed, counted) = run_suites(root, &suites, cluster.as_ref())?;
        counts.add(counted);
        is_success &= passed;
    }
    drop(cluster);
    say(&format!(
        "all steps: {:.0} s",
        start.elapsed().as_secs_f64()
    ));
    say(&format!(
        "{} passed, {} failed",
        counts.passed, counts.failed
    ));
    Ok(is_success && counts.failed == 0)
}

/// Only the suites, or those named.
pub(crate) fn suites(root: &Path, arguments: &[String]) -> Result<bool> {
    let mut suites = all_suites(root)?;
    for name in arguments {
        if !suites.iter().any(|suite| suite_name(suite) == *name) {
            bail!("no suite is called {name}");
        }
    }
    if !arguments.is_empty() {
        suites.retain(|suite| arguments.contains(&suite_name(suite)));
    }
    require(SUITE_PROGRAMS)?;
    let cluster = Cluster::start()?;
    let (is_success, counts) = run_suites(root, &suites, Some(&cluster))?;
    drop(cluster);
    say(&format!(
        "{} passed, {} failed",
        counts.passed, counts.failed
    ));
    Ok(is_success && counts.failed == 0)
}

/// The folders of `tests/` that can be run.
fn all_suites(root: &Path) -> Result<Vec<PathBuf>> {
    let mut suites = Vec::new();
    let Ok(entries) = fs::read_dir(root.join("tests")) else {
        return Ok(suites);
    };
    for entry in entries {
        let folder = entry?.path();
        let is_executable = fs::metadata(folder.join("run"))
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0);
        if is_executable {
            suites.push(folder);
        }
    }
    suites.sort();
    Ok(suites)
}

fn suite_name(folder: &Path) -> String {
    folder
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn run_suites(
    root: &Path,
    suites: &[PathBuf],
    cluster: Option<&Cluster>,
) -> Result<(bool, Counts)> {
    let mut counts = Counts::default();
    let mut is_success = true;
    if suites.is_empty() {
        say("no suites under tests/");
        return Ok((is_success, counts));
    }
    let Some(binary) = release_binary(root).context("build the server")? else {
        say("the server does not compile; the suites cannot run");
        counts.failed += suites.len() as u64;
        return Ok((false, counts));
    };
    for suite in suites {
        let mut command = Command::new(suite.join("run"));
        command.arg(&binary).current_dir(suite);
        if let Some(cluster) = cluster {
            command.env(POSTGRES_VARIABLE, cluster.url());
        }
        let title = format!("suite {}", suite_name(suite));
        let (passed, mut counted) = counted_step(&title, &mut command)?;
        // A suite that counts nothing is one test; one that fails has failed at least once.
        if counted == Counts::default() && passed {
            counted.passed = 1;
        }
        if !passed && counted.failed == 0 {
            counted.failed = 1;
        }
        counts.add(counted);
        is_success &= passed;
    }
    Ok((is_success, counts))
}
