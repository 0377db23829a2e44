//! Delivery: from the moment a message is sent until every receiver's waiting `/sync` has it.
//!
//! Each round starts when all receivers wait. Every receiver must get every message once, with
//! its body.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock::now;
use crate::connection::Connection;
use crate::load::median;
use crate::sheet::{Better, Sheet};
use crate::world::{self, Account, World, segment, text_of};

/// How many people wait.
pub(super) const RECEIVERS: [usize; 3] = [1, 10, 50];
pub(super) const ROUNDS_MAX: usize = 200;
/// Rounds before the measured ones; presence and caches come to rest meanwhile.
const WARM_ROUNDS: usize = 3;
/// For the last receiver's request to reach the server and be waiting there.
pub(super) const SETTLE: Duration = Duration::from_millis(30);
/// How long a receiver leaves an answer unread.
pub(super) const PARSE_DELAY: Duration = Duration::from_millis(20);
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);
const SYNC_TIMEOUT_MS: u64 = 30_000;

pub(super) async fn run(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    for receivers in RECEIVERS {
        let accounts = world.accounts(receivers + 1).await?;
        let figures = measure(world, &accounts)
            .await
            .with_context(|| format!("{receivers} receivers"))?;
        let server = &world.server.name;
        let label = label(receivers);
        let id = (time_id(receivers), label.clone());
        sheet.put(server, id, ("ms", Better::Lower), median(&figures.times_ms));
        let id = (
            format!("deliver.{receivers}.cpu"),
            format!("{label}: CPU of the server"),
        );
        let cpu = figures.cpu_ms / figures.times_ms.len() as f64;
        sheet.put(server, id, ("ms", Better::Lower), cpu);
    }
    Ok(())
}

pub(super) fn time_id(receivers: usize) -> String {
    format!("deliver.{receivers}.ms")
}

pub(super) fn label(receivers: usize) -> String {
    match receivers {
        1 => "deliver to 1 waiting receiver".to_owned(),
        _ => format!("deliver to the last of {receivers} waiting receivers"),
    }
}

struct Figures {
    times_ms: Vec<f64>,
    cpu_ms: f64,
}

enum Report {
    /// The receiver is about to send a sync that will wait.
    Waiting,
    /// Its sync was answered, with whatever.
    Answered,
    /// The receiver has read a message, then.
    Got { text: String, at: Instant },
}

async fn measure(world: &World, accounts: &[Arc<Account>]) -> Result<Figures> {
    let (sender, receivers) = accounts.split_first().context("a sender is needed")?;
    let room = world.public_room(sender, receivers).await?;
    let (reports, mut incoming) = mpsc::channel(1024);
    let mut tasks = JoinSet::new();
    for (index, account) in receivers.iter().enumerate() {
        let receiver = Receiver {
            index,
            connection: world.server.connection(),
            account: Arc::clone(account),
            room_id: room.id.clone(),
        };
        tasks.spawn(receiver.receive(reports.clone()));
    }
    drop(reports);

    let mut board = Board {
        is_waiting: vec![false; receivers.len()],
        got: HashMap::new(),
    };
    let mut connection = world.server.connection();
    connection.open().await?;
    let (mut times_ms, mut texts) = (Vec::new(), Vec::new());
    let (mut start, mut before) = (now(), world.server.usage());
    for round in 0..WARM_ROUNDS + ROUNDS_MAX {
        if round == WARM_ROUNDS {
            (start, before) = (now(), world.server.usage());
        }
        if round > WARM_ROUNDS && start.elapsed() > world.budget {
            break;
        }
        while board.is_waiting.contains(&false) {
            board.take(&mut incoming, &mut tasks).await?;
        }
        sleep(SETTLE).await;
        let text = format!("round {round} for {}", receivers.len());
        let began = now();
        let transaction_id = format!("deliver-{round}");
        world::send_text(&mut connection, sender, &room.id, &transaction_id, &text).await?;
        while board.got.get(&text).map_or(0, Vec::len) < receivers.len() {
            board
                .take(&mut incoming, &mut tasks)
                .await
                .with_context(|| {
                    format!(
                        "round {round}: {:?} of {} have it",
                        board.got.get(&text),
                        receivers.len()
                    )
                })?;
        }
        let last = board.got[&text]
            .iter()
            .map(|(_, at)| *at)
            .max()
            .context("nobody received")?;
        if round >= WARM_ROUNDS {
            times_ms.push(last.duration_since(began).as_secs_f64() * 1000.0);
        }
        texts.push(text);
    }
    let used = world.server.usage().since(before);
    tasks.shutdown().await;
    while let Ok(report) = incoming.try_recv() {
        board.note(report);
    }
    for (text, got) in &board.got {
        ensure!(
            texts.contains(text),
            "a message that was never sent: {text:?}"
        );
        let mut indexes: Vec<usize> = got.iter().map(|(index, _)| *index).collect();
        indexes.sort_unstable();
        ensure!(
            indexes == (0..receivers.len()).collect::<Vec<_>>(),
            "{text:?} did not reach each receiver once: {indexes:?}"
        );
    }
    ensure!(
        board.got.len() == texts.len(),
        "some messages reached nobody"
    );
    Ok(Figures {
        times_ms,
        cpu_ms: used.cpu_ms,
    })
}

/// What is known of the receivers.
struct Board {
    is_waiting: Vec<bool>,
    got: HashMap<String, Vec<(usize, Instant)>>,
}

impl Board {
    async fn take(
        &mut self,
        incoming: &mut mpsc::Receiver<(usize, Report)>,
        tasks: &mut JoinSet<Result<()>>,
    ) -> Result<()> {
        tokio::select! {
            report = timeout(DELIVERY_TIMEOUT, incoming.recv()) => {
                let report = report.context("no delivery in time")?.context("all receivers ended")?;
                self.note(report);
                Ok(())
            }
            Some(ended) = tasks.join_next() => match ended? {
                Ok(()) => bail!("a receiver ended"),
                Err(error) => Err(error.context("a receiver")),
            },
        }
    }

    fn note(&mut self, (index, report): (usize, Report)) {
        match report {
            Report::Waiting => self.is_waiting[index] = true,
            Report::Answered => self.is_waiting[index] = false,
            Report::Got { text, at } => self.got.entry(text).or_default().push((index, at)),
        }
    }
}

struct Receiver {
    index: usize,
    connection: Connection,
    account: Arc<Account>,
    room_id: String,
}

impl Receiver {
    /// Syncs without end, reporting each message of the room.
    async fn receive(mut self, reports: mpsc::Sender<(usize, Report)>) -> Result<()> {
        let filter = segment(r#"{"room":{"timeline":{"limit":1}}}"#);
        let path = format!("/_matrix/client/v3/sync?timeout=0&filter={filter}");
        let answer = self
            .connection
            .get(&path, &self.account.token)
            .await?
            .accepted()?;
        let mut since = text_of(&answer, "next_batch")?;
        loop {
            if reports.send((self.index, Report::Waiting)).await.is_err() {
                return Ok(());
            }
            let path = format!(
                "/_matrix/client/v3/sync?timeout={SYNC_TIMEOUT_MS}&since={}",
                segment(&since)
            );
            let answer = self.connection.get(&path, &self.account.token).await?;
            let at = now();
            if reports.send((self.index, Report::Answered)).await.is_err() {
                return Ok(());
            }
            // The other receivers read first: parsing is no part of delivery, and real receivers
            // do not share two cores with the server.
            sleep(PARSE_DELAY).await;
            let answer = answer.accepted()?;
            for text in self.texts(&answer) {
                if reports
                    .send((self.index, Report::Got { text, at }))
                    .await
                    .is_err()
                {
                    return Ok(());
                }
            }
            since = text_of(&answer, "next_batch")?;
        }
    }

    fn texts(&self, answer: &Value) -> Vec<String> {
        let events = answer["rooms"]["join"][&self.room_id]["timeline"]["events"].as_array();
        let events = events.map(Vec::as_slice).unwrap_or_default();
        let messages = events
            .iter()
            .filter(|event| event["type"] == "m.room.message");
        messages
            .filter_map(|event| event["content"]["body"].as_str().map(str::to_owned))
            .collect()
    }
}
