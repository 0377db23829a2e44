// What every suite needs: checks that print a line each, users, waiting for a condition, and raw requests.
// A suite is a program that reads the server's address and Synapse's registration secret from its environment
// (CLIENTS_URL, CLIENTS_SECRET), prints "ok …" or "FAILED …" for each check and ends with exit code 0 or 1.
import crypto from "node:crypto";
import zlib from "node:zlib";

export const url = process.env.CLIENTS_URL ?? fail("CLIENTS_URL is not set");
export const secret = process.env.CLIENTS_SECRET ?? fail("CLIENTS_SECRET is not set");

const CHECK_SECONDS_MAX = 30;
const only = process.env.CLIENTS_ONLY;
const counts = { passed: 0, failed: 0, suite: "suite" };

function fail(why) {
    console.error(why);
    process.exit(2);
}

function print(line) {
    process.stdout.write(`${line}\n`);
}

export function suite(name) {
    counts.suite = name;
    // A client library's background task must not end the whole run, but it must be seen.
    process.on("unhandledRejection", (error) => print(`  note ${name}: unhandled rejection: ${describe(error)}`));
}

/** Runs one check; a failure is printed and counted, and the suite goes on. */
export async function check(name, body) {
    if (only && !name.includes(only) && !name.startsWith("setup")) return undefined;
    const started = Date.now();
    let timer;
    try {
        const limit = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error(`not done in ${CHECK_SECONDS_MAX} s`)), CHECK_SECONDS_MAX * 1000);
        });
        const value = await Promise.race([body(), limit]);
        counts.passed += 1;
        print(`ok     ${counts.suite}: ${name} (${Date.now() - started} ms)`);
        return value;
    } catch (error) {
        counts.failed += 1;
        print(`FAILED ${counts.suite}: ${name}: ${describe(error)}`);
        return undefined;
    } finally {
        clearTimeout(timer);
    }
}

/** Says that an endpoint is not there yet; the check around it has nothing to look at, and begins to look when it is. */
export function notYet(answer, what) {
    const isMissing = answer.status === 404 && answer.json?.errcode === "M_UNRECOGNIZED";
    if (isMissing) print(`       ${counts.suite}: not there yet: ${what}`);
    return isMissing;
}

export function finish() {
    print(`${counts.suite}: ${counts.passed} passed, ${counts.failed} failed`);
    process.exit(counts.failed === 0 && counts.passed > 0 ? 0 : 1);
}

export function describe(error) {
    if (!(error instanceof Error)) return String(error);
    const where = (error.stack ?? "").split("\n").filter((line) => line.includes("/tests/clients/") && !line.includes("node_modules") && !line.includes("harness.mjs"));
    const place = where[0]?.match(/([^/]+\.mjs:\d+)/)?.[1];
    return `${error.message}${place ? ` [${place}]` : ""}`.replaceAll("\n", " ");
}

export function expect(condition, what) {
    if (!condition) throw new Error(what);
}

export function expectEqual(actual, expected, what) {
    const a = inOrder(actual);
    const e = inOrder(expected);
    if (a !== e) throw new Error(`${what}: expected ${e}, got ${a}`);
}

/** JSON with the keys of each object in order. */
function inOrder(value) {
    return JSON.stringify(value, (_key, inner) =>
        inner && typeof inner === "object" && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).sort()) : inner);
}

/** Waits until `condition` answers something true and gives that. */
export async function until(what, condition, seconds = 15) {
    const end = Date.now() + seconds * 1000;
    let last;
    for (;;) {
        try {
            const value = await condition();
            if (value) return value;
            last = value;
        } catch (error) {
            last = error.message;
        }
        if (Date.now() > end) throw new Error(`waited ${seconds} s for: ${what} (last: ${last})`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

/** Expects the Matrix error `code` (or one of several, and, where given, the HTTP status) from a promise of matrix-js-sdk. */
export async function refused(promise, code, status) {
    let value;
    try {
        value = await promise;
    } catch (error) {
        expect([code].flat().includes(error.errcode), `expected ${code}, got ${error.errcode}: ${error.message}`);
        if (status) expectEqual(error.httpStatus, status, "the error's HTTP status");
        return error;
    }
    throw new Error(`expected ${code}, was allowed: ${JSON.stringify(value)?.slice(0, 200)}`);
}

/** One request without a client library. Gives status, headers and the body both as bytes and, where it is JSON, parsed. */
export async function request(method, path, { token, body, headers = {}, raw } = {}) {
    const all = { ...headers };
    if (token) all.authorization = `Bearer ${token}`;
    let sent = raw;
    if (body !== undefined) {
        sent = JSON.stringify(body);
        all["content-type"] ??= "application/json";
    }
    const response = await fetch(url + path, { method, headers: all, body: sent, redirect: "manual" });
    const bytes = Buffer.from(await response.arrayBuffer());
    let json;
    try {
        json = JSON.parse(bytes.toString("utf8"));
    } catch {
        json = undefined;
    }
    return { status: response.status, headers: response.headers, bytes, json };
}

const run = crypto.randomBytes(4).toString("hex");
export const password = "correct horse battery staple 7";

/** Registers a user the way Synapse's register_new_matrix_user does, under a name that no earlier run used. */
export async function register(name, { admin = false } = {}) {
    const username = `${name}-${run}`;
    const { json: start } = await request("GET", "/_synapse/admin/v1/register");
    expect(start?.nonce, `GET /_synapse/admin/v1/register gave no nonce: ${JSON.stringify(start)}`);
    const mac = crypto
        .createHmac("sha1", secret)
        .update([start.nonce, username, password, admin ? "admin" : "notadmin"].join("\0"))
        .digest("hex");
    const answer = await request("POST", "/_synapse/admin/v1/register", { body: { nonce: start.nonce, username, password, admin, mac } });
    expectEqual(answer.status, 200, `shared-secret registration of ${username} (${answer.bytes.toString().slice(0, 300)})`);
    return {
        username,
        password,
        userId: answer.json.user_id,
        accessToken: answer.json.access_token,
        deviceId: answer.json.device_id,
        serverName: answer.json.user_id.slice(answer.json.user_id.indexOf(":") + 1),
    };
}

/** A valid PNG of the given size with a colour gradient (and so many different bytes). */
export function png(width, height) {
    const rows = Buffer.alloc((width * 3 + 1) * height);
    for (let y = 0; y < height; y += 1) {
        for (let x = 0; x < width; x += 1) {
            const at = y * (width * 3 + 1) + 1 + x * 3;
            rows[at] = (x * 255) / width;
            rows[at + 1] = (y * 255) / height;
            rows[at + 2] = (x * y) % 256;
        }
    }
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    header.set([8, 2, 0, 0, 0], 8);
    return Buffer.concat([
        Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
        chunk("IHDR", header),
        chunk("IDAT", zlib.deflateSync(rows)),
        chunk("IEND", Buffer.alloc(0)),
    ]);
}

function chunk(type, data) {
    const typed = Buffer.concat([Buffer.from(type, "latin1"), data]);
    const out = Buffer.alloc(8 + data.length + 4);
    out.writeUInt32BE(data.length, 0);
    typed.copy(out, 4);
    out.writeUInt32BE(crc32(typed), 8 + data.length);
    return out;
}

function crc32(bytes) {
    let crc = 0xffffffff;
    for (const byte of bytes) {
        crc ^= byte;
        for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return (crc ^ 0xffffffff) >>> 0;
}

/** An animated GIF with one plain colour a frame. */
export function animatedGif(width, height, frames) {
    const parts = [Buffer.from("GIF89a", "latin1"), Buffer.from([width & 255, width >> 8, height & 255, height >> 8, 0x91, 0, 0])];
    parts.push(Buffer.from([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]));
    parts.push(Buffer.from([0x21, 0xff, 11]), Buffer.from("NETSCAPE2.0", "latin1"), Buffer.from([3, 1, 0, 0, 0]));
    for (let frame = 0; frame < frames; frame += 1) {
        parts.push(Buffer.from([0x21, 0xf9, 4, 0, 20, 0, 0, 0]), Buffer.from([0x2c, 0, 0, 0, 0, width & 255, width >> 8, height & 255, height >> 8, 0, 2]));
        // LZW with codes of three bits and a clear code before each pixel, so that the table never grows.
        const codes = [];
        for (let pixel = 0; pixel < width * height; pixel += 1) codes.push(4, frame % 4);
        codes.push(5);
        let bits = 0, held = 0;
        const bytes = [];
        for (const code of codes) {
            bits |= code << held;
            held += 3;
            while (held >= 8) {
                bytes.push(bits & 255);
                bits >>= 8;
                held -= 8;
            }
        }
        if (held) bytes.push(bits);
        for (let at = 0; at < bytes.length; at += 255) {
            const block = bytes.slice(at, at + 255);
            parts.push(Buffer.from([block.length, ...block]));
        }
        parts.push(Buffer.from([0]));
    }
    parts.push(Buffer.from([0x3b]));
    return Buffer.concat(parts);
}

/** Width and height that an image's own header claims (PNG, JPEG, WebP or GIF). */
export function imageSize(bytes) {
    if (bytes.readUInt32BE(0) === 0x89504e47) return [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
    if (bytes.subarray(0, 3).toString("latin1") === "GIF") return [bytes.readUInt16LE(6), bytes.readUInt16LE(8)];
    if (bytes.subarray(8, 12).toString("latin1") === "WEBP") {
        const kind = bytes.subarray(12, 16).toString("latin1");
        if (kind === "VP8X") return [1 + bytes.readUIntLE(24, 3), 1 + bytes.readUIntLE(27, 3)];
        if (kind === "VP8L") {
            const bits = bytes.readUInt32LE(21);
            return [1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff)];
        }
        return [bytes.readUInt16LE(26) & 0x3fff, bytes.readUInt16LE(28) & 0x3fff];
    }
    if (bytes.readUInt16BE(0) === 0xffd8) {
        let at = 2;
        while (at + 9 < bytes.length) {
            const marker = bytes.readUInt16BE(at);
            if (marker >= 0xffc0 && marker <= 0xffcf && ![0xffc4, 0xffc8, 0xffcc].includes(marker)) {
                return [bytes.readUInt16BE(at + 7), bytes.readUInt16BE(at + 5)];
            }
            at += 2 + bytes.readUInt16BE(at + 2);
        }
    }
    throw new Error(`not an image: ${bytes.subarray(0, 16).toString("hex")}`);
}
