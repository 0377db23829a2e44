//! `check`: what needs no running code. Formatting, layout, clippy, documentation's links.

use std::path::Path;

use anyhow::Result;

use crate::steps::{cargo, step};
use crate::{no_arguments, tidy};

pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<bool> {
    no_arguments(arguments)?;
    let is_formatted = step("cargo fmt", &mut cargo(root, &["fmt", "--all", "--check"]))?;
    let is_tidy = tidy::run(root, &[])?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    let is_clean = step("cargo clippy", &mut cargo(root, &clippy))?;
    Ok(is_formatted && is_tidy && is_clean)
}
