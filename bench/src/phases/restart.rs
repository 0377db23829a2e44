//! Memory at the end, and a start after a crash: the server is killed without warning, started on
//! its data, and must have the message that it acknowledged last.

use anyhow::{Context, Result, ensure};

use crate::process::memory_mib;
use crate::sheet::{Better, Sheet};
use crate::world::{World, segment, send_text};

pub(super) fn memory(world: &World, sheet: &mut Sheet) -> Result<()> {
    let pid = world
        .server
        .pid
        .context("the server's process is not known")?;
    let (now_mib, peak_mib) = memory_mib(pid);
    let server = &world.server.name;
    let id = ("memory.end.mib", "resident at the end");
    sheet.put(server, id, ("MiB", Better::Lower), now_mib);
    let id = ("memory.peak.mib", "resident at most");
    sheet.put(server, id, ("MiB", Better::Lower), peak_mib);
    Ok(())
}

pub(super) async fn run(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    let server = world.server.name.clone();
    if !world.server.is_started_here() {
        sheet.note(
            &server,
            "restart left out: the driver has not started this server",
        );
        return Ok(());
    }
    // One message right before the kill, so that the last one is truly the last.
    let people = world.accounts(1).await?;
    let room = match world.last_event.take() {
        Some((room, event_id, text)) => {
            look_for(world, &room.id, &room.owner.token, &event_id, &text).await?;
            room
        }
        None => world.public_room(&people[0], &[]).await?,
    };
    let text = "the last words before the crash";
    let mut connection = world.server.connection();
    let event_id = send_text(&mut connection, &room.owner, &room.id, "last", text).await?;
    let duration = world.server.crash_and_restart().await?;
    let id = ("restart.ms", "start after kill -9, to first answer");
    sheet.put(
        &server,
        id,
        ("ms", Better::Lower),
        duration.as_secs_f64() * 1000.0,
    );
    look_for(world, &room.id, &room.owner.token, &event_id, text)
        .await
        .context("after the crash")?;
    let duration = world.server.stop().await?;
    let id = ("stop.ms", "stop on SIGTERM");
    sheet.put(
        &server,
        id,
        ("ms", Better::Lower),
        duration.as_secs_f64() * 1000.0,
    );
    Ok(())
}

async fn look_for(
    world: &World,
    room_id: &str,
    token: &str,
    event_id: &str,
    text: &str,
) -> Result<()> {
    let path = format!(
        "/_matrix/client/v3/rooms/{}/event/{}",
        segment(room_id),
        segment(event_id)
    );
    let mut connection = world.server.connection();
    let event = connection
        .get(&path, token)
        .await?
        .accepted()
        .context("an acknowledged message")?;
    ensure!(
        event["content"]["body"] == text,
        "the message has changed: {event}"
    );
    Ok(())
}
