//! The floor: the same messages to a bare hyper server with durable group commit.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use http::Method;
use serde_json::json;

use crate::connection::Connection;
use crate::floor::Floor;
use crate::load::{Bound, load};
use crate::process::Usage;
use crate::sheet::{FLOOR, Sheet};

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
    Ok(())
}
