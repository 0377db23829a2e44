// The finer points of the Client-Server API that chat clients rest on, asked for without a client library.
import http from "node:http";
import zlib from "node:zlib";
import { animatedGif, check, expect, expectEqual, finish, imageSize, notYet, password, png, register, request, suite, until, url } from "./harness.mjs";

suite("features");

const v3 = (path) => `/_matrix/client/v3${path}`;
const e = encodeURIComponent;
// Some points that the specification is clear about and Synapse has otherwise; a run against another server leaves them out.
const ours = !process.env.CLIENTS_OTHER_SERVER;
const users = {};
let transaction = 0;

await check("setup: users", async () => {
    for (const name of ["ann", "ben", "cyn", "dan"]) users[name] = { ...(await register(`${name}-f`)), name };
});
const { ann, ben, cyn, dan } = users;

// ── asking ──

async function ask(user, method, path, body) {
    return request(method, v3(path), { token: user?.accessToken, body });
}

/** The answer's JSON, where the request must succeed. */
async function done(user, method, path, body) {
    const answer = await ask(user, method, path, body);
    expect(answer.status === 200, `${method} ${path.slice(0, 140)}: ${answer.status} ${answer.bytes.toString().slice(0, 200)}`);
    return answer.json;
}

async function not(user, method, path, body, status, code) {
    const answer = await ask(user, method, path, body);
    expect([status].flat().includes(answer.status) && [code].flat().includes(answer.json?.errcode),
        `${method} ${path.slice(0, 140)}: expected ${status} ${code}, got ${answer.status} ${answer.bytes.toString().slice(0, 200)}`);
    return answer;
}

const makeRoom = async (user, body = {}) => (await done(user, "POST", "/createRoom", body)).room_id;
const join = (user, room) => done(user, "POST", `/join/${e(room)}`, {});
const say = async (user, room, body, more = {}) =>
    (await done(user, "PUT", `/rooms/${e(room)}/send/m.room.message/f${(transaction += 1)}`, { msgtype: "m.text", body, ...more })).event_id;
const put = async (user, room, type, content, key = "") => (await done(user, "PUT", `/rooms/${e(room)}/state/${type}/${e(key)}`, content)).event_id;
const stateOf = (user, room, type, key = "") => done(user, "GET", `/rooms/${e(room)}/state/${type}/${e(key)}`);
let syncs = 0;

/** One sync; a first one asks for an unusual timeline limit each time, as servers may keep answers to repeated questions. */
async function sync(user, { since, filter = {}, query = "" } = {}) {
    syncs += 1;
    const asked = since || filter.room?.timeline?.limit ? filter : { ...filter, room: { ...filter.room, timeline: { limit: 50 + syncs, ...filter.room?.timeline } } };
    return done(user, "GET", `/sync?timeout=0&filter=${e(JSON.stringify(asked))}${since ? `&since=${e(since)}` : ""}${query}`);
}
const types = (events) => events.map((event) => event.type);
const bodies = (events) => events.map((event) => event.content.body).filter(Boolean);

// ── rooms ──

await check("a room of each version: made, joined, spoken in, redacted", async () => {
    const { capabilities } = await done(ann, "GET", "/capabilities");
    const versions = Object.keys(capabilities["m.room_versions"].available);
    for (const version of ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]) {
        expect(versions.includes(version), `version ${version} is offered`);
        const room = await makeRoom(ann, { room_version: version, preset: "public_chat", name: `Version ${version}` });
        await join(ben, room);
        const create = (await done(ann, "GET", `/rooms/${e(room)}/state`)).find((event) => event.type === "m.room.create");
        expectEqual(create.content.room_version ?? "1", version, "version in the create event");
        if (version === "12") expect(!room.includes(":"), `a version-12 room id has no server: ${room}`);
        else expect(room.endsWith(`:${ann.serverName}`), `room id ${room}`);
        if (["1", "2"].includes(version)) expect(create.event_id.endsWith(`:${ann.serverName}`), `event id ${create.event_id}`);
        else expect(/^\$[A-Za-z0-9+/_-]{43}$/.test(create.event_id), `event id ${create.event_id}`);
        const said = await say(ben, room, `in version ${version}`);
        const redaction = await done(ann, "PUT", `/rooms/${e(room)}/redact/${e(said)}/f${(transaction += 1)}`, { reason: "over" });
        const after = await done(ben, "GET", `/rooms/${e(room)}/event/${e(said)}`);
        expectEqual(after.content, {}, `version ${version}: redacted content`);
        const event = await done(ben, "GET", `/rooms/${e(room)}/event/${e(redaction.event_id)}`);
        expectEqual(event.content.redacts ?? event.redacts, said, `version ${version}: what was redacted`);
        expectEqual(event.redacts, said, `version ${version}: redacts at the top level too, for older clients`);
        await done(ann, "POST", `/rooms/${e(room)}/kick`, { user_id: ben.userId });
        await not(ben, "PUT", `/rooms/${e(room)}/send/m.room.message/f${(transaction += 1)}`, { body: "x" }, 403, "M_FORBIDDEN");
    }
});

await check("presets set join rule, history and guests", async () => {
    const expected = {
        private_chat: ["invite", "shared", "can_join"],
        trusted_private_chat: ["invite", "shared", "can_join"],
        public_chat: ["public", "shared", "forbidden"],
    };
    for (const [preset, [rule, history, guests]] of Object.entries(expected)) {
        const room = await makeRoom(ann, { preset, invite: [ben.userId] });
        expectEqual((await stateOf(ann, room, "m.room.join_rules")).join_rule, rule, `${preset}: join rule`);
        expectEqual((await stateOf(ann, room, "m.room.history_visibility")).history_visibility, history, `${preset}: history`);
        const access = await ask(ann, "GET", `/rooms/${e(room)}/state/m.room.guest_access/`);
        expectEqual(access.json.guest_access ?? "forbidden", guests, `${preset}: guests`);
        expectEqual((await stateOf(ann, room, "m.room.member", ben.userId)).membership, "invite", `${preset}: the invited`);
    }
    const old = await makeRoom(ann, { preset: "trusted_private_chat", room_version: "11", invite: [ben.userId] });
    expectEqual((await stateOf(ann, old, "m.room.power_levels")).users[ben.userId], 100, "a trusted invited user's power");
    const direct = await makeRoom(ann, { preset: "trusted_private_chat", invite: [ben.userId], is_direct: true });
    expectEqual((await stateOf(ann, direct, "m.room.member", ben.userId)).is_direct, true, "is_direct in the invite");
});

await check("creation content, initial state, name, topic, power level override", async () => {
    const room = await makeRoom(ann, {
        name: "By name",
        topic: "by topic",
        room_version: "11",
        creation_content: { "m.federate": false, "type": "m.space", "org.example.x": 1, "creator": "@other:x" },
        initial_state: [{ type: "m.room.name", content: { name: "By state" } }, { type: "org.example.y", state_key: "k", content: { z: 2 } }],
        power_level_content_override: { users: { [ann.userId]: 100, [ben.userId]: 42 }, events_default: 7 },
    });
    const create = await stateOf(ann, room, "m.room.create");
    expectEqual([create["m.federate"], create.type, create["org.example.x"], create.room_version], [false, "m.space", 1, "11"], "create content");
    expectEqual((await stateOf(ann, room, "org.example.y", "k")).z, 2, "initial state");
    expectEqual((await stateOf(ann, room, "m.room.name")).name, "By name", "name wins over the initial state");
    const topic = await stateOf(ann, room, "m.room.topic");
    expectEqual(topic.topic, "by topic", "topic");
    const levels = await stateOf(ann, room, "m.room.power_levels");
    expectEqual([levels.users[ben.userId], levels.events_default], [42, 7], "power levels");
});

await check("version 12: creators stand above all levels", async () => {
    const room = await makeRoom(ann, { room_version: "12", preset: "public_chat", creation_content: { additional_creators: [ben.userId] } });
    await join(ben, room);
    await join(cyn, room);
    const levels = await stateOf(ann, room, "m.room.power_levels");
    expect(!(levels.users ?? {})[ann.userId], "creators are not listed in the power levels");
    await put(ann, room, "m.room.power_levels", { ...levels, users: { [cyn.userId]: 9_000_000 } });
    await not(cyn, "POST", `/rooms/${e(room)}/kick`, { user_id: ann.userId }, 403, "M_FORBIDDEN");
    await not(cyn, "POST", `/rooms/${e(room)}/kick`, { user_id: ben.userId }, 403, "M_FORBIDDEN");
    await done(ben, "POST", `/rooms/${e(room)}/kick`, { user_id: cyn.userId });
    await not(ann, "PUT", `/rooms/${e(room)}/state/m.room.power_levels/`, { ...levels, users: { [ben.userId]: 100 } }, [400, 403], ["M_FORBIDDEN", "M_BAD_JSON", "M_INVALID_PARAM", "M_INVALID_ROOM_STATE", "M_UNKNOWN"]);
    expectEqual((await done(ann, "GET", `/rooms/${e(room)}/state/m.room.create/?format=event`)).event_id, `$${room.slice(1)}`, "the room id is the create event's id");
});

await check("aliases: alternatives are checked, only their makers and moderators delete them", async () => {
    const room = await makeRoom(ann, { preset: "public_chat" });
    await join(ben, room);
    const alias = `#f-${room.slice(1, 12).replace(/[^a-zA-Z0-9]/g, "").toLowerCase()}-${Date.now()}:${ann.serverName}`;
    await done(ben, "PUT", `/directory/room/${e(alias)}`, { room_id: room });
    await not(ann, "PUT", `/rooms/${e(room)}/state/m.room.canonical_alias/`, { alias: `#nowhere-${Date.now()}:${ann.serverName}` }, 400, "M_BAD_ALIAS");
    await put(ann, room, "m.room.canonical_alias", { alt_aliases: [alias] });
    await not(cyn, "DELETE", `/directory/room/${e(alias)}`, undefined, 403, "M_FORBIDDEN");
    await done(ann, "DELETE", `/directory/room/${e(alias)}`);
    await not(cyn, "GET", `/directory/room/${e(alias)}`, undefined, 404, "M_NOT_FOUND");
    await not(ben, "PUT", `/directory/room/${e("#x:elsewhere.example")}`, { room_id: room }, 400, ["M_INVALID_PARAM", "M_UNKNOWN"]);
});

await check("the public directory: paging, and hidden rooms", async () => {
    const word = `page${Date.now()}`;
    const rooms = [];
    for (let n = 0; n < 5; n += 1) rooms.push(await makeRoom(ann, { name: `${word} ${n}`, visibility: "public", preset: "public_chat" }));
    await makeRoom(ann, { name: `${word} hidden`, preset: "public_chat" });
    await until("all five are found", async () => (await done(ben, "POST", "/publicRooms", { filter: { generic_search_term: word } })).chunk.length === 5);
    const seen = [];
    let since;
    for (let page = 0; page < 6; page += 1) {
        const answer = await done(ben, "POST", "/publicRooms", { limit: 2, since, filter: { generic_search_term: word } });
        expect(answer.chunk.length <= 2, "the limit holds");
        seen.push(...answer.chunk.map((entry) => entry.room_id));
        since = answer.next_batch;
        if (!since) break;
    }
    expectEqual([...seen].sort(), [...rooms].sort(), "all pages together");
    const none = await done(ben, "POST", "/publicRooms", { filter: { generic_search_term: word, room_types: ["m.space"] } });
    expectEqual(none.chunk.length, 0, "spaces among them");
});

// ── memberships ──

await check("knock_restricted, knock, and who may not", async () => {
    const space = await makeRoom(ann, { creation_content: { type: "m.space" }, preset: "public_chat" });
    const room = await makeRoom(ann, { name: "Both ways", initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock_restricted", allow: [{ type: "m.room_membership", room_id: space }] } }] });
    await not(ben, "POST", `/join/${e(room)}`, {}, 403, "M_FORBIDDEN");
    await done(ben, "POST", `/knock/${e(room)}`, { reason: "hello?" });
    const knocking = (await sync(ben)).rooms.knock[room].knock_state.events;
    expect(knocking.some((event) => event.type === "m.room.join_rules") && knocking.some((event) => event.type === "m.room.name"), `knock state: ${types(knocking)}`);
    await join(cyn, space);
    await join(cyn, room);
    await done(ann, "POST", `/rooms/${e(room)}/ban`, { user_id: dan.userId });
    await not(dan, "POST", `/knock/${e(room)}`, {}, 403, ["M_FORBIDDEN", "M_BAD_STATE"]);
    await done(ben, "POST", `/rooms/${e(room)}/leave`, {});
    expectEqual((await stateOf(ann, room, "m.room.member", ben.userId)).membership, "leave", "a knock taken back");
});

await check("an invite brings stripped state, and its join the room", async () => {
    const room = await makeRoom(ann, { name: "Invited", topic: "t", invite: [ben.userId] });
    const first = await sync(ben);
    const invite = first.rooms.invite[room].invite_state.events;
    for (const type of ["m.room.create", "m.room.join_rules", "m.room.name", "m.room.member"]) expect(types(invite).includes(type), `${type} in ${types(invite)}`);
    const own = invite.find((event) => event.type === "m.room.member" && event.state_key === ben.userId);
    expectEqual([own.content.membership, own.sender], ["invite", ann.userId], "own invite");
    await join(ben, room);
    const next = await sync(ben, { since: first.next_batch });
    expect(!next.rooms.invite?.[room], "no longer invited");
    const joined = next.rooms.join[room];
    const all = [...joined.state.events, ...joined.timeline.events];
    expect(types(all).includes("m.room.create") && types(all).includes("m.room.name"), `the whole state comes with a join: ${types(all)}`);
    await done(ben, "POST", `/rooms/${e(room)}/leave`, {});
    const left = await sync(ben, { since: next.next_batch });
    const own2 = [...left.rooms.leave[room].timeline.events, ...(left.rooms.leave[room].state?.events ?? [])].find((event) => event.state_key === ben.userId);
    expectEqual(own2.content.membership, "leave", "the room among the left");
    const whole = await sync(ben);
    expect(!whole.rooms?.leave?.[room], "a first sync leaves out left rooms");
    const including = await sync(ben, { filter: { room: { include_leave: true } } });
    expect(including.rooms.leave[room], "unless they are asked for");
    await done(ben, "POST", `/rooms/${e(room)}/forget`, {});
    const forgotten = await sync(ben, { filter: { room: { include_leave: true } } });
    expect(!forgotten.rooms?.leave?.[room], "a forgotten room is not there");
    await not(ben, "GET", `/rooms/${e(room)}/messages?dir=b`, undefined, 403, "M_FORBIDDEN");
});

await check("forgetting needs leaving", async () => {
    const room = await makeRoom(ann);
    await not(ann, "POST", `/rooms/${e(room)}/forget`, {}, 400, "M_UNKNOWN");
});

// ── reading ──

await check("history visibility: who sees what, before and after", async () => {
    for (const visibility of ["world_readable", "shared", "invited", "joined"]) {
        const room = await makeRoom(ann, { preset: "private_chat", initial_state: [{ type: "m.room.history_visibility", state_key: "", content: { history_visibility: visibility } }] });
        await say(ann, room, "early");
        await done(ann, "POST", `/rooms/${e(room)}/invite`, { user_id: ben.userId });
        await say(ann, room, "invited");
        await join(ben, room);
        await say(ann, room, "joined");
        const read = async (user) => bodies((await done(user, "GET", `/rooms/${e(room)}/messages?dir=b&limit=50`)).chunk).reverse();
        const expected = { world_readable: ["early", "invited", "joined"], shared: ["early", "invited", "joined"], invited: ["invited", "joined"], joined: ["joined"] }[visibility];
        expectEqual(await read(ben), expected, `${visibility}: what a member reads`);
        if (visibility === "world_readable") {
            expectEqual(await read(cyn), expected, "what anybody reads");
            expectEqual((await stateOf(cyn, room, "m.room.history_visibility")).history_visibility, "world_readable", "state for anybody");
        } else {
            await not(cyn, "GET", `/rooms/${e(room)}/messages?dir=b`, undefined, 403, "M_FORBIDDEN");
            await not(cyn, "GET", `/rooms/${e(room)}/state/m.room.create/`, undefined, 403, "M_FORBIDDEN");
        }
        await done(ben, "POST", `/rooms/${e(room)}/leave`, {});
        const secret = await say(ann, room, "after");
        if (visibility !== "world_readable") {
            expect(!(await read(ben)).includes("after"), `${visibility}: what comes after leaving is not read`);
            await not(ben, "GET", `/rooms/${e(room)}/event/${e(secret)}`, undefined, [403, 404], ["M_NOT_FOUND", "M_FORBIDDEN"]);
            await put(ann, room, "m.room.name", { name: "renamed later" });
            const state = await done(ben, "GET", `/rooms/${e(room)}/state`);
            expect(!state.some((event) => event.type === "m.room.name"), "the state for who left is that at leaving");
        }
    }
});

await check("filters: types, senders, limits, rooms, urls", async () => {
    const room = await makeRoom(ann, { preset: "public_chat" });
    await join(ben, room);
    for (let n = 0; n < 4; n += 1) await say(n % 2 ? ben : ann, room, `m${n}`);
    await done(ann, "PUT", `/rooms/${e(room)}/send/org.example.other/f${(transaction += 1)}`, { body: "other" });
    await say(ann, room, "picture", { msgtype: "m.image", url: "mxc://x/y" });
    const timeline = async (filter) => bodies((await sync(ann, { filter: { room: { rooms: [room], timeline: { limit: 20, ...filter } } } })).rooms.join[room].timeline.events);
    expectEqual(await timeline({ types: ["m.room.message"] }), ["m0", "m1", "m2", "m3", "picture"], "types");
    expectEqual(await timeline({ types: ["org.example.*"] }), ["other"], "types with a wildcard");
    expectEqual(await timeline({ not_types: ["m.room.message", "m.room.*"] }), ["other"], "not_types");
    expectEqual(await timeline({ senders: [ben.userId] }), ["m1", "m3"], "senders");
    expectEqual(await timeline({ not_senders: [ben.userId] }), ["m0", "m2", "other", "picture"], "not_senders");
    expectEqual(await timeline({ contains_url: true }), ["picture"], "contains_url");
    expectEqual(await timeline({ limit: 2 }), ["other", "picture"], "limit");
    const other = await makeRoom(ann);
    const rooms = async (filter) => Object.keys((await sync(ann, { filter: { room: filter } })).rooms?.join ?? {});
    expect((await rooms({ rooms: [other] })).join() === other, "only the room asked for");
    if (ours) expect(!(await rooms({ not_rooms: [other] })).includes(other), "not_rooms");
    const { filter_id: id } = await done(ann, "POST", `/user/${e(ann.userId)}/filter`, { room: { rooms: [room], timeline: { types: ["org.example.other"], limit: 9 } } });
    expectEqual((await done(ann, "GET", `/user/${e(ann.userId)}/filter/${id}`)).room.timeline.limit, 9, "the stored filter");
    const stored = await done(ann, "GET", `/sync?timeout=0&filter=${id}`);
    expectEqual(bodies(stored.rooms.join[room].timeline.events), ["other"], "sync by a stored filter");
    const messages = await done(ann, "GET", `/rooms/${e(room)}/messages?dir=b&limit=20&filter=${e(JSON.stringify({ types: ["m.room.message"], not_senders: [ben.userId] }))}`);
    expectEqual(bodies(messages.chunk), ["picture", "m2", "m0"], "messages by a filter");
    const forward = await done(ann, "GET", `/rooms/${e(room)}/messages?dir=f&limit=100&filter=${e(JSON.stringify({ types: ["m.room.message"] }))}`);
    expectEqual(bodies(forward.chunk), ["m0", "m1", "m2", "m3", "picture"], "forwards from the beginning");
});

await check("full_state, state between syncs, and state after the timeline", async () => {
    const room = await makeRoom(ann, { name: "One" });
    const filter = { room: { rooms: [room], timeline: { limit: 1 } } };
    const first = await sync(ann, { filter });
    const needed = ours ? "m.room.create" : "m.room.power_levels";
    expect(types(first.rooms.join[room].state.events).includes(needed), "a first sync has the state");
    const quiet = await sync(ann, { filter, since: first.next_batch });
    expect(!quiet.rooms?.join?.[room], "nothing happened");
    const full = await sync(ann, { filter, since: first.next_batch, query: "&full_state=true" });
    expect(types(full.rooms.join[room].state.events).includes(needed), "full_state has it all again");
    await put(ann, room, "m.room.name", { name: "Two" });
    await put(ann, room, "m.room.topic", { topic: "in between" });
    await say(ann, room, "last");
    const next = await sync(ann, { filter, since: first.next_batch });
    const joined = next.rooms.join[room];
    expectEqual([joined.timeline.limited, bodies(joined.timeline.events)], [true, ["last"]], "timeline");
    expectEqual(types(joined.state.events).sort(), ["m.room.name", "m.room.topic"], "the state that changed before the timeline");
    for (const parameter of ["use_state_after", "org.matrix.msc4222.use_state_after"]) {
        const after = await sync(ann, { filter, since: first.next_batch, query: `&${parameter}=true` });
        const events = after.rooms.join[room].state_after ?? after.rooms.join[room]["org.matrix.msc4222.state_after"];
        if (!events) {
            expect(!ours, `no state_after for ${parameter}`);
            continue;
        }
        expectEqual(types(events.events).sort(), ["m.room.name", "m.room.topic"], parameter);
        expect(!after.rooms.join[room].state?.events?.length, "and no state before");
    }
});

await check("lazy-loaded members: senders only, once, and in /messages and /context", async () => {
    const room = await makeRoom(ann, { preset: "public_chat", name: "Named, so that nobody's membership is needed for a name" });
    for (const user of [ben, cyn, dan]) await join(user, room);
    const early = await say(cyn, room, "by cyn");
    await say(ben, room, "by ben");
    const filter = { room: { rooms: [room], state: { lazy_load_members: true }, timeline: { limit: 1 } } };
    const members = (events) => events.filter((event) => event.type === "m.room.member").map((event) => event.state_key).sort();
    const first = await sync(ann, { filter });
    expectEqual(members(first.rooms.join[room].state.events), [ann.userId, ben.userId].sort(), "the sender and oneself");
    await say(ben, room, "by ben again");
    const second = await sync(ann, { filter, since: first.next_batch });
    if (ours) expectEqual(members(second.rooms.join[room].state.events), [], "known ones are not repeated");
    await say(dan, room, "by dan");
    const third = await sync(ann, { filter, since: second.next_batch });
    expectEqual(members(third.rooms.join[room].state.events), [dan.userId], "a new sender");
    const summary = first.rooms.join[room].summary;
    expectEqual([summary["m.joined_member_count"], summary["m.invited_member_count"] ?? 0], [4, 0], "counts");
    const nameless = await makeRoom(ann, { preset: "public_chat", invite: [cyn.userId] });
    await join(ben, nameless);
    const unnamed = (await sync(ann, { filter: { room: { rooms: [nameless], state: { lazy_load_members: true }, timeline: { limit: 1 } } } })).rooms.join[nameless];
    expectEqual([...unnamed.summary["m.heroes"]].sort(), [ben.userId, cyn.userId].sort(), "heroes");
    expectEqual(unnamed.summary["m.invited_member_count"], 1, "invited");
    const given = members([...unnamed.state.events, ...unnamed.timeline.events]);
    for (const hero of [ben, cyn]) expect(given.includes(hero.userId), "the heroes' memberships come along");
    const lazy = e(JSON.stringify({ lazy_load_members: true }));
    const messages = await done(ann, "GET", `/rooms/${e(room)}/messages?dir=b&limit=3&filter=${lazy}`);
    expectEqual(members(messages.state), [ben.userId, dan.userId].sort(), "members with /messages");
    const context = await done(ann, "GET", `/rooms/${e(room)}/context/${e(early)}?limit=0&filter=${lazy}`);
    expectEqual(members(context.state), [cyn.userId], "members with /context");
    const listed = await done(ann, "GET", `/rooms/${e(room)}/members?membership=join`);
    expectEqual(members(listed.chunk), [ann.userId, ben.userId, cyn.userId, dan.userId].sort(), "/members");
    await done(dan, "POST", `/rooms/${e(room)}/leave`, {});
    expectEqual(members((await done(ann, "GET", `/rooms/${e(room)}/members?not_membership=leave`)).chunk), [ann.userId, ben.userId, cyn.userId].sort(), "not_membership");
    const at = await done(ann, "GET", `/rooms/${e(room)}/members?at=${e(first.next_batch)}&membership=join`);
    expectEqual(members(at.chunk), [ann.userId, ben.userId, cyn.userId, dan.userId].sort(), "members at an earlier time");
});

await check("unread counts: keywords, display names, notices, edits, @room", async () => {
    const room = await makeRoom(ann, { preset: "public_chat" });
    for (const user of [ben, cyn]) await join(user, room);
    const start = await say(ann, room, "start");
    const read = async () => done(ben, "POST", `/rooms/${e(room)}/receipt/m.read/${e(await say(ann, room, "mark"))}`, {});
    const counts = async () => {
        const { notification_count: total = 0, highlight_count: loud = 0 } = (await sync(ben, { filter: { room: { rooms: [room] } } })).rooms.join[room].unread_notifications ?? {};
        return [total, loud];
    };
    await read();
    expectEqual(await counts(), [0, 0], "after reading");
    const original = await say(ann, room, "plain");
    expectEqual(await counts(), [1, 0], "a message in a room of three");
    await say(ann, room, "notice", { msgtype: "m.notice" });
    expectEqual(await counts(), [1, 0], "a notice does not count");
    await say(ann, room, "* edit", { "m.new_content": { msgtype: "m.text", body: "edit" }, "m.relates_to": { rel_type: "m.replace", event_id: original } });
    expectEqual(await counts(), [1, 0], "an edit does not count");
    await done(ann, "PUT", `/rooms/${e(room)}/send/m.reaction/f${(transaction += 1)}`, { "m.relates_to": { rel_type: "m.annotation", event_id: start, key: "x" } });
    expectEqual(await counts(), [1, 0], "a reaction does not count");
    await say(ann, room, "for you", { "m.mentions": { user_ids: [ben.userId] } });
    expectEqual(await counts(), [2, 1], "a mention is a highlight");
    await say(ann, room, "all of you", { "m.mentions": { room: true } });
    expectEqual(await counts(), [3, 2], "a mention of the room by who may");
    await say(cyn, room, "all of you", { "m.mentions": { room: true } });
    expectEqual(await counts(), [4, 2], "and by who may not");
    await done(ben, "PUT", "/pushrules/global/content/fish", { pattern: "fish", actions: ["notify", { set_tweak: "highlight" }] });
    await say(ann, room, "fresh FISH today");
    expectEqual(await counts(), [5, 3], "a keyword, whatever its case");
    await say(ann, room, "a fishmonger");
    expectEqual(await counts(), [6, 3], "only as a whole word");
    await done(ben, "PUT", `/pushrules/global/sender/${e(cyn.userId)}`, { actions: [] });
    await say(cyn, room, "unheard");
    if (ours) expectEqual(await counts(), [6, 3], "a muted sender");
    await say(ben, room, "my own");
    if (ours) expectEqual((await counts())[0], 0, "an own message reads all before it");
    await done(ben, "DELETE", "/pushrules/global/content/fish");
    await done(ben, "DELETE", `/pushrules/global/sender/${e(cyn.userId)}`);
});

await check("notifications are listed, and read ones marked", async () => {
    const room = await makeRoom(ann, { preset: "public_chat" });
    await join(dan, room);
    if (notYet(await ask(dan, "GET", "/notifications"), "GET /notifications")) return;
    const said = await say(ann, room, "noted", { "m.mentions": { user_ids: [dan.userId] } });
    const list = await until("the notification", async () => {
        const answer = await done(dan, "GET", "/notifications?limit=10");
        return answer.notifications.some((one) => one.event.event_id === said) && answer;
    });
    expectEqual(list.notifications.find((one) => one.event.event_id === said).read, false, "unread");
});

await check("threads: unread by thread, receipts by thread", async () => {
    const room = await makeRoom(ann, { preset: "public_chat" });
    await join(ben, room);
    const root = await say(ann, room, "root");
    await done(ben, "POST", `/rooms/${e(room)}/receipt/m.read/${e(root)}`, {});
    const inThread = (user, body) => say(user, room, body, { "m.relates_to": { rel_type: "m.thread", event_id: root } });
    await inThread(ben, "t1");
    const last = await inThread(ann, "t2");
    const counts = async () => (await sync(ben, { filter: { room: { rooms: [room], timeline: { unread_thread_notifications: true, limit: 60 + (syncs += 1) } } } })).rooms.join[room];
    const split = await counts();
    expectEqual(split.unread_notifications.notification_count, 0, "nothing unread in the main timeline");
    expectEqual(split.unread_thread_notifications?.[root]?.notification_count, 1, "one in the thread");
    const together = (await sync(ben, { filter: { room: { rooms: [room] } } })).rooms.join[room];
    expectEqual(together.unread_notifications.notification_count, 1, "together where threads are not asked for");
    await done(ben, "POST", `/rooms/${e(room)}/receipt/m.read/${e(last)}`, { thread_id: root });
    expectEqual((await counts()).unread_thread_notifications?.[root]?.notification_count ?? 0, 0, "after a threaded receipt");
    await not(ben, "POST", `/rooms/${e(room)}/receipt/m.read/${e(last)}`, { thread_id: 5 }, 400, ["M_INVALID_PARAM", "M_BAD_JSON"]);
    await not(ben, "POST", `/rooms/${e(room)}/receipt/m.unknown/${e(last)}`, {}, 400, ["M_INVALID_PARAM", "M_UNKNOWN", "M_BAD_JSON"]);
    const receipts = (await sync(ann, { filter: { room: { rooms: [room] } } })).rooms.join[room].ephemeral.events.find((event) => event.type === "m.receipt");
    expectEqual(receipts.content[last]["m.read"][ben.userId].thread_id, root, "the receipt names its thread");
});

await check("relations: paging and bundles", async () => {
    const room = await makeRoom(ann);
    const target = await say(ann, room, "target");
    const refs = [];
    for (let n = 0; n < 5; n += 1) refs.push(await say(ann, room, `r${n}`, { "m.relates_to": { rel_type: "m.reference", event_id: target } }));
    const base = `/_matrix/client/v1/rooms/${e(room)}/relations/${e(target)}`;
    const page = (await request("GET", `${base}/m.reference?limit=2`, { token: ann.accessToken })).json;
    expectEqual(page.chunk.map((event) => event.event_id), [refs[4], refs[3]], "newest first");
    const rest = (await request("GET", `${base}/m.reference?limit=9&from=${e(page.next_batch)}`, { token: ann.accessToken })).json;
    expectEqual(rest.chunk.map((event) => event.event_id), [refs[2], refs[1], refs[0]], "the rest");
    const forward = (await request("GET", `${base}/m.reference/m.room.message?dir=f&limit=2`, { token: ann.accessToken })).json;
    expectEqual(forward.chunk.map((event) => event.event_id), [refs[0], refs[1]], "forwards");
    const unrelated = await request("GET", `/_matrix/client/v1/rooms/${e(room)}/relations/${e(target)}`, { token: ben.accessToken });
    expect(["404 M_NOT_FOUND", "403 M_FORBIDDEN"].includes(`${unrelated.status} ${unrelated.json.errcode}`), `for somebody outside: ${unrelated.status} ${unrelated.bytes}`);
    const bundled = await done(ann, "GET", `/rooms/${e(room)}/event/${e(target)}`);
    expectEqual(bundled.unsigned["m.relations"]["m.reference"].chunk.length, 5, "references are bundled");
});

await check("ignored users are not seen", async () => {
    const room = await makeRoom(ann, { preset: "public_chat" });
    await join(ben, room);
    await join(cyn, room);
    const since = (await sync(cyn)).next_batch;
    await done(cyn, "PUT", `/user/${e(cyn.userId)}/account_data/m.ignored_user_list`, { ignored_users: { [ben.userId]: {} } });
    await say(ben, room, "from the ignored");
    await say(ann, room, "from ann");
    const own = await makeRoom(ben, { invite: [cyn.userId] });
    const next = await sync(cyn, { since });
    expectEqual(bodies(next.rooms.join[room].timeline.events), ["from ann"], "timeline");
    expect(!next.rooms.invite?.[own], "no invite from the ignored");
    await done(cyn, "PUT", `/user/${e(cyn.userId)}/account_data/m.ignored_user_list`, { ignored_users: {} });
});

await check("account data that the server keeps cannot be written as such", async () => {
    for (const type of ["m.fully_read", "m.push_rules"]) {
        const answer = await ask(ann, "PUT", `/user/${e(ann.userId)}/account_data/${type}`, {});
        expect([400, 403, 405].includes(answer.status) && answer.json.errcode, `${type}: ${answer.status} ${answer.bytes}`);
    }
});

await check("transaction ids are a device's own", async () => {
    const room = await makeRoom(ann);
    const login = await done(undefined, "POST", "/login", { type: "m.login.password", identifier: { type: "m.id.user", user: ann.username }, password });
    const path = `/rooms/${e(room)}/send/m.room.message/same`;
    const one = await done(ann, "PUT", path, { msgtype: "m.text", body: "a" });
    const two = await done({ accessToken: login.access_token }, "PUT", path, { msgtype: "m.text", body: "a" });
    expect(one.event_id !== two.event_id, "another device's transaction is another one");
    const own = (await sync(ann, { filter: { room: { rooms: [room] } } })).rooms.join[room].timeline.events;
    expectEqual(own.find((event) => event.event_id === one.event_id).unsigned?.transaction_id, "same", "the sender's device sees its id");
    expectEqual(own.find((event) => event.event_id === two.event_id).unsigned?.transaction_id, undefined, "and not another's");
    await done({ accessToken: login.access_token }, "POST", "/logout", {});
});

await check("many senders at once: each message once, in one order for all", async () => {
    const room = await makeRoom(ann, { preset: "public_chat" });
    for (const user of [ben, cyn, dan]) await join(user, room);
    const since = (await sync(dan)).next_batch;
    const ids = (await Promise.all(Array.from({ length: 60 }, (_, n) => say([ann, ben, cyn, dan][n % 4], room, `c${n}`))));
    expectEqual(new Set(ids).size, 60, "different events");
    const seen = (await sync(dan, { since, filter: { room: { rooms: [room], timeline: { limit: 100 } } } })).rooms.join[room].timeline.events.map((event) => event.event_id);
    expectEqual([...seen].sort(), [...ids].sort(), "all in one sync");
    const back = (await done(ann, "GET", `/rooms/${e(room)}/messages?dir=b&limit=60`)).chunk.map((event) => event.event_id).reverse();
    expectEqual(back, seen, "the same order by /messages");
});

await check("state sent at once by many: every change is in the timeline, one is current", async () => {
    const room = await makeRoom(ann, { preset: "public_chat", power_level_content_override: { state_default: 0 } });
    for (const user of [ben, cyn]) await join(user, room);
    await Promise.all(Array.from({ length: 30 }, (_, n) => put([ann, ben, cyn][n % 3], room, "org.example.race", { n })));
    const events = (await done(ann, "GET", `/rooms/${e(room)}/messages?dir=b&limit=60&filter=${e('{"types":["org.example.race"]}')}`)).chunk;
    expectEqual(events.map((event) => event.content.n).sort((a, b) => a - b), Array.from({ length: 30 }, (_, n) => n), "all");
    if (ours) expectEqual((await stateOf(ben, room, "org.example.race")).n, events[0].content.n, "the newest is current");
});

await check("state that does not change makes no event", async () => {
    const room = await makeRoom(ann, { name: "Same" });
    const one = await put(ann, room, "m.room.name", { name: "Other" });
    const two = await put(ann, room, "m.room.name", { name: "Other" });
    expectEqual(two, one, "the same event");
    await join(ann, room);
    const joins = (await done(ann, "GET", `/rooms/${e(room)}/messages?dir=b&limit=60&filter=${e('{"types":["m.room.member"]}')}`)).chunk;
    expectEqual(joins.length, 1, "joining again");
});

await check("prev_content, replaces_state and age", async () => {
    const room = await makeRoom(ann, { name: "Before" });
    const before = await done(ann, "GET", `/rooms/${e(room)}/state/m.room.name/?format=event`);
    const since = (await sync(ann)).next_batch;
    await put(ann, room, "m.room.name", { name: "After" });
    const [event] = (await sync(ann, { since })).rooms.join[room].timeline.events;
    expectEqual(event.unsigned.prev_content, { name: "Before" }, "prev_content");
    expectEqual(event.unsigned.replaces_state, before.event_id, "replaces_state");
    expect(typeof event.unsigned.age === "number" && event.unsigned.age < 60_000, `age ${event.unsigned.age}`);
    expectEqual(event.room_id, undefined, "no room_id inside a sync");
});

// ── accounts and devices ──

await check("guests are off; login flows; a login token", async () => {
    const guest = await request("POST", v3("/register?kind=guest"), { body: {} });
    expect(guest.status === 403 && (!ours || ["M_GUEST_ACCESS_FORBIDDEN", "M_FORBIDDEN"].includes(guest.json.errcode)), `guest: ${guest.status} ${guest.bytes}`);
    const { flows } = await done(undefined, "GET", "/login");
    expect(flows.some((flow) => flow.type === "m.login.password"), "password flow");
    if (flows.some((flow) => flow.type === "m.login.token" && flow.get_login_token)) {
        const start = await request("POST", "/_matrix/client/v1/login/get_token", { token: ann.accessToken, body: {} });
        let token = start.json.login_token;
        if (start.status === 401) {
            const auth = { type: "m.login.password", identifier: { type: "m.id.user", user: ann.userId }, password, session: start.json.session };
            token = (await request("POST", "/_matrix/client/v1/login/get_token", { token: ann.accessToken, body: { auth } })).json.login_token;
        }
        const login = await done(undefined, "POST", "/login", { type: "m.login.token", token });
        expectEqual(login.user_id, ann.userId, "who logged in by the token");
        await not(undefined, "POST", "/login", { type: "m.login.token", token }, 403, "M_FORBIDDEN");
        await done({ accessToken: login.access_token }, "POST", "/logout", {});
    }
});

await check("logging in with a device id replaces that device's token", async () => {
    const login = (device_id) => done(undefined, "POST", "/login", { type: "m.login.password", identifier: { type: "m.id.user", user: dan.username }, password, device_id, initial_device_display_name: "named" });
    const one = await login("MYDEVICE");
    const two = await login("MYDEVICE");
    expectEqual([one.device_id, two.device_id], ["MYDEVICE", "MYDEVICE"], "device");
    if (ours) await not({ accessToken: one.access_token }, "GET", "/account/whoami", undefined, 401, "M_UNKNOWN_TOKEN");
    const { devices } = await done(dan, "GET", "/devices");
    expectEqual(devices.filter((device) => device.device_id === "MYDEVICE").length, 1, "listed once");
    const ask = await not({ accessToken: two.access_token }, "POST", "/delete_devices", { devices: ["MYDEVICE"] }, 401, undefined);
    await done({ accessToken: two.access_token }, "POST", "/delete_devices", { devices: ["MYDEVICE"], auth: { type: "m.login.password", identifier: { type: "m.id.user", user: dan.userId }, password, session: ask.json.session } });
    await not({ accessToken: two.access_token }, "GET", "/account/whoami", undefined, 401, "M_UNKNOWN_TOKEN");
});

await check("logout of all devices", async () => {
    const user = await register("all-out");
    const other = await done(undefined, "POST", "/login", { type: "m.login.password", identifier: { type: "m.id.user", user: user.username }, password });
    await done({ accessToken: other.access_token }, "POST", "/logout/all", {});
    for (const token of [user.accessToken, other.access_token]) await not({ accessToken: token }, "GET", "/account/whoami", undefined, 401, "M_UNKNOWN_TOKEN");
});

await check("presence by sync, for who shares a room and not for others", async () => {
    const room = await makeRoom(ann, { invite: [ben.userId] });
    await join(ben, room);
    const since = (await sync(ann)).next_batch;
    await sync(ben, { query: "&set_presence=online" });
    await done(ben, "PUT", `/presence/${e(ben.userId)}/status`, { presence: "online", status_msg: `here ${since.slice(-4)}` });
    await until("ann sees ben", async () => (await sync(ann, { since })).presence?.events?.some((event) => event.sender === ben.userId && event.content.status_msg === `here ${since.slice(-4)}`));
    const stranger = await register("stranger");
    await not(stranger, "GET", `/presence/${e(ben.userId)}/status`, undefined, [403, 404], ["M_FORBIDDEN", "M_NOT_FOUND"]);
});

await check("profile: fields, limits, deletion, and its reach", async () => {
    const path = `/profile/${e(dan.userId)}`;
    await done(dan, "PUT", `${path}/displayname`, { displayname: "Dan" });
    await done(dan, "PUT", `${path}/m.tz`, { "m.tz": "Europe/Berlin" });
    await done(dan, "PUT", `${path}/org.example.note`, { "org.example.note": { deep: [1, 2] } });
    const whole = await done(undefined, "GET", path);
    expectEqual([whole.displayname, whole["m.tz"], whole["org.example.note"]], ["Dan", "Europe/Berlin", { deep: [1, 2] }], "fields");
    expectEqual(await done(undefined, "GET", `${path}/m.tz`), { "m.tz": "Europe/Berlin" }, "one field");
    await not(dan, "PUT", `${path}/${"k".repeat(256)}`, { ["k".repeat(256)]: 1 }, 400, ["M_KEY_TOO_LARGE", "M_INVALID_PARAM"]);
    await not(dan, "PUT", `${path}/org.example.big`, { "org.example.big": "x".repeat(65_536) }, 400, ["M_PROFILE_TOO_LARGE", "M_TOO_LARGE"]);
    await not(dan, "PUT", `${path}/m.tz`, { other: 1 }, 400, ["M_MISSING_PARAM", "M_BAD_JSON", "M_INVALID_PARAM"]);
    await done(dan, "DELETE", `${path}/m.tz`);
    await not(undefined, "GET", `${path}/m.tz`, undefined, 404, "M_NOT_FOUND");
});

await check("to-device messages: to all devices, in order, until they are acknowledged", async () => {
    const send = (n) => done(ann, "PUT", `/sendToDevice/org.example.n/f${(transaction += 1)}`, { messages: { [cyn.userId]: { "*": { n } } } });
    const start = await sync(cyn);
    for (let n = 0; n < 6; n += 1) await send(n);
    const one = await sync(cyn, { since: start.next_batch });
    expectEqual(one.to_device.events.map((event) => event.content.n), [0, 1, 2, 3, 4, 5], "in order");
    expectEqual(one.to_device.events[0].sender, ann.userId, "sender");
    const again = await sync(cyn, { since: start.next_batch });
    expectEqual(again.to_device.events.length, 6, "the same again for the same token");
    const next = await sync(cyn, { since: one.next_batch });
    expectEqual(next.to_device?.events?.length ?? 0, 0, "gone once acknowledged");
    const path = `/sendToDevice/org.example.n/once-${transaction}`;
    for (let n = 0; n < 2; n += 1) await done(ann, "PUT", path, { messages: { [cyn.userId]: { [cyn.deviceId]: { n: 99 } } } });
    expectEqual((await sync(cyn, { since: next.next_batch })).to_device.events.length, 1, "once for a transaction");
});

await check("a refused transaction leaves nothing, and room joins are exact under load", async () => {
    const room = await makeRoom(ann, { preset: "public_chat" });
    const many = await Promise.all(Array.from({ length: 8 }, (_, n) => register(`load${n}`)));
    await Promise.all(many.map((user) => join(user, room)));
    const { joined } = await done(ann, "GET", `/rooms/${e(room)}/joined_members`);
    expectEqual(Object.keys(joined).length, 9, "members");
    await Promise.all(many.slice(0, 4).map((user) => done(user, "POST", `/rooms/${e(room)}/leave`, {})));
    expectEqual(Object.keys((await done(ann, "GET", `/rooms/${e(room)}/joined_members`)).joined).length, 5, "members after some left");
    const summary = (await sync(ann, { filter: { room: { rooms: [room], state: { lazy_load_members: true } } } })).rooms.join[room].summary;
    expectEqual(summary["m.joined_member_count"], 5, "the summary's count");
});

// ── media and HTTP ──

await check("media: legacy and authenticated addresses, a name in the path, HEAD-like headers", async () => {
    const bytes = png(50, 40);
    const upload = (await request("POST", "/_matrix/media/v3/upload?filename=a.png", { token: ann.accessToken, raw: bytes, headers: { "content-type": "image/png" } })).json;
    const id = upload.content_uri.slice("mxc://".length);
    const named = await request("GET", `/_matrix/client/v1/media/download/${id}/${e("other name.png")}`, { token: ben.accessToken });
    expect(named.status === 200 && named.bytes.equals(bytes), `with a name: ${named.status}`);
    expect(/other%20name\.png|"other name\.png"/.test(named.headers.get("content-disposition")), `disposition ${named.headers.get("content-disposition")}`);
    expect(named.headers.get("cross-origin-resource-policy") === "cross-origin", "cross-origin-resource-policy");
    expectEqual(Number(named.headers.get("content-length")), bytes.length, "content-length");
    const config = await request("GET", "/_matrix/client/v1/media/config", { token: ann.accessToken });
    const legacy = await request("GET", "/_matrix/media/v3/config", { token: ann.accessToken });
    expectEqual(config.json["m.upload.size"], legacy.json["m.upload.size"], "both config addresses");
    const same = (await request("POST", "/_matrix/media/v3/upload?filename=a.png", { token: ben.accessToken, raw: bytes, headers: { "content-type": "image/png" } })).json;
    expect(same.content_uri !== upload.content_uri, "the same bytes get an address of their own");
    const nobody = await request("POST", "/_matrix/media/v3/upload", { raw: bytes, headers: { "content-type": "image/png" } });
    expectEqual([nobody.status, nobody.json.errcode], [401, "M_MISSING_TOKEN"], "an upload without a login");
});

await check("an upload that was promised is waited for", async () => {
    const created = await request("POST", "/_matrix/media/v1/create", { token: ann.accessToken });
    const path = created.json.content_uri.slice("mxc://".length);
    const waiting = request("GET", `/_matrix/client/v1/media/download/${path}?timeout_ms=15000`, { token: ben.accessToken });
    const stranger = await request("PUT", `/_matrix/media/v3/upload/${path}`, { token: ben.accessToken, raw: "not mine", headers: { "content-type": "text/plain" } });
    expectEqual([stranger.status, stranger.json.errcode], [403, "M_FORBIDDEN"], "somebody else uploading");
    const put = await request("PUT", `/_matrix/media/v3/upload/${path}`, { token: ann.accessToken, raw: "here it is", headers: { "content-type": "text/plain" } });
    expectEqual(put.status, 200, "upload");
    const got = await waiting;
    expectEqual([got.status, got.bytes.toString()], [200, "here it is"], "what the waiting one got");
});

await check("thumbnails: larger than the original, animated or not", async () => {
    const upload = async (bytes, type) => (await request("POST", "/_matrix/media/v3/upload", { token: ann.accessToken, raw: bytes, headers: { "content-type": type } })).json.content_uri.slice("mxc://".length);
    const thumbnail = (path, query) => request("GET", `/_matrix/client/v1/media/thumbnail/${path}?${query}`, { token: ben.accessToken });
    const small = await upload(png(50, 40), "image/png");
    const larger = await thumbnail(small, "width=800&height=600&method=scale");
    expect(larger.status === 200 && imageSize(larger.bytes)[0] <= 800, `larger than the original: ${larger.status}`);
    const moving = await upload(animatedGif(120, 90, 3), "image/gif");
    const still = await thumbnail(moving, "width=32&height=32&method=crop&animated=false");
    expect(still.status === 200, `still: ${still.status} ${still.bytes.toString("latin1").slice(0, 100)}`);
    expect(!["image/gif"].includes(still.headers.get("content-type")), `a still one: ${still.headers.get("content-type")}`);
    if (ours) {
        const animated = await thumbnail(moving, "width=32&height=32&method=scale&animated=true");
        expect(["image/gif", "image/webp", "image/png", "image/apng"].includes(animated.headers.get("content-type")) && animated.status === 200, `animated: ${animated.status} ${animated.headers.get("content-type")}`);
        const many = animated.headers.get("content-type") === "image/gif" ? animated.bytes.toString("latin1").split("\x21\xf9\x04").length - 1 : 2;
        expect(many >= 2, `frames of the animated thumbnail: ${many}`);
    }
});

await check("a deactivated and erased user: messages stay for who had them, not for who comes later", async () => {
    const eve = await register("erased");
    const room = await makeRoom(ann, { preset: "public_chat" });
    await join(eve, room);
    await join(ben, room);
    const said = await say(eve, room, "please forget this");
    const { json } = await ask(eve, "POST", "/account/deactivate", { erase: true });
    await done(eve, "POST", "/account/deactivate", { erase: true, auth: { type: "m.login.password", identifier: { type: "m.id.user", user: eve.userId }, password, session: json.session } });
    await until("eve has left", async () => !(await done(ann, "GET", `/rooms/${e(room)}/joined_members`)).joined[eve.userId]);
    expectEqual((await done(ben, "GET", `/rooms/${e(room)}/event/${e(said)}`)).content.body, "please forget this", "for who was there");
    await join(cyn, room);
    const seen = (await done(cyn, "GET", `/rooms/${e(room)}/messages?dir=b&limit=30`)).chunk.find((event) => event.event_id === said);
    expectEqual(seen.content, {}, "for who came later");
    await not(ann, "GET", `/profile/${e(eve.userId)}/displayname`, undefined, [403, 404], ["M_NOT_FOUND", "M_FORBIDDEN"]);
});

await check("a restricted join names who vouches", async () => {
    const space = await makeRoom(ann, { preset: "public_chat", creation_content: { type: "m.space" } });
    const room = await makeRoom(ann, { room_version: "10", initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: space }] } }] });
    await join(ben, space);
    await join(ben, room);
    expectEqual((await stateOf(ann, room, "m.room.member", ben.userId)).join_authorised_via_users_server, ann.userId, "who vouches");
});

await check("an upgrade takes over power levels, bans, join rule, aliases, and closes the old room", async () => {
    const alias = `#up-${Date.now()}:${ann.serverName}`;
    const room = await makeRoom(ann, { room_version: "10", preset: "public_chat", name: "Old", topic: "kept", power_level_content_override: { users: { [ann.userId]: 100, [ben.userId]: 50 } } });
    await join(ben, room);
    await done(ann, "PUT", `/directory/room/${e(alias)}`, { room_id: room });
    await put(ann, room, "m.room.canonical_alias", { alias });
    await done(ann, "POST", `/rooms/${e(room)}/ban`, { user_id: dan.userId });
    await not(ben, "POST", `/rooms/${e(room)}/upgrade`, { new_version: "11" }, 403, "M_FORBIDDEN");
    await not(ann, "POST", `/rooms/${e(room)}/upgrade`, { new_version: "nonsense" }, 400, "M_UNSUPPORTED_ROOM_VERSION");
    const { replacement_room: next } = await done(ann, "POST", `/rooms/${e(room)}/upgrade`, { new_version: "11" });
    expectEqual((await stateOf(ann, next, "m.room.power_levels")).users[ben.userId], 50, "power level");
    expectEqual((await stateOf(ann, next, "m.room.join_rules")).join_rule, "public", "join rule");
    expectEqual((await stateOf(ann, next, "m.room.topic")).topic, "kept", "topic");
    expectEqual((await stateOf(ann, next, "m.room.member", dan.userId)).membership, "ban", "ban");
    await until("the alias moves", async () => (await done(ben, "GET", `/directory/room/${e(alias)}`)).room_id === next);
    expectEqual((await stateOf(ann, next, "m.room.canonical_alias")).alias, alias, "canonical alias");
    const levels = await stateOf(ann, room, "m.room.power_levels");
    expect(levels.events_default >= 50 && levels.invite >= 50, `the old room is closed to talk and invites: ${JSON.stringify(levels)}`);
});

await check("old names of the encryption endpoints", async () => {
    for (const version of ["r0", "v3", "unstable"]) {
        for (const [method, path, body, statuses] of [
            ["POST", "/keys/query", { device_keys: { [ben.userId]: [] } }, [200]],
            ["POST", "/keys/upload", {}, [200]],
            ["POST", "/keys/claim", { one_time_keys: {} }, [200]],
            ["GET", "/room_keys/version", undefined, [404]],
            ["PUT", `/sendToDevice/org.example.old/${version}${(transaction += 1)}`, { messages: {} }, [200]],
        ]) {
            const answer = await request(method, `/_matrix/client/${version}${path}`, { token: ann.accessToken, body });
            expect(statuses.includes(answer.status) && answer.json.errcode !== "M_UNRECOGNIZED", `${version}${path}: ${answer.status} ${answer.bytes.toString().slice(0, 100)}`);
        }
    }
    const signing = await request("POST", "/_matrix/client/unstable/keys/device_signing/upload", { token: ann.accessToken, body: {} });
    expect(signing.json.errcode !== "M_UNRECOGNIZED", `device_signing/upload: ${signing.status}`);
    const answer = await sync(ann);
    if (ours) expect(Array.isArray(answer["org.matrix.msc2732.device_unused_fallback_key_types"] ?? answer.device_unused_fallback_key_types), "fallback key types");
});

await check("key backup: by room, by session, counts and deletion", async () => {
    const session = (index) => ({ first_message_index: index, forwarded_count: 0, is_verified: true, session_data: { ciphertext: "c", ephemeral: "e", mac: "m" } });
    const { version } = await done(dan, "POST", "/room_keys/version", { algorithm: "m.megolm_backup.v1.curve25519-aes-sha2", auth_data: { public_key: "abc", signatures: {} } });
    const at = (path) => `/room_keys/keys${path}?version=${version}`;
    expectEqual((await done(dan, "PUT", at("/!a:x/s1"), session(1))).count, 1, "one");
    expectEqual((await done(dan, "PUT", at("/!a:x"), { sessions: { s2: session(1), s3: session(1) } })).count, 3, "three");
    expectEqual((await done(dan, "PUT", at(""), { rooms: { "!b:x": { sessions: { s1: session(1) } } } })).count, 4, "four");
    expectEqual(Object.keys((await done(dan, "GET", at("/!a:x"))).sessions).sort(), ["s1", "s2", "s3"], "of a room");
    await not(dan, "GET", at("/!a:x/nothing"), undefined, 404, "M_NOT_FOUND");
    expectEqual((await done(dan, "GET", at("/!nothing:x"))).sessions, {}, "of a room without any");
    expectEqual((await done(dan, "DELETE", at("/!a:x/s1"))).count, 3, "after deleting one");
    expectEqual((await done(dan, "DELETE", at("/!a:x"))).count, 1, "after deleting a room's");
    const before = await done(dan, "GET", `/room_keys/version/${version}`);
    await done(dan, "PUT", `/room_keys/version/${version}`, { algorithm: before.algorithm, auth_data: { public_key: "abc", signatures: { x: {} } }, version });
    expectEqual((await done(dan, "GET", "/room_keys/version")).auth_data.signatures, { x: {} }, "auth_data changed");
    await not(dan, "PUT", `/room_keys/version/${version}`, { algorithm: "another", auth_data: {}, version }, 400, ["M_INVALID_PARAM", "M_UNKNOWN"]);
    expectEqual((await done(dan, "DELETE", at(""))).count, 0, "after deleting all");
    await done(dan, "DELETE", `/room_keys/version/${version}`);
    await not(dan, "GET", "/room_keys/version", undefined, 404, "M_NOT_FOUND");
});

await check("spaces: the hierarchy, and an event by its time", async () => {
    const space = await makeRoom(ann, { name: "Space", preset: "public_chat", creation_content: { type: "m.space" } });
    const open = await makeRoom(ann, { name: "Open", preset: "public_chat" });
    const closed = await makeRoom(ann, { name: "Closed" });
    for (const child of [open, closed]) await put(ann, space, "m.space.child", { via: [ann.serverName] }, child);
    const rooms = async (user) => (await request("GET", `/_matrix/client/v1/rooms/${e(space)}/hierarchy`, { token: user.accessToken })).json.rooms.map((room) => room.name);
    expectEqual((await rooms(ann)).sort(), ["Closed", "Open", "Space"], "for a member");
    expectEqual((await rooms(ben)).sort(), ["Open", "Space"], "for somebody else");
    const said = await say(ann, open, "at a time");
    const event = await done(ann, "GET", `/rooms/${e(open)}/event/${e(said)}`);
    const found = await request("GET", `/_matrix/client/v1/rooms/${e(open)}/timestamp_to_event?ts=${event.origin_server_ts}&dir=b`, { token: ann.accessToken });
    expectEqual(found.json.event_id, said, "the event at that time");
});

await check("registration: names in lower case, inhibit_login, what is asked twice", async () => {
    const flows = await request("POST", v3("/register"), { body: {} });
    if (flows.status !== 401) return;
    const name = `Mixed-${Date.now()}`;
    const answer = await done(undefined, "POST", "/register", { username: name.toLowerCase(), password, inhibit_login: true, auth: { type: "m.login.dummy", session: flows.json.session } });
    expect(answer.user_id === `@${name.toLowerCase()}:${ann.serverName}` && !answer.access_token, `${JSON.stringify(answer)}`);
});

await check("the user directory finds people of shared and public rooms", async () => {
    const word = `quokka${Date.now()}`;
    const person = await register("findme");
    await done(person, "PUT", `/profile/${e(person.userId)}/displayname`, { displayname: `The ${word}` });
    const room = await makeRoom(person, { preset: "public_chat", visibility: "public" });
    await join(ben, room);
    await until("found", async () => (await done(ben, "POST", "/user_directory/search", { search_term: word })).results.some((one) => one.user_id === person.userId));
});

await check("small things that Element asks for at its start", async () => {
    for (const path of ["/voip/turnServer", "/thirdparty/protocols", "/pushers", "/account/3pid", "/pushrules/", "/capabilities", "/devices", "/joined_rooms"]) {
        const answer = await ask(ann, "GET", path);
        expect([200, 404].includes(answer.status) && answer.json, `${path}: ${answer.status} ${answer.bytes.toString().slice(0, 100)}`);
        if (path === "/pushers" && notYet(answer, "GET /pushers")) continue;
        if (["/pushers", "/account/3pid", "/pushrules/", "/voip/turnServer"].includes(path)) expectEqual(answer.status, 200, path);
    }
});

await check("answers are compressed when asked", async () => {
    const target = new URL(url);
    const get = (encoding) => new Promise((resolve, reject) => {
        http.get({ host: target.hostname, port: target.port, path: v3("/sync?timeout=0"), headers: { "authorization": `Bearer ${ann.accessToken}`, ...(encoding ? { "accept-encoding": encoding } : {}) } }, (response) => {
            const chunks = [];
            response.on("data", (chunk) => chunks.push(chunk));
            response.on("end", () => resolve({ encoding: response.headers["content-encoding"], bytes: Buffer.concat(chunks) }));
        }).on("error", reject);
    });
    const plain = await get();
    expectEqual(plain.encoding, undefined, "not when not asked");
    if (!ours) return;
    const gzip = await get("gzip");
    expectEqual(gzip.encoding, "gzip", "gzip");
    expect(gzip.bytes.length * 2 < plain.bytes.length, `${gzip.bytes.length} against ${plain.bytes.length} bytes`);
    expect(JSON.parse(zlib.gunzipSync(gzip.bytes)).next_batch, "it is the same answer");
});

await check("health, well-known, versions", async () => {
    expectEqual((await request("GET", "/health")).status, 200, "health");
    const known = await request("GET", "/.well-known/matrix/client");
    expect(known.status === 404 || known.json?.["m.homeserver"]?.base_url?.startsWith("http"), `well-known: ${known.status} ${known.bytes.toString().slice(0, 100)}`);
    const versions = (await request("GET", "/_matrix/client/versions")).json;
    expect(versions.unstable_features && typeof versions.unstable_features === "object", "unstable features");
    if (ours) {
        for (const version of ["r0.6.1", ...Array.from({ length: 19 }, (_, n) => `v1.${n + 1}`)]) expect(versions.versions.includes(version), `version ${version}`);
    }
});

finish();
