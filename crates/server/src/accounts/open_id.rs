//! Tokens by which users prove to other services who they are (Client-Server API, "OpenID").

use lyceum_account::token;
use lyceum_model::{AccountChange, Ticket, TicketKind};
use lyceum_storage::{CommitError, StorageError};
use ruma_common::{OwnedUserId, UserId};

use crate::{Server, chance};

/// How long such a token is valid.
pub const LIFETIME_MS: u64 = 60 * 60 * 1000;

/// A new token for a user.
pub async fn new_token(server: &Server, user_id: &UserId) -> Result<String, CommitError> {
    let token = token::open_id(&chance::bytes());
    let ticket = Ticket {
        kind: TicketKind::OpenId,
        key: token::ticket_key(&token.text),
        data: user_id.as_str().to_owned(),
        expires: server.clock.now().plus_ms(LIFETIME_MS),
    };
    server.commit(AccountChange::PutTicket(ticket)).await?;
    Ok(token.text)
}

/// Whose token this is, while it is valid.
pub async fn user_of_token(
    server: &Server,
    token: &str,
) -> Result<Option<OwnedUserId>, StorageError> {
    let key = token::ticket_key(token);
    let ticket = server.valid_ticket(TicketKind::OpenId, &key).await?;
    Ok(ticket.and_then(|ticket| UserId::parse(ticket.data).ok()))
}
