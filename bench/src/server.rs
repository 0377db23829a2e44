//! The servers under measurement: started by the driver with a configuration of its own, or found
//! running.
//!
//! Every server listens on a loopback address, takes registrations by a shared secret and has its
//! rate limits off; everything else is as it comes. A started server ends with its `Server`.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::clock::now;
use crate::connection::Connection;
use crate::process::{Usage, sqlite_journals};

/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a starting server is asked.
const START_POLL: Duration = Duration::from_millis(1);
/// How long a server may take to stop when asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
const SHARED_SECRET: &str = "the secret of the bench";
const SERVER_NAME: &str = "bench.localhost";

/// Where a server comes from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A binary of Lyceum; `storage_url` as in its configuration.
    Lyceum {
        binary: PathBuf,
        storage_url: String,
    },
    /// A Python interpreter that has Synapse installed.
    Synapse { python: PathBuf },
    /// Any homeserver that already runs.
    Running {
        address: SocketAddr,
        pid: Option<u32>,
        data: PathBuf,
        secret: String,
    },
}

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) data: PathBuf,
    pub(crate) shared_secret: String,
    pub(crate) pid: Option<u32>,
    origin: Origin,
    folder: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// Starts a server in a folder, or takes note of a running one; the time from its start to
    /// its first answer, where it was started.
    pub(crate) async fn start(
        name: String,
        origin: Origin,
        folder: PathBuf,
    ) -> Result<(Self, Option<Duration>)> {
        if let Origin::Running {
            address,
            pid,
            data,
            secret,
        } = origin.clone()
        {
            let mut server = Server {
                name,
                address,
                data,
                shared_secret: secret,
                pid,
                origin,
                folder,
                child: None,
            };
            server.first_answer().await?;
            return Ok((server, None));
        }
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let mut server = Server {
            name,
            address: free_address()?,
            data,
            shared_secret: SHARED_SECRET.to_owned(),
            pid: None,
            origin,
            folder,
            child: None,
        };
        server.configure().await?;
        let duration = server.spawn().await?;
        Ok((server, Some(duration)))
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::new(self.address)
    }

    /// Connections that are open already.
    pub(crate) async fn connections(&self, count: usize) -> Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = self.connection();
            connection.open().await?;
            connections.push(connection);
        }
        Ok(connections)
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage::read(self.pid, &self.data)
    }

    pub(crate) fn is_started_here(&self) -> bool {
        self.child.is_some()
    }

    /// Whether its data lies with a database server instead of in its folder.
    pub(crate) fn has_remote_database(&self) -> bool {
        matches!(&self.origin, Origin::Lyceum { storage_url, .. } if storage_url.starts_with("postgres"))
    }

    /// How this server makes an acknowledged write durable, as far as it can be told.
    pub(crate) fn durability(&self) -> String {
        let journals = sqlite_journals(&self.data).join(", ");
        match &self.origin {
            Origin::Synapse { .. } => format!(
                "SQLite, journal mode from the files' headers [{journals}], synchronous=FULL \
                 (SQLite's default, which Synapse leaves): fsync at each of its transactions"
            ),
            Origin::Lyceum { storage_url, .. } if storage_url.starts_with("postgres") => {
                "PostgreSQL as the cluster is configured; one transaction a group of commits"
                    .to_owned()
            }
            Origin::Lyceum { .. } => format!(
                "SQLite, journal mode from the files' headers [{journals}], synchronous=FULL \
                 on the writer: one fsync a group of commits, before any of them is acknowledged"
            ),
            Origin::Running { .. } if journals.is_empty() => "not known to the driver".to_owned(),
            Origin::Running { .. } => {
                format!("SQLite, journal mode from the files' headers [{journals}]")
            }
        }
    }

    /// Kills the server without warning and starts it again on its data; the time from start to
    /// first answer.
    pub(crate) async fn crash_and_restart(&mut self) -> Result<Duration> {
        let mut child = self
            .child
            .take()
            .context("only a server started here is killed")?;
        child.kill().await?;
        self.spawn().await
    }

    /// Starts a server that was stopped on its data; the time from start to first answer.
    pub(crate) async fn start_again(&mut self) -> Result<Duration> {
        ensure!(self.child.is_none(), "{} is running", self.name);
        self.spawn().await
    }

    /// Asks the server to stop (SIGTERM); how long that took.
    pub(crate) async fn stop(&mut self) -> Result<Duration> {
        let mut child = self
            .child
            .take()
            .context("only a server started here is stopped")?;
        let pid = child.id().context("the server has ended by itself")?;
        let start = now();
        let status = Command::new("kill")
            .arg("-TERM")
            .arg(pid.to_string())
            .status()
            .await?;
        ensure!(status.success(), "kill -TERM {pid} failed");
        match timeout(STOP_TIMEOUT, child.wait()).await {
            Ok(ended) => {
                ended?;
                Ok(start.elapsed())
            }
            Err(_) => {
                child.kill().await?;
                bail!(
                    "{} did not stop within {STOP_TIMEOUT:?} of SIGTERM",
                    self.name
                )
            }
        }
    }

    async fn configure(&self) -> Result<()> {
        match &self.origin {
            Origin::Lyceum { storage_url, .. } => {
                let text = lyceum_configuration(self.address, &self.data, storage_url);
                fs::write(self.folder.join("lyceum.toml"), text)?;
            }
            Origin::Synapse { python } => {
                let configuration = synapse_configuration(self.address, &self.folder, &self.data);
                fs::write(
                    self.folder.join("homeserver.yaml"),
                    configuration.to_string(),
                )?;
                let log = synapse_log_configuration(&self.folder);
                fs::write(self.folder.join("log.yaml"), log.to_string())?;
                let status = Command::new(python)
                    .args([
                        "-m",
                        "synapse.app.homeserver",
                        "--generate-keys",
                        "--config-path",
                    ])
                    .arg(self.folder.join("homeserver.yaml"))
                    .stdout(Stdio::null())
                    .status()
                    .await?;
                ensure!(status.success(), "Synapse could not make its keys");
            }
            Origin::Running { .. } => {}
        }
        Ok(())
    }

    async fn spawn(&mut self) -> Result<Duration> {
        let mut command = match &self.origin {
            Origin::Lyceum { binary, .. } => {
                let mut command = Command::new(binary);
                command
                    .arg("serve")
                    .arg("--config")
                    .arg(self.folder.join("lyceum.toml"));
                command.arg("--data").arg(&self.data);
                command.arg("--listen").arg(self.address.to_string());
                command
            }
            Origin::Synapse { python } => {
                let mut command = Command::new(python);
                command.args(["-m", "synapse.app.homeserver", "--config-path"]);
                command.arg(self.folder.join("homeserver.yaml"));
                command
            }
            Origin::Running { .. } => bail!("a running server is not started"),
        };
        let output = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("output.log"))?;
        command
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let start = now();
        let child = command
            .spawn()
            .with_context(|| format!("start {}", self.name))?;
        self.pid = child.id();
        self.child = Some(child);
        self.first_answer().await?;
        Ok(start.elapsed())
    }

    async fn first_answer(&mut self) -> Result<()> {
        let start = now();
        while start.elapsed() < START_TIMEOUT {
            let mut connection = self.connection();
            let versions = connection.call(Method::GET, "/_matrix/client/versions", None, None);
            if versions.await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!(
                    "{} ended at once, {status}: {}",
                    self.name,
                    self.last_output()
                );
            }
            sleep(START_POLL).await;
        }
        bail!("{} does not answer: {}", self.name, self.last_output())
    }

    fn last_output(&self) -> String {
        let output = fs::read_to_string(self.folder.join("output.log")).unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn lyceum_configuration(address: SocketAddr, data: &Path, storage_url: &str) -> String {
    format!(
        r#"server_name = "{SERVER_NAME}"
data_dir = "{data}"
[[listeners]]
bind = "{address}"
serves = ["client", "admin"]
[storage]
url = "{storage_url}"
[registration]
mode = "closed"
shared_secret = "{SHARED_SECRET}"
[rate_limits]
enabled = false
"#,
        data = data.display(),
    )
}

/// Synapse's configuration; JSON is YAML too.
fn synapse_configuration(address: SocketAddr, folder: &Path, data: &Path) -> serde_json::Value {
    let rate = json!({ "per_second": 1_000_000, "burst_count": 1_000_000 });
    json!({
        "server_name": SERVER_NAME,
        "report_stats": false,
        "pid_file": folder.join("homeserver.pid"),
        "signing_key_path": folder.join("signing.key"),
        "log_config": folder.join("log.yaml"),
        "media_store_path": data.join("media"),
        "database": { "name": "sqlite3", "args": { "database": data.join("homeserver.db") } },
        "listeners": [{
            "type": "http",
            "tls": false,
            "port": address.port(),
            "bind_addresses": ["127.0.0.1"],
            "resources": [{ "names": ["client"], "compress": false }],
        }],
        "registration_shared_secret": SHARED_SECRET,
        "macaroon_secret_key": SHARED_SECRET,
        "form_secret": SHARED_SECRET,
        "enable_registration": false,
        "trusted_key_servers": [],
        "rc_message": rate,
        "rc_registration": rate,
        "rc_registration_token_validity": rate,
        "rc_login": { "address": rate, "account": rate, "failed_attempts": rate },
        "rc_admin_redaction": rate,
        "rc_joins": { "local": rate, "remote": rate },
        "rc_joins_per_room": rate,
        "rc_3pid_validation": rate,
        "rc_invites": { "per_room": rate, "per_user": rate, "per_issuer": rate },
        "rc_room_creation": rate,
        "rc_third_party_invite": rate,
        "rc_media_create": rate,
        "rc_presence": { "per_user": rate },
        "rc_user_directory": rate,
        "max_upload_size": "50M",
    })
}

fn synapse_log_configuration(folder: &Path) -> serde_json::Value {
    json!({
        "version": 1,
        "formatters": { "plain": { "format": "%(asctime)s %(levelname)s %(name)s %(message)s" } },
        "handlers": { "file": {
            "class": "logging.FileHandler",
            "formatter": "plain",
            "filename": folder.join("synapse.log"),
        } },
        "root": { "level": "WARNING", "handlers": ["file"] },
        "disable_existing_loggers": false,
    })
}
