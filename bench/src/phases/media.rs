//! Media: uploads, downloads with comparison of every byte, and thumbnails.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;

use crate::clock::now;
use crate::connection::{Call, Connection};
use crate::load::{Bound, load, median};
use crate::png;
use crate::sheet::{Better, Sheet};
use crate::world::{Account, World, text_of};

const IN_FLIGHT: usize = 4;
const FILE_BYTES: usize = 1 << 20;
const FILES_MAX: u64 = 200;
const DOWNLOADS_MAX: u64 = 2_000;
const PICTURES: u8 = 8;
const PICTURE_WIDTH: u32 = 1280;
const PICTURE_HEIGHT: u32 = 960;
const THUMBNAILS_MAX: u64 = 5_000;

pub(super) async fn run(world: &mut World, sheet: &mut Sheet) -> Result<()> {
    let account = Arc::clone(&world.accounts(1).await?[0]);
    let server = world.server.name.clone();
    let half = |bound: Bound| Bound {
        time: bound.time / 2,
        ..bound
    };

    let workers = world.server.connections(IN_FLIGHT).await?;
    let workers = workers
        .into_iter()
        .map(|connection| (connection, Vec::new()))
        .collect();
    let uploader = Arc::clone(&account);
    let (uploads, workers) = load(
        workers,
        half(world.bound(FILES_MAX)),
        move |(mut connection, mut files), ticket| {
            let account = Arc::clone(&uploader);
            async move {
                let body = file_of(ticket);
                let media =
                    upload(&mut connection, &account, body, "application/octet-stream").await?;
                files.push((ticket, media));
                Ok((connection, files))
            }
        },
    )
    .await?;
    let id = ("media.upload.rate", "upload of 1 MiB, 4 in flight");
    sheet.put(&server, id, ("/s", Better::Higher), uploads.rate());

    let files: Vec<(u64, String)> = workers.into_iter().flat_map(|(_, files)| files).collect();
    let files = Arc::new(files);
    let downloader = Arc::clone(&account);
    let workers = world.server.connections(IN_FLIGHT).await?;
    let (downloads, _) = load(
        workers,
        half(world.bound(DOWNLOADS_MAX)),
        move |mut connection, ticket| {
            let (account, files) = (Arc::clone(&downloader), Arc::clone(&files));
            async move {
                let (seed, media) = &files[ticket as usize % files.len()];
                let path = format!("/_matrix/client/v1/media/download/{media}");
                let answer = connection.get(&path, &account.token).await?;
                ensure!(answer.status == 200, "download: status {}", answer.status);
                ensure!(answer.body == file_of(*seed), "a file came back changed");
                Ok(connection)
            }
        },
    )
    .await?;
    let id = ("media.download.rate", "download of 1 MiB, 4 in flight");
    sheet.put(&server, id, ("/s", Better::Higher), downloads.rate());

    let mut connection = world.server.connection();
    connection.open().await?;
    let (mut times_ms, mut last) = (Vec::new(), String::new());
    let start = now();
    for seed in 0..PICTURES {
        if start.elapsed() > world.budget {
            break;
        }
        let picture = Bytes::from(png::gradient(PICTURE_WIDTH, PICTURE_HEIGHT, seed));
        let began = now();
        let media = upload(&mut connection, &account, picture, "image/png").await?;
        last = thumbnail_path(&media);
        thumbnail(&mut connection, &account, &last).await?;
        times_ms.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let id = (
        "media.picture.ms",
        "picture 1280×960: upload and first thumbnail",
    );
    sheet.put(&server, id, ("ms", Better::Lower), median(&times_ms));

    let workers = world.server.connections(IN_FLIGHT).await?;
    let (again, _) = load(
        workers,
        half(world.bound(THUMBNAILS_MAX)),
        move |mut connection, _| {
            let (account, path) = (Arc::clone(&account), last.clone());
            async move {
                thumbnail(&mut connection, &account, &path).await?;
                Ok(connection)
            }
        },
    )
    .await?;
    let id = (
        "media.thumbnail.rate",
        "the same thumbnail again, 4 in flight",
    );
    sheet.put(&server, id, ("/s", Better::Higher), again.rate());
    Ok(())
}

/// A file's bytes, different for each seed and not compressible by eye.
fn file_of(seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(FILE_BYTES);
    while bytes.len() < FILE_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    Bytes::from(bytes)
}

/// Uploads; server name and media id as in paths.
async fn upload(
    connection: &mut Connection,
    account: &Account,
    body: Bytes,
    content_type: &str,
) -> Result<String> {
    let call = Call {
        method: Method::POST,
        path: "/_matrix/media/v3/upload?filename=file",
        token: Some(&account.token),
        body,
        content_type: Some(content_type),
        is_last: false,
    };
    let answer = connection.ask(&call).await?.accepted().context("upload")?;
    let uri = text_of(&answer, "content_uri")?;
    Ok(uri
        .strip_prefix("mxc://")
        .context("content_uri is not mxc://")?
        .to_owned())
}

fn thumbnail_path(media: &str) -> String {
    format!("/_matrix/client/v1/media/thumbnail/{media}?width=320&height=240&method=scale")
}

async fn thumbnail(connection: &mut Connection, account: &Account, path: &str) -> Result<()> {
    let answer = connection.get(path, &account.token).await?;
    ensure!(answer.status == 200, "thumbnail: status {}", answer.status);
    let is_picture = [&b"\x89PNG"[..], b"\xff\xd8\xff", b"RIFF", b"GIF8"]
        .iter()
        .any(|magic| answer.body.starts_with(magic));
    ensure!(is_picture, "a thumbnail is not a picture");
    let original = (PICTURE_WIDTH * PICTURE_HEIGHT * 3) as usize;
    ensure!(
        answer.body.len() < original / 4,
        "a thumbnail of {} bytes",
        answer.body.len()
    );
    Ok(())
}
