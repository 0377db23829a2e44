//! The configuration: defaults, then the file, then the environment, then the command line.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use lyceum_server::config::{Config, Listener};
use ruma_common::ServerName;
use toml::{Table, Value};

use crate::Place;

/// The default configuration with every key described.
pub(crate) const DEFAULTS: &str = include_str!("defaults.toml");

/// What environment variables that configure begin with: `LYCEUM_STORAGE__URL` is `storage.url`.
const ENVIRONMENT_PREFIX: &str = "LYCEUM_";
/// Variables with that prefix that are not ours to read.
const NOT_CONFIGURATION: [&str; 2] = ["LYCEUM_TEST_", "LYCEUM_BENCH_"];

/// The configuration that holds.
pub(crate) fn load(place: &Place) -> anyhow::Result<Config> {
    let mut table = match &place.config {
        Some(file) => read(file)?,
        None => Table::new(),
    };
    for (name, value) in std::env::vars() {
        let is_ours = !NOT_CONFIGURATION
            .iter()
            .any(|prefix| name.starts_with(prefix));
        if let Some(path) = name.strip_prefix(ENVIRONMENT_PREFIX)
            && is_ours
        {
            set(&mut table, &path.to_lowercase(), &value)
                .with_context(|| format!("the environment variable {name}"))?;
        }
    }
    let mut config: Config = Value::Table(table)
        .try_into()
        .context("the configuration is not right")?;
    if let Some(data) = &place.data {
        config.data_dir.clone_from(data);
    }
    if let Some(name) = &place.server_name {
        config.server_name =
            ServerName::parse(name).with_context(|| format!("{name} is not a server name"))?;
    }
    if let Some(bind) = &place.listen {
        let first = config.listeners.first().cloned();
        let first = first.unwrap_or_else(|| Config::default().listeners.swap_remove(0));
        config.listeners = vec![Listener {
            bind: bind.clone(),
            ..first
        }];
    }
    Ok(config)
}

/// Prints the configuration that holds.
pub(crate) fn print(place: &Place) -> anyhow::Result<()> {
    let mut config = load(place)?;
    let registration = &mut config.registration;
    for secret in [&mut registration.shared_secret, &mut registration.token]
        .into_iter()
        .flatten()
    {
        "(set)".clone_into(secret);
    }
    config.storage.url = without_password(&config.storage.url);
    print!("{}", toml::to_string_pretty(&config)?);
    Ok(())
}

/// The address of a database, its password hidden.
fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        let (user, place) = rest.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}:(set)@{place}"))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}

fn read(file: &Path) -> anyhow::Result<Table> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    text.parse()
        .with_context(|| format!("{} is not TOML", file.display()))
}

/// Sets a key given by its path. The value is read as TOML if it is that, else it is a text.
fn set(table: &mut Table, path: &str, value: &str) -> anyhow::Result<()> {
    let mut keys: Vec<_> = path.split("__").collect();
    let Some(last) = keys.pop() else {
        bail!("has no key")
    };
    let mut table = table;
    for key in keys {
        let entry = table
            .entry(key)
            .or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = entry else {
            bail!("{key} is not a section")
        };
        table = inner;
    }
    let parsed = format!("value = {value}").parse::<Table>().ok();
    let parsed = parsed.and_then(|mut parsed| parsed.remove("value"));
    table.insert(
        last.to_owned(),
        parsed.unwrap_or_else(|| Value::String(value.to_owned())),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Config, DEFAULTS, set, without_password};
    use toml::Table;

    #[test]
    fn the_described_defaults_are_the_defaults() {
        let described: Config = toml::from_str(DEFAULTS).expect("the defaults are right");
        let described = toml::to_string(&described).expect("they can be written");
        assert_eq!(
            described,
            toml::to_string(&Config::default()).expect("they can be written")
        );
    }

    #[test]
    fn every_key_is_described() {
        let all = Table::try_from(Config::default()).expect("a table");
        for (section, value) in &all {
            let keys = value
                .as_table()
                .map(|table| table.keys().collect::<Vec<_>>());
            for key in keys.unwrap_or_default() {
                assert!(
                    DEFAULTS.contains(&format!("{key} = ")),
                    "{section}.{key} is missing"
                );
            }
        }
    }

    #[test]
    fn passwords_are_hidden() {
        for (url, shown) in [
            ("sqlite", "sqlite"),
            ("postgres://me@host/db", "postgres://me@host/db"),
            (
                "postgres://me:secret@host:5432/db",
                "postgres://me:(set)@host:5432/db",
            ),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn the_environment_overrides() {
        let mut table: Table = "[storage]\nurl = 'sqlite'".parse().expect("TOML");
        set(&mut table, "storage__url", "postgres://x").expect("a key");
        set(&mut table, "rate_limits__enabled", "false").expect("a key");
        set(&mut table, "server_name", "example.org").expect("a key");
        let config: Config = table.try_into().expect("right");
        assert_eq!(config.storage.url, "postgres://x");
        assert!(!config.rate_limits.enabled);
        assert_eq!(config.server_name, "example.org");
    }
}
