//! Answers that are files: their headers, and bodies that are read from disk while they are sent.

use std::io::{self, SeekFrom};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use lyceum_edge::Answer;
use lyceum_media_store::Blob;
use lyceum_model::MatrixError;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
};

use super::{
    Audience,
    byte_range::{Part, part},
    content_disposition::content_disposition,
};

/// The type of files of which nothing is known.
pub(super) const OCTETS: &str = "application/octet-stream";
/// How many bytes are read from disk at a time.
const CHUNK_BYTES: u64 = 128 * 1024;
/// What a browser may do with a file (specification, "Content repository").
const POLICY: &str = "sandbox; default-src 'none'; script-src 'none'; \
     plugin-types application/pdf; style-src 'unsafe-inline'; object-src 'self';";

/// A file, without its bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileAnswer<'a> {
    pub(super) content_type: &'a str,
    pub(super) file_name: Option<&'a str>,
    pub(super) etag: &'a str,
    pub(super) audience: Audience,
}

/// The entity tag of these bytes in this form.
pub(super) fn etag_of(sha256: &[u8; 32], form: &str) -> String {
    let hash: String = sha256[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{hash}{form}\"")
}

/// The answer to a client that has the file already.
pub(super) fn not_modified(
    headers: &HeaderMap,
    etag: &str,
    audience: Audience,
) -> Option<Response> {
    let known = headers.get(header::IF_NONE_MATCH)?.to_str().ok()?;
    let has_it = known
        .split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*");
    if !has_it {
        return None;
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    put(&mut response, header::ETAG, etag);
    put(
        &mut response,
        header::CACHE_CONTROL,
        cache_control(audience),
    );
    Some(response)
}

impl FileAnswer<'_> {
    /// The answer with all these bytes.
    pub(super) fn with_bytes(self, bytes: Bytes) -> Response {
        let size = bytes.len() as u64;
        let mut response = Response::new(Body::from(bytes));
        self.describe(&mut response, size);
        response
    }

    /// The answer with the bytes of a blob, or those that the request wants of it.
    pub(super) async fn with_blob(self, blob: Blob, headers: &HeaderMap) -> Answer {
        let Blob { mut file, size } = blob;
        let (status, start, end) = match self.part(headers, size) {
            Part::Whole => (StatusCode::OK, 0, size),
            Part::Range(start, end) => (StatusCode::PARTIAL_CONTENT, start, end),
            Part::Unsatisfiable => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                put(
                    &mut response,
                    header::CONTENT_RANGE,
                    &format!("bytes */{size}"),
                );
                return Ok(response);
            }
        };
        if start > 0 {
            file.seek(SeekFrom::Start(start)).await.map_err(|error| {
                tracing::error!(%error, "a file could not be read");
                MatrixError::internal("The server could not read the file")
            })?;
        }
        let mut response = Response::new(streamed(file, end - start));
        *response.status_mut() = status;
        self.describe(&mut response, end - start);
        put(&mut response, header::ACCEPT_RANGES, "bytes");
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {start}-{}/{size}", end - 1);
            put(&mut response, header::CONTENT_RANGE, &range);
        }
        Ok(response)
    }

    fn part(&self, headers: &HeaderMap, size: u64) -> Part {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let Some(range) = text(header::RANGE) else {
            return Part::Whole;
        };
        match text(header::IF_RANGE) {
            Some(tag) if tag != self.etag => Part::Whole,
            _ => part(range, size),
        }
    }

    fn describe(&self, response: &mut Response, size: u64) {
        let disposition = content_disposition(self.content_type, self.file_name);
        put(response, header::CONTENT_TYPE, OCTETS);
        put(response, header::CONTENT_TYPE, self.content_type);
        put(response, header::CONTENT_DISPOSITION, &disposition);
        put(response, header::CONTENT_LENGTH, &size.to_string());
        put(response, header::ETAG, self.etag);
        put(
            response,
            header::CACHE_CONTROL,
            cache_control(self.audience),
        );
        put(response, header::CONTENT_SECURITY_POLICY, POLICY);
        put(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        put(response, header::REFERRER_POLICY, "no-referrer");
        let embedding = HeaderName::from_static("cross-origin-resource-policy");
        put(response, embedding, "cross-origin");
    }
}

/// An id stands for the same bytes for ever.
fn cache_control(audience: Audience) -> &'static str {
    match audience {
        Audience::User => "private, max-age=31536000, immutable",
        Audience::Anybody => "public, max-age=31536000, immutable",
    }
}

/// Sets a header; a value that none can have leaves it as it was.
fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The next `size` bytes of a file, read as they are sent.
fn streamed(file: File, size: u64) -> Body {
    let next = async |(mut file, left): (File, u64)| {
        if left == 0 {
            return Ok::<_, io::Error>(None);
        }
        let mut chunk = vec![0; left.min(CHUNK_BYTES) as usize];
        let read = match file.read(&mut chunk).await {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            read => read,
        };
        let read = read.inspect_err(|error| {
            tracing::error!(%error, "a file could not be read to its end");
        })?;
        chunk.truncate(read);
        Ok(Some((Bytes::from(chunk), (file, left - read as u64))))
    };
    Body::from_stream(futures_util::stream::try_unfold((file, size), next))
}
