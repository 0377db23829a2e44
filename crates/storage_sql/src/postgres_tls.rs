//! How a PostgreSQL database is reached, in the clear or encrypted.
//!
//! `sslmode` in the address means what it means to PostgreSQL's own programs: `require` encrypts
//! but believes any server unless authorities are named, `verify-ca` wants a certificate of a
//! known authority, `verify-full` one for this host. Without it nothing is encrypted.

use std::{
    future::Future,
    io,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use lyceum_storage::StorageError;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::{
    Client, Config, Connection, Socket,
    config::SslMode,
    tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream},
};
use tokio_rustls::{TlsConnector, client};

use crate::postgres_session::failed;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a database is, and how connections to it are made.
#[derive(Clone)]
pub(crate) struct Address {
    config: Config,
    tls: Encryption,
}

impl std::fmt::Debug for Address {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Address").finish_non_exhaustive()
    }
}

/// What of a server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Checked {
    Nothing,
    Authority,
    AuthorityAndName,
}

impl Address {
    /// Reads `postgres://user@host:port/database?sslmode=…`; `authorities` are files with further
    /// certificates (PEM) of authorities.
    pub(crate) fn parse(url: &str, authorities: &[PathBuf]) -> Result<Self, StorageError> {
        let wrong = |error: &dyn std::fmt::Display| {
            StorageError::Broken(format!("the address of the database: {error}"))
        };
        let (url, mode) = take_mode(url);
        let mut config = url.parse::<Config>().map_err(|error| wrong(&error))?;
        let (ssl_mode, checked) = match mode.as_deref() {
            None | Some("disable") => (SslMode::Disable, Checked::Nothing),
            Some("prefer") => (SslMode::Prefer, Checked::Nothing),
            Some("require") if authorities.is_empty() => (SslMode::Require, Checked::Nothing),
            Some("require" | "verify-ca") => (SslMode::Require, Checked::Authority),
            Some("verify-full") => (SslMode::Require, Checked::AuthorityAndName),
            Some(other) => {
                return Err(wrong(&format!(
                    "sslmode={other} is none of disable, prefer, require, verify-ca, verify-full"
                )));
            }
        };
        config.ssl_mode(ssl_mode);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if config.get_application_name().is_none() {
            config.application_name("lyceum");
        }
        Ok(Self {
            config,
            tls: Encryption::new(checked, authorities)?,
        })
    }

    /// Makes a connection; the second half must be driven.
    pub(crate) async fn connect(
        &self,
    ) -> Result<(Client, Connection<Socket, Encrypted>), StorageError> {
        self.config.connect(self.tls.clone()).await.map_err(failed)
    }
}

/// Takes `sslmode` out of an address, since the library knows fewer of its values.
fn take_mode(url: &str) -> (String, Option<String>) {
    let Some((before, query)) = url.split_once('?') else {
        return (url.to_owned(), None);
    };
    let mut mode = None;
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.strip_prefix("sslmode=") {
            Some(value) => mode = Some(value.to_owned()),
            None => kept.push(pair),
        }
    }
    if kept.is_empty() {
        return (before.to_owned(), mode);
    }
    (format!("{before}?{}", kept.join("&")), mode)
}

/// Makes connections encrypted.
#[derive(Clone)]
struct Encryption(Arc<ClientConfig>);

impl Encryption {
    fn new(checked: Checked, authorities: &[PathBuf]) -> Result<Self, StorageError> {
        let broken = |error: Error| StorageError::Broken(format!("TLS cannot be used: {error}"));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(broken)?;
        let verifier = match checked {
            Checked::Nothing => None,
            Checked::Authority | Checked::AuthorityAndName => {
                let roots = Arc::new(roots(authorities)?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
                    .build()
                    .map_err(|error| StorageError::Broken(format!("authorities: {error}")))?;
                Some(verifier)
            }
        };
        let verifier = Verifier {
            provider,
            verifier,
            checks_name: checked == Checked::AuthorityAndName,
        };
        let config = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }
}

/// The authorities that are believed: those of the files, and those of the system.
fn roots(authorities: &[PathBuf]) -> Result<RootCertStore, StorageError> {
    let mut roots = RootCertStore::empty();
    for file in authorities {
        let wrong = |error: &dyn std::fmt::Display| {
            StorageError::Broken(format!(
                "storage.tls_authorities: {}: {error}",
                file.display()
            ))
        };
        let certificates = CertificateDer::pem_file_iter(file)
            .and_then(|certificates| certificates.collect::<Result<Vec<_>, _>>())
            .map_err(|error| wrong(&error))?;
        if certificates.is_empty() {
            return Err(wrong(&"no certificate in it"));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| wrong(&error))?;
        }
    }
    let system = rustls_native_certs::load_native_certs();
    // What the system has and nobody can read is of no use to anybody.
    roots.add_parsable_certificates(system.certs);
    if roots.is_empty() {
        return Err(StorageError::Broken(
            "no authority is known by which the database's certificate could be checked: set \
             storage.tls_authorities"
                .to_owned(),
        ));
    }
    Ok(roots)
}

/// Checks as much of a certificate as is wanted. Signatures are always checked.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
    checks_name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(verifier) = &self.verifier else {
            return Ok(ServerCertVerified::assertion());
        };
        // The name is looked at last.
        match verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl MakeTlsConnect<Socket> for Encryption {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = io::Error;

    /// Called for every connection, also those that will not be encrypted.
    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Handshake> {
        Ok(Handshake {
            connector: TlsConnector::from(Arc::clone(&self.0)),
            name: ServerName::try_from(domain.to_owned()),
        })
    }
}

/// The beginning of an encrypted connection.
pub(crate) struct Handshake {
    connector: TlsConnector,
    name: Result<ServerName<'static>, InvalidDnsNameError>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move {
            let name = self.name.map_err(io::Error::other)?;
            let stream = self.connector.connect(name, stream).await?;
            Ok(Encrypted(stream))
        })
    }
}

/// An encrypted connection.
pub(crate) struct Encrypted(client::TlsStream<Socket>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_taken_out_of_the_address() {
        for (url, rest, mode) in [
            ("postgres://u@h/d", "postgres://u@h/d", None),
            (
                "postgres://u@h/d?sslmode=verify-full",
                "postgres://u@h/d",
                Some("verify-full"),
            ),
            (
                "postgres:///d?host=/run&sslmode=require&user=u",
                "postgres:///d?host=/run&user=u",
                Some("require"),
            ),
            (
                "postgres://h/d?user=sslmode",
                "postgres://h/d?user=sslmode",
                None,
            ),
        ] {
            assert_eq!(take_mode(url), (rest.to_owned(), mode.map(str::to_owned)));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let check = |url: &str, authorities: &[PathBuf], expected: &str| {
            let error = Address::parse(url, authorities).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("postgres://u@h/d?sslmode=always", &[], "sslmode=always");
        check("postgres://u@h:port/d", &[], "the address of the database");
        let missing = [PathBuf::from("/nowhere/authority.crt")];
        check(
            "postgres://u@h/d?sslmode=verify-ca",
            &missing,
            "/nowhere/authority.crt",
        );
        check(
            "postgres://u@h/d?sslmode=require",
            &missing,
            "/nowhere/authority.crt",
        );
        Address::parse("postgres://u@h/d?sslmode=disable", &missing).unwrap();
    }
}
