//! The floor: the same messages to a bare hyper server with durable group commit.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Method;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::deliver;
use crate::clock::now;
use crate::connection::Connection;
use crate::floor::Floor;
use crate::load::{Bound, load, median};
use crate::process::Usage;
use crate::sheet::{Better, FLOOR, Sheet};

const COUNT_MAX: u64 = 200_000;

/// Measures the floor of this machine with the requests of the phase `send`.
pub(crate) async fn measure(folder: &Path, budget: Duration, sheet: &mut Sheet) -> Result<()> {
    let floor = Floor::start(folder).await?;
    for in_flight in [1, 10, 64] {
        let mut workers = Vec::new();
        for _ in 0..in_flight {
            let mut connection = Connection::new(floor.address);
            connection.open().await?;
            workers.push(connection);
        }
        let before = Usage::read(floor.pid, folder);
        // Half the time is enough: the floor is the fastest of all.
        let bound = Bound {
            time: budget / 2,
            count_max: COUNT_MAX,
        };
        let (load, _) = load(
            workers,
            bound,
            |mut connection: Connection, ticket| async move {
                let path =
                    format!("/_matrix/client/v3/rooms/%21floor/send/m.room.message/{ticket}");
                let body =
                    json!({ "msgtype": "m.text", "body": super::send::text_of("floor", ticket) });
                connection
                    .call(
                        Method::PUT,
                        &path,
                        Some("token"),
                        Some(body.to_string().into()),
                    )
                    .await?
                    .accepted()?;
                Ok(connection)
            },
        )
        .await?;
        let used = Usage::read(floor.pid, folder).since(before);
        super::send::put_figures(sheet, FLOOR, ("one", "one room"), in_flight, &load, used);
    }
    for receivers in deliver::RECEIVERS {
        let times_ms = deliveries(&floor, receivers, budget / 2)
            .await
            .with_context(|| format!("{receivers} receivers"))?;
        let id = (deliver::time_id(receivers), deliver::label(receivers));
        sheet.put(FLOOR, id, ("ms", Better::Lower), median(&times_ms));
    }
    Ok(())
}

/// The phase `deliver`: rest, then a message, until all that wait have it. After a rest the disk
/// and the processor answer several times slower than under load; that is the machine's part.
async fn deliveries(floor: &Floor, receivers: usize, budget: Duration) -> Result<Vec<f64>> {
    let mut waiting = Vec::new();
    for _ in 0..receivers {
        let mut connection = Connection::new(floor.address);
        connection.open().await?;
        waiting.push(connection);
    }
    let mut sender = Connection::new(floor.address);
    sender.open().await?;
    let (start, mut times_ms) = (now(), Vec::new());
    while times_ms.len() < deliver::ROUNDS_MAX && start.elapsed() < budget {
        let mut tasks = JoinSet::new();
        for mut connection in waiting.drain(..) {
            tasks.spawn(async move {
                let answer = connection.get("/sync", "token").await;
                answer.map(|answer| (now(), answer, connection))
            });
        }
        sleep(deliver::SETTLE + deliver::PARSE_DELAY).await;
        let text = json!({ "msgtype": "m.text", "body": format!("round {}", times_ms.len()) });
        let began = now();
        let path = "/_matrix/client/v3/rooms/%21floor/send/m.room.message/1";
        sender.put(path, "token", &text).await?.accepted()?;
        let mut last = began;
        while let Some(received) = tasks.join_next().await {
            let (at, answer, connection) = received??;
            ensure!(answer.json()? == text, "another message came");
            last = last.max(at);
            waiting.push(connection);
        }
        times_ms.push(last.duration_since(began).as_secs_f64() * 1000.0);
    }
    Ok(times_ms)
}
