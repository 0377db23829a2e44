//! Databases for tests on the server that `LYCEUM_TEST_POSTGRES` names.

use lyceum_storage_sql::PostgresOptions;
use tokio_postgres::NoTls;

/// A new database on the test server; `None` if PostgreSQL is not to be tested.
pub(crate) async fn new_database(name: &str) -> Option<String> {
    #[allow(
        clippy::disallowed_methods,
        reason = "the tests' only way to be told of a server"
    )]
    let server = std::env::var("LYCEUM_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!(
            "LYCEUM_TEST_POSTGRES is not set: set it to postgres://user@host:port/database of a \
             server where databases may be created, or to \"skip\""
        )
    });
    if server == "skip" {
        println!("PostgreSQL was not tested: LYCEUM_TEST_POSTGRES is \"skip\"");
        return None;
    }
    let (client, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
    let connection = tokio::task::spawn(connection);
    let name = format!("lyceum_{name}_{}", std::process::id());
    client
        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .await
        .unwrap();
    client
        .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
        .await
        .unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
    let (address, _) = server.rsplit_once('/').unwrap();
    Some(format!("{address}/{name}"))
}

/// Few connections, for there are many tests.
pub(crate) fn two_readers() -> PostgresOptions {
    PostgresOptions {
        readers: 2,
        ..PostgresOptions::default()
    }
}

/// Removes a database that a test made.
pub(crate) async fn drop_database(url: &str) {
    let (address, name) = url.rsplit_once('/').unwrap();
    let (client, connection) = tokio_postgres::connect(&format!("{address}/postgres"), NoTls)
        .await
        .unwrap();
    let connection = tokio::task::spawn(connection);
    client
        .batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .await
        .unwrap();
    drop(client);
    connection.await.unwrap().unwrap();
}
