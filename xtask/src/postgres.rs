//! A PostgreSQL cluster for one run of the tests: in a temporary folder, on a free port of
//! 127.0.0.1, under an unprivileged user, gone afterwards.
//!
//! The server ends with this process however that ends: `setpriv --pdeathsig` has the kernel send
//! it a fast shutdown when its parent dies.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::programs::{Program, install, is_root, require};
use crate::steps::{now, say};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
const USER: &str = "lyceum";
const DATABASE: &str = "lyceum_test";
/// The account that runs the server when this process is root, which PostgreSQL refuses.
const SYSTEM_USER: &str = "postgres";

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    child: Child,
    folder: PathBuf,
    port: u16,
}

impl Cluster {
    /// Installs PostgreSQL if need be, makes a cluster and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        require(&[Program {
            name: "setpriv",
            probe: &["--version"],
            package: "util-linux",
        }])?;
        let binaries = match binaries() {
            Some(binaries) => binaries,
            None => {
                install(&["postgresql"])?;
                binaries().context("PostgreSQL is installed, its binaries are not found")?
            }
        };
        let folder = std::env::temp_dir().join(format!("lyceum-postgres-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        if is_root() {
            let status = Command::new("chown")
                .arg(SYSTEM_USER)
                .arg(&folder)
                .status()?;
            ensure!(status.success(), "chown {SYSTEM_USER} {}", folder.display());
        }
        let data = folder.join("data");
        let output = unprivileged(&binaries.join("initdb"), &folder, "keep")
            .args([
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--username",
                USER,
            ])
            .arg("--pgdata")
            .arg(&data)
            .output()?;
        ensure!(
            output.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        make_certificate(&data)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = fs::File::create(folder.join("postgres.log"))?;
        let child = unprivileged(&binaries.join("postgres"), &folder, "INT")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&folder)
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                &format!("port={port}"),
            ])
            .args(["-c", "max_connections=300", "-c", "ssl=on"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start postgres")?;
        let mut cluster = Cluster {
            child,
            folder,
            port,
        };
        cluster.wait_until_ready(&binaries)?;
        let status = cluster
            .client(&binaries, "createdb")
            .arg(DATABASE)
            .status()?;
        ensure!(status.success(), "createdb failed");
        say(&format!("PostgreSQL at {}", cluster.url()));
        Ok(cluster)
    }

    /// Where tests find their database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    fn client(&self, binaries: &Path, name: &str) -> Command {
        let mut command = Command::new(binaries.join(name));
        command.args(["-h", "127.0.0.1", "-U", USER, "-p", &self.port.to_string()]);
        command
    }

    fn wait_until_ready(&mut self, binaries: &Path) -> Result<()> {
        let start = now();
        while start.elapsed() < START_TIMEOUT {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.folder.join("postgres.log")).unwrap_or_default();
                bail!("postgres ended at once with {status}: {log}");
            }
            let ready = self
                .client(binaries, "pg_isready")
                .args(["-q", "-d", "postgres"])
                .status()
                .is_ok_and(|status| status.success());
            if ready {
                return Ok(());
            }
            sleep(POLL);
        }
        bail!("postgres does not answer")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A fast shutdown; sessions that tests left open are ended.
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-INT", &pid]).status();
        let start = now();
        while asked.is_ok() && start.elapsed() < STOP_TIMEOUT {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                break;
            }
            sleep(POLL);
        }
        // Nothing more can be done about a server or a folder that stays.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A certificate for 127.0.0.1 that is its own authority, where PostgreSQL looks for it.
fn make_certificate(data: &Path) -> Result<()> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    for (name, text) in [
        ("server.crt", made.cert.pem()),
        ("server.key", made.signing_key.serialize_pem()),
    ] {
        let file = data.join(name);
        fs::write(&file, text)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        if is_root() {
            let status = Command::new("chown").arg(SYSTEM_USER).arg(&file).status()?;
            ensure!(status.success(), "chown {SYSTEM_USER} {}", file.display());
        }
    }
    Ok(())
}

/// The newest installed version's folder of programs.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions
        .flatten()
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path().join("bin");
            folder.join("initdb").exists().then_some((version, folder))
        })
        .max();
    newest.map(|(_, folder)| folder)
}

/// A program as an unprivileged user, with the signal it gets when this process dies.
fn unprivileged(program: &Path, folder: &Path, death_signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        let user = [
            "--reuid",
            SYSTEM_USER,
            "--regid",
            SYSTEM_USER,
            "--init-groups",
        ];
        command.args(user);
    }
    command
        .args(["--pdeathsig", death_signal])
        .arg(program)
        .current_dir(folder);
    command
}
