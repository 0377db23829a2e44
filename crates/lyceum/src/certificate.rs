//! The certificate of a listener: read at start, and again when its files change.
//!
//! Invariants: a certificate and its key are taken together or not at all; while the files are
//! wrong, the ones that were right last stay. Connections that stand keep theirs.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use anyhow::{Context, anyhow, bail};
use lyceum_server::{Server, config::Listener};
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::signal::unix::{SignalKind, signal};

/// How often the files are looked at.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// A certificate with its key, and the files they are read from.
#[derive(Debug)]
pub(crate) struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    present: RwLock<Arc<CertifiedKey>>,
    /// The files that were read last, right or wrong.
    seen: Mutex<[Option<Stamp>; 2]>,
}

/// What changes when somebody writes a file.
type Stamp = (SystemTime, u64, u64);

impl Certificate {
    /// Reads what a listener is to show; `None` if it does not speak TLS.
    pub(crate) fn of(listener: &Listener) -> anyhow::Result<Option<Arc<Self>>> {
        let (certificate, key) = match (&listener.tls_certificate, &listener.tls_private_key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            _ => bail!(
                "{}: tls_certificate and tls_private_key belong together",
                listener.bind
            ),
        };
        let seen = [certificate, key].map(|file| stamp(file));
        let present = RwLock::new(Arc::new(read(certificate, key)?));
        Ok(Some(Arc::new(Self {
            certificate: certificate.clone(),
            key: key.clone(),
            present,
            seen: Mutex::new(seen),
        })))
    }

    /// Reads the files again if somebody wrote them.
    fn look(&self) {
        let now = [&self.certificate, &self.key].map(|file| stamp(file));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen != now {
            *seen = now;
            drop(seen);
            self.read_again();
        }
    }

    fn read_again(&self) {
        match read(&self.certificate, &self.key) {
            Ok(read) => {
                let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
                *present = Arc::new(read);
                tracing::info!(
                    certificate = %self.certificate.display(),
                    "new connections get the new certificate"
                );
            }
            Err(error) => tracing::warn!(
                error = format!("{error:#}"),
                "the new certificate cannot be used; the old one stays"
            ),
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let present = self.present.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&present))
    }
}

/// Looks at the files now and then, and at once when the process gets SIGHUP.
pub(crate) fn follow(server: &Server, certificates: Vec<Arc<Certificate>>) -> anyhow::Result<()> {
    if certificates.is_empty() {
        return Ok(());
    }
    let mut asked = signal(SignalKind::hangup())?;
    let supervisor = server.supervisor.clone();
    server.supervisor.spawn("certificates", async move {
        loop {
            let is_asked = tokio::select! {
                () = supervisor.stopped() => return,
                asked = asked.recv() => asked.is_some(),
                () = tokio::time::sleep(LOOK_PAUSE) => false,
            };
            let certificates = certificates.clone();
            let look = move || {
                for certificate in &certificates {
                    if is_asked {
                        certificate.read_again();
                    } else {
                        certificate.look();
                    }
                }
            };
            if let Err(error) = tokio::task::spawn_blocking(look).await {
                tracing::error!(%error, "certificates could not be looked at");
            }
        }
    });
    Ok(())
}

/// `None` if the file is not there.
fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<CertifiedKey> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
        .map_err(|error| anyhow!("{}: {error}", certificate.display()))?;
    if chain.is_empty() {
        bail!("{}: no certificate in it", certificate.display());
    }
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|error| anyhow!("{}: {error}", key.display()))?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .context("the certificate and the key do not go together")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lyceum_server::config::Config;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn only_right_files_are_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = write(&folder, "old.example.org");
        let mut listener = Config::default().listeners.swap_remove(0);
        assert!(Certificate::of(&listener).expect("none").is_none());
        listener.tls_certificate = Some(folder.path().join("certificate"));
        assert!(Certificate::of(&listener).is_err(), "the key is not named");
        listener.tls_private_key = Some(folder.path().join("key"));
        let certificate = Certificate::of(&listener).expect("right").expect("TLS");
        let shown = || {
            let present = certificate.present.read().expect("no panic");
            present.cert[0].to_vec()
        };
        certificate.look();
        assert_eq!(shown(), old, "nothing was written");

        // Whoever renews it writes one file after the other.
        let key = fs::read(folder.path().join("key")).expect("read");
        let new = write(&folder, "new.example.org");
        let new_key = fs::read(folder.path().join("key")).expect("read");
        fs::write(folder.path().join("key"), key).expect("written");
        certificate.look();
        assert_eq!(shown(), old, "the key is another's");
        for broken in [
            "",
            "no PEM",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            fs::write(folder.path().join("key"), broken).expect("written");
            certificate.look();
            assert_eq!(shown(), old, "{broken}");
        }
        fs::remove_file(folder.path().join("key")).expect("removed");
        certificate.look();
        assert_eq!(shown(), old, "the key is not there");
        fs::write(folder.path().join("key"), new_key).expect("written");
        certificate.look();
        assert_eq!(shown(), new);
    }

    /// Writes a certificate with its key; its bytes.
    fn write(folder: &TempDir, name: &str) -> Vec<u8> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        fs::write(folder.path().join("certificate"), cert.pem()).expect("written");
        fs::write(folder.path().join("key"), signing_key.serialize_pem()).expect("written");
        cert.der().to_vec()
    }
}
