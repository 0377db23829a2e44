//! What the phases share on one server: its accounts, rooms made for reading, and the calls by
//! which they come to be.
//!
//! Accounts and rooms are made when a phase first needs them, outside of what is measured, and
//! reused by later phases. Names carry a tag of the run, so a server can be measured again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::connection::Connection;
use crate::load::{Bound, load};
use crate::server::Server;

/// How many requests prepare something at a time.
const PREPARING_IN_FLIGHT: usize = 4;
/// Everything but the characters that are never special in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// An account with a session.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) user_id: String,
    pub(crate) token: String,
    pub(crate) password: String,
}

/// A room and the account that made it.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    pub(crate) id: String,
    pub(crate) owner: Arc<Account>,
}

/// One server with what this run has made on it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) tag: String,
    pub(crate) budget: Duration,
    /// A room with a long history, once there is one.
    pub(crate) long_room: Option<Room>,
    /// The account with many rooms, once there is one.
    pub(crate) reader: Option<Arc<Account>>,
    /// The event that was acknowledged last, to be looked for after a crash.
    pub(crate) last_event: Option<(Room, String, String)>,
    admin: Option<Arc<Account>>,
    accounts: Vec<Arc<Account>>,
    crowd: Vec<Arc<Account>>,
}

impl World {
    pub(crate) fn new(server: Server, tag: String, budget: Duration) -> Self {
        World {
            server,
            tag,
            budget,
            long_room: None,
            reader: None,
            last_event: None,
            admin: None,
            accounts: Vec::new(),
            crowd: Vec::new(),
        }
    }

    /// A load that ends with the budget or after a count.
    pub(crate) fn bound(&self, count_max: u64) -> Bound {
        Bound {
            time: self.budget,
            count_max,
        }
    }

    /// A measured load of which one server may need much longer: some budgets long.
    pub(crate) fn long_bound(&self, count_max: u64) -> Bound {
        Bound {
            time: self.budget * 8,
            count_max,
        }
    }

    pub(crate) async fn admin(&mut self) -> Result<Arc<Account>> {
        if let Some(admin) = &self.admin {
            return Ok(Arc::clone(admin));
        }
        let mut connection = self.server.connection();
        let secret = self.server.shared_secret.clone();
        let localpart = format!("admin-{}", self.tag);
        let admin = Arc::new(register(&mut connection, &secret, &localpart, true).await?);
        self.admin = Some(Arc::clone(&admin));
        Ok(admin)
    }

    /// Accounts with sessions of ordinary people, at least as many as asked for.
    pub(crate) async fn accounts(&mut self, count: usize) -> Result<Vec<Arc<Account>>> {
        let present = self.accounts.len();
        if present < count {
            let secret = self.server.shared_secret.clone();
            let name = format!("person-{}", self.tag);
            let bound = unbounded_time(count - present);
            let made = self.prepare(bound, move |mut worker: Made<Account>, ticket| {
                let (secret, name) = (secret.clone(), name.clone());
                async move {
                    let localpart = format!("{name}-{}", present as u64 + ticket);
                    let account =
                        register(&mut worker.connection, &secret, &localpart, false).await?;
                    worker.made.push((ticket, account));
                    Ok(worker)
                }
            });
            let made = made.await?;
            self.accounts.extend(made.into_iter().map(Arc::new));
        }
        Ok(self.accounts[..count].to_vec())
    }

    /// Many accounts, made the fastest way the server has; fewer when it takes too long.
    pub(crate) async fn crowd(&mut self, count: usize) -> Result<Vec<Arc<Account>>> {
        let present = self.crowd.len();
        if present < count {
            let bound = self.long_bound((count - present) as u64);
            let secret = self.server.shared_secret.clone();
            let name = format!("crowd-{}", self.tag);
            let admin = self.admin().await?;
            let by_admin = self.has_quick_accounts(&admin).await?;
            let made = self.prepare(bound, move |mut worker: Made<Account>, ticket| {
                let (secret, name, admin) = (secret.clone(), name.clone(), Arc::clone(&admin));
                async move {
                    let localpart = format!("{name}-{}", present as u64 + ticket);
                    let connection = &mut worker.connection;
                    let account = if by_admin {
                        provision(connection, &admin, &localpart).await?
                    } else {
                        register(connection, &secret, &localpart, false).await?
                    };
                    worker.made.push((ticket, account));
                    Ok(worker)
                }
            });
            let made = made.await?;
            self.crowd.extend(made.into_iter().map(Arc::new));
        }
        Ok(self.crowd[..count.min(self.crowd.len())].to_vec())
    }

    /// Whether the server's admin API makes accounts without passwords and signs them in.
    pub(crate) async fn has_quick_accounts(&self, admin: &Account) -> Result<bool> {
        let mut connection = self.server.connection();
        let localpart = format!("probe-{}", self.tag);
        Ok(provision(&mut connection, admin, &localpart).await.is_ok())
    }

    /// A room that everybody may join, with its maker and these members in it.
    pub(crate) async fn public_room(
        &self,
        owner: &Arc<Account>,
        members: &[Arc<Account>],
    ) -> Result<Room> {
        let mut connection = self.server.connection();
        let body = json!({ "preset": "public_chat", "name": "A room of the bench" });
        let room = create_room(&mut connection, owner, &body).await?;
        let id = room.id.clone();
        let members: Vec<Arc<Account>> = members.to_vec();
        let count = members.len();
        self.prepare(
            unbounded_time(count),
            move |mut worker: Made<()>, ticket| {
                let (id, member) = (id.clone(), Arc::clone(&members[ticket as usize]));
                async move {
                    join(&mut worker.connection, &member, &id).await?;
                    Ok(worker)
                }
            },
        )
        .await?;
        Ok(room)
    }

    /// Runs steps that make things, a few at a time; what was made, in the order of the tickets.
    pub(crate) async fn prepare<T, S, F>(&self, bound: Bound, step: S) -> Result<Vec<T>>
    where
        T: Send + 'static,
        S: Fn(Made<T>, u64) -> F + Clone + Send + 'static,
        F: Future<Output = Result<Made<T>>> + Send,
    {
        let connections = self.server.connections(PREPARING_IN_FLIGHT).await?;
        let workers = connections.into_iter().map(|connection| Made {
            connection,
            made: Vec::new(),
        });
        let (_, workers) = load(workers.collect(), bound, step).await?;
        let mut made: Vec<(u64, T)> = workers.into_iter().flat_map(|worker| worker.made).collect();
        made.sort_by_key(|(ticket, _)| *ticket);
        Ok(made.into_iter().map(|(_, thing)| thing).collect())
    }
}

/// A worker that makes things.
#[derive(Debug)]
pub(crate) struct Made<T> {
    pub(crate) connection: Connection,
    pub(crate) made: Vec<(u64, T)>,
}

/// As long as it takes, for a count that is small.
pub(crate) fn unbounded_time(count: usize) -> Bound {
    Bound {
        time: Duration::from_secs(3600),
        count_max: count as u64,
    }
}

/// A text as one segment of a path or one value of a query.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Registers by Synapse's shared-secret endpoint.
pub(crate) async fn register(
    connection: &mut Connection,
    shared_secret: &str,
    localpart: &str,
    is_admin: bool,
) -> Result<Account> {
    const PATH: &str = "/_synapse/admin/v1/register";
    let nonce = connection
        .call(Method::GET, PATH, None, None)
        .await?
        .accepted()?;
    let nonce = text_of(&nonce, "nonce")?;
    let password = format!("password of {localpart}");
    let mut mac = Hmac::<Sha1>::new_from_slice(shared_secret.as_bytes())
        .expect("a key of any length is good for HMAC");
    let role = if is_admin { "admin" } else { "notadmin" };
    mac.update(
        [nonce.as_str(), localpart, &password, role]
            .join("\0")
            .as_bytes(),
    );
    let digest: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let body = json!({
        "nonce": nonce, "username": localpart, "password": password, "admin": is_admin, "mac": digest,
    });
    let body = Some(Bytes::from(body.to_string()));
    let answer = connection
        .call(Method::POST, PATH, None, body)
        .await?
        .accepted()?;
    Ok(Account {
        user_id: text_of(&answer, "user_id")?,
        token: text_of(&answer, "access_token")?,
        password,
    })
}

/// Logs in by password on a new device.
pub(crate) async fn log_in(connection: &mut Connection, account: &Account) -> Result<Account> {
    let body = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": account.user_id },
        "password": account.password,
    });
    let body = Some(Bytes::from(body.to_string()));
    let answer = connection
        .call(Method::POST, "/_matrix/client/v3/login", None, body)
        .await?;
    let answer = answer.accepted().context("login")?;
    ensure!(
        answer["user_id"] == account.user_id.as_str(),
        "logged in as somebody else: {answer}"
    );
    Ok(Account {
        token: text_of(&answer, "access_token")?,
        ..account.clone()
    })
}

/// Makes an account without password by the admin API, and a session for it.
async fn provision(
    connection: &mut Connection,
    admin: &Account,
    localpart: &str,
) -> Result<Account> {
    let server_name = server_name_of(&admin.user_id)?;
    let user_id = format!("@{localpart}:{server_name}");
    let path = format!("/_synapse/admin/v2/users/{}", segment(&user_id));
    connection
        .put(&path, &admin.token, &json!({ "displayname": localpart }))
        .await?
        .accepted()?;
    let path = format!("/_synapse/admin/v1/users/{}/login", segment(&user_id));
    let answer = connection
        .post(&path, &admin.token, &json!({}))
        .await?
        .accepted()?;
    Ok(Account {
        user_id,
        token: text_of(&answer, "access_token")?,
        password: String::new(),
    })
}

/// The server's name in a user id.
pub(crate) fn server_name_of(user_id: &str) -> Result<&str> {
    Ok(user_id.split_once(':').context("a user id has a colon")?.1)
}

pub(crate) async fn create_room(
    connection: &mut Connection,
    owner: &Arc<Account>,
    body: &Value,
) -> Result<Room> {
    let answer = connection
        .post("/_matrix/client/v3/createRoom", &owner.token, body)
        .await?;
    let answer = answer.accepted().context("createRoom")?;
    Ok(Room {
        id: text_of(&answer, "room_id")?,
        owner: Arc::clone(owner),
    })
}

pub(crate) async fn join(
    connection: &mut Connection,
    account: &Account,
    room_id: &str,
) -> Result<()> {
    let path = format!("/_matrix/client/v3/join/{}", segment(room_id));
    connection
        .post(&path, &account.token, &json!({}))
        .await?
        .accepted()
        .context("join")?;
    Ok(())
}

/// Sends a text; the event's id.
pub(crate) async fn send_text(
    connection: &mut Connection,
    account: &Account,
    room_id: &str,
    transaction_id: &str,
    text: &str,
) -> Result<String> {
    let path = format!(
        "/_matrix/client/v3/rooms/{}/send/m.room.message/{}",
        segment(room_id),
        segment(transaction_id)
    );
    let body = json!({ "msgtype": "m.text", "body": text });
    let answer = connection
        .put(&path, &account.token, &body)
        .await?
        .accepted()
        .context("send")?;
    text_of(&answer, "event_id")
}

/// A field of an answer that must be a text.
pub(crate) fn text_of(answer: &Value, field: &str) -> Result<String> {
    let text = answer[field]
        .as_str()
        .with_context(|| format!("no {field} in {answer}"))?;
    Ok(text.to_owned())
}
