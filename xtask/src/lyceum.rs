//! A server of our own for the tools that need one: built, started on an empty folder, ended.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::http::Target;
use crate::steps::{cargo, now, step};

const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Builds the release binary; its path, or nothing when it does not compile.
pub(crate) fn release_binary(root: &Path) -> Result<Option<PathBuf>> {
    let mut build = cargo(root, &["build", "--release", "--package", "lyceum"]);
    let is_built = step("cargo build --release", &mut build)?;
    Ok(is_built.then(|| root.join("target/release/lyceum")))
}

/// A running server; it ends with this value.
#[derive(Debug)]
pub(crate) struct Lyceum {
    pub(crate) target: Target,
    child: Child,
    folder: PathBuf,
}

impl Lyceum {
    pub(crate) fn start(binary: &Path) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("lyceum-xtask-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let configuration = format!(
            "server_name = \"xtask.localhost\"\n\
             [[listeners]]\nbind = \"{address}\"\n\
             serves = [\"client\", \"federation\", \"admin\", \"web\"]\n\
             [registration]\nmode = \"closed\"\nshared_secret = \"the secret of xtask\"\n\
             [rate_limits]\nenabled = false\n"
        );
        let file = folder.join("lyceum.toml");
        fs::write(&file, configuration)?;
        let log = fs::File::create(folder.join("output.log"))?;
        let child = Command::new(binary)
            .arg("serve")
            .arg("--config")
            .arg(&file)
            .arg("--data")
            .arg(folder.join("data"))
            .arg("--listen")
            .arg(address.to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", binary.display()))?;
        let target = Target { address };
        let mut server = Lyceum {
            target,
            child,
            folder,
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = now();
        while start.elapsed() < START_TIMEOUT {
            if self
                .target
                .ask("GET", "/_matrix/client/versions", "")
                .is_ok()
            {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() {
                break;
            }
            sleep(POLL);
        }
        let log = fs::read_to_string(self.folder.join("output.log")).unwrap_or_default();
        bail!("the server does not answer: {log}")
    }
}

impl Drop for Lyceum {
    fn drop(&mut self) {
        // Its data is thrown away, so nothing needs to be saved.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
