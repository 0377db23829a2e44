//! Keys, signatures, messages to devices, backups.

use std::slice::from_ref;

use lyceum_model::{
    AccountChange, BackupSession, BackupVersion, Change, CrossSigningKey, CrossSigningUsage,
    DeviceKeys, KeySignature, OneTimeKey, Position, ToDevice,
};
use ruma_common::{OwnedDeviceId, OwnedUserId};

use super::{Case, before, parsed, user};
use crate::ClaimableKey;

pub(super) async fn run(case: &Case<'_>) {
    keys_are_handed_out_once(case).await;
    identities_and_signatures(case).await;
    messages_wait_for_devices(case).await;
    backups_count(case).await;
}

fn key(key_id: &str, json: &str) -> OneTimeKey {
    OneTimeKey {
        key_id: key_id.to_owned(),
        json: json.to_owned(),
    }
}

async fn keys_are_handed_out_once(case: &Case<'_>) {
    let otto = user("otk");
    let device_id: OwnedDeviceId = "D".into();
    let add = |keys: &[OneTimeKey]| -> Change {
        let (user_id, device_id, keys) = (otto.clone(), device_id.clone(), keys.to_vec());
        AccountChange::AddOneTimeKeys {
            user_id,
            device_id,
            keys,
        }
        .into()
    };
    let fallback = |keys: &[OneTimeKey]| -> Change {
        let (user_id, device_id, keys) = (otto.clone(), device_id.clone(), keys.to_vec());
        AccountChange::PutFallbackKeys {
            user_id,
            device_id,
            keys,
        }
        .into()
    };
    let next = async || {
        let wanted = (otto.clone(), device_id.clone(), "s".to_owned());
        let keys = case.store.claimable_keys(from_ref(&wanted)).await;
        keys.expect("an answer").remove(&wanted)
    };
    let counts = async || {
        let counts = case
            .store
            .key_counts(&otto, &device_id)
            .await
            .expect("an answer");
        let one_time: Vec<_> = counts
            .one_time
            .iter()
            .map(|(algorithm, n)| format!("{algorithm}={n}"))
            .collect();
        format!(
            "{} | {}",
            one_time.join(" "),
            counts.unused_fallback.join(" ")
        )
    };
    assert_eq!(next().await, None);
    assert_eq!(counts().await, " | ");
    case.commit([
        fallback(&[key("s:F", "1"), key("c:F", "1")]),
        add(&[key("s:Z", "1")]),
    ])
    .await;
    case.commit([add(&[
        key("s:b", "2"),
        key("s:B", "2"),
        key("s:Z", "other"),
        key("c:A", "2"),
    ])])
    .await;
    assert_eq!(counts().await, "c=1 s=3 | c s");
    let ids = ["s:b", "s:Z", "s:never"].map(str::to_owned);
    let known = case
        .store
        .one_time_keys(&otto, &device_id, &ids)
        .await
        .expect("an answer");
    assert_eq!(
        known,
        [key("s:Z", "1"), key("s:b", "2")],
        "keys that are there are left alone"
    );
    for (id, json) in [("s:Z", "1"), ("s:B", "2"), ("s:b", "2")] {
        let expected = ClaimableKey {
            key: key(id, json),
            is_fallback: false,
        };
        assert_eq!(next().await, Some(expected), "the oldest first");
        let take = AccountChange::TakeOneTimeKey {
            user_id: otto.clone(),
            device_id: device_id.clone(),
            key_id: id.to_owned(),
        };
        case.commit([take.into()]).await;
    }
    // The same upload once more, as after an answer that was lost. Another key may take the id.
    case.commit([add(&[key("s:b", "2"), key("s:Z", "1"), key("s:B", "3")])])
        .await;
    assert_eq!(counts().await, "c=1 s=1 | c s");
    let take = AccountChange::TakeOneTimeKey {
        user_id: otto.clone(),
        device_id: device_id.clone(),
        key_id: "s:B".to_owned(),
    };
    case.commit([take.into()]).await;
    let last = Some(ClaimableKey {
        key: key("s:F", "1"),
        is_fallback: true,
    });
    assert_eq!(next().await, last);
    let used = |key_id: &str| AccountChange::FallbackKeyUsed {
        user_id: otto.clone(),
        device_id: device_id.clone(),
        key_id: key_id.to_owned(),
    };
    case.commit([used("s:older").into()]).await;
    assert_eq!(counts().await, "c=1 | c s");
    case.commit([used("s:F").into()]).await;
    assert_eq!(counts().await, "c=1 | c");
    assert_eq!(next().await, last, "it stays");
    case.commit([fallback(&[key("s:F", "1")])]).await;
    assert_eq!(
        counts().await,
        "c=1 | c",
        "the same again is as used as before"
    );
    case.commit([fallback(&[key("s:G", "3")])]).await;
    assert_eq!(counts().await, "c=1 | c s");
    let remove = AccountChange::RemoveDevice {
        user_id: otto.clone(),
        device_id: device_id.clone(),
    };
    case.commit([remove.into()]).await;
    assert_eq!(counts().await, " | ");
    assert_eq!(next().await, None);
    case.commit([add(&[key("s:b", "2")])]).await;
    assert_eq!(counts().await, "s=1 | ", "another device of that name");
}

async fn identities_and_signatures(case: &Case<'_>) {
    let (ida, ivo) = (user("id-a"), user("id-b"));
    let keys = |user_id: &OwnedUserId, device: &str, json: &str| DeviceKeys {
        user_id: user_id.clone(),
        device_id: device.into(),
        json: json.to_owned(),
    };
    let put = |keys: &DeviceKeys| Change::from(AccountChange::PutDeviceKeys(keys.clone()));
    let cross = |usage, json: &str| CrossSigningKey {
        user_id: ida.clone(),
        usage,
        json: json.to_owned(),
    };
    let signature = |signer: &OwnedUserId, key: &str, target_key: &str, text: &str| KeySignature {
        signer: signer.clone(),
        signer_key_id: key.to_owned(),
        target: ida.clone(),
        target_key: target_key.to_owned(),
        signature: text.to_owned(),
    };
    let put_cross = |key: &CrossSigningKey| AccountChange::PutCrossSigningKey(key.clone()).into();
    let sign = |of: &KeySignature| Change::from(AccountChange::PutSignature(of.clone()));
    let (two, one) = (keys(&ida, "two", "{}"), keys(&ida, "One", "{}"));
    let master = cross(CrossSigningUsage::Master, "1");
    let signing = cross(CrossSigningUsage::SelfSigning, "2");
    let by_ivo = signature(&ivo, "ed25519:K", "Master", "s1");
    let over_one = signature(&ida, "ed25519:self", "One", "s2");
    let over_one_again = signature(&ida, "ed25519:self", "One", "s3");
    let other_key = signature(&ida, "ed25519:One", "Master", "s4");
    case.commit([
        put(&two),
        put(&one),
        put(&keys(&ivo, "x", "{}")),
        put_cross(&signing),
        put_cross(&cross(CrossSigningUsage::Master, "0")),
        put_cross(&master),
        sign(&by_ivo),
        sign(&over_one),
        sign(&over_one_again),
        sign(&other_key),
    ])
    .await;
    let ids = [ida.clone()];
    let store = case.store;
    assert_eq!(
        store.device_keys(&ids).await.expect("an answer"),
        [one, two.clone()]
    );
    let found = store.cross_signing_keys(&ids).await.expect("an answer");
    assert_eq!(found, [master.clone(), signing.clone()]);
    let found = store.signatures(&ids).await.expect("an answer");
    assert_eq!(found, [other_key.clone(), by_ivo.clone(), over_one_again]);
    assert_eq!(
        store.signatures(from_ref(&ivo)).await.expect("an answer"),
        []
    );
    let remove = AccountChange::RemoveDevice {
        user_id: ida.clone(),
        device_id: "One".into(),
    };
    case.commit([remove.into()]).await;
    assert_eq!(store.device_keys(&ids).await.expect("an answer"), [two]);
    let found = store.signatures(&ids).await.expect("an answer");
    assert_eq!(
        found,
        [other_key, by_ivo],
        "those over its own key are gone"
    );

    let first = case
        .commit([AccountChange::DeviceListChanged(ivo.clone()).into()])
        .await
        .position;
    let second = case
        .commit([
            AccountChange::DeviceListChanged(ivo.clone()).into(),
            AccountChange::DeviceListChanged(ida.clone()).into(),
        ])
        .await
        .position;
    let changed = async |viewer: &OwnedUserId, from, to| {
        store
            .device_list_changes(viewer, from, to)
            .await
            .expect("an answer")
    };
    assert_eq!(
        changed(&ida, first, second).await,
        [ida.clone(), ivo.clone()]
    );
    assert_eq!(
        changed(&ida, before(first), first).await,
        Vec::<OwnedUserId>::new()
    );
    let seen = AccountChange::KeysChangedFor {
        viewer: ida.clone(),
        user_id: ivo.clone(),
    };
    let third = case.commit([seen.into()]).await.position;
    assert_eq!(changed(&ida, second, third).await, vec![ivo.clone()]);
    assert_eq!(
        changed(&ivo, second, third).await,
        Vec::<OwnedUserId>::new()
    );
    assert_eq!(
        changed(&ida, first, third).await,
        [ida.clone(), ivo.clone()]
    );
    case.commit([AccountChange::EraseUserData(ida.clone()).into()])
        .await;
    assert_eq!(store.device_keys(&ids).await.expect("an answer"), []);
    assert_eq!(store.cross_signing_keys(&ids).await.expect("an answer"), []);
    assert_eq!(store.signatures(&ids).await.expect("an answer"), []);
}

async fn messages_wait_for_devices(case: &Case<'_>) {
    let tom = user("todevice");
    let message = |device: &str, json: &str| ToDevice {
        user_id: tom.clone(),
        device_id: device.into(),
        json: json.to_owned(),
        position: Position(77),
        index: 7,
    };
    let send =
        |device: &str, json: &str| Change::from(AccountChange::SendToDevice(message(device, json)));
    let first = case
        .commit([send("D", "1"), send("E", "2"), send("D", "3")])
        .await
        .position;
    let second = case.commit([send("D", "4")]).await.position;
    let waiting = async |to, limit| {
        let found = case
            .store
            .to_device(&tom, "D".into(), to, limit)
            .await
            .expect("an answer");
        found
            .into_iter()
            .map(|of| (of.json, of.position, of.index))
            .collect::<Vec<_>>()
    };
    let one = ("1".to_owned(), first, 0);
    let three = ("3".to_owned(), first, 2);
    let four = ("4".to_owned(), second, 0);
    assert_eq!(
        waiting(second, 9).await,
        [one.clone(), three.clone(), four.clone()]
    );
    assert_eq!(waiting(first, 9).await, [one.clone(), three]);
    assert_eq!(waiting(second, 1).await, [one]);
    let received = |to| AccountChange::ToDeviceReceived {
        user_id: tom.clone(),
        device_id: "D".into(),
        to,
    };
    case.commit([received(first).into()]).await;
    assert_eq!(waiting(Position(u64::from(u32::MAX)), 9).await, [four]);
    let count = async |device: &str| {
        case.store
            .to_device_count(&tom, device.into())
            .await
            .expect("an answer")
    };
    assert_eq!((count("D").await, count("E").await), (1, 1));
    let remove = AccountChange::RemoveDevice {
        user_id: tom.clone(),
        device_id: "D".into(),
    };
    case.commit([remove.into()]).await;
    assert_eq!((count("D").await, count("E").await), (0, 1));
}

async fn backups_count(case: &Case<'_>) {
    let ben = user("backup");
    let version = |number, auth_data: &str, etag, count| BackupVersion {
        user_id: ben.clone(),
        version: number,
        algorithm: "a".to_owned(),
        auth_data: auth_data.to_owned(),
        etag,
        count,
    };
    let session = |room: &str, id: &str, index| BackupSession {
        room_id: parsed(&format!("!{room}:cases.example")),
        session_id: id.to_owned(),
        first_message_index: index,
        forwarded_count: 1,
        is_verified: true,
        session_data: "{}".to_owned(),
    };
    let put = |sessions: &[BackupSession], number, etag| {
        let (user_id, sessions) = (ben.clone(), sessions.to_vec());
        AccountChange::PutBackupSessions {
            user_id,
            version: number,
            sessions,
            etag,
        }
        .into()
    };
    let store = case.store;
    let backup = async |number| store.backup(&ben, number).await.expect("an answer");
    case.commit([
        AccountChange::PutBackup(version(1, "one", 0, 55)).into(),
        put(
            &[
                session("b", "s", 5),
                session("A", "t", 5),
                session("b", "S", 5),
            ],
            1,
            4,
        ),
        put(&[session("b", "s", 2)], 1, 5),
        put(&[session("b", "s", 2)], 9, 5),
    ])
    .await;
    assert_eq!(backup(None).await, Some(version(1, "one", 5, 3)));
    let sessions = async |room: Option<&str>, id| {
        let room_id = room.map(|room| parsed(&format!("!{room}:cases.example")));
        let room_id: Option<ruma_common::OwnedRoomId> = room_id;
        let found = store.backup_sessions(&ben, 1, room_id.as_deref(), id).await;
        let found = found.expect("an answer");
        let shown = found
            .iter()
            .map(|of| format!("{}{}", of.session_id, of.first_message_index));
        shown.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(sessions(None, None).await, "t5 S5 s2");
    assert_eq!(sessions(Some("b"), None).await, "S5 s2");
    assert_eq!(sessions(Some("b"), Some("s")).await, "s2");
    assert_eq!(sessions(Some("c"), None).await, "");
    case.commit([AccountChange::PutBackup(version(1, "new", 6, 0)).into()])
        .await;
    assert_eq!(backup(Some(1)).await, Some(version(1, "new", 6, 3)));
    let remove = |room: Option<&str>, id: Option<&str>, etag| {
        Change::from(AccountChange::RemoveBackupSessions {
            user_id: ben.clone(),
            version: 1,
            room_id: room.map(|room| parsed(&format!("!{room}:cases.example"))),
            session_id: id.map(str::to_owned),
            etag,
        })
    };
    case.commit([remove(Some("b"), Some("s"), 7)]).await;
    assert_eq!(sessions(None, None).await, "t5 S5");
    case.commit([remove(Some("b"), None, 8)]).await;
    assert_eq!(backup(None).await, Some(version(1, "new", 8, 1)));
    case.commit([AccountChange::PutBackup(version(2, "two", 0, 0)).into()])
        .await;
    assert_eq!(backup(None).await, Some(version(2, "two", 0, 0)));
    let remove = |version| AccountChange::RemoveBackup {
        user_id: ben.clone(),
        version,
    };
    case.commit([remove(2).into()]).await;
    assert_eq!(backup(None).await, Some(version(1, "new", 8, 1)));
    assert_eq!(backup(Some(2)).await, None);
    assert_eq!(
        store.newest_backup_number(&ben).await.expect("an answer"),
        2
    );
    case.commit([AccountChange::EraseUserData(ben.clone()).into()])
        .await;
    assert_eq!(backup(None).await, None);
    assert_eq!(sessions(None, None).await, "");
    assert_eq!(
        store.newest_backup_number(&ben).await.expect("an answer"),
        2
    );
    assert_eq!(
        store
            .newest_backup_number(&user("nobody"))
            .await
            .expect("an answer"),
        0
    );
}
