// What bad input gets: the specification's error code in good time, nothing stored, and the server goes on.
import http from "node:http";
import net from "node:net";
import { check as checkOne, expect, expectEqual, finish, password, png, register, request, suite, url } from "./harness.mjs";

suite("bad input");

const ANSWER_SECONDS_MAX = 5;
const EVENT_BYTES_MAX = 65_535;
let alice, bob, room;
const wrong = []; // what the check that runs now found wrongly answered; it goes on, so that one run shows all

async function check(name, body) {
    wrong.length = 0;
    await checkOne(name, async () => {
        await body();
        expect(wrong.length === 0, wrong.join(" | "));
    });
}

await check("setup: two users and a room", async () => {
    alice = await register("alice-raw");
    bob = await register("bob-raw");
    const created = await request("POST", "/_matrix/client/v3/createRoom", { token: alice.accessToken, body: { name: "Raw", preset: "private_chat" } });
    expectEqual(created.status, 200, `createRoom: ${created.bytes}`);
    room = created.json.room_id;
});

const at = (path) => `/_matrix/client/v3${path}`;
const inRoom = (path) => at(`/rooms/${encodeURIComponent(room)}${path}`);
let transaction = 0;
const sendPath = (type = "m.room.message") => inRoom(`/send/${type}/raw-${process.pid}-${(transaction += 1)}`);

/** Sends as alice, and expects the code and status; the answer must be a well-formed Matrix error, and in time. */
async function bad(method, path, options, status, code, extra = "") {
    try {
        return await refusedWith(method, path, options, status, code, extra);
    } catch (error) {
        wrong.push(error.message.startsWith(method) ? error.message : `${method} ${path.slice(0, 120)}${extra}: ${error.message}`);
        return { json: {} };
    }
}

async function refusedWith(method, path, options, status, code, extra) {
    const started = Date.now();
    const answer = await request(method, path, { token: alice.accessToken, ...options });
    const what = `${method} ${path.slice(0, 120)}${extra}`;
    const text = answer.bytes.toString("utf8").slice(0, 200);
    expect([status].flat().includes(answer.status), `${what}: expected ${status} ${code}, got ${answer.status} ${text}`);
    expect([code].flat().includes(answer.json?.errcode), `${what}: expected ${code}, got ${answer.status} ${text}`);
    expect(typeof answer.json.error === "string", `${what}: no error text: ${text}`);
    expect(answer.headers.get("content-type")?.startsWith("application/json"), `${what}: content type ${answer.headers.get("content-type")}`);
    expect(Date.now() - started < ANSWER_SECONDS_MAX * 1000, `${what}: took ${Date.now() - started} ms`);
    return answer;
}

/** The events of the room, newest first. */
async function timeline() {
    const page = await request("GET", inRoom("/messages?dir=b&limit=100"), { token: alice.accessToken });
    return page.json.chunk;
}

/** Runs the checks inside and then expects that nothing came into the room. */
async function nothingStored(body) {
    const before = (await timeline()).length;
    await body();
    const after = await timeline();
    if (after.length !== before) {
        wrong.push(`stored all the same: ${after.slice(0, after.length - before).map((event) => `${event.type} ${JSON.stringify(event.content).slice(0, 80)}`).join(", ")}`);
    }
}

const JSON_TYPE = { "content-type": "application/json" };

await check("malformed JSON is M_NOT_JSON", async () => {
    await nothingStored(async () => {
        const broken = ["{", "", "nonsense", '{"body":"a",}', "{'body':'a'}", '{"body":"\u0001"}', '{"a":1} trailing', "[1,2", '{"a":NaN}', '"\\ud8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])];
        for (const raw of broken) await bad("PUT", sendPath(), { raw, headers: JSON_TYPE }, 400, "M_NOT_JSON", ` with ${JSON.stringify(raw.toString("latin1"))}`);
    });
    for (const path of ["/login", "/createRoom", "/keys/query", "/user_directory/search", `/join/${encodeURIComponent(room)}`]) {
        await bad("POST", at(path), { raw: '{"a":', headers: JSON_TYPE }, 400, "M_NOT_JSON");
    }
});

await check("JSON of a wrong shape is M_BAD_JSON", async () => {
    await nothingStored(async () => {
        for (const raw of ["[]", "5", '"text"', "true", "null", "[{}]"]) {
            await bad("PUT", sendPath(), { raw, headers: JSON_TYPE }, 400, ["M_BAD_JSON", "M_NOT_JSON"], ` with ${raw}`);
        }
    });
    const codes = ["M_BAD_JSON", "M_INVALID_PARAM", "M_MISSING_PARAM", "M_UNKNOWN"];
    const cases = [
        ["POST", "/createRoom", { name: 7 }],
        ["POST", "/createRoom", { invite: "not a list" }],
        ["POST", "/createRoom", { invite: [7] }],
        ["POST", "/createRoom", { initial_state: { type: "x" } }],
        ["POST", "/createRoom", { power_level_content_override: [] }],
        ["POST", "/login", { type: 7 }],
        ["POST", "/login", {}],
        ["POST", "/login", { type: "m.login.password", identifier: "me", password }],
        ["POST", "/login", { type: "m.login.password", identifier: { type: "m.id.user", user: [alice.username] }, password }],
        ["POST", `/rooms/${encodeURIComponent(room)}/invite`, { user_id: 7 }],
        ["POST", `/rooms/${encodeURIComponent(room)}/invite`, {}],
        ["POST", `/rooms/${encodeURIComponent(room)}/kick`, {}],
        ["PUT", `/rooms/${encodeURIComponent(room)}/typing/${encodeURIComponent(alice.userId)}`, { typing: "yes" }],
        ["PUT", `/presence/${encodeURIComponent(alice.userId)}/status`, { presence: "dancing" }],
        ["PUT", `/presence/${encodeURIComponent(alice.userId)}/status`, { presence: 3 }],
        ["POST", "/keys/query", { device_keys: [] }],
        ["POST", "/keys/claim", { one_time_keys: "all" }],
        ["PUT", `/sendToDevice/m.test/${Date.now()}`, { messages: [] }],
        ["PUT", `/sendToDevice/m.test/${Date.now()}b`, {}],
        ["PUT", `/user/${encodeURIComponent(alice.userId)}/account_data/org.example.x`, [1]],
        ["POST", `/user/${encodeURIComponent(alice.userId)}/filter`, { room: 5 }],
        ["PUT", "/pushrules/global/content/bad", { pattern: 5, actions: ["notify"] }],
        ["PUT", "/pushrules/global/override/bad", { conditions: "none", actions: ["notify"] }],
        ["PUT", "/pushrules/global/override/bad2", { conditions: [], actions: "notify" }],
        ["PUT", "/directory/room/" + encodeURIComponent(`#x-${process.pid}:${alice.serverName}`), { room_id: 5 }],
        ["PUT", `/profile/${encodeURIComponent(alice.userId)}/displayname`, { displayname: ["a"] }],
    ];
    for (const [method, path, body] of cases) {
        await bad(method, at(path), { body }, 400, codes, ` with ${JSON.stringify(body)}`);
    }
});

await check("wrong types in state and messages are refused or harmless", async () => {
    await nothingStored(async () => {
        const cases = [
            ["m.room.power_levels", { users: { [alice.userId]: "a lot" } }],
            ["m.room.power_levels", { users: [] }],
            ["m.room.power_levels", { users: { "not a user": 50 } }],
            ["m.room.power_levels", { users_default: 1.5 }],
            ["m.room.power_levels", { events: { "m.room.name": [] } }],
            ["m.room.power_levels", { ban: "fifty" }],
            ["m.room.join_rules", { join_rule: 7 }],
            ["m.room.create", { room_version: "11" }],
            ["m.room.canonical_alias", { alias: 7 }],
        ];
        for (const [type, body] of cases) {
            await bad("PUT", inRoom(`/state/${type}/`), { body }, [400, 403], ["M_BAD_JSON", "M_FORBIDDEN", "M_INVALID_PARAM", "M_UNKNOWN", "M_BAD_ALIAS"], ` with ${JSON.stringify(body)}`);
        }
        const me = inRoom(`/state/m.room.member/${encodeURIComponent(alice.userId)}`);
        for (const body of [{}, { membership: "here" }, { membership: 5 }]) {
            await bad("PUT", me, { body }, [400, 403], ["M_BAD_JSON", "M_FORBIDDEN", "M_INVALID_PARAM", "M_UNKNOWN", "M_MISSING_PARAM"], ` with ${JSON.stringify(body)}`);
        }
        await bad("PUT", inRoom("/state/m.room.member/nobody"), { body: { membership: "invite" } }, [400, 403], ["M_BAD_JSON", "M_FORBIDDEN", "M_INVALID_PARAM", "M_UNKNOWN"]);
        await bad("PUT", inRoom(`/state/org.example.own/${encodeURIComponent(bob.userId)}`), { body: {} }, 403, "M_FORBIDDEN");
    });
});

await check("numbers that canonical JSON has not are M_BAD_JSON", async () => {
    await nothingStored(async () => {
        for (const raw of ['{"n":9007199254740992}', '{"n":-9007199254740992}', '{"n":1.5}', '{"n":1e400}', '{"a":[{"n":123456789012345678901234567890}]}', '{"n":0.1}']) {
            await bad("PUT", sendPath("org.example.number"), { raw, headers: JSON_TYPE }, 400, ["M_BAD_JSON", "M_NOT_JSON"], ` with ${raw}`);
            await bad("PUT", inRoom("/state/org.example.number/"), { raw, headers: JSON_TYPE }, 400, ["M_BAD_JSON", "M_NOT_JSON"], ` with ${raw}`);
        }
    });
    for (const raw of ['{"n":9007199254740991}', '{"n":-9007199254740991}', '{"n":0}']) {
        const answer = await request("PUT", sendPath("org.example.number"), { token: alice.accessToken, raw, headers: JSON_TYPE });
        expectEqual(answer.status, 200, `${raw}: ${answer.bytes}`);
    }
});

await check("an event over 65,535 bytes is M_TOO_LARGE", async () => {
    await nothingStored(async () => {
        for (const size of [EVENT_BYTES_MAX, EVENT_BYTES_MAX + 1, 200_000]) {
            const answer = await bad("PUT", sendPath(), { body: { msgtype: "m.text", body: "x".repeat(size) } }, 413, "M_TOO_LARGE", ` of ${size} bytes`);
            expect(!answer.json.event_id, "no event");
        }
        await bad("PUT", inRoom("/state/m.room.topic/"), { body: { topic: "x".repeat(EVENT_BYTES_MAX) } }, 413, "M_TOO_LARGE");
        const tooLong = ["M_INVALID_PARAM", "M_BAD_JSON", "M_TOO_LARGE", "M_UNKNOWN"];
        await bad("PUT", inRoom(`/state/org.example.key/${"k".repeat(256)}`), { body: {} }, [400, 413], tooLong, " (state key of 256 bytes)");
        await bad("PUT", sendPath("t".repeat(256)), { body: {} }, [400, 413], tooLong, " (type of 256 bytes)");
    });
    const fits = await request("PUT", sendPath(), { token: alice.accessToken, body: { msgtype: "m.text", body: "y".repeat(60_000) } });
    expectEqual(fits.status, 200, `an event of 60,000 bytes: ${fits.bytes}`);
});

await check("a body over any limit is M_TOO_LARGE, and the connection ends well", async () => {
    const answer = await request("PUT", sendPath(), { token: alice.accessToken, raw: `{"body":"${"x".repeat(30_000_000)}"}`, headers: JSON_TYPE }).catch((error) => ({ cut: error }));
    if (!answer.cut) expectEqual([answer.status, answer.json?.errcode], [413, "M_TOO_LARGE"], "30 MB of JSON");
    const claimed = await rawHttp(`PUT ${sendPath()} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${alice.accessToken}\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{`);
    expect(/^HTTP\/1\.1 (413|400)/.test(claimed) || claimed === "", `100 GB announced: ${claimed.slice(0, 100)}`);
});

await check("deep nesting is refused, not fatal", async () => {
    await nothingStored(async () => {
        for (const depth of [1_000, 20_000]) {
            const raw = `{"deep":${"[".repeat(depth)}${"]".repeat(depth)}}`;
            await bad("PUT", sendPath("org.example.deep"), { raw, headers: JSON_TYPE }, [400, 413], ["M_BAD_JSON", "M_NOT_JSON", "M_TOO_LARGE"], ` nested ${depth}`);
            const objects = `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
            await bad("PUT", sendPath("org.example.deep"), { raw: objects, headers: JSON_TYPE }, [400, 413], ["M_BAD_JSON", "M_NOT_JSON", "M_TOO_LARGE"], ` nested ${depth}`);
            await bad("POST", at("/login"), { raw: objects, headers: JSON_TYPE }, [400, 413], ["M_BAD_JSON", "M_NOT_JSON", "M_TOO_LARGE"]);
        }
    });
    const filter = encodeURIComponent(`${'{"room":'.repeat(1500)}1${"}".repeat(1500)}`);
    await bad("GET", at(`/sync?timeout=0&filter=${filter}`), {}, [400, 414], ["M_BAD_JSON", "M_NOT_JSON", "M_INVALID_PARAM", "M_UNKNOWN", "M_TOO_LARGE"]);
    expectEqual((await request("GET", at("/account/whoami"), { token: alice.accessToken })).status, 200, "the server goes on");
});

await check("unknown rooms and events", async () => {
    const unknown = encodeURIComponent(`!nothing-here:${alice.serverName}`);
    const missing = ["M_FORBIDDEN", "M_NOT_FOUND"];
    await bad("PUT", at(`/rooms/${unknown}/send/m.room.message/1`), { body: { body: "a" } }, [403, 404], missing);
    await bad("GET", at(`/rooms/${unknown}/state`), {}, [403, 404], missing);
    await bad("GET", at(`/rooms/${unknown}/members`), {}, [403, 404], missing);
    await bad("GET", at(`/rooms/${unknown}/messages?dir=b`), {}, [403, 404], missing);
    await bad("POST", at(`/rooms/${unknown}/invite`), { body: { user_id: bob.userId } }, [403, 404], missing);
    await bad("POST", at(`/join/${encodeURIComponent(`#nothing-here:${alice.serverName}`)}`), { body: {} }, 404, "M_NOT_FOUND");
    await bad("POST", at(`/join/${unknown}`), { body: {} }, [403, 404], [...missing, "M_UNKNOWN"]);
    await bad("POST", at("/join/nonsense"), { body: {} }, 400, ["M_INVALID_PARAM", "M_UNKNOWN", "M_BAD_JSON"]);
    await bad("GET", inRoom(`/event/${encodeURIComponent("$nothing")}`), {}, 404, "M_NOT_FOUND");
    await bad("GET", inRoom(`/context/${encodeURIComponent("$nothing")}`), {}, 404, "M_NOT_FOUND");
    await bad("GET", inRoom("/state/m.room.nothing/"), {}, 404, "M_NOT_FOUND");
    await bad("GET", at(`/directory/room/${encodeURIComponent(`#nothing-here:${alice.serverName}`)}`), {}, 404, "M_NOT_FOUND");
    await bad("GET", at(`/profile/${encodeURIComponent(`@nobody-at-all:${alice.serverName}`)}`), {}, 404, "M_NOT_FOUND");
    await bad("GET", at(`/user/${encodeURIComponent(alice.userId)}/account_data/org.example.nothing`), {}, 404, "M_NOT_FOUND");
    await bad("GET", at(`/user/${encodeURIComponent(alice.userId)}/filter/987654`), {}, 404, "M_NOT_FOUND");
    await bad("GET", at("/devices/NOTHINGHERE"), {}, 404, "M_NOT_FOUND");
    await bad("GET", at("/pushrules/global/content/nothing"), {}, 404, "M_NOT_FOUND");
    await bad("GET", `/_matrix/client/v1/media/download/${alice.serverName}/AAAAAAAAAAAAAAAAAAAAAAAA`, {}, 404, "M_NOT_FOUND");
    await bad("GET", at("/room_keys/version"), {}, 404, "M_NOT_FOUND");
});

await check("missing rights", async () => {
    const token = bob.accessToken;
    await bad("PUT", sendPath(), { token, body: { body: "a" } }, 403, "M_FORBIDDEN");
    await bad("PUT", inRoom("/state/m.room.name/"), { token, body: { name: "mine" } }, 403, "M_FORBIDDEN");
    await bad("GET", inRoom("/state"), { token }, 403, "M_FORBIDDEN");
    await bad("GET", inRoom("/members"), { token }, 403, "M_FORBIDDEN");
    await bad("GET", inRoom("/joined_members"), { token }, 403, "M_FORBIDDEN");
    await bad("GET", inRoom("/messages?dir=b"), { token }, 403, "M_FORBIDDEN");
    await bad("POST", inRoom("/join"), { token, body: {} }, 403, "M_FORBIDDEN");
    await bad("POST", inRoom("/invite"), { token, body: { user_id: bob.userId } }, 403, "M_FORBIDDEN");
    await bad("POST", inRoom("/kick"), { token, body: { user_id: alice.userId } }, 403, "M_FORBIDDEN");
    await bad("POST", inRoom("/ban"), { token, body: { user_id: alice.userId } }, 403, "M_FORBIDDEN");
    const [event] = await timeline();
    await bad("GET", inRoom(`/event/${encodeURIComponent(event.event_id)}`), { token }, [403, 404], ["M_FORBIDDEN", "M_NOT_FOUND"]);
    await bad("PUT", inRoom(`/typing/${encodeURIComponent(alice.userId)}`), { token, body: { typing: true, timeout: 1000 } }, [400, 403], "M_FORBIDDEN");
    await bad("PUT", inRoom(`/typing/${encodeURIComponent(bob.userId)}`), { token, body: { typing: true, timeout: 1000 } }, 403, "M_FORBIDDEN");
    await bad("PUT", at(`/profile/${encodeURIComponent(alice.userId)}/displayname`), { token, body: { displayname: "Mallory" } }, [400, 403], "M_FORBIDDEN");
    await bad("PUT", at(`/user/${encodeURIComponent(alice.userId)}/account_data/org.example.x`), { token, body: {} }, 403, "M_FORBIDDEN");
    await bad("GET", at(`/user/${encodeURIComponent(alice.userId)}/account_data/org.example.x`), { token }, 403, "M_FORBIDDEN");
    await bad("POST", at(`/user/${encodeURIComponent(alice.userId)}/filter`), { token, body: {} }, 403, "M_FORBIDDEN");
    await bad("PUT", at(`/presence/${encodeURIComponent(alice.userId)}/status`), { token, body: { presence: "online" } }, 403, "M_FORBIDDEN");
});

await check("bad tokens", async () => {
    await bad("GET", at("/account/whoami"), { token: undefined }, 401, "M_MISSING_TOKEN");
    for (const token of ["nonsense", "a".repeat(5000), "☃".normalize() && "%00", `${alice.accessToken}x`, alice.accessToken.slice(0, -1)]) {
        const answer = await bad("GET", at("/account/whoami"), { token }, 401, "M_UNKNOWN_TOKEN", ` with token ${token.slice(0, 20)}`);
        expect(answer.json.soft_logout !== true, "not a soft logout");
    }
    await bad("GET", at("/sync?timeout=0"), { token: undefined }, 401, "M_MISSING_TOKEN");
    await bad("PUT", sendPath(), { token: "nonsense", body: { body: "a" } }, 401, "M_UNKNOWN_TOKEN");
    await bad("GET", at("/account/whoami"), { token: undefined, headers: { authorization: "Basic YTpi" } }, 401, ["M_MISSING_TOKEN", "M_UNKNOWN_TOKEN"]);
    const query = await request("GET", at(`/account/whoami?access_token=${encodeURIComponent(alice.accessToken)}`));
    expectEqual([query.status, query.json.user_id], [200, alice.userId], "a token in the query (deprecated, but in use)");
    await bad("POST", at("/refresh"), { token: undefined, body: { refresh_token: "nonsense" } }, [401, 403], ["M_UNKNOWN_TOKEN", "M_FORBIDDEN"]);
});

await check("invalid user ids, room ids, event ids and tokens", async () => {
    const invalid = ["M_INVALID_PARAM", "M_BAD_JSON", "M_UNKNOWN", "M_NOT_FOUND", "M_FORBIDDEN"];
    for (const id of ["nonsense", "@no-server", "alice:x", `@${"a".repeat(300)}:${alice.serverName}`, "#room:x", "@a:b c", ""]) {
        await bad("POST", inRoom("/invite"), { body: { user_id: id } }, [400, 403, 404, 413], [...invalid, "M_TOO_LARGE"], ` of ${id.slice(0, 30)}`);
        await bad("POST", inRoom("/ban"), { body: { user_id: id } }, [400, 403, 404, 413], [...invalid, "M_TOO_LARGE"], ` of ${id.slice(0, 30)}`);
    }
    await bad("POST", at("/createRoom"), { body: { invite: ["nonsense"] } }, 400, ["M_INVALID_PARAM", "M_BAD_JSON", "M_UNKNOWN"]);
    await bad("POST", at("/createRoom"), { body: { room_version: "999" } }, 400, "M_UNSUPPORTED_ROOM_VERSION");
    await bad("POST", at("/createRoom"), { body: { room_alias_name: "with space: and colon" } }, 400, ["M_INVALID_PARAM", "M_INVALID_ROOM_ALIAS", "M_UNKNOWN", "M_BAD_JSON"]);
    await bad("GET", at("/profile/nonsense"), {}, [400, 404], ["M_INVALID_PARAM", "M_UNKNOWN", "M_NOT_FOUND", "M_BAD_JSON"]);
    await bad("GET", at("/rooms/nonsense/state"), {}, [400, 403, 404], invalid);
    await bad("GET", at("/sync?timeout=0&since=nonsense"), {}, 400, invalid);
    await bad("GET", at("/sync?timeout=soon"), {}, 400, invalid);
    await bad("GET", inRoom("/messages?dir=sideways"), {}, 400, [...invalid, "M_MISSING_PARAM"]);
    await bad("GET", inRoom("/messages?dir=b&from=nonsense"), {}, 400, invalid);
    await bad("GET", inRoom("/messages?dir=b&limit=many"), {}, 400, invalid);
    await bad("GET", at("/rooms/%ff%fe/state"), {}, [400, 403, 404], [...invalid, "M_UNRECOGNIZED"]);
    await bad("POST", at("/register"), { token: undefined, body: { username: "Ünicode Näme", password, auth: { type: "m.login.dummy" } } }, [400, 403], ["M_INVALID_USERNAME", "M_FORBIDDEN"]);
});

await check("registration: invalid and taken names, a bad MAC", async () => {
    const { json } = await request("GET", "/_synapse/admin/v1/register");
    await bad("POST", "/_synapse/admin/v1/register", { token: undefined, body: { nonce: json.nonce, username: "mallory", password, mac: "0".repeat(40) } }, [400, 403], ["M_FORBIDDEN", "M_UNKNOWN"]);
    await bad("POST", "/_synapse/admin/v1/register", { token: undefined, body: { nonce: "nonsense", username: "mallory", password, mac: "0".repeat(40) } }, [400, 403], ["M_FORBIDDEN", "M_UNKNOWN"]);
    const before = await request("GET", at(`/register/available?username=${alice.username}`));
    expect(["400 M_USER_IN_USE", "403 M_FORBIDDEN"].includes(`${before.status} ${before.json.errcode}`), `a taken name: ${before.status} ${before.bytes}`);
    const free = await request("GET", at(`/register/available?username=free-${Date.now()}`));
    expect(free.status === 200 || free.json.errcode === "M_FORBIDDEN", `a free name: ${free.bytes}`);
});

await check("unknown endpoints are 404 M_UNRECOGNIZED", async () => {
    for (const path of ["/_matrix/client/v3/nothing", "/_matrix/client/v99/sync", "/_matrix/nothing", "/_matrix/client/unstable/org.example/x", "/_matrix/media/v3/nothing", "/_matrix/client/v3/rooms"]) {
        await bad("GET", path, {}, 404, "M_UNRECOGNIZED");
        await bad("POST", path, { token: undefined, body: {} }, 404, "M_UNRECOGNIZED");
    }
});

await check("wrong methods are 405 M_UNRECOGNIZED", async () => {
    for (const [method, path] of [["POST", "/sync"], ["DELETE", "/login"], ["PUT", "/createRoom"], ["GET", "/createRoom"], ["DELETE", "/account/whoami"], ["PATCH", "/account/whoami"], ["POST", "/joined_rooms"]]) {
        await bad(method, at(path), method === "GET" || method === "DELETE" ? {} : { body: {} }, 405, "M_UNRECOGNIZED");
    }
});

await check("login as curl sends it: form content type, old user field, full id", async () => {
    for (const user of [alice.username, alice.userId]) {
        for (const version of ["v3", "r0"]) {
            for (const type of ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8", undefined]) {
                const raw = Buffer.from(JSON.stringify({ type: "m.login.password", user, password }));
                const answer = await request("POST", `/_matrix/client/${version}/login`, { raw, headers: type ? { "content-type": type } : {} });
                expectEqual([answer.status, answer.json?.user_id], [200, alice.userId], `${version} ${user} ${type}: ${answer.bytes}`);
                expectEqual(answer.json.home_server, alice.serverName, "home_server");
                expect(answer.json.access_token && answer.json.device_id, "token and device");
            }
        }
    }
    for (const body of [{ user: alice.username, password: "wrong" }, { user: "nobody-at-all", password }, { user: `@${alice.username}:elsewhere.example`, password }, { identifier: { type: "m.id.user", user: alice.username }, password: "" }]) {
        await bad("POST", at("/login"), { token: undefined, body: { type: "m.login.password", ...body } }, 403, "M_FORBIDDEN", ` with ${JSON.stringify(body)}`);
    }
    await bad("POST", at("/login"), { token: undefined, body: { type: "m.login.nonsense" } }, 400, ["M_UNKNOWN", "M_INVALID_PARAM", "M_UNRECOGNIZED"]);
    await bad("POST", at("/login"), { token: undefined, body: { type: "m.login.token", token: "nonsense" } }, [400, 403], ["M_FORBIDDEN", "M_UNKNOWN"]);
});

await check("r0 and v3 are alike", async () => {
    const token = alice.accessToken;
    for (const path of ["/login", "/account/whoami", "/joined_rooms", "/pushrules/", "/devices", "/capabilities", "/publicRooms", `/profile/${encodeURIComponent(alice.userId)}`,
        `/rooms/${encodeURIComponent(room)}/joined_members`, `/rooms/${encodeURIComponent(room)}/state/m.room.name`, `/rooms/${encodeURIComponent(room)}/members`, "/voip/turnServer", "/keys/changes?from=x&to=y", "/sync?timeout=0&since=nonsense"]) {
        const one = await request("GET", `/_matrix/client/v3${path}`, { token });
        const two = await request("GET", `/_matrix/client/r0${path}`, { token });
        expectEqual(two.status, one.status, `${path}: r0 against v3 (${two.bytes.toString().slice(0, 200)})`);
        const settled = (json) => JSON.parse(JSON.stringify(json, (key, value) => (["age", "last_seen_ts", "last_active_ago"].includes(key) ? 0 : value)));
        expectEqual(settled(two.json), settled(one.json), `${path}: r0 against v3`);
    }
    const old = await request("PUT", `/_matrix/client/r0/rooms/${encodeURIComponent(room)}/send/m.room.message/r0-${Date.now()}`, { token, body: { msgtype: "m.text", body: "by r0" } });
    expectEqual(old.status, 200, "send by r0");
    const media = await request("POST", "/_matrix/media/r0/upload?filename=a.txt", { token, raw: "by r0", headers: { "content-type": "text/plain" } });
    expectEqual(media.status, 200, `upload by r0: ${media.bytes}`);
});

await check("CORS headers, also on errors and preflight", async () => {
    const preflight = await request("OPTIONS", at("/sync"), { headers: { "origin": "http://example.org", "access-control-request-method": "GET", "access-control-request-headers": "authorization" } });
    expect([200, 204].includes(preflight.status), `preflight: ${preflight.status} ${preflight.bytes}`);
    const listed = (headers, name) => (headers.get(name) ?? "").toLowerCase().split(",").map((one) => one.trim());
    for (const method of ["get", "post", "put", "delete", "options"]) expect(listed(preflight.headers, "access-control-allow-methods").includes(method), `${method} allowed`);
    for (const header of ["x-requested-with", "content-type", "authorization"]) expect(listed(preflight.headers, "access-control-allow-headers").includes(header), `${header} allowed`);
    for (const [method, path, options] of [["GET", "/_matrix/client/versions", {}], ["GET", at("/account/whoami"), {}], ["GET", "/_matrix/client/v3/nothing", {}], ["DELETE", at("/login"), {}], ["PUT", sendPath(), { token: alice.accessToken, raw: "{", headers: JSON_TYPE }], ["OPTIONS", "/_matrix/client/v3/nothing", {}], ["GET", "/.well-known/matrix/client", {}]]) {
        const answer = await request(method, path, { ...options, headers: { ...options.headers, origin: "http://example.org" } });
        expectEqual(answer.headers.get("access-control-allow-origin"), "*", `${method} ${path} (${answer.status})`);
    }
});

await check("any byte sequence as an image gives an error, never a crash", async () => {
    const token = alice.accessToken;
    const good = png(64, 64);
    const flipped = Buffer.from(good);
    for (let i = 40; i < flipped.length; i += 7) flipped[i] ^= 0xff;
    const bomb = Buffer.from(good);
    bomb.writeUInt32BE(60_000, 16);
    bomb.writeUInt32BE(60_000, 20);
    const samples = { empty: Buffer.alloc(0), "text": Buffer.from("not an image"), "cut": good.subarray(0, 60), flipped, "60,000 pixels square": bomb, gif: Buffer.from("GIF89a\xff\xff\xff\xff\x80\x00\x00", "latin1"), jpeg: Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(300, 0x41)]), webp: Buffer.concat([Buffer.from("RIFF\xff\xff\xff\x7fWEBPVP8 ", "latin1"), Buffer.alloc(100, 7)]) };
    for (const [name, bytes] of Object.entries(samples)) {
        const upload = await request("POST", "/_matrix/media/v3/upload?filename=x.png", { token, raw: bytes, headers: { "content-type": "image/png" } });
        expectEqual(upload.status, 200, `upload of ${name}: ${upload.bytes}`);
        const path = upload.json.content_uri.slice("mxc://".length);
        const down = await request("GET", `/_matrix/client/v1/media/download/${path}`, { token });
        expect(down.status === 200 && down.bytes.equals(bytes), `${name} comes back as it was (${down.status})`);
        const started = Date.now();
        const small = await request("GET", `/_matrix/client/v1/media/thumbnail/${path}?width=32&height=32&method=crop`, { token });
        const lenient = ["cut", "flipped"].includes(name) && small.status === 200;
        expect(lenient || ([400, 404, 413].includes(small.status) && small.json?.errcode), `thumbnail of ${name}: ${small.status} ${small.bytes.toString("latin1").slice(0, 100)}`);
        expect(Date.now() - started < ANSWER_SECONDS_MAX * 1000, `thumbnail of ${name} took ${Date.now() - started} ms`);
    }
    const upload = await request("POST", "/_matrix/media/v3/upload", { token, raw: good, headers: { "content-type": "image/png" } });
    const path = upload.json.content_uri.slice("mxc://".length);
    for (const query of ["width=0&height=0", "width=-5&height=5", "width=abc&height=5", "height=5", "width=5&height=5&method=spin", "width=99999999999999999999&height=5"]) {
        const answer = await request("GET", `/_matrix/client/v1/media/thumbnail/${path}?${query}`, { token });
        expect([400, 404].includes(answer.status) || (answer.status === 200 && answer.bytes.length > 0) || answer.status === 413, `thumbnail with ${query}: ${answer.status} ${answer.bytes.toString("latin1").slice(0, 100)}`);
    }
    const unsafe = await request("POST", "/_matrix/media/v3/upload?filename=x.html", { token, raw: "<script>alert(1)</script>", headers: { "content-type": "text/html" } });
    const html = await request("GET", `/_matrix/client/v1/media/download/${unsafe.json.content_uri.slice("mxc://".length)}`, { token });
    expect(html.headers.get("content-disposition")?.startsWith("attachment"), `HTML is an attachment: ${html.headers.get("content-disposition")}`);
    expect(html.headers.get("content-security-policy")?.includes("sandbox"), "a sandbox policy");
    await bad("GET", `/_matrix/client/v1/media/download/${alice.serverName}/${encodeURIComponent("../../../etc/passwd")}`, {}, [400, 404], ["M_NOT_FOUND", "M_INVALID_PARAM", "M_UNKNOWN", "M_UNRECOGNIZED"]);
});

await check("odd texts and numbers anywhere never make an internal error", async () => {
    const eve = await register("eve-raw");
    const own = (await request("POST", at("/createRoom"), { token: eve.accessToken, body: { preset: "public_chat" } })).json.room_id;
    const ask = async (method, path, body) => {
        const answer = await request(method, at(path), { token: eve.accessToken, body });
        if (answer.status >= 500 || (answer.status >= 400 && !answer.json?.errcode)) wrong.push(`${method} ${path.slice(0, 120)} ${JSON.stringify(body)?.slice(0, 80)}: ${answer.status} ${answer.bytes.toString().slice(0, 100)}`);
    };
    const e = encodeURIComponent;
    const user = e(eve.userId);
    const inOwn = `/rooms/${e(own)}`;
    for (const odd of ["a\u0000b", "%_'\"\\;--", "..", "../../etc", " ", "\u{1F600}\u200F\u202E", "x".repeat(1000), "\r\nSet-Cookie: a=b", "{}", "null", "-1", "9".repeat(40)]) {
        const path = e(odd);
        await ask("PUT", `${inOwn}/send/m.room.message/${path}`, { body: odd, [odd]: odd });
        await ask("PUT", `${inOwn}/send/${path}/1`, {});
        await ask("PUT", `${inOwn}/state/org.example/${path}`, { odd });
        await ask("PUT", `${inOwn}/state/m.room.name/`, { name: odd });
        await ask("PUT", `/profile/${user}/displayname`, { displayname: odd });
        await ask("PUT", `/profile/${user}/${path}`, { [odd]: odd });
        await ask("PUT", `/user/${user}/account_data/${path}`, { odd });
        await ask("PUT", `/user/${user}/rooms/${e(own)}/tags/${path}`, { order: 0.5 });
        await ask("POST", `/user/${user}/filter`, { room: { timeline: { types: [odd], rooms: [odd] } }, event_fields: [odd] });
        await ask("GET", `/user/${user}/filter/${path}`);
        await ask("PUT", `/pushrules/global/content/${path}`, { pattern: odd, actions: [] });
        await ask("PUT", `/pushrules/global/override/x?before=${path}`, { conditions: [{ kind: "event_match", key: odd, pattern: odd }, { kind: odd }], actions: [odd] });
        await ask("POST", "/login", { type: "m.login.password", identifier: { type: "m.id.user", user: odd }, password: odd });
        await ask("POST", "/login", { type: "m.login.password", identifier: { type: "m.id.user", user: eve.username }, password, device_id: odd, initial_device_display_name: odd });
        await ask("GET", `/register/available?username=${path}`);
        await ask("PUT", `/directory/room/${e(`#${odd}:${eve.serverName}`)}`, { room_id: own });
        await ask("POST", "/createRoom", { room_alias_name: odd, name: odd, topic: odd });
        await ask("POST", "/publicRooms", { filter: { generic_search_term: odd } });
        await ask("POST", "/publicRooms", { since: odd });
        await ask("POST", "/user_directory/search", { search_term: odd });
        await ask("POST", `${inOwn}/receipt/m.read/${path}`, { thread_id: odd });
        await ask("POST", `${inOwn}/read_markers`, { "m.fully_read": odd, "m.read": odd });
        await ask("POST", `${inOwn}/invite`, { user_id: odd, reason: odd });
        await ask("POST", `${inOwn}/ban`, { user_id: bob.userId, reason: odd });
        await ask("POST", `/join/${path}`, { reason: odd });
        await ask("PUT", `/sendToDevice/${path}/${path}`, { messages: { [bob.userId]: { [odd]: { odd } } } });
        await ask("POST", "/keys/upload", { one_time_keys: { [`signed_curve25519:${odd}`]: { key: odd } } });
        await ask("POST", "/keys/query", { device_keys: { [bob.userId]: [odd] }, timeout: 10 });
        await ask("POST", "/keys/claim", { one_time_keys: { [bob.userId]: { [odd]: odd } } });
        await ask("GET", `/room_keys/keys?version=${path}`);
        await ask("PUT", `/room_keys/keys/${path}/${path}?version=${path}`, { first_message_index: 0, forwarded_count: 0, is_verified: true, session_data: { odd } });
        await ask("PUT", `/presence/${user}/status`, { presence: "online", status_msg: odd });
        await ask("PUT", `/devices/${eve.deviceId}`, { display_name: odd });
        for (const query of [`/sync?timeout=0&since=${path}`, `/sync?timeout=${path}&since=s1`, `/sync?timeout=0&filter=${path}`, `/keys/changes?from=${path}&to=${path}`, `${inOwn}/messages?dir=b&from=${path}`, `${inOwn}/messages?dir=b&limit=${path}`,
            `${inOwn}/members?at=${path}&membership=${path}`, `${inOwn}/event/${path}`, `${inOwn}/context/${path}?limit=${path}`, `/rooms/${path}/state`, `/profile/${path}`, `/directory/room/${path}`, `/presence/${path}/status`]) await ask("GET", query);
    }
    for (const number of [9007199254740991, -1, 0]) {
        await ask("PUT", `${inOwn}/typing/${user}`, { typing: true, timeout: number });
        await ask("PUT", `${inOwn}/state/m.room.power_levels/`, { users: { [eve.userId]: number }, events: { x: number }, users_default: number });
        for (const query of [`${inOwn}/messages?dir=f&from=t${number}_${number}&limit=${number}`, `${inOwn}/messages?dir=b&from=s${number}&to=t${number}_0`, `/sync?timeout=0&since=s${number}`]) await ask("GET", query);
        for (const direction of ["f", "b"]) {
            const found = await request("GET", `/_matrix/client/v1${inOwn}/timestamp_to_event?ts=${number}&dir=${direction}`, { token: eve.accessToken });
            if (found.status >= 500) wrong.push(`timestamp_to_event at ${number}: ${found.status}`);
        }
    }
    const upload = await request("POST", `/_matrix/media/v3/upload?filename=${e("a\r\nSet-Cookie: a=b\u0000")}`, { token: eve.accessToken, raw: "x", headers: { "content-type": "text/plain" } });
    const download = await request("GET", `/_matrix/client/v1/media/download/${upload.json.content_uri.slice("mxc://".length)}/${e("b\r\nSet-Cookie: a=b")}`, { token: eve.accessToken });
    expect(download.status === 200 && !download.headers.get("set-cookie"), "a file's name cannot add a header");
    const after = await request("GET", at("/sync?timeout=0"), { token: eve.accessToken });
    expectEqual(after.status, 200, `a sync after all that: ${after.bytes.toString().slice(0, 100)}`);
});

await check("broken HTTP ends a connection, not the server", async () => {
    for (const bytes of ["\0\0\0\0\0\r\n\r\n", "GET\r\n\r\n", `GET / HTTP/1.1\r\nX: ${"a".repeat(200_000)}\r\n\r\n`, "PUT /_matrix/client/v3/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]) {
        const answer = await rawHttp(bytes);
        expect(answer === "" || /^HTTP\/1\.[01] \d\d\d/.test(answer), `${JSON.stringify(bytes.slice(0, 40))}: ${answer.slice(0, 80)}`);
    }
    expectEqual((await request("GET", "/_matrix/client/versions")).status, 200, "the server goes on");
});

await check("a request body that comes slowly or never does not stop others", async () => {
    const target = new URL(url);
    const hanging = Array.from({ length: 40 }, () => {
        const open = http.request({ host: target.hostname, port: target.port, method: "PUT", path: sendPath(), headers: { "authorization": `Bearer ${alice.accessToken}`, "content-type": "application/json", "content-length": 100 } });
        open.on("error", () => {});
        open.write("{");
        return open;
    });
    const started = Date.now();
    expectEqual((await request("PUT", sendPath(), { token: alice.accessToken, body: { msgtype: "m.text", body: "in between" } })).status, 200, "another request");
    expect(Date.now() - started < 2000, `took ${Date.now() - started} ms`);
    for (const open of hanging) open.destroy();
});

finish();

/** Writes bytes to the server's socket and gives what it answers until it closes, or within two seconds. */
function rawHttp(bytes) {
    const target = new URL(url);
    return new Promise((resolve) => {
        let got = "";
        const socket = net.connect(Number(target.port), target.hostname, () => socket.write(Buffer.from(bytes, "latin1")));
        const end = () => {
            socket.destroy();
            resolve(got);
        };
        socket.on("data", (data) => (got += data.toString("latin1")));
        socket.on("close", end);
        socket.on("error", end);
        socket.setTimeout(2000, end);
        setTimeout(end, 2000);
    });
}
