//! How `lyceum user …` reaches a server that is running: a socket in the data folder that only its
//! owner can open. A request is one line of JSON, and so is the answer.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use lyceum_server::Server;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
};

use crate::commands::{Order, carry_out};

/// The longest request in bytes.
const REQUEST_BYTES_MAX: u64 = 64 * 1024;
/// How long the server may take for one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
struct Outcome {
    said: Option<String>,
    error: Option<String>,
}

fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Begins to listen for orders.
pub(crate) fn listen(server: &Arc<Server>) -> anyhow::Result<()> {
    let path = socket(&server.config.data_dir);
    forget(&server.config.data_dir);
    let listener = match UnixListener::bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            // Long paths and odd file systems have no sockets; the server does without.
            tracing::warn!(%error, path = %path.display(), "no socket for `lyceum user`");
            return Ok(());
        }
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let server_in_task = server.clone();
    server.supervisor.spawn("control", async move {
        let server = server_in_task;
        loop {
            let stream = tokio::select! {
                () = server.supervisor.stopped() => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(_) => continue,
                },
            };
            let (reader, mut writer) = stream.into_split();
            let mut line = String::new();
            let mut reader = tokio::io::BufReader::new(reader.take(REQUEST_BYTES_MAX));
            if reader.read_line(&mut line).await.is_err() {
                continue;
            }
            let outcome = match serde_json::from_str::<Order>(&line) {
                Ok(order) => match carry_out(&server, order).await {
                    Ok(said) => Outcome {
                        said: Some(said),
                        error: None,
                    },
                    Err(error) => Outcome {
                        said: None,
                        error: Some(format!("{error:#}")),
                    },
                },
                Err(error) => Outcome {
                    said: None,
                    error: Some(error.to_string()),
                },
            };
            let answer = serde_json::to_string(&outcome).unwrap_or_default() + "\n";
            if let Err(error) = writer.write_all(answer.as_bytes()).await {
                tracing::debug!(%error, "an order's answer did not arrive");
            }
        }
    });
    Ok(())
}

/// Removes the socket.
pub(crate) fn forget(data_dir: &Path) {
    // It may not be there.
    let _ = fs::remove_file(socket(data_dir));
}

/// Gives an order to the running server; `None`: none is running.
pub(crate) fn order(data_dir: &Path, order: &Order) -> anyhow::Result<Option<String>> {
    let Ok(mut stream) = UnixStream::connect(socket(data_dir)) else {
        return Ok(None);
    };
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all((serde_json::to_string(order)? + "\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .context("the server did not answer")?;
    let outcome: Outcome = serde_json::from_str(&line).context("the server's answer is odd")?;
    match (outcome.said, outcome.error) {
        (Some(said), _) => Ok(Some(said)),
        (None, Some(error)) => bail!("{error}"),
        (None, None) => bail!("the server said nothing"),
    }
}
