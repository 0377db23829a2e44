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
    config.checked().context("the configuration is not right")
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

/// Sets a key given by its path. The value is read as TOML if it is that, else it is a text; so it
/// is, too, if the key wants a text.
fn set(table: &mut Table, path: &str, value: &str) -> anyhow::Result<()> {
    let text = Value::String(value.to_owned());
    let parsed = format!("value = {value}").parse::<Table>().ok();
    let Some(parsed) = parsed.and_then(|mut parsed| parsed.remove("value")) else {
        return put(table, path, text);
    };
    let is_right = |value: &Value| {
        let mut alone = Table::new();
        put(&mut alone, path, value.clone()).is_ok() && alone.try_into::<Config>().is_ok()
    };
    let wants_text = !is_right(&parsed) && is_right(&text);
    put(table, path, if wants_text { text } else { parsed })
}

fn put(table: &mut Table, path: &str, value: Value) -> anyhow::Result<()> {
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
    table.insert(last.to_owned(), value);
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
        // Texts that look like something else.
        set(&mut table, "rooms__default_version", "11").expect("a key");
        set(&mut table, "registration__token", "12345678").expect("a key");
        set(&mut table, "registration__shared_secret", "true").expect("a key");
        set(&mut table, "rate_limits__message__burst", "7").expect("a key");
        set(&mut table, "rate_limits__message__per_second", "1.5").expect("a key");
        let config: Config = table.try_into().expect("right");
        assert_eq!(config.rooms.default_version.as_str(), "11");
        assert_eq!(config.registration.token.as_deref(), Some("12345678"));
        assert_eq!(config.registration.shared_secret.as_deref(), Some("true"));
        assert_eq!(config.rate_limits.message.burst, 7);
        assert_eq!(config.storage.url, "postgres://x");
        assert!(!config.rate_limits.enabled);
        assert_eq!(config.server_name, "example.org");
    }

    fn changed(key: &str, value: &str) -> Config {
        let mut table = Table::new();
        set(&mut table, key, value).expect("a key");
        table.try_into().expect("it is of the right kind")
    }

    #[test]
    fn what_cannot_work_is_refused() {
        Config::default().checked().expect("the defaults work");
        for (key, value) in [
            ("rooms__default_version", "13"),
            ("passwords__memory_kib", "0"),
            ("passwords__parallelism", "0"),
            ("rate_limits__message", "{ per_second = 0.0, burst = 1 }"),
            ("rate_limits__login", "{ per_second = 1.0, burst = 0 }"),
        ] {
            let refused = changed(key, value).checked();
            assert!(refused.is_err(), "{key} = {value}");
        }
    }

    #[test]
    fn empty_secrets_are_none() {
        for key in ["registration__token", "registration__shared_secret"] {
            let config = changed(key, "").checked().expect("as if it were not there");
            assert_eq!(config.registration.token, None);
            assert_eq!(config.registration.shared_secret, None);
        }
    }
}
