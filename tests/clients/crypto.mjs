// matrix-js-sdk with its Rust crypto: what Element does in every private room.
import { check, expect, expectEqual, finish, password, register, request, suite, until } from "./harness.mjs";
import { newClient, sdk, started } from "./sdk_clients.mjs";

suite("matrix-js-sdk crypto");

const users = {};
const clients = {};
const kept = {}; // the secret storage key of each user, as a person would keep it on paper
let roomId;

await check("setup: clients with encryption start", async () => {
    for (const name of ["alice", "bob"]) {
        users[name] = await register(`${name}-crypto`);
        clients[name] = await encrypting(name, users[name]);
    }
});
const { alice, bob } = clients;

await check("device keys and one-time keys are uploaded", async () => {
    for (const name of ["alice", "bob"]) {
        await until(`${name}'s keys`, async () => {
            const { json } = await request("POST", "/_matrix/client/v3/keys/upload", { token: users[name].accessToken, body: {} });
            return json.one_time_key_counts?.signed_curve25519 >= 50;
        });
    }
    const query = await request("POST", "/_matrix/client/v3/keys/query", { token: users.bob.accessToken, body: { device_keys: { [users.alice.userId]: [] } } });
    const keys = query.json.device_keys[users.alice.userId][users.alice.deviceId];
    expectEqual(Object.keys(keys.keys).sort(), [`curve25519:${users.alice.deviceId}`, `ed25519:${users.alice.deviceId}`], "alice's device keys");
    expect(keys.signatures[users.alice.userId], "they are signed");
    const sync = await request("GET", `/_matrix/client/v3/sync?timeout=0&filter=${encodeURIComponent('{"room":{"rooms":[]}}')}`, { token: users.alice.accessToken });
    expect(sync.json.device_one_time_keys_count?.signed_curve25519 >= 50, `counts in a sync: ${JSON.stringify(sync.json.device_one_time_keys_count)}`);
    expect(Array.isArray(sync.json.device_unused_fallback_key_types), "fallback key types in a sync");
    expect(sync.json.device_unused_fallback_key_types.includes("signed_curve25519"), "a fallback key is unused");
});

await check("cross-signing is set up, with the password where asked", async () => {
    for (const name of ["alice", "bob"]) {
        await clients[name].getCrypto().bootstrapCrossSigning({ authUploadDeviceSigningKeys: (upload) => uploadSigningKeys(upload, users[name]) });
        expect(await clients[name].getCrypto().isCrossSigningReady(), `${name}'s cross-signing is ready`);
    }
    const query = await request("POST", "/_matrix/client/v3/keys/query", { token: users.bob.accessToken, body: { device_keys: { [users.alice.userId]: [], [users.bob.userId]: [] } } });
    expect(query.json.master_keys[users.alice.userId] && query.json.self_signing_keys[users.alice.userId], "others see master and self-signing key");
    expect(!query.json.user_signing_keys?.[users.alice.userId], "others do not see the user-signing key");
    expect(query.json.user_signing_keys?.[users.bob.userId], "the owner sees his user-signing key");
    const device = query.json.device_keys[users.alice.userId][users.alice.deviceId];
    const selfSigning = Object.values(query.json.self_signing_keys[users.alice.userId].keys)[0];
    expect(device.signatures[users.alice.userId][`ed25519:${selfSigning}`], "alice's device is signed by her self-signing key");
});

await check("replacing the cross-signing keys needs the password", async () => {
    const key = "Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm8";
    const body = { master_key: { user_id: users.alice.userId, usage: ["master"], keys: { [`ed25519:${key}`]: key } } };
    const answer = await request("POST", "/_matrix/client/v3/keys/device_signing/upload", { token: users.alice.accessToken, body });
    expectEqual(answer.status, 401, "status");
    expect(answer.json.flows && answer.json.session, "the flows of user-interactive authentication");
});

await check("secret storage and key backup are made", async () => {
    for (const name of ["alice", "bob"]) {
        const api = clients[name].getCrypto();
        await api.bootstrapSecretStorage({
            createSecretStorageKey: async () => {
                kept[name] = await api.createRecoveryKeyFromPassphrase();
                return kept[name];
            },
            setupNewKeyBackup: true,
            setupNewSecretStorage: true,
        });
        expect(await api.isSecretStorageReady(), `${name}'s secret storage is ready`);
        expect(await api.getActiveSessionBackupVersion(), `${name}'s key backup is active`);
    }
    const info = await alice.getCrypto().getKeyBackupInfo();
    expectEqual(info.algorithm, "m.megolm_backup.v1.curve25519-aes-sha2", "algorithm");
    expectEqual([info.count, typeof info.etag], [0, "string"], "an empty backup");
});

await check("an encrypted room", async () => {
    const created = await alice.createRoom({
        name: "Secret room",
        preset: "trusted_private_chat",
        invite: [users.bob.userId],
        initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
    });
    roomId = created.room_id;
    await until("bob is invited", () => bob.getRoom(roomId)?.getMyMembership() === "invite");
    await bob.joinRoom(roomId);
    await until("both are in", () => alice.getRoom(roomId)?.getJoinedMemberCount() === 2 && bob.getRoom(roomId)?.getJoinedMemberCount() === 2);
    await until("both know it is encrypted", async () =>
        (await alice.getCrypto().isEncryptionEnabledInRoom(roomId)) && (await bob.getCrypto().isEncryptionEnabledInRoom(roomId)));
});

const secrets = {};
await check("encrypted messages both ways", async () => {
    const one = await alice.sendTextMessage(roomId, "a secret for bob");
    await decrypted(bob, one.event_id, "a secret for bob");
    const two = await bob.sendTextMessage(roomId, "a secret for alice");
    await decrypted(alice, two.event_id, "a secret for alice");
    secrets.one = one.event_id;
    secrets.two = two.event_id;
    const stored = await request("GET", `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(one.event_id)}`, { token: users.bob.accessToken });
    expectEqual(stored.json.type, "m.room.encrypted", "what the server has");
    expect(!stored.bytes.includes("a secret"), "the server does not see the text");
    for (let n = 0; n < 5; n += 1) {
        const many = await (n % 2 ? alice : bob).sendTextMessage(roomId, `secret ${n}`);
        await decrypted(n % 2 ? bob : alice, many.event_id, `secret ${n}`);
    }
});

await check("one-time keys are handed out once each and made up again", async () => {
    const claim = () => request("POST", "/_matrix/client/v3/keys/claim", {
        token: users.alice.accessToken,
        body: { one_time_keys: { [users.bob.userId]: { [users.bob.deviceId]: "signed_curve25519" } } },
    });
    const answers = await Promise.all(Array.from({ length: 12 }, claim));
    const ids = answers.map((answer) => Object.keys(answer.json.one_time_keys[users.bob.userId][users.bob.deviceId])[0]);
    expectEqual(new Set(ids).size, 12, "different keys claimed at once");
    await alice.sendTextMessage(roomId, "something for bob's next sync, which says how many keys are left");
    await until("bob's client makes up the number", async () => {
        const { json } = await request("POST", "/_matrix/client/v3/keys/upload", { token: users.bob.accessToken, body: {} });
        return json.one_time_key_counts.signed_curve25519 >= 50;
    });
});

await check("when one-time keys run out the fallback key is given, and the device is told", async () => {
    const eve = await register("eve-crypto");
    const device = eve.deviceId;
    const fallback = { key: "Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm8", fallback: true, signatures: { [eve.userId]: { [`ed25519:${device}`]: "c2ln" } } };
    const upload = await request("POST", "/_matrix/client/v3/keys/upload", { token: eve.accessToken, body: {
        one_time_keys: { "signed_curve25519:AAAAAQ": { key: "b25l", signatures: { [eve.userId]: { [`ed25519:${device}`]: "c2ln" } } } },
        fallback_keys: { "signed_curve25519:AAAAFB": fallback },
    } });
    expectEqual([upload.status, upload.json.one_time_key_counts], [200, { signed_curve25519: 1 }], "upload");
    const claim = async () => {
        const answer = await request("POST", "/_matrix/client/v3/keys/claim", { token: users.alice.accessToken, body: { one_time_keys: { [eve.userId]: { [device]: "signed_curve25519" } } } });
        return Object.keys(answer.json.one_time_keys[eve.userId][device])[0];
    };
    expectEqual([await claim(), await claim(), await claim()], ["signed_curve25519:AAAAAQ", "signed_curve25519:AAAAFB", "signed_curve25519:AAAAFB"], "claimed");
    const sync = await request("GET", "/_matrix/client/v3/sync?timeout=0", { token: eve.accessToken });
    expectEqual(sync.json.device_unused_fallback_key_types, [], "no unused fallback key");
    expectEqual(sync.json.device_one_time_keys_count?.signed_curve25519 ?? 0, 0, "no one-time key");
    const clash = await request("POST", "/_matrix/client/v3/keys/upload", { token: eve.accessToken, body: { one_time_keys: { "signed_curve25519:AAAAFC": { key: "b3RoZXI", signatures: {} } } } });
    expectEqual(clash.status, 200, "a new key");
    const again = await request("POST", "/_matrix/client/v3/keys/upload", { token: eve.accessToken, body: { one_time_keys: { "signed_curve25519:AAAAFC": { key: "ZGlmZmVyZW50", signatures: {} } } } });
    expectEqual(again.status, 400, "another key under the same id");
});

await check("session keys are backed up", async () => {
    await until("alice's backup has keys", async () => {
        const { count } = (await request("GET", "/_matrix/client/v3/room_keys/version", { token: users.alice.accessToken })).json;
        if (count < 2) throw new Error(`${count} keys`);
        return true;
    }, 25);
});

let second;
await check("a new device restores the backup and reads old messages", async () => {
    const login = await newClient().loginRequest({ type: "m.login.password", identifier: { type: "m.id.user", user: users.alice.username }, password });
    users.second = { ...users.alice, accessToken: login.access_token, deviceId: login.device_id };
    second = await encrypting("alice", users.second);
    const event = await until("the old message", () => second.getRoom(roomId)?.findEventById(secrets.two));
    await until("it cannot be read yet", () => event.isDecryptionFailure());
    const api = second.getCrypto();
    expect(await api.userHasCrossSigningKeys(users.alice.userId, true), "the server has alice's cross-signing keys");
    await api.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (upload) => uploadSigningKeys(upload, users.second) });
    expect(await api.isCrossSigningReady(), "cross-signing came from secret storage");
    await api.loadSessionBackupPrivateKeyFromSecretStorage();
    const check = await api.checkKeyBackupAndEnable();
    expect(check?.trustInfo.matchesDecryptionKey, "the backup's key fits");
    const restored = await api.restoreKeyBackup();
    expect(restored.imported >= 2, `keys restored: ${JSON.stringify(restored)}`);
    await decrypted(second, secrets.one, "a secret for bob");
    await decrypted(second, secrets.two, "a secret for alice");
    const status = await bobsView(users.second.deviceId);
    expect(status?.signedByOwner, "bob sees the new device as signed by its owner");
});

await check("a new message reaches both of alice's devices", async () => {
    const sent = await bob.sendTextMessage(roomId, "for both devices");
    await decrypted(alice, sent.event_id, "for both devices");
    await decrypted(second, sent.event_id, "for both devices");
    const own = await second.sendTextMessage(roomId, "from the second");
    await decrypted(alice, own.event_id, "from the second");
    await decrypted(bob, own.event_id, "from the second");
});

await check("device lists: a new device, a left one, one user who no longer shares a room", async () => {
    const token = users.bob.accessToken;
    const filter = encodeURIComponent('{"presence":{"types":[]}}');
    const sync = async (since) => (await request("GET", `/_matrix/client/v3/sync?timeout=0&filter=${filter}${since ? `&since=${encodeURIComponent(since)}` : ""}`, { token })).json;
    const start = (await sync()).next_batch;
    const login = await newClient().loginRequest({ type: "m.login.password", identifier: { type: "m.id.user", user: users.alice.username }, password });
    const third = await encrypting("alice", { ...users.alice, accessToken: login.access_token, deviceId: login.device_id });
    const next = await until("alice is in changed", async () => {
        const answer = await sync(start);
        return answer.device_lists?.changed?.includes(users.alice.userId) && answer;
    });
    const changes = await request("GET", `/_matrix/client/v3/keys/changes?from=${encodeURIComponent(start)}&to=${encodeURIComponent(next.next_batch)}`, { token });
    expect(changes.json.changed.includes(users.alice.userId), `/keys/changes: ${changes.bytes}`);
    await until("bob's crypto sees the device", async () => bobsView(login.device_id));
    await third.logout(true);
    await until("bob's crypto sees it gone", async () => !(await bobsView(login.device_id)));
    const before = (await sync(next.next_batch)).next_batch;
    await second.leave(roomId);
    await until("alice is in left", async () => (await sync(before)).device_lists?.left?.includes(users.alice.userId));
});

await check("backup versions: replaced, refused under the old one, deleted", async () => {
    const token = users.alice.accessToken;
    const old = await request("GET", "/_matrix/client/v3/room_keys/version", { token });
    const path = (version) => `/_matrix/client/v3/room_keys/keys?version=${version}`;
    const all = await request("GET", path(old.json.version), { token });
    expect(all.json.rooms[roomId], "the room is in the backup");
    const made = await request("POST", "/_matrix/client/v3/room_keys/version", { token, body: { algorithm: old.json.algorithm, auth_data: old.json.auth_data } });
    expect(made.json.version && made.json.version !== old.json.version, "a new version");
    const session = { rooms: { [roomId]: { sessions: { abc: { first_message_index: 3, forwarded_count: 0, is_verified: false, session_data: { ciphertext: "x" } } } } } };
    const refusedPut = await request("PUT", path(old.json.version), { token, body: session });
    expectEqual([refusedPut.status, refusedPut.json.errcode], [403, "M_WRONG_ROOM_KEYS_VERSION"], "a write to the old version");
    if (!process.env.CLIENTS_OTHER_SERVER) expectEqual(refusedPut.json.current_version, made.json.version, "the version that is current");
    const put = await request("PUT", path(made.json.version), { token, body: session });
    expectEqual([put.status, put.json.count], [200, 1], "a write to the new one");
    const better = structuredClone(session);
    better.rooms[roomId].sessions.abc.first_message_index = 1;
    const worse = structuredClone(session);
    worse.rooms[roomId].sessions.abc.first_message_index = 9;
    await request("PUT", path(made.json.version), { token, body: better });
    const etag = (await request("PUT", path(made.json.version), { token, body: worse })).json.etag;
    const one = await request("GET", `/_matrix/client/v3/room_keys/keys/${encodeURIComponent(roomId)}/abc?version=${made.json.version}`, { token });
    expectEqual(one.json.first_message_index, 1, "the better key stays");
    expect(etag !== put.json.etag, "the etag changes with the content");
    const gone = await request("DELETE", `/_matrix/client/v3/room_keys/version/${made.json.version}`, { token });
    expectEqual(gone.status, 200, "deletion");
    const absent = await request("GET", path(made.json.version), { token });
    expectEqual([absent.status, absent.json.errcode], [404, "M_NOT_FOUND"], "keys of the deleted version");
});

for (const client of [alice, bob, second]) client?.stopClient();
finish();

/** A started client with the Rust crypto, its secret storage key given when asked. */
async function encrypting(name, user) {
    const client = newClient(user, {
        cryptoCallbacks: {
            getSecretStorageKey: async ({ keys }) => {
                const [id] = Object.keys(keys);
                return kept[name] ? [id, kept[name].privateKey] : null;
            },
            cacheSecretStorageKey() {},
        },
    });
    await client.initRustCrypto({ useIndexedDB: false });
    await started(client);
    return client;
}

async function uploadSigningKeys(upload, user) {
    try {
        return await upload(null);
    } catch (error) {
        if (error.httpStatus !== 401 || !error.data.session) throw error;
        return upload({ type: "m.login.password", identifier: { type: "m.id.user", user: user.userId }, password: user.password, session: error.data.session });
    }
}

async function decrypted(client, eventId, body) {
    const event = await until(`event ${eventId}`, () => client.getRoom(roomId)?.findEventById(eventId));
    await until(`"${body}" is decrypted`, () => {
        if (event.isDecryptionFailure()) throw new Error(`${event.decryptionFailureReason}`);
        return event.getContent().body === body;
    });
}

async function bobsView(deviceId) {
    const devices = await bob.getCrypto().getUserDeviceInfo([users.alice.userId], true);
    if (!devices.get(users.alice.userId)?.has(deviceId)) return undefined;
    return bob.getCrypto().getDeviceVerificationStatus(users.alice.userId, deviceId);
}
void sdk;
