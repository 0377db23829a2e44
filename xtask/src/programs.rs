//! Programs of the machine that the steps need: found, installed from Debian where that is
//! possible, or named to the reader.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::steps::step;

/// A program, the arguments with which it succeeds when all of it is there, and the Debian package
/// that has it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) probe: &'static [&'static str],
    pub(crate) package: &'static str,
}

/// Python with what it takes to make virtual environments.
pub(crate) const PYTHON: Program = Program {
    name: "python3",
    probe: &["-m", "ensurepip", "--version"],
    package: "python3-venv",
};

impl Program {
    fn is_there(&self) -> bool {
        let quiet = || Stdio::null();
        Command::new(self.name)
            .args(self.probe)
            .stdin(quiet())
            .stdout(quiet())
            .stderr(quiet())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Sees to it that programs are there: installs their packages as root, else says what is missing.
pub(crate) fn require(programs: &[Program]) -> Result<()> {
    let missing = |program: &&Program| !program.is_there();
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
    let apt_get = Program {
        name: "apt-get",
        probe: &["--version"],
        package: "apt",
    };
    if !is_root() || !apt_get.is_there() {
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
