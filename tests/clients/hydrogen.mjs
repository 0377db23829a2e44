// Hydrogen, a whole Matrix client that others wrote, in Debian's chromium, used as a person does: clicking and typing.
// Beside it chats matrix-js-sdk with its Rust crypto. Screenshots go to CLIENTS_SCREENSHOTS (target/clients).
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { check, expect, expectEqual, finish, png, register, request, suite, until, url } from "./harness.mjs";
import { newClient, started } from "./sdk_clients.mjs";

suite("Hydrogen");

const here = path.dirname(fileURLToPath(import.meta.url));
const screenshots = process.env.CLIENTS_SCREENSHOTS ?? path.join(here, "../../target/clients");
const executable = process.env.CLIENTS_CHROMIUM ?? "/usr/bin/chromium";
fs.mkdirSync(screenshots, { recursive: true });

const site = await serveHydrogen();
let browser, page, hera, peer, plainRoom, secretRoom;
const complaints = [];

await check("setup: chromium opens Hydrogen", async () => {
    browser = await chromium.launch({ executablePath: executable, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
    page = await (await browser.newContext({ viewport: { width: 1100, height: 760 } })).newPage();
    page.setDefaultTimeout(15_000);
    // The exception is Hydrogen's own: it looks up a room that it just made before it knows the id.
    page.on("pageerror", (error) => String(error).includes("getKey(true)") || complaints.push(String(error)));
    page.on("response", (response) => response.status() >= 500 && complaints.push(`${response.status()} ${response.url()}`));
    await page.goto(`${site.url}/?homeserver=${encodeURIComponent(url)}`);
    await page.locator("#homeserver").waitFor();
});

await check("setup: log in by password", async () => {
    hera = await register("hera");
    peer = { ...(await register("peer")) };
    peer.client = newClient(peer, {});
    await peer.client.initRustCrypto({ useIndexedDB: false });
    await started(peer.client);
    await page.locator("#homeserver").fill(url);
    await page.locator("#homeserver").blur();
    await page.locator("#username").fill(hera.username);
    await page.locator("#password").fill(hera.password);
    await shot("1-login");
    await page.getByRole("button", { name: "Log In" }).click();
    // A first login asks whether to restore encrypted history; a new account has none.
    const skip = page.getByRole("button", { name: "Continue" });
    await page.locator(".LeftPanel").or(skip).first().waitFor({ timeout: 25_000 });
    if (await skip.isVisible()) await skip.click();
    await page.locator(".LeftPanel").waitFor();
    await shot("2-logged-in");
});

await check("make a public room", async () => {
    await page.locator(".LeftPanel .button-utility.create").click();
    await page.getByText("Create Room").click();
    await page.locator("#name").fill("Hydrogen's room");
    await page.locator("#topic").fill("made by clicking");
    await page.locator("#isPublic").check();
    await page.locator("#roomAlias").fill(`hydrogen-${hera.username}`);
    await page.locator("main").getByRole("button", { name: "Create room" }).click();
    // When the sync is faster than createRoom's answer, Hydrogen leaves the new room again; a person then clicks it.
    await page.locator(".RoomList li", { hasText: "Hydrogen's room" }).click();
    await page.locator(".MessageComposer textarea").waitFor();
    await page.locator(".RoomHeader h2", { hasText: "Hydrogen's room" }).waitFor();
    const alias = `#hydrogen-${hera.username}:${hera.serverName}`;
    plainRoom = await peer.client.joinRoom(alias);
    plainRoom = await until("the peer is in", () => peer.client.getRoom(plainRoom.roomId)?.getMyMembership() === "join" && peer.client.getRoom(plainRoom.roomId));
    expectEqual(plainRoom.name, "Hydrogen's room", "the room's name at the peer");
    await page.locator(".AnnouncementView", { hasText: "joined the room" }).first().waitFor();
});

await check("write and read", async () => {
    await write("Hello from Hydrogen ☃");
    await until("the peer reads it", () => plainRoom.getLiveTimeline().getEvents().some((event) => event.getContent().body === "Hello from Hydrogen ☃"));
    await peer.client.sendTextMessage(plainRoom.roomId, "Hello from the SDK");
    await shown("Hello from the SDK");
    await shown("Hello from Hydrogen ☃");
});

await check("upload a picture and a file, and see them", async () => {
    const picture = png(320, 200);
    await attach("Send picture", { name: "picture.png", mimeType: "image/png", buffer: picture });
    const event = await until("the peer has the picture", () => plainRoom.getLiveTimeline().getEvents().find((one) => one.getContent().msgtype === "m.image"));
    const source = peer.client.mxcUrlToHttp(event.getContent().url, undefined, undefined, undefined, false, true, true);
    const got = await fetch(source, { headers: { authorization: `Bearer ${peer.accessToken}` } });
    expectEqual(got.status, 200, "download by the peer");
    expect((await got.arrayBuffer()).byteLength > 100, "bytes came");
    await attach("Send file", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("three lines\nof\ntext\n") });
    await until("the peer has the file", () => plainRoom.getLiveTimeline().getEvents().find((one) => one.getContent().msgtype === "m.file"));
    const uploaded = await peer.client.uploadContent(new Blob([png(300, 180)], { type: "image/png" }), { name: "back.png", type: "image/png" });
    await peer.client.sendMessage(plainRoom.roomId, { msgtype: "m.image", body: "back.png", url: uploaded.content_uri, info: { mimetype: "image/png", w: 300, h: 180, size: 9000 } });
    await until("the peer's picture is drawn", () =>
        page.evaluate(() => [...document.querySelectorAll(".Timeline_message .media img")].filter((image) => image.complete && image.naturalWidth > 0).length >= 2));
    await page.locator(".Timeline_message", { hasText: "notes.txt" }).first().waitFor();
    await shot("3-plain-room");
});

await check("accept an invite to an encrypted room", async () => {
    const created = await peer.client.createRoom({
        name: "Secret with Hydrogen",
        preset: "private_chat",
        invite: [hera.userId],
        initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
    });
    secretRoom = await until("the peer has the room", () => peer.client.getRoom(created.room_id));
    await page.locator(".RoomList li", { hasText: "Secret with Hydrogen" }).click();
    await page.getByRole("button", { name: "Accept" }).click();
    await page.locator(".MessageComposer textarea").waitFor();
    await until("the peer sees the join", () => secretRoom.getMember(hera.userId)?.membership === "join");
    await page.locator("textarea[placeholder^='Send an encrypted message']").waitFor();
});

await check("read and write encrypted messages", async () => {
    await until("the peer knows Hydrogen's device", async () => (await peer.client.getCrypto().getUserDeviceInfo([hera.userId], true)).get(hera.userId)?.size >= 1);
    await peer.client.sendTextMessage(secretRoom.roomId, "a secret for Hydrogen");
    await shown("a secret for Hydrogen");
    await write("a secret from Hydrogen");
    await until("the peer decrypts it", () => secretRoom.getLiveTimeline().getEvents().some((event) => event.getContent().body === "a secret from Hydrogen"));
    const stored = await request("GET", `/_matrix/client/v3/rooms/${encodeURIComponent(secretRoom.roomId)}/messages?dir=b&limit=10`, { token: peer.accessToken });
    expect(!stored.bytes.includes("a secret"), "the server has only encrypted texts");
    await shot("4-encrypted-room");
});

await check("a reload goes on where it was", async () => {
    await page.reload();
    await page.locator(".RoomList li", { hasText: "Secret with Hydrogen" }).click();
    await shown("a secret for Hydrogen");
    await peer.client.sendTextMessage(secretRoom.roomId, "after the reload");
    await shown("after the reload");
    await page.locator(".RoomList li", { hasText: "Hydrogen's room" }).click();
    await shown("Hello from the SDK");
    await shot("5-after-reload");
});

await check("Hydrogen had no error of its own and no answer of the kind 5xx", async () => {
    expectEqual(complaints, [], "complaints");
});

if (page) await shot("6-end").catch(() => {});
await browser?.close();
peer?.client?.stopClient();
site.server.close();
finish();

async function write(text) {
    await page.locator(".MessageComposer textarea").fill(text);
    await page.locator(".MessageComposer textarea").press("Enter");
    await shown(text);
}

async function shown(text) {
    await page.locator(".Timeline_message", { hasText: text }).first().waitFor();
}

async function attach(option, file) {
    await page.locator(".MessageComposer .sendFile").click();
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.locator(".menu-item", { hasText: option }).click()]);
    await chooser.setFiles(file);
}

async function shot(name) {
    await page.screenshot({ path: path.join(screenshots, `hydrogen-${name}.png`) });
}

/** Serves the page beside this file and the packages it imports; those written as CommonJS are wrapped as modules. */
function serveHydrogen() {
    const modules = path.join(here, "node_modules");
    const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm", ".json": "application/json", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".woff": "font/woff" };
    const server = http.createServer((incoming, outgoing) => {
        const wanted = decodeURIComponent(new URL(incoming.url, "http://x").pathname);
        let file;
        if (wanted === "/" || wanted === "/index.html") file = path.join(here, "hydrogen/index.html");
        else if (wanted === "/sw.js") file = path.join(modules, "hydrogen-view-sdk/lib-build/sw.js");
        else if (wanted.startsWith("/modules/")) file = path.join(modules, wanted.slice("/modules/".length));
        else if (wanted.startsWith("/commonjs/")) file = path.join(modules, wanted.slice("/commonjs/".length));
        if (!file?.startsWith(here) || !fs.existsSync(file)) {
            outgoing.writeHead(404).end();
            return;
        }
        let body = fs.readFileSync(file);
        if (wanted.startsWith("/commonjs/")) {
            body = `const module = { exports: {} }; const exports = module.exports;\n(function (module, exports) {\n${body}\n})(module, exports);\nexport default module.exports;\n`;
        }
        outgoing.writeHead(200, { "content-type": types[path.extname(file)] ?? "application/octet-stream", "cache-control": "no-store" }).end(body);
    });
    return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve({ server, url: `http://127.0.0.1:${server.address().port}` })));
}
