//! The command line of the driver.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::phases::Phase;
use crate::server::Origin;

pub(crate) const HELP: &str = "\
bench: measures homeservers side by side over the public HTTP API

  --lyceum BINARY       start this binary of Lyceum and measure it
  --storage URL         its storage: sqlite (default) or postgres://user@host:port/database
  --synapse PYTHON      start Synapse with this interpreter and measure it
  --server KEY=VALUE,…  measure a server that runs already: name, url (http://127.0.0.1:PORT),
                        registration_secret, and where known pid and data (its data folder)
  --phases A,B,…        only these (default all): register login create floor send deliver sync
                        idle join paginate media course memory disk restart
  --budget-s N          time for each measured load (default 8); slow servers do fewer requests
  --members N           size of the large room (default 1000)
  --course A,B,…        sizes of the courses (default 30,300; up to 3000)
  --json FILE           write the results there too
  --work-dir DIR        keep the servers' folders there (default: a temporary folder)

The first server is the one that the others are compared with.";

/// Sizes above this make no sense on one machine.
const COURSE_MAX: usize = 3000;
const MEMBERS_MAX: usize = 10_000;

/// What to measure, and how much.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) servers: Vec<(String, Origin)>,
    pub(crate) phases: Vec<Phase>,
    pub(crate) budget: Duration,
    pub(crate) members: usize,
    pub(crate) courses: Vec<usize>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) work_dir: Option<PathBuf>,
}

/// Reads the arguments after the program's name; `None` when help was asked for.
pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Options>> {
    let mut arguments = arguments.into_iter();
    let mut options = Options {
        servers: Vec::new(),
        phases: Phase::ALL.to_vec(),
        budget: Duration::from_secs(8),
        members: 1000,
        courses: vec![30, 300],
        json: None,
        work_dir: None,
    };
    let mut storage_url = "sqlite".to_owned();
    while let Some(argument) = arguments.next() {
        if argument == "--help" || argument == "-h" {
            return Ok(None);
        }
        let value = arguments
            .next()
            .with_context(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--lyceum" => {
                let origin = Origin::Lyceum {
                    binary: absolute(&value)?,
                    storage_url: String::new(),
                };
                options.servers.push(("lyceum".to_owned(), origin));
            }
            "--storage" => storage_url = value,
            "--synapse" => {
                let origin = Origin::Synapse {
                    python: absolute(&value)?,
                };
                options.servers.push(("synapse".to_owned(), origin));
            }
            "--server" => options.servers.push(running_server(&value)?),
            "--phases" => {
                options.phases = value.split(',').map(Phase::named).collect::<Result<_>>()?;
                options.phases.sort_unstable();
                options.phases.dedup();
            }
            "--budget-s" => {
                let seconds: f64 = value.parse().context("--budget-s is a number of seconds")?;
                ensure!(
                    (0.1..=600.0).contains(&seconds),
                    "--budget-s is from 0.1 to 600"
                );
                options.budget = Duration::from_secs_f64(seconds);
            }
            "--members" => options.members = size(&value, MEMBERS_MAX)?,
            "--course" => {
                options.courses = value
                    .split(',')
                    .map(|size_text| size(size_text, COURSE_MAX))
                    .collect::<Result<_>>()?;
            }
            "--json" => options.json = Some(PathBuf::from(value)),
            "--work-dir" => options.work_dir = Some(absolute(&value)?),
            _ => bail!("unknown argument {argument}; --help lists them"),
        }
    }
    for (_, origin) in &mut options.servers {
        if let Origin::Lyceum {
            storage_url: url, ..
        } = origin
        {
            url.clone_from(&storage_url);
        }
    }
    ensure!(
        !options.servers.is_empty(),
        "no server to measure; --help lists the arguments"
    );
    Ok(Some(options))
}

fn size(text: &str, max: usize) -> Result<usize> {
    let size: usize = text
        .parse()
        .with_context(|| format!("{text} is not a size"))?;
    ensure!((1..=max).contains(&size), "{size} is not from 1 to {max}");
    Ok(size)
}

fn absolute(path: &str) -> Result<PathBuf> {
    // Not `canonicalize`: an interpreter in a virtual environment is a link, and must stay one.
    std::path::absolute(path).with_context(|| format!("path {path}"))
}

fn running_server(text: &str) -> Result<(String, Origin)> {
    let (mut name, mut address, mut pid) = (None, None, None);
    let (mut data, mut secret) = (PathBuf::new(), String::new());
    for part in text.split(',') {
        let (key, value) = part
            .split_once('=')
            .with_context(|| format!("{part} is not KEY=VALUE"))?;
        match key {
            "name" => name = Some(value.to_owned()),
            "url" => address = Some(loopback_address(value)?),
            "pid" => pid = Some(value.parse().context("pid is a number")?),
            "data" => data = absolute(value)?,
            "registration_secret" => value.clone_into(&mut secret),
            _ => bail!("--server has no key {key}"),
        }
    }
    let name = name.context("--server needs name=")?;
    let address = address.context("--server needs url=")?;
    Ok((
        name,
        Origin::Running {
            address,
            pid,
            data,
            secret,
        },
    ))
}

/// Load goes to this machine only.
fn loopback_address(url: &str) -> Result<SocketAddr> {
    let rest = url
        .strip_prefix("http://")
        .context("url starts with http://")?;
    let rest = rest.trim_end_matches('/').replace("localhost", "127.0.0.1");
    let address: SocketAddr = rest
        .parse()
        .with_context(|| format!("{url} has no address and port"))?;
    ensure!(
        address.ip().is_loopback(),
        "{url} is not on this machine; load is sent nowhere else"
    );
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expect: &str) {
        let result = parse(line.split_whitespace().map(str::to_owned));
        let text = match result {
            Ok(Some(options)) => format!(
                "{:?} {} {:?}",
                options
                    .servers
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .collect::<Vec<_>>(),
                options.phases.len(),
                options.courses
            ),
            Ok(None) => "help".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expect, "{line}");
    }

    #[test]
    fn command_lines() {
        check("--help", "help");
        check("", "no server to measure; --help lists the arguments");
        check(
            "--lyceum a --synapse b --phases send,sync,send",
            r#"["lyceum", "synapse"] 2 [30, 300]"#,
        );
        check(
            "--lyceum a --phases nonsense",
            "no phase is called nonsense",
        );
        check("--lyceum a --course 30,4000", "4000 is not from 1 to 3000");
        check("--lyceum", "--lyceum needs a value");
        check(
            "--server name=x,url=http://127.0.0.1:8008,registration_secret=s --course 7",
            r#"["x"] 15 [7]"#,
        );
        check(
            "--server name=x,url=http://192.168.1.1:8008",
            "http://192.168.1.1:8008 is not on this machine; load is sent nowhere else",
        );
    }
}
