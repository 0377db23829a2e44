//! Certificates that are renewed while the server runs.

use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use rustls_pki_types::CertificateDer;

use crate::process::Process;

/// How long a file is made, so that the next one looks the same from outside.
const FILE_BYTES: usize = 4_096;

#[test]
fn sighup_renews_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let then = SystemTime::now();
    let old = write(folder.path(), then);
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let process = Process::start_with(&format!(
        "[[listeners]]\nbind = \"{address}\"\n\
         tls_certificate = \"{folder}/certificate\"\ntls_private_key = \"{folder}/key\"\n",
        folder = folder.path().display(),
    ));
    assert_eq!(shown(&address, &[&old]), old);
    // The files have the sizes and times of before: nobody would look into them unasked.
    let new = write(folder.path(), then);
    process.signal("HUP");
    for _ in 0..6_000 {
        if shown(&address, &[&old, &new]) == new {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("the old certificate is still shown: {}", process.log());
}

/// Writes a certificate and its key, as they stood at this time.
fn write(folder: &Path, at: SystemTime) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (name, text) in [
        ("certificate", cert.pem()),
        ("key", signing_key.serialize_pem()),
    ] {
        let file = folder.join(name);
        fs::write(&file, format!("{text:\n<FILE_BYTES$}")).unwrap();
        let file = File::options().write(true).open(&file).unwrap();
        file.set_modified(at).unwrap();
    }
    cert.der().clone()
}

/// The certificate that a new connection gets, which must be one of these.
fn shown(address: &str, known: &[&CertificateDer<'static>]) -> CertificateDer<'static> {
    let mut roots = RootCertStore::empty();
    for known in known {
        roots.add((*known).clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    connection.peer_certificates().unwrap()[0].clone()
}
