//! `tidy`: the rules of layout that the compiler does not know.
//!
//! Crates name only crates that the table below lets them name; ruma's API crates stay at the
//! edges; rule crates stay pure; no module has a name that says nothing; every source file says
//! what it is for; every decision has a title.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::Table;

use crate::no_arguments;
use crate::steps::say;

/// Crates that are plain data in, plain data out.
const RULES: &[&str] = &["room", "federation", "sync", "account", "courses", "calls"];

/// What may speak HTTP to clients and servers, and so may name ruma's API crates.
const EDGES: &[&str] = &[
    "edge",
    "client_api",
    "auth_api",
    "federation_api",
    "admin_api",
    "calls_api",
    "web_client",
    "outgoing",
    "lyceum",
];

/// Crates of ruma that describe endpoints.
const RUMA_API: &[&str] = &[
    "ruma",
    "ruma-client-api",
    "ruma-federation-api",
    "ruma-appservice-api",
    "ruma-identity-service-api",
    "ruma-push-gateway-api",
    "synapse-admin-api",
];

/// What a rule crate has no use for.
const IMPURE_DEPENDENCIES: &[&str] = &[
    "tokio",
    "async-trait",
    "futures-util",
    "hyper",
    "axum",
    "http",
    "reqwest",
    "rusqlite",
    "tokio-postgres",
    "rand",
    "getrandom",
];

/// The same, as words of source text.
const IMPURE_WORDS: &[&str] = &[
    "async fn",
    ".await",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
];

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "misc", "manager", "handler", "service",
];

/// The crates that a crate may name; nothing for a crate that is not in the design.
fn allowed_edges(crate_name: &str) -> Option<Vec<&'static str>> {
    let with_rules = |others: &[&'static str]| [RULES, others].concat();
    let allowed = match crate_name {
        "model" | "media_store" | "xtask" | "bench" => Vec::new(),
        "federation" | "sync" => vec!["model", "room"],
        "room" | "account" | "courses" | "calls" | "storage" => vec!["model"],
        "storage_sql" => vec!["storage", "model"],
        "server" => with_rules(&["storage", "media_store", "model"]),
        "outgoing" => with_rules(&["model"]),
        "edge" => vec!["server", "storage", "model"],
        "client_api" | "auth_api" | "federation_api" | "admin_api" | "calls_api" => {
            with_rules(&["edge", "server", "storage", "media_store", "model"])
        }
        "web_client" => vec!["edge"],
        "testkit" => vec!["model", "room", "storage"],
        "lyceum" | "simulation" => {
            let shell = [
                "storage",
                "storage_sql",
                "media_store",
                "server",
                "model",
                "testkit",
            ];
            [RULES, EDGES, &shell].concat()
        }
        _ => return None,
    };
    Some(allowed)
}

/// What tests may name beside a crate's own edges.
const TEST_EDGES: &[&str] = &["testkit", "storage_sql"];

pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<bool> {
    no_arguments(arguments)?;
    say("── tidy");
    let problems = problems(root)?;
    for problem in &problems {
        say(problem);
    }
    match problems.len() {
        0 => say("── tidy: ok\n"),
        count => say(&format!("── tidy: FAILED, {count} problems\n")),
    }
    Ok(problems.is_empty())
}

/// All that is wrong below the workspace's folder.
fn problems(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut folders = vec![root.join("xtask"), root.join("bench")];
    for entry in fs::read_dir(root.join("crates")).context("no folder crates")? {
        folders.push(entry?.path());
    }
    folders.sort();
    for folder in folders {
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else {
            continue;
        };
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let manifest: Table = manifest
            .parse()
            .with_context(|| format!("{}/Cargo.toml", folder.display()))?;
        problems.extend(check_manifest(&name, &manifest));
        for file in source_files(&folder) {
            let text = fs::read_to_string(&file)?;
            let inside = file.strip_prefix(&folder).unwrap_or(&file);
            let shown = file
                .strip_prefix(root)
                .unwrap_or(&file)
                .display()
                .to_string();
            let found = check_source(&name, inside, &text);
            problems.extend(
                found
                    .into_iter()
                    .map(|problem| format!("{shown}: {problem}")),
            );
        }
    }
    if let Ok(pages) = fs::read_dir(root.join("docs/decisions")) {
        for page in pages {
            let page = page?.path();
            if page.extension().is_some_and(|extension| extension == "md")
                && !has_title(&fs::read_to_string(&page)?)
            {
                let shown = page.strip_prefix(root).unwrap_or(&page).display();
                problems.push(format!("{shown}: the page has no title"));
            }
        }
    }
    Ok(problems)
}

fn has_title(page: &str) -> bool {
    page.lines()
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.starts_with("# "))
}

/// The edges of one crate.
fn check_manifest(name: &str, manifest: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    let Some(allowed) = allowed_edges(name) else {
        return vec![format!(
            "crates/{name}: not a crate of the design; see xtask/src/tidy.rs"
        )];
    };
    let package = manifest
        .get("package")
        .and_then(|package| package.get("name")?.as_str());
    let wanted = match name {
        "lyceum" | "xtask" | "bench" => name.to_owned(),
        _ => format!("lyceum_{name}"),
    };
    if package != Some(wanted.as_str()) {
        problems.push(format!(
            "crates/{name}: the package is called {package:?}, not {wanted}"
        ));
    }
    for (dependency, is_for_tests) in dependencies(manifest) {
        if let Some(other) = dependency.strip_prefix("lyceum_") {
            let is_allowed =
                allowed.contains(&other) || (is_for_tests && TEST_EDGES.contains(&other));
            if !is_allowed {
                problems.push(format!("crates/{name}: may not name {dependency}"));
            }
        }
        if RUMA_API.contains(&dependency.as_str()) && !EDGES.contains(&name) {
            problems.push(format!("crates/{name}: {dependency} is for the edges only"));
        }
        let is_rule = RULES.contains(&name) || name == "model";
        if is_rule && !is_for_tests && IMPURE_DEPENDENCIES.contains(&dependency.as_str()) {
            problems.push(format!(
                "crates/{name}: rules are pure, {dependency} is not"
            ));
        }
    }
    problems
}

/// All dependencies, by the names of their packages, and whether only tests have them.
fn dependencies(manifest: &Table) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    let mut tables = vec![manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    for table in tables {
        for (section, is_for_tests) in [
            ("dependencies", false),
            ("build-dependencies", false),
            ("dev-dependencies", true),
        ] {
            let Some(section) = table.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            for (key, value) in section {
                let package = value.get("package").and_then(toml::Value::as_str);
                all.push((package.unwrap_or(key).to_owned(), is_for_tests));
            }
        }
    }
    all
}

/// One source file; its path is that inside of its crate.
fn check_source(crate_name: &str, path: &Path, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    if file_name == "mod.rs" {
        problems.push("no mod.rs: a module lies in a file of its name".to_owned());
    }
    for part in path.iter() {
        let name = part.to_string_lossy();
        let name = name.strip_suffix(".rs").unwrap_or(&name);
        if EMPTY_NAMES.contains(&name) {
            problems.push(format!("{name} is a name that says nothing"));
        }
    }
    let is_source = path.starts_with("src");
    if is_source && !text.trim_start().starts_with("//!") {
        problems.push("does not start with //! what it is for".to_owned());
    }
    let is_rule = is_source && (RULES.contains(&crate_name) || crate_name == "model");
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default().trim();
        if is_rule && code.starts_with("mod tests") {
            // From here on it is tests, which may do as they like.
            break;
        }
        let module = code
            .trim_start_matches("pub(crate) ")
            .trim_start_matches("pub ");
        if let Some(name) = module
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix('{'))
            && EMPTY_NAMES.contains(&name.trim())
        {
            problems.push(format!(
                "line {}: {} is a name that says nothing",
                index + 1,
                name.trim()
            ));
        }
        if is_rule {
            for word in IMPURE_WORDS.iter().filter(|word| code.contains(**word)) {
                problems.push(format!("line {}: rules are pure, no {word}", index + 1));
            }
        }
    }
    problems
}

/// The Rust files of a crate, tests and benches included.
fn source_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["src", "tests", "benches", "examples"]
        .iter()
        .map(|name| folder.join(name))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, dependencies: &str) -> Vec<String> {
        let text = format!("[package]\nname = \"lyceum_{name}\"\n{dependencies}");
        check_manifest(name, &text.parse().unwrap())
    }

    #[test]
    fn edges_follow_the_design() {
        let check = |name: &str, dependencies: &str, expect: &[&str]| {
            assert_eq!(
                manifest(name, dependencies),
                expect,
                "{name}: {dependencies}"
            );
        };
        check("sync", "[dependencies]\nlyceum_room.workspace = true", &[]);
        check(
            "sync",
            "[dependencies]\nlyceum_account.workspace = true",
            &["crates/sync: may not name lyceum_account"],
        );
        check(
            "storage",
            "[dependencies]\nlyceum_storage_sql.workspace = true",
            &["crates/storage: may not name lyceum_storage_sql"],
        );
        check(
            "storage",
            "[dev-dependencies]\nlyceum_storage_sql.workspace = true",
            &[],
        );
        check(
            "server",
            "[target.'cfg(unix)'.dependencies]\nlyceum_edge = \"1\"",
            &["crates/server: may not name lyceum_edge"],
        );
        check(
            "server",
            "[dependencies]\napi = { package = \"ruma-client-api\", version = \"1\" }",
            &["crates/server: ruma-client-api is for the edges only"],
        );
        check("client_api", "[dependencies]\nruma-client-api = \"1\"", &[]);
        check(
            "room",
            "[dependencies]\ntokio = \"1\"",
            &["crates/room: rules are pure, tokio is not"],
        );
        check("room", "[dev-dependencies]\ntokio = \"1\"", &[]);
        check(
            "stuff",
            "",
            &["crates/stuff: not a crate of the design; see xtask/src/tidy.rs"],
        );
    }

    #[test]
    fn a_package_is_called_as_its_folder() {
        let problems = check_manifest("room", &"[package]\nname = \"rooms\"".parse().unwrap());
        assert_eq!(
            problems,
            ["crates/room: the package is called Some(\"rooms\"), not lyceum_room"]
        );
    }

    #[test]
    fn sources() {
        let check = |name: &str, path: &str, text: &str, expect: &[&str]| {
            assert_eq!(
                check_source(name, Path::new(path), text),
                expect,
                "{path}: {text}"
            );
        };
        check(
            "server",
            "src/lib.rs",
            "//! The shell.\nasync fn a() {}",
            &[],
        );
        check(
            "server",
            "src/lib.rs",
            "use a;",
            &["does not start with //! what it is for"],
        );
        check("server", "tests/it/main.rs", "mod rooms;", &[]);
        check(
            "server",
            "src/utils.rs",
            "//! A.",
            &["utils is a name that says nothing"],
        );
        check(
            "server",
            "src/common/a.rs",
            "//! A.",
            &["common is a name that says nothing"],
        );
        check(
            "server",
            "src/rooms/mod.rs",
            "//! A.",
            &["no mod.rs: a module lies in a file of its name"],
        );
        check(
            "server",
            "src/a.rs",
            "//! A.\npub(crate) mod helpers {\n}",
            &["line 2: helpers is a name that says nothing"],
        );
        check("room", "src/a.rs", "//! A.\n// no async fn here", &[]);
        check(
            "room",
            "src/a.rs",
            "//! A.\nasync fn a() {}",
            &["line 2: rules are pure, no async fn"],
        );
        check(
            "room",
            "src/a.rs",
            "//! A.\nmod tests {\nuse std::fs;\n}",
            &[],
        );
    }

    #[test]
    fn decisions_have_titles() {
        assert!(has_title("\n# Why SQLite\n"));
        assert!(!has_title("Why SQLite\n"));
        assert!(!has_title(""));
    }

    #[test]
    fn a_whole_tree() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(
            "crates/model/Cargo.toml",
            "[package]\nname = \"lyceum_model\"",
        );
        write("crates/model/src/lib.rs", "pub struct Id;");
        write("docs/decisions/one.md", "no title");
        assert_eq!(
            problems(root.path()).unwrap(),
            [
                "crates/model/src/lib.rs: does not start with //! what it is for",
                "docs/decisions/one.md: the page has no title",
            ]
        );
    }
}
