//! What a batch touches, for whoever must wake or forget something.

use lyceum_model::{
    AccountChange, Batch, Change, CrossSigningUsage, MediaChange, ReceiptKind, RoomChange, Touch,
};

/// What `batch` touches, each once, ordered.
pub fn touches(batch: &Batch) -> Vec<Touch> {
    let mut touches = Vec::with_capacity(batch.changes.len());
    for change in &batch.changes {
        match change {
            Change::Room(change) => touch_room(change, &mut touches),
            Change::Account(change) => touch_account(change, &mut touches),
            Change::Media(MediaChange::Put(media)) => touches.push(touch_media(&media.id)),
            Change::Media(MediaChange::Remove(id)) => touches.push(touch_media(id)),
            Change::Media(MediaChange::Accessed(..)) => {}
            Change::Setting { key, .. } => touches.push(Touch::Setting(key.clone())),
        }
    }
    touches.sort_unstable();
    touches.dedup();
    touches
}

fn touch_media(id: &lyceum_model::MediaId) -> Touch {
    Touch::Media(format!("{}/{}", id.server_name, id.media_id))
}

fn touch_room(change: &RoomChange, touches: &mut Vec<Touch>) {
    match change {
        RoomChange::Create { room_id, .. } | RoomChange::Heads { room_id, .. } => {
            touches.push(Touch::Room(room_id.clone()));
        }
        RoomChange::Append { event, .. } => {
            touches.push(Touch::Room(event.room_id.clone()));
            if &*event.kind == "m.room.member"
                && let Some(key) = &event.state_key
                && let Ok(user_id) = ruma_common::UserId::parse(&**key)
            {
                touches.push(Touch::Membership(event.room_id.clone(), user_id));
            }
        }
        RoomChange::Redact { redacted, .. } => {
            touches.push(Touch::Redacted(
                redacted.room_id.clone(),
                redacted.id.clone(),
            ));
        }
        RoomChange::Forget { room_id, user_id } => {
            touches.push(Touch::Membership(room_id.clone(), user_id.clone()));
        }
        RoomChange::SetAlias(alias) => touches.push(Touch::Directory(alias.room_id.clone())),
        RoomChange::RemoveAlias(_) | RoomChange::Transaction { .. } => {}
        RoomChange::Publish { room_id, .. } => touches.push(Touch::Directory(room_id.clone())),
        RoomChange::Typing { room_id, .. } => touches.push(Touch::Typing(room_id.clone())),
        RoomChange::EraseEvents { room_id, event_ids } => touches.extend(
            event_ids
                .iter()
                .map(|event_id| Touch::Redacted(room_id.clone(), event_id.clone())),
        ),
        RoomChange::Purge { room_id } => touches.push(Touch::Purged(room_id.clone())),
    }
}

fn touch_account(change: &AccountChange, touches: &mut Vec<Touch>) {
    match change {
        AccountChange::PutUser(user) => touches.push(Touch::User(user.user_id.clone())),
        AccountChange::PutDevice(device) => touches.push(Touch::User(device.user_id.clone())),
        AccountChange::PutToken(token) => touches.push(Touch::User(token.user_id.clone())),
        AccountChange::ProfileField { user_id, .. }
        | AccountChange::RemoveDevice { user_id, .. }
        | AccountChange::RemoveDeviceTokens { user_id, .. }
        | AccountChange::EraseUserData(user_id) => touches.push(Touch::User(user_id.clone())),
        AccountChange::RemoveToken(hash) => touches.push(Touch::Token(*hash)),
        AccountChange::DeviceSeen { .. }
        | AccountChange::PutTicket(_)
        | AccountChange::RemoveTicket(..)
        | AccountChange::Expire(_)
        | AccountChange::ToDeviceReceived { .. }
        | AccountChange::PutBackup(_)
        | AccountChange::RemoveBackup { .. }
        | AccountChange::PutBackupSessions { .. }
        | AccountChange::RemoveBackupSessions { .. }
        | AccountChange::PutUnread(_)
        | AccountChange::PutRegistrationToken(_)
        | AccountChange::RemoveRegistrationToken(_)
        | AccountChange::PutThreepid(_)
        | AccountChange::RemoveThreepid { .. } => {}
        AccountChange::AccountData { user_id, .. } | AccountChange::PutFilter { user_id, .. } => {
            touches.push(Touch::AccountData(user_id.clone()));
        }
        AccountChange::PutDeviceKeys(keys) => {
            touches.push(Touch::DeviceList(keys.user_id.clone()));
        }
        AccountChange::AddOneTimeKeys {
            user_id, device_id, ..
        }
        | AccountChange::TakeOneTimeKey {
            user_id, device_id, ..
        }
        | AccountChange::PutFallbackKeys {
            user_id, device_id, ..
        }
        | AccountChange::FallbackKeyUsed {
            user_id, device_id, ..
        } => {
            touches.push(Touch::OneTimeKeys(user_id.clone(), device_id.clone()));
        }
        // Nobody else is shown these two.
        AccountChange::PutCrossSigningKey(key) if key.usage == CrossSigningUsage::UserSigning => {
            touches.push(Touch::KeysFor(key.user_id.clone(), key.user_id.clone()));
        }
        AccountChange::PutSignature(signature) if signature.signer != signature.target => {
            let (viewer, user_id) = (&signature.signer, &signature.target);
            touches.push(Touch::KeysFor(viewer.clone(), user_id.clone()));
        }
        AccountChange::PutCrossSigningKey(key) => {
            touches.push(Touch::DeviceList(key.user_id.clone()));
        }
        AccountChange::PutSignature(signature) => {
            touches.push(Touch::DeviceList(signature.target.clone()));
        }
        AccountChange::KeysChangedFor { viewer, user_id } => {
            touches.push(Touch::KeysFor(viewer.clone(), user_id.clone()));
        }
        AccountChange::DeviceListChanged(user_id) => {
            touches.push(Touch::DeviceList(user_id.clone()));
        }
        AccountChange::SendToDevice(message) => {
            touches.push(Touch::ToDevice(
                message.user_id.clone(),
                message.device_id.clone(),
            ));
        }
        AccountChange::PutReceipt(receipt) => touches.push(match receipt.kind {
            ReceiptKind::Read => Touch::Receipts(receipt.room_id.clone()),
            ReceiptKind::ReadPrivate => {
                Touch::PrivateReceipts(receipt.user_id.clone(), receipt.room_id.clone())
            }
        }),
        AccountChange::PutPresence(presence) => {
            touches.push(Touch::Presence(presence.user_id.clone()));
        }
    }
}
