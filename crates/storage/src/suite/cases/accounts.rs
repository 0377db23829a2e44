//! Users, devices, tokens, account data, and files.

use std::slice::from_ref;

use lyceum_model::{
    AccessToken, AccountChange, Change, Device, Media, MediaChange, MediaId, Position, Presence,
    PresenceState, RegistrationToken, RoomChange, Threepid, Ticket, TicketKind, Timestamp,
    TokenKind, TransactionId, TransactionOutcome, UnreadCounts, User,
};

use super::{Case, before, parsed, user};
use crate::{MediaPage, UserPage, UserSelection};

/// A time from which a day can be counted back.
const NOW: Timestamp = Timestamp(1_700_000_000_000);
const DAY_MS: u64 = 86_400_000;

pub(super) async fn run(case: &Case<'_>) {
    users_are_selected(case).await;
    a_device_goes_with_what_it_had(case).await;
    short_lived_things_expire(case).await;
    account_data_is_told_once(case).await;
    addresses_have_one_owner(case).await;
    tokens_for_registration(case).await;
    presence_is_told(case).await;
    erased_users_leave_a_record(case).await;
    files_and_settings(case).await;
}

pub(super) fn account(name: &str) -> User {
    User {
        user_id: user(name),
        password_hash: Some("$argon2id$".to_owned()),
        created: NOW,
        is_admin: false,
        is_deactivated: false,
        is_erased: false,
        is_locked: true,
        is_suspended: false,
        is_shadow_banned: true,
        kind: Some("bot".to_owned()),
        application_service: None,
        origin: "admin".to_owned(),
    }
}

pub(super) fn device(user_name: &str, name: &str) -> Device {
    Device {
        user_id: user(user_name),
        device_id: name.into(),
        display_name: None,
        created: NOW,
        last_seen: None,
        last_seen_ip: None,
        user_agent: None,
    }
}

fn display_name(name: &str, value: Option<&str>) -> Change {
    let value = value.map(str::to_owned);
    let key = "displayname".to_owned();
    AccountChange::ProfileField {
        user_id: user(name),
        key,
        value,
    }
    .into()
}

async fn users_are_selected(case: &Case<'_>) {
    let admin = User {
        is_admin: true,
        ..account("sel-Admin")
    };
    let closed = User {
        is_deactivated: true,
        ..account("sel-closed")
    };
    let plain = account("sel-plain");
    case.commit([&admin, &closed, &plain].map(|user| AccountChange::PutUser(user.clone()).into()))
        .await;
    case.commit([
        display_name("sel-plain", Some("\"Ärger 100%\"")),
        display_name("sel-closed", Some("\"Ärger\"")),
        display_name("sel-remote", Some("\"Ärger\"")),
    ])
    .await;
    assert_eq!(
        case.store.user(&plain.user_id).await.expect("an answer"),
        Some(plain.clone())
    );
    let changed = User {
        kind: None,
        is_locked: false,
        ..plain.clone()
    };
    case.commit([AccountChange::PutUser(changed.clone()).into()])
        .await;
    assert_eq!(
        case.store.user(&plain.user_id).await.expect("an answer"),
        Some(changed.clone())
    );

    let all = UserSelection {
        name_contains: Some("SEL-".to_owned()),
        ..Default::default()
    };
    for (selection, expected) in [
        (all.clone(), "sel-Admin sel-plain"),
        (
            UserSelection {
                with_deactivated: true,
                ..all.clone()
            },
            "sel-Admin sel-closed sel-plain",
        ),
        (
            UserSelection {
                is_admin: Some(true),
                ..all.clone()
            },
            "sel-Admin",
        ),
        (
            UserSelection {
                is_admin: Some(false),
                ..all.clone()
            },
            "sel-plain",
        ),
        (
            UserSelection {
                is_locked: Some(false),
                ..all.clone()
            },
            "sel-plain",
        ),
        (
            UserSelection {
                name_contains: Some("ärGER".to_owned()),
                ..all.clone()
            },
            "sel-plain",
        ),
        (
            UserSelection {
                name_contains: Some("0%".to_owned()),
                ..all.clone()
            },
            "sel-plain",
        ),
        (
            UserSelection {
                name_contains: Some("s_l".to_owned()),
                ..all.clone()
            },
            "",
        ),
    ] {
        let page = UserPage {
            selection: selection.clone(),
            after: None,
            limit: 9,
        };
        let users = case.store.users(page).await.expect("an answer");
        let names: Vec<_> = users.iter().map(|user| user.user_id.localpart()).collect();
        assert_eq!(names.join(" "), expected, "{selection:?}");
        let count = case.store.user_count(selection).await.expect("an answer");
        assert_eq!(count, names.len() as u64);
    }
    let page = UserPage {
        selection: all,
        after: Some(admin.user_id),
        limit: 1,
    };
    assert_eq!(case.store.users(page).await.expect("an answer"), [changed]);
    let ids = [user("sel-plain"), user("sel-remote"), user("sel-nobody")];
    case.commit([display_name("sel-plain", None)]).await;
    let profiles = case.store.profiles(&ids).await.expect("an answer");
    assert_eq!(profiles.keys().collect::<Vec<_>>(), [&user("sel-remote")]);
    assert_eq!(profiles[&user("sel-remote")]["displayname"], "\"Ärger\"");
}

pub(super) fn token(number: u8, user_name: &str, device: Option<&str>) -> AccessToken {
    AccessToken {
        hash: [number; 32],
        kind: TokenKind::Access,
        user_id: user(user_name),
        device_id: device.map(Into::into),
        expires: None,
        puppeted_by: None,
    }
}

async fn a_device_goes_with_what_it_had(case: &Case<'_>) {
    let seen = AccountChange::DeviceSeen {
        user_id: user("dev"),
        device_id: "A".into(),
        at: NOW,
        ip: Some("::1".to_owned()),
        user_agent: None,
    };
    let unseen = AccountChange::DeviceSeen {
        user_id: user("dev"),
        device_id: "never".into(),
        at: NOW,
        ip: None,
        user_agent: None,
    };
    case.commit([
        AccountChange::PutDevice(device("dev", "B")).into(),
        AccountChange::PutDevice(device("dev", "A")).into(),
        seen.into(),
        unseen.into(),
        AccountChange::PutToken(token(101, "dev", Some("A"))).into(),
        AccountChange::PutToken(token(102, "dev", Some("B"))).into(),
        AccountChange::PutToken(token(103, "dev", None)).into(),
        AccountChange::PutToken(token(104, "dev", Some("A"))).into(),
        AccountChange::PutToken(token(105, "dev-other", Some("A"))).into(),
    ])
    .await;
    let devices = async || case.store.devices(&[user("dev")]).await.expect("an answer");
    let used = Device {
        last_seen: Some(NOW),
        last_seen_ip: Some("::1".to_owned()),
        ..device("dev", "A")
    };
    assert_eq!(devices().await, [used, device("dev", "B")]);
    let tokens = async || {
        let tokens = case.store.tokens_of(&user("dev")).await.expect("an answer");
        tokens
            .into_iter()
            .map(|token| token.hash[0])
            .collect::<Vec<_>>()
    };
    assert_eq!(tokens().await, [101, 102, 103, 104]);
    let change = AccountChange::RemoveDeviceTokens {
        user_id: user("dev"),
        device_id: "B".into(),
    };
    case.commit([change.into(), AccountChange::RemoveToken([104; 32]).into()])
        .await;
    assert_eq!(tokens().await, [101, 103]);
    let change = AccountChange::RemoveDevice {
        user_id: user("dev"),
        device_id: "A".into(),
    };
    case.commit([change.into()]).await;
    assert_eq!(tokens().await, [103]);
    assert_eq!(devices().await, [device("dev", "B")]);
    let other = case.store.token(&[105; 32]).await.expect("an answer");
    assert_eq!(other, Some(token(105, "dev-other", Some("A"))));
}

async fn short_lived_things_expire(case: &Case<'_>) {
    let ticket = |key: &str, ms: u64| Ticket {
        kind: TicketKind::Login,
        key: key.to_owned(),
        data: "{}".to_owned(),
        expires: Timestamp(ms),
    };
    let id = |name: &str| TransactionId {
        user_id: user("exp"),
        device_id: "D".into(),
        scope: "s".to_owned(),
        transaction_id: name.to_owned(),
    };
    let transaction = |name: &str, at: u64| RoomChange::Transaction {
        id: id(name),
        outcome: TransactionOutcome::Done,
        at: Timestamp(at),
    };
    let ending = |number: u8, ms: u64| AccessToken {
        expires: Some(Timestamp(ms)),
        ..token(number, "exp", None)
    };
    case.commit([
        AccountChange::PutTicket(ticket("exp-gone", NOW.0 - 1)).into(),
        AccountChange::PutTicket(ticket("exp-kept", NOW.0)).into(),
        AccountChange::PutTicket(ticket("exp-used", NOW.0 + 9)).into(),
        AccountChange::PutToken(ending(111, NOW.0 - 7 * DAY_MS - 1)).into(),
        AccountChange::PutToken(ending(112, NOW.0 - 7 * DAY_MS)).into(),
        AccountChange::PutToken(token(113, "exp", None)).into(),
        transaction("gone", NOW.0 - DAY_MS - 1).into(),
        transaction("kept", NOW.0 - DAY_MS).into(),
    ])
    .await;
    let found = case
        .store
        .ticket(TicketKind::Login, "exp-gone")
        .await
        .expect("an answer");
    assert!(found.is_some(), "it is there until it is cleaned away");
    case.commit([
        AccountChange::RemoveTicket(TicketKind::Login, "exp-used".to_owned()).into(),
        AccountChange::RemoveTicket(TicketKind::OpenId, "exp-kept".to_owned()).into(),
        AccountChange::Expire(NOW).into(),
    ])
    .await;
    for (key, is_there) in [("exp-gone", false), ("exp-kept", true), ("exp-used", false)] {
        let found = case
            .store
            .ticket(TicketKind::Login, key)
            .await
            .expect("an answer");
        assert_eq!(found.is_some(), is_there, "{key}");
    }
    let tokens = case.store.tokens_of(&user("exp")).await.expect("an answer");
    assert_eq!(
        tokens,
        [ending(112, NOW.0 - 7 * DAY_MS), token(113, "exp", None)]
    );
    for (name, is_there) in [("gone", false), ("kept", true)] {
        let found = case.store.transaction(&id(name)).await.expect("an answer");
        assert_eq!(found.is_some(), is_there, "{name}");
    }
}

async fn account_data_is_told_once(case: &Case<'_>) {
    let zoe = user("data-zoe");
    let room = parsed("!data:cases.example");
    let data = |room_id: Option<&ruma_common::OwnedRoomId>, kind: &str, content: Option<&str>| {
        AccountChange::AccountData {
            user_id: zoe.clone(),
            room_id: room_id.cloned(),
            kind: kind.to_owned(),
            content: content.map(str::to_owned),
        }
        .into()
    };
    let first = case
        .commit([
            data(Some(&room), "a", Some("{}")),
            data(None, "b", Some("{\"b\":1}")),
        ])
        .await
        .position;
    let second = case
        .commit([data(None, "b", None), data(None, "a", Some("{}"))])
        .await
        .position;
    let kinds = async |from, to| {
        let entries = case
            .store
            .account_data(&zoe, from, to)
            .await
            .expect("an answer");
        let shown = entries.iter().map(|entry| {
            let place = if entry.room_id.is_some() {
                "room"
            } else {
                "account"
            };
            format!(
                "{place} {} {}",
                entry.kind,
                entry.content.as_deref().unwrap_or("deleted")
            )
        });
        shown.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(kinds(Position(0), second).await, "account a {}, room a {}");
    assert_eq!(kinds(Position(0), first).await, "room a {}");
    assert_eq!(
        kinds(first, second).await,
        "account a {}, account b deleted"
    );
    assert_eq!(kinds(second, second).await, "");
    for (kind, is_there) in [("a", true), ("b", false), ("c", false)] {
        let entry = case
            .store
            .account_data_entry(&zoe, None, kind)
            .await
            .expect("an answer");
        assert_eq!(entry.is_some(), is_there, "{kind}");
    }
}

fn threepid(name: &str, address: &str) -> Threepid {
    Threepid {
        user_id: user(name),
        medium: "email".to_owned(),
        address: address.to_owned(),
        added: NOW,
        validated: NOW,
    }
}

async fn addresses_have_one_owner(case: &Case<'_>) {
    case.commit([
        AccountChange::PutThreepid(threepid("3pid-a", "one@x")).into(),
        AccountChange::PutThreepid(threepid("3pid-a", "two@x")).into(),
        AccountChange::PutThreepid(threepid("3pid-b", "one@x")).into(),
    ])
    .await;
    let of = async |name| case.store.threepids(&user(name)).await.expect("an answer");
    assert_eq!(of("3pid-a").await, [threepid("3pid-a", "two@x")]);
    assert_eq!(of("3pid-b").await, [threepid("3pid-b", "one@x")]);
    let (medium, address) = ("email".to_owned(), "one@x".to_owned());
    case.commit([AccountChange::RemoveThreepid { medium, address }.into()])
        .await;
    assert_eq!(of("3pid-b").await, []);
    assert_eq!(
        case.store
            .threepid("email", "one@x")
            .await
            .expect("an answer"),
        None
    );
    assert_eq!(
        case.store
            .threepid("msisdn", "two@x")
            .await
            .expect("an answer"),
        None
    );
}

async fn tokens_for_registration(case: &Case<'_>) {
    let token = |name: &str, completed| RegistrationToken {
        token: name.to_owned(),
        uses_allowed: Some(3),
        pending: 1,
        completed,
        expires: None,
    };
    let put = |name, completed| AccountChange::PutRegistrationToken(token(name, completed)).into();
    case.commit([
        put("reg-b", 0),
        put("reg-A", 0),
        put("reg-b", 2),
        put("reg-c", 0),
    ])
    .await;
    case.commit([AccountChange::RemoveRegistrationToken("reg-c".to_owned()).into()])
        .await;
    let tokens = case.store.registration_tokens().await.expect("an answer");
    assert_eq!(tokens, [token("reg-A", 0), token("reg-b", 2)]);
    let found = case
        .store
        .registration_token("reg-b")
        .await
        .expect("an answer");
    assert_eq!(found, Some(token("reg-b", 2)));
}

async fn presence_is_told(case: &Case<'_>) {
    let presence = |name: &str, state, position| Presence {
        user_id: user(name),
        state,
        status: Some("da".to_owned()),
        last_active: NOW,
        position,
    };
    let put = |name, state| {
        let presence = presence(name, state, Position(1));
        Change::from(AccountChange::PutPresence(presence))
    };
    let start = case.store.position();
    case.commit([put("pre-b", PresenceState::Online)]).await;
    let second = case
        .commit([put("pre-z", PresenceState::Offline)])
        .await
        .position;
    let third = case
        .commit([
            put("pre-b", PresenceState::Unavailable),
            put("pre-a", PresenceState::Online),
        ])
        .await
        .position;
    let changes = case
        .store
        .presence_changes(start, third, 9)
        .await
        .expect("an answer");
    let z = presence("pre-z", PresenceState::Offline, second);
    let a = presence("pre-a", PresenceState::Online, third);
    let b = presence("pre-b", PresenceState::Unavailable, third);
    assert_eq!(changes, [z.clone(), a, b.clone()]);
    let changes = case
        .store
        .presence_changes(start, third, 1)
        .await
        .expect("an answer");
    assert_eq!(changes, from_ref(&z));
    let ids = [user("pre-z"), user("pre-nobody"), user("pre-b")];
    assert_eq!(case.store.presence(&ids).await.expect("an answer"), [b, z]);
}

async fn erased_users_leave_a_record(case: &Case<'_>) {
    let gone = user("erased");
    let counts = UnreadCounts {
        user_id: gone.clone(),
        room_id: parsed("!erased:cases.example"),
        json: "{}".to_owned(),
    };
    let data = AccountChange::AccountData {
        user_id: gone.clone(),
        room_id: None,
        kind: "m.direct".to_owned(),
        content: Some("{}".to_owned()),
    };
    let filter = AccountChange::PutFilter {
        user_id: gone.clone(),
        filter_id: "f".to_owned(),
        json: "{}".to_owned(),
    };
    case.commit([
        AccountChange::PutUser(account("erased")).into(),
        AccountChange::PutDevice(device("erased", "D")).into(),
        display_name("erased", Some("\"Gone\"")),
        AccountChange::PutThreepid(threepid("erased", "erased@x")).into(),
        AccountChange::PutUnread(counts.clone()).into(),
        data.into(),
        filter.into(),
    ])
    .await;
    let store = case.store;
    assert_eq!(store.unread(&gone).await.expect("an answer"), [counts]);
    assert_eq!(
        store
            .filter(&gone, "f")
            .await
            .expect("an answer")
            .as_deref(),
        Some("{}")
    );
    let position = case
        .commit([AccountChange::EraseUserData(gone.clone()).into()])
        .await
        .position;
    assert_eq!(
        store.user(&gone).await.expect("an answer"),
        Some(account("erased"))
    );
    assert_eq!(
        store
            .devices(from_ref(&gone))
            .await
            .expect("an answer")
            .len(),
        1
    );
    assert_eq!(
        store
            .profiles(from_ref(&gone))
            .await
            .expect("an answer")
            .len(),
        0
    );
    assert_eq!(store.threepids(&gone).await.expect("an answer"), []);
    assert_eq!(store.unread(&gone).await.expect("an answer"), []);
    assert_eq!(store.filter(&gone, "f").await.expect("an answer"), None);
    for from in [Position(0), before(before(position))] {
        assert_eq!(
            store
                .account_data(&gone, from, position)
                .await
                .expect("an answer"),
            []
        );
    }
}

async fn files_and_settings(case: &Case<'_>) {
    let id = |name: &str| MediaId {
        server_name: parsed("cases.example"),
        media_id: name.to_owned(),
    };
    let media = |name: &str| Media {
        id: id(name),
        uploader: Some(user("media")),
        created: NOW,
        sha256: None,
        size: 0,
        content_type: None,
        file_name: None,
        upload_until: Some(NOW),
        last_access: None,
        quarantined_by: None,
        is_safe_from_quarantine: true,
    };
    let done = Media {
        sha256: Some([7; 32]),
        size: 1 << 33,
        ..media("done")
    };
    let put = |media: &Media| Change::from(MediaChange::Put(media.clone()));
    case.commit([
        put(&media("pending")),
        put(&media("done")),
        put(&done),
        put(&media("gone")),
    ])
    .await;
    let pending = async |now| {
        case.store
            .pending_uploads(&user("media"), now)
            .await
            .expect("an answer")
    };
    assert_eq!(pending(NOW).await, 2);
    assert_eq!(pending(NOW.plus_ms(1)).await, 0);
    case.commit([
        MediaChange::Remove(id("gone")).into(),
        MediaChange::Accessed(id("done"), NOW).into(),
        MediaChange::Accessed(id("never"), NOW).into(),
    ])
    .await;
    assert_eq!(pending(NOW).await, 1);
    let done = Media {
        last_access: Some(NOW),
        ..done
    };
    let page = MediaPage {
        uploader: Some(user("media")),
        after: None,
        limit: 9,
    };
    let listed = case
        .store
        .media_list(page.clone())
        .await
        .expect("an answer");
    assert_eq!(listed, [done, media("pending")]);
    let page = MediaPage {
        after: Some(id("done")),
        ..page
    };
    let listed = case.store.media_list(page).await.expect("an answer");
    assert_eq!(listed, [media("pending")]);
    assert_eq!(
        case.store.media(&id("gone")).await.expect("an answer"),
        None
    );

    let set = |value: Option<&str>| Change::Setting {
        key: "cases".to_owned(),
        value: value.map(str::to_owned),
    };
    for value in [Some("1"), Some("2"), None] {
        case.commit([set(value)]).await;
        let found = case.store.setting("cases").await.expect("an answer");
        assert_eq!(found.as_deref(), value);
    }
}
