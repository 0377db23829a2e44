//! `bench`: builds server and driver for release, installs the peer, and runs the driver on both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::lyceum::release_binary;
use crate::programs::{PYTHON, require};
use crate::steps::{cargo, step};

/// The release of Synapse that figures are compared with.
const SYNAPSE: &str = "matrix-synapse==1.163.*";

pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<bool> {
    let (mut with_synapse, mut with_lyceum) = (false, true);
    let mut passed_on = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--peer" => match rest.next().map(String::as_str) {
                Some("synapse") => with_synapse = true,
                other => bail!("--peer is synapse, not {other:?}"),
            },
            "--without-lyceum" => with_lyceum = false,
            _ => passed_on.push(argument),
        }
    }
    let mut driver = Command::new(root.join("target/release/bench"));
    driver.current_dir(root);
    if with_lyceum {
        let binary = release_binary(root)?.context("the server does not compile")?;
        driver.arg("--lyceum").arg(binary);
    }
    if with_synapse {
        driver.arg("--synapse").arg(synapse(root)?);
    }
    let mut build = cargo(root, &["build", "--release", "--package", "bench"]);
    ensure!(
        step("cargo build --release (the driver)", &mut build)?,
        "the driver does not compile"
    );
    step("bench", driver.args(passed_on))
}

/// A Python interpreter with Synapse, installed once into the target folder.
fn synapse(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/peers/synapse");
    let python = folder.join("bin/python");
    let is_installed = Command::new(&python)
        .args(["-c", "import synapse.app.homeserver"])
        .status()
        .is_ok_and(|status| status.success());
    if is_installed {
        return Ok(python);
    }
    require(&[PYTHON])?;
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above)?;
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(&folder);
    ensure!(
        step("python3 -m venv", &mut make)?,
        "no virtual environment (Debian: python3-venv)"
    );
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        SYNAPSE,
    ]);
    ensure!(
        step(&format!("pip install {SYNAPSE}"), &mut install)?,
        "pip could not install it"
    );
    Ok(python)
}
