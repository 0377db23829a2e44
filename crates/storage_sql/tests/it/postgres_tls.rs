//! Encrypted connections to a server with a certificate that it made itself.

use std::path::PathBuf;

use lyceum_storage::{StorageError, Store};
use lyceum_storage_sql::{PostgresOptions, PostgresStore};
use tokio_postgres::NoTls;

use crate::{
    messages::{make_room, room_id},
    postgres_server::{drop_database, new_database},
};

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked_as_far_as_is_wanted() {
    let Some(url) = new_database("tls").await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("server.crt");
    std::fs::write(&authority, certificate_of(&url).await).unwrap();
    let none: &[PathBuf] = &[];
    let known = &[authority][..];
    // The certificate is for localhost and 127.0.0.1.
    let elsewhere = url.replace("127.0.0.1", "localhost.localdomain");
    let elsewhere = format!("{elsewhere}?hostaddr=127.0.0.1&sslmode=");
    let here = format!("{url}?sslmode=");

    make_room(&open(&url, none).unwrap(), 1).await;
    for (url, mode, authorities, is_encrypted) in [
        (&here, "disable", none, false),
        (&here, "prefer", none, true),
        (&here, "require", none, true),
        (&here, "require", known, true),
        (&here, "verify-ca", known, true),
        (&here, "verify-full", known, true),
        (&elsewhere, "verify-ca", known, true),
    ] {
        let store = open(&format!("{url}{mode}"), authorities).unwrap();
        assert!(store.room(&room_id(1)).await.unwrap().is_some(), "{mode}");
        assert_eq!(
            connections(&here).await,
            [is_encrypted],
            "{mode}: all connections alike"
        );
        store.close().await.unwrap();
        drop(store);
        gone(&here).await;
    }
    for (url, mode, authorities) in [
        (&here, "verify-full", none),
        (&here, "verify-ca", none),
        (&elsewhere, "verify-full", known),
    ] {
        let refused = open(&format!("{url}{mode}"), authorities).unwrap_err();
        assert!(
            matches!(&refused, StorageError::Unreachable(why) if why.contains("certificate")),
            "{mode}: {refused}"
        );
    }
    drop_database(&url).await;
}

fn open(url: &str, authorities: &[PathBuf]) -> Result<PostgresStore, StorageError> {
    let options = PostgresOptions {
        readers: 1,
        tls_authorities: authorities.to_vec(),
    };
    PostgresStore::open(url, &options)
}

/// The certificate that the test server shows, which is its own authority.
async fn certificate_of(url: &str) -> String {
    let sql = "SELECT pg_read_file(current_setting('ssl_cert_file')) \
               WHERE current_setting('ssl') = 'on'";
    let found = ask(url, sql).await;
    found.into_iter().next().expect(
        "the server that LYCEUM_TEST_POSTGRES names must speak TLS (ssl = on), with a certificate \
         that it made itself",
    )
}

/// Whether the connections of a store are encrypted: each answer once.
async fn connections(url: &str) -> Vec<bool> {
    let sql = "SELECT DISTINCT s.ssl::TEXT FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) \
               WHERE a.datname = current_database() AND a.application_name = 'lyceum'";
    let found = ask(url, sql).await;
    found.into_iter().map(|text| text == "true").collect()
}

/// Waits until a closed store has no connection left.
async fn gone(url: &str) {
    for _ in 0..10_000 {
        if connections(url).await.is_empty() {
            return;
        }
    }
    panic!("connections of a closed store stay");
}

async fn ask(url: &str, sql: &str) -> Vec<String> {
    let url = url.split('?').next().unwrap();
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::task::spawn(connection);
    let rows = client.query(sql, &[]).await.unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
