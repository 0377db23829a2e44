//! `lyceum serve`: from a configuration to a running server, and to its end.

use std::{fs, io::IsTerminal, path::Path, sync::Arc};

use anyhow::{Context, bail};
use axum::Router;
use lyceum_edge::App;
use lyceum_media_store::{MediaStore, ThumbnailLimits};
use lyceum_server::{
    Server,
    application_services::ApplicationService,
    chance,
    clock::{Clock, Stopwatch},
    config::{Config, LogFormat, RegistrationMode, Serves},
};
use lyceum_storage::Store;
use lyceum_storage_sql::{PostgresOptions, PostgresStore, SqliteOptions, SqliteStore};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    Place,
    certificate::{self, Certificate},
    configuration, control, landing, listen,
    metrics::Metrics,
};

/// The file in the data folder that holds the registration token of the first start.
const REGISTRATION_TOKEN_FILE: &str = "registration_token";

/// Runs the server until it is told to stop.
pub(crate) fn run(place: &Place) -> anyhow::Result<()> {
    let started = Stopwatch::start();
    let mut config = configuration::load(place)?;
    start_log(&config);
    allow_open_files();
    prepare_data_dir(&config.data_dir)?;
    let is_first_start = is_empty(&config.data_dir)?;
    if place.config.is_none() && config.registration.mode == RegistrationMode::Closed {
        config.registration.mode = RegistrationMode::Token;
        config.registration.token = Some(registration_token(&config.data_dir)?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(serve(
        config,
        is_first_start,
        place.config.is_none(),
        started,
    ));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    done
}

/// Each connection needs an open file.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

async fn serve(
    config: Config,
    is_first_start: bool,
    has_no_file: bool,
    started: Stopwatch,
) -> anyhow::Result<()> {
    let mut sockets = Vec::new();
    for listener in &config.listeners {
        let certificate = Certificate::of(listener)?;
        sockets.push((listener.clone(), certificate, listen::bind(listener).await?));
    }
    let server = start(config).await?;
    let app = App::new(server.clone());
    let metrics = Arc::new(Metrics::default());
    // Before anybody is answered: whoever finds the server ready may send it SIGHUP.
    let mut hang_up = signal(SignalKind::hangup())?;
    let certificates: Vec<_> = sockets
        .iter()
        .filter_map(|(_, one, _)| one.clone())
        .collect();
    let has_certificates = !certificates.is_empty();
    certificate::follow(&server, certificates)?;
    control::listen(&server)?;
    for (listener, certificate, socket) in sockets {
        let router = router(&app, &metrics, &listener.serves);
        listen::serve(&server, &listener, certificate.as_ref(), socket, router)?;
    }
    greet(&server, is_first_start, has_no_file);
    tracing::info!(
        server_name = %server.config.server_name,
        version = env!("CARGO_PKG_VERSION"),
        start_ms = started.elapsed().as_millis() as u64,
        "serving"
    );
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // With certificates it is a wish to read them again.
        _ = hang_up.recv(), if !has_certificates => {}
    }
    tracing::info!("stopping");
    server.stop().await;
    control::forget(&server.config.data_dir);
    tracing::info!("stopped");
    Ok(())
}

/// Opens storage and puts the server together.
pub(crate) async fn start(config: Config) -> anyhow::Result<Arc<Server>> {
    let store = open_store(&config).await?;
    let limits = ThumbnailLimits {
        pixels_max: config.media.thumbnail_pixels_max,
        ..ThumbnailLimits::default()
    };
    let media = MediaStore::open(&config.data_dir.join("media"), limits)
        .context("the folder for uploaded files cannot be used")?;
    let files = &config.application_services.files;
    let services = ApplicationService::read(files, &config.server_name)?;
    let server = Server::start(config, Clock::default(), store, Arc::new(media), services).await?;
    Ok(server)
}

async fn open_store(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let url = &config.storage.url;
    if url == "sqlite" {
        let file = config.data_dir.join("lyceum.db");
        let store = SqliteStore::open(&file, SqliteOptions::default())
            .with_context(|| format!("the database {} cannot be opened", file.display()))?;
        return Ok(Arc::new(store));
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        let url = url.clone();
        let options = PostgresOptions {
            tls_authorities: config.storage.tls_authorities.clone(),
            ..PostgresOptions::default()
        };
        let open = move || PostgresStore::open(&url, &options);
        let store = tokio::task::spawn_blocking(open)
            .await?
            .context("the PostgreSQL database cannot be opened")?;
        return Ok(Arc::new(store));
    }
    bail!("storage.url is neither \"sqlite\" nor \"postgres://…\"");
}

fn router(app: &Arc<App>, metrics: &Arc<Metrics>, serves: &[Serves]) -> Router {
    let mut router = Router::new();
    if serves.contains(&Serves::Client) {
        router = router.merge(lyceum_client_api::router());
    }
    if serves.contains(&Serves::Admin) {
        router = router.merge(lyceum_admin_api::router());
        router = router.merge(metrics.routes());
    }
    if serves.contains(&Serves::Web) {
        router = router.merge(landing::routes());
    }
    router = router.merge(landing::health());
    let router = lyceum_edge::finish(router, app.clone());
    let router = lyceum_edge::with_cors(router);
    metrics.measure(listen::compressed(router))
}

fn start_log(config: &Config) {
    use tracing_subscriber::{EnvFilter, fmt};
    // The library for state resolution tells every check at INFO.
    let directives = format!(
        "{},ruma_state_res=warn,ruma_signatures=warn",
        config.log.level
    );
    let filter = EnvFilter::try_new(&directives).unwrap_or_else(|error| {
        eprintln!(
            "lyceum: log.level {:?} is not understood ({error}); using info",
            config.log.level
        );
        EnvFilter::new("info")
    });
    let log = fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second subscriber can only be an error of a test; then the first one stays.
    let _ = match config.log.format {
        LogFormat::Json => log.json().try_init(),
        LogFormat::Text => log.with_target(false).try_init(),
    };
}

pub(crate) fn prepare_data_dir(data_dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("the data folder {} cannot be made", data_dir.display()))
}

fn is_empty(data_dir: &Path) -> anyhow::Result<bool> {
    Ok(fs::read_dir(data_dir)?.next().is_none())
}

/// The registration token for a server without configuration, made at the first start.
fn registration_token(data_dir: &Path) -> anyhow::Result<String> {
    let file = data_dir.join(REGISTRATION_TOKEN_FILE);
    let known = fs::read_to_string(&file).unwrap_or_default();
    if !known.trim().is_empty() {
        return Ok(known.trim().to_owned());
    }
    let bytes: [u8; 12] = chance::bytes();
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    // Whole or not at all, also if there is no room or the process ends.
    let new = data_dir.join(format!("{REGISTRATION_TOKEN_FILE}.new"));
    fs::write(&new, format!("{token}\n"))
        .and_then(|()| fs::File::open(&new)?.sync_all())
        .and_then(|()| fs::rename(&new, &file))
        .with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(token)
}

/// Tells whoever starts the server where it is and what to do first.
fn greet(server: &Server, is_first_start: bool, has_no_file: bool) {
    let config = &server.config;
    eprintln!();
    eprintln!(
        "  Lyceum {} serves {}",
        env!("CARGO_PKG_VERSION"),
        config.server_name
    );
    for listener in &config.listeners {
        let scheme = if listener.tls_certificate.is_some() {
            "https"
        } else {
            "http"
        };
        eprintln!("    address   {scheme}://{}", listener.bind);
    }
    eprintln!("    data      {}", config.data_dir.display());
    if has_no_file && let Some(token) = &config.registration.token {
        eprintln!("    register  with the token {token}");
    }
    if is_first_start {
        let data = config.data_dir.display();
        eprintln!();
        eprintln!("  Make the first admin in another terminal:");
        eprintln!(
            "    lyceum user add NAME --admin --data {data} --server-name {}",
            config.server_name
        );
    }
    eprintln!();
}
