// Random life in a few rooms while clients sync in different ways; in the end each client must know exactly what a new
// client is told. CLIENTS_SEED repeats a run's choices (their timing is the server's); CLIENTS_TRACE names a
// folder for what each client of a user was told, when one is wrong.
import crypto from "node:crypto";
import fs from "node:fs";
import { check, expect, expectEqual, finish, register, request, suite } from "./harness.mjs";

suite("converge");

const ours = !process.env.CLIENTS_OTHER_SERVER;
const seed = Number(process.env.CLIENTS_SEED ?? crypto.randomBytes(4).readUInt32LE());
const ACTIONS = Number(process.env.CLIENTS_ACTIONS ?? 700);
const ACTORS = ours ? 4 : 1;
const ROOMS = 4;
const e = encodeURIComponent;
let state = seed;
const users = [];
const rooms = [];
const events = new Map(); // room -> ids of its messages
const begun = Date.now();
let transaction = 0;
let isOver = false;

/** A number below `limit`, from the seed (mulberry32). */
function below(limit) {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % limit;
}
const pick = (list) => list[below(list.length)];

async function ask(user, method, path, body) {
    const answer = await request(method, `/_matrix/client/v3${path}`, { token: user.accessToken, body });
    expect(answer.status < 500, `${method} ${path}: ${answer.status} ${answer.bytes.toString().slice(0, 200)}`);
    return answer;
}

async function done(user, method, path, body) {
    const answer = await ask(user, method, path, body);
    expect(answer.status === 200, `${method} ${path.slice(0, 150)}: ${answer.status} ${answer.bytes.toString().slice(0, 200)}`);
    return answer.json;
}

// ── a client ──

/** What a client knows that is told by syncs alone. */
class Client {
    constructor(user, way) {
        this.user = user;
        this.way = way;
        this.rooms = new Map();
        this.invites = new Map();
        this.accountData = new Map();
        this.toDevice = [];
        this.since = null;
        this.syncs = 0;
        this.trace = [];
    }

    async sync(timeout, fresh = false) {
        const filter = { presence: { types: [] }, room: { timeline: { limit: fresh ? 1000 : this.way.limit, unread_thread_notifications: Boolean(this.way.threads) }, state: { lazy_load_members: Boolean(this.way.lazy) } } };
        const after = this.way.after ? "&use_state_after=true" : "";
        const before = this.since;
        const started = Date.now();
        const answer = await done(this.user, "GET", `/sync?timeout=${timeout}&filter=${e(JSON.stringify(filter))}${after}${before ? `&since=${e(before)}` : ""}`);
        this.trace.push(`${started - begun}–${Date.now() - begun} ms ${before} → ${answer.next_batch}: ${JSON.stringify(Object.fromEntries(Object.entries(answer.rooms ?? {}).map(([kind, found]) => [kind, Object.fromEntries(Object.entries(found).map(([id, room]) => [id, { limited: room.timeline?.limited, prev: room.timeline?.prev_batch, events: room.timeline?.events?.map((event) => event.event_id), receipts: room.ephemeral?.events?.length }]))])))}`);
        for (const [id, joined] of Object.entries(answer.rooms?.join ?? {})) await this.joined(id, joined, before);
        for (const [id, invite] of Object.entries(answer.rooms?.invite ?? {})) {
            this.rooms.delete(id);
            this.invites.set(id, invite.invite_state.events.find((event) => event.type === "m.room.member" && event.state_key === this.user.userId)?.sender);
        }
        for (const id of Object.keys(answer.rooms?.leave ?? {})) {
            this.rooms.delete(id);
            this.invites.delete(id);
        }
        for (const event of answer.account_data?.events ?? []) this.accountData.set(event.type, event.content);
        this.toDevice.push(...(answer.to_device?.events ?? []).map((event) => event.content.n));
        this.since = answer.next_batch;
        this.syncs += 1;
        return before !== answer.next_batch;
    }

    async joined(id, joined, before) {
        this.invites.delete(id);
        let room = this.rooms.get(id);
        if (!room) {
            room = { state: new Map(), timeline: [], accountData: new Map(), receipts: new Map(), typing: [], summary: {}, unread: {}, threads: {} };
            this.rooms.set(id, room);
            before = null;
        }
        const apply = (event) => room.state.set(`${event.type}\0${event.state_key}`, event.event_id);
        (joined.state?.events ?? []).forEach(apply);
        if (joined.timeline.limited && before) {
            const gap = await this.gap(id, joined.timeline.prev_batch, room.timeline);
            if (gap) room.timeline.push(...gap);
            else room.timeline.length = 0;
        }
        for (const event of joined.timeline.events) {
            room.timeline.push(event.event_id);
            if (!this.way.after && event.state_key !== undefined) apply(event);
        }
        (joined.state_after?.events ?? []).forEach(apply);
        for (const event of joined.account_data?.events ?? []) room.accountData.set(event.type, event.content);
        for (const event of joined.ephemeral?.events ?? []) {
            if (event.type === "m.typing") room.typing = event.content.user_ids;
            if (event.type !== "m.receipt") continue;
            for (const [target, kinds] of Object.entries(event.content)) {
                for (const [kind, readers] of Object.entries(kinds)) {
                    for (const [reader, content] of Object.entries(readers)) room.receipts.set(`${reader} ${kind} ${content.thread_id ?? ""}`, target);
                }
            }
        }
        Object.assign(room.summary, joined.summary ?? {});
        if (joined.unread_notifications) room.unread = joined.unread_notifications;
    }

    /** Ids between what is known and a limited timeline; undefined where the user may not ask (any more) or knew nothing. */
    async gap(id, from, known) {
        if (known.length === 0) return undefined;
        const last = new Set(known);
        const found = [];
        for (let page = 0; from && page < 200; page += 1) {
            const { status, json: answer } = await ask(this.user, "GET", `/rooms/${e(id)}/messages?dir=b&limit=30&from=${e(from)}`);
            if (status === 403) return undefined;
            expect(status === 200, `/messages: ${status}`);
            for (const event of answer.chunk) {
                if (last.has(event.event_id)) return found.reverse();
                found.push(event.event_id);
            }
            from = answer.end;
        }
        throw new Error(`the gap in ${id} of user ${users.indexOf(this.user)} ${JSON.stringify(this.way)} does not reach what was known: ${known.length} known, ${found.length} found; ${this.trace.at(-1)}`);
    }
}

// ── life ──

const say = async (user, room, content) => {
    const answer = await ask(user, "PUT", `/rooms/${e(room)}/send/m.room.message/c${(transaction += 1)}`, content);
    if (answer.status === 200) events.get(room).push(answer.json.event_id);
};

const actions = [
    [30, (user, room) => say(user, room, { msgtype: "m.text", body: `words ${transaction}` })],
    [6, (user, room) => say(user, room, { "msgtype": "m.text", "body": "hey", "m.mentions": { user_ids: [pick(users).userId] } })],
    [4, (user, room) => events.get(room).length && say(user, room, { "msgtype": "m.text", "body": "* e", "m.new_content": { msgtype: "m.text", body: "e" }, "m.relates_to": { rel_type: "m.replace", event_id: pick(events.get(room)) } })],
    [8, (user, room) => ask(user, "PUT", `/rooms/${e(room)}/state/org.example.s/${below(3)}`, { n: below(1000) })],
    [3, (user, room) => ask(user, "PUT", `/rooms/${e(room)}/state/m.room.name/`, { name: `Name ${below(1000)}` })],
    [6, (user, room) => ask(user, "POST", `/join/${e(room)}`, {})],
    [3, (user, room) => ask(user, "POST", `/rooms/${e(room)}/leave`, {})],
    [4, (user, room) => ask(user, "POST", `/rooms/${e(room)}/invite`, { user_id: pick(users).userId })],
    [2, (user, room) => ask(users[0], "POST", `/rooms/${e(room)}/kick`, { user_id: pick(users.slice(1)).userId })],
    [1, (user, room) => ask(users[0], "POST", `/rooms/${e(room)}/ban`, { user_id: pick(users.slice(1)).userId })],
    [3, (user, room) => ask(users[0], "POST", `/rooms/${e(room)}/unban`, { user_id: pick(users.slice(1)).userId })],
    [3, (user, room) => events.get(room).length && ask(user, "PUT", `/rooms/${e(room)}/redact/${e(pick(events.get(room)))}/c${(transaction += 1)}`, {})],
    [10, (user, room) => events.get(room).length && ask(user, "POST", `/rooms/${e(room)}/receipt/${pick(["m.read", "m.read", "m.read.private"])}/${e(pick(events.get(room).slice(-5)))}`, {})],
    [3, (user, room) => ask(user, "PUT", `/rooms/${e(room)}/typing/${e(user.userId)}`, below(2) ? { typing: true, timeout: 30_000 } : { typing: false })],
    [3, (user, room) => ask(user, below(2) ? "PUT" : "DELETE", `/user/${e(user.userId)}/rooms/${e(room)}/tags/u.t${below(2)}`, { order: 0.5 })],
    [3, (user, room) => ask(user, "PUT", `/user/${e(user.userId)}/rooms/${e(room)}/account_data/org.example.a${below(2)}`, { n: below(1000) })],
    [3, (user) => ask(user, "PUT", `/user/${e(user.userId)}/account_data/org.example.g${below(3)}`, { n: below(1000) })],
    [1, (user) => ask(user, "PUT", `/profile/${e(user.userId)}/displayname`, { displayname: `Name ${below(1000)}` })],
];
const weights = actions.reduce((sum, [weight]) => sum + weight, 0);

async function act() {
    let at = below(weights);
    const [, action] = actions.find(([weight]) => (at -= weight) < 0);
    await action(pick(users), pick(rooms));
}

await check(`setup: users and rooms (seed ${seed})`, async () => {
    for (let n = 0; n < 4; n += 1) users.push(await register(`conv${n}`));
    for (let n = 0; n < ROOMS; n += 1) {
        const { room_id: room } = await done(users[0], "POST", "/createRoom", { preset: "public_chat", ...(n % 2 ? { name: `Room ${n}` } : {}), power_level_content_override: { state_default: 0, invite: 0 } });
        rooms.push(room);
        events.set(room, []);
        for (const user of users.slice(1)) if (below(3)) await done(user, "POST", `/join/${e(room)}`, {});
    }
});

const ways = [{ limit: 100 }, { limit: 3 }, { limit: 2, lazy: true }, ...(ours ? [{ limit: 4, after: true }, { limit: 1, after: true, lazy: true }] : [])];
const clients = users.flatMap((user) => ways.map((way) => new Client(user, way)));

await check(`${ACTIONS} random actions beside ${clients.length} syncing clients`, async () => {
    const loops = clients.map(async (client, number) => {
        while (!isOver) {
            await client.sync(number % 3 ? 300 : 0);
            // Some are slow, so that their syncs have gaps.
            await new Promise((resolve) => setTimeout(resolve, (number % 4) * 120));
        }
    });
    let left = ACTIONS;
    await Promise.all(Array.from({ length: ACTORS }, async () => {
        while ((left -= 1) >= 0) await act();
    }));
    isOver = true;
    await Promise.all(loops);
    for (const user of users) for (const room of rooms) await ask(user, "PUT", `/rooms/${e(room)}/typing/${e(user.userId)}`, { typing: false });
    for (const client of clients) for (let n = 0; n < 20 && (await client.sync(0)); n += 1);
});

for (const [number, user] of users.entries()) {
    await check(`user ${number}: all clients know what a new one is told`, async () => {
        const wrong = [];
        const fresh = new Client(user, { limit: 1000 });
        await fresh.sync(0, true);
        const truth = new Map();
        for (const id of fresh.rooms.keys()) truth.set(id, await wholeTimeline(user, id));
        for (const client of clients.filter((one) => one.user === user)) {
            const way = JSON.stringify(client.way);
            const same = (actual, expected, what) => {
                try {
                    expectEqual(actual, expected, `${way} ${what}`);
                } catch (error) {
                    wrong.push(error.message.slice(0, 500));
                }
            };
            same([...client.rooms.keys()].sort(), [...fresh.rooms.keys()].sort(), "joined rooms");
            same(sorted(client.invites), sorted(fresh.invites), "invites");
            same(sorted(client.accountData), sorted(fresh.accountData), "account data");
            for (const [id, known] of fresh.rooms) {
                const room = client.rooms.get(id);
                if (!room) continue;
                const stateOf = (one) => sorted(one.state).filter(([key]) => !client.way.lazy || !key.startsWith("m.room.member\0"));
                same(difference(stateOf(room), stateOf(known)), [], `state of ${id} (has, should have)`);
                // Other servers may leave out what was said while the user was out.
                const { ids, away } = truth.get(id);
                const all = ids.filter((event) => !away.has(event));
                const told = room.timeline.filter((event) => !away.has(event));
                same(new Set(room.timeline).size, room.timeline.length, `timeline of ${id}: events twice`);
                same(told.join(" ") === (told.length ? all.slice(-told.length).join(" ") : ""), true, `timeline of ${id} is the end of the whole: ${firstDifference(told, all)}`);
                const data = (one) => sorted(one.accountData).filter(([type, content]) => type !== "m.tag" || Object.keys(content.tags).length > 0);
                if (ours) same(data(room), data(known), `room account data of ${id}`);
                if (ours) same(sorted(room.receipts).filter(([key]) => !key.includes("private") || key.startsWith(user.userId)), sorted(known.receipts), `receipts of ${id}`);
                if (ours) same([...room.typing].sort(), [...known.typing].sort(), `who types in ${id}`);
                const counted = room.summary["m.joined_member_count"] !== undefined && known.summary["m.joined_member_count"] !== undefined;
                if (counted || ours) same([room.summary["m.joined_member_count"], room.summary["m.invited_member_count"] ?? 0], [known.summary["m.joined_member_count"], known.summary["m.invited_member_count"] ?? 0], `member counts of ${id}`);
                same([room.unread.notification_count ?? 0, room.unread.highlight_count ?? 0], [known.unread.notification_count ?? 0, known.unread.highlight_count ?? 0], `unread counts of ${id}`);
            }
        }
        if (wrong.length && process.env.CLIENTS_TRACE) {
            for (const client of clients.filter((one) => one.user === user)) fs.writeFileSync(`${process.env.CLIENTS_TRACE}/user${number}-${JSON.stringify(client.way).replaceAll(/\W+/g, "_")}.txt`, client.trace.join("\n"));
        }
        expect(wrong.length === 0, `${wrong.length}: ${wrong.slice(0, 8).join(" | ")}`);
    });
}

finish();

/** All events of a room, oldest first, and which of them came while the user was out. */
async function wholeTimeline(user, id) {
    const found = [];
    let from = "";
    for (let page = 0; page < 100; page += 1) {
        const answer = await done(user, "GET", `/rooms/${e(id)}/messages?dir=b&limit=100${from}`);
        found.push(...answer.chunk);
        if (!answer.end) break;
        from = `&from=${e(answer.end)}`;
    }
    found.reverse();
    const away = new Set();
    let isIn = user === users[0];
    for (const event of found) {
        const isOwn = event.type === "m.room.member" && event.state_key === user.userId;
        if (isOwn) isIn = event.content.membership === "join";
        else if (!isIn && !ours) away.add(event.event_id);
    }
    return { ids: found.map((event) => event.event_id), away };
}

function sorted(map) {
    return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

function difference(has, should) {
    const one = new Map(has), two = new Map(should);
    return [...new Set([...one.keys(), ...two.keys()])].filter((key) => one.get(key) !== two.get(key)).map((key) => [key, one.get(key), two.get(key)]);
}

function firstDifference(has, all) {
    const known = new Set(has), real = new Set(all);
    const missing = all.slice(all.indexOf(has[0])).filter((id) => !known.has(id));
    const extra = has.filter((id) => !real.has(id));
    return `${has.length} known of ${all.length}; missing ${missing.slice(0, 4)} (${missing.length}), unheard of ${extra.slice(0, 4)} (${extra.length})`;
}
