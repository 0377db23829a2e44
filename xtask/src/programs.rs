//! Programs of the machine that the steps need: found, installed from Debian where that is
//! possible, or named to the reader.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::steps::step;

/// A program and the Debian package that has it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Sees to it that programs are there: installs their packages as root, else says what is missing.
pub(crate) fn require(programs: &[Program]) -> Result<()> {
    let missing = |program: &&Program| find(program.name).is_none();
    let packages: Vec<&str> = programs
        .iter()
        .filter(missing)
        .map(|program| program.package)
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    install(&packages)?;
    let still: Vec<&str> = programs
        .iter()
        .filter(missing)
        .map(|program| program.name)
        .collect();
    if !still.is_empty() {
        bail!("these programs are still missing: {}", still.join(", "));
    }
    Ok(())
}

/// Installs Debian packages, or says which are missing.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !is_root() || find("apt-get").is_none() {
        bail!("please install these first (Debian's names): {list}");
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        command
    };
    // Only a list that is too old makes the installation fail.
    step("apt-get update", &mut apt(&["update", "-q"]))?;
    let mut command = apt(&["install", "-y", "-q", "--no-install-recommends"]);
    if !step(&format!("apt-get install {list}"), command.args(packages))? {
        bail!("apt-get could not install: {list}");
    }
    Ok(())
}

/// The path of a program, as the shell finds it.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let output = Command::new("sh")
        .arg("-c")
        .arg("command -v \"$0\"")
        .arg(name)
        .output()
        .ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    let path = path.trim();
    if output.status.success() && !path.is_empty() {
        Some(PathBuf::from(path))
    } else {
        None
    }
}
