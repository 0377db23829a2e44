"""matrix-nio: the Python library that most bots are written with, plain and with encryption."""

import asyncio
import hashlib
import hmac
import io
import logging
import os
import secrets
import struct
import sys
import tempfile
import time
import zlib

import aiohttp
import nio

URL = os.environ["CLIENTS_URL"]
SECRET = os.environ["CLIENTS_SECRET"]
PASSWORD = "correct horse battery staple 7"
RUN = secrets.token_hex(4)
CHECK_SECONDS_MAX = 30
counts = {"passed": 0, "failed": 0}
logging.getLogger("nio").setLevel(logging.CRITICAL)


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def answered(response, kind):
    """The response, if it is of the class that the request hopes for."""
    if not isinstance(response, kind):
        raise Failed(f"{kind.__name__} expected, got {response!r}")
    return response


async def check(name, body):
    started = time.monotonic()
    try:
        value = await asyncio.wait_for(body(), CHECK_SECONDS_MAX)
    except Exception as error:  # a failed check must not end the suite
        counts["failed"] += 1
        why = f"{type(error).__name__}: {error}" if not isinstance(error, Failed) else str(error)
        print(f"FAILED matrix-nio: {name}: {why}".replace("\n", " "), flush=True)
        return None
    counts["passed"] += 1
    print(f"ok     matrix-nio: {name} ({(time.monotonic() - started) * 1000:.0f} ms)", flush=True)
    return value


async def until(what, condition, seconds=15):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {seconds} s for: {what}")
        await asyncio.sleep(0.02)


async def register(session, name):
    username = f"{name}-nio-{RUN}"
    async with session.get(f"{URL}/_synapse/admin/v1/register") as answer:
        nonce = (await answer.json())["nonce"]
    text = b"\0".join(part.encode() for part in (nonce, username, PASSWORD, "notadmin"))
    mac = hmac.new(SECRET.encode(), text, hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": username, "password": PASSWORD, "admin": False, "mac": mac}
    async with session.post(f"{URL}/_synapse/admin/v1/register", json=body) as answer:
        expect(answer.status == 200, f"registration: {answer.status} {await answer.text()}")
        return (await answer.json())["user_id"]


class Person:
    """A logged-in client that syncs all the time and remembers what it saw."""

    def __init__(self, user_id, store):
        self.events = []
        self.ephemeral = []
        self.user_id = user_id
        self.client = nio.AsyncClient(
            URL, user_id, store_path=store, config=nio.AsyncClientConfig(encryption_enabled=True, store_sync_tokens=False, request_timeout=40)
        )
        self.client.add_event_callback(lambda room, event: self.events.append((room.room_id, event)), (nio.Event,))
        self.client.add_ephemeral_callback(lambda room, event: self.ephemeral.append((room.room_id, event)), (nio.EphemeralEvent,))

    async def start(self):
        answered(await self.client.login(PASSWORD, device_name="nio tests"), nio.LoginResponse)
        self.task = asyncio.create_task(self.client.sync_forever(timeout=10_000, full_state=True))
        await asyncio.wait_for(self.client.synced.wait(), 20)

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.client.close()

    async def sees(self, event_id):
        found = await until(f"{self.user_id} sees {event_id}", lambda: [one for _, one in self.events if one.event_id == event_id])
        expect(len(found) == 1, f"{event_id} came {len(found)} times")
        return found[0]


async def main():
    with tempfile.TemporaryDirectory() as stores:
        async with aiohttp.ClientSession() as session:
            await suite(session, stores)
    print(f"matrix-nio: {counts['passed']} passed, {counts['failed']} failed", flush=True)
    sys.exit(0 if counts["failed"] == 0 and counts["passed"] else 1)


async def suite(session, stores):
    people = {}
    rooms = {}

    async def log_in():
        for name in ("alice", "bob"):
            store = os.path.join(stores, name)
            os.mkdir(store)
            people[name] = Person(await register(session, name), store)
            await people[name].start()
            me = answered(await people[name].client.whoami(), nio.WhoamiResponse)
            expect((me.user_id, me.device_id) == (people[name].user_id, people[name].client.device_id), f"whoami: {me}")

    await check("setup: two users log in and sync", log_in)
    alice, bob = people["alice"], people["bob"]

    async def make_room():
        room = answered(await alice.client.room_create(name="Nio's room", topic="bots", invite=[bob.user_id]), nio.RoomCreateResponse).room_id
        await until("bob is invited", lambda: room in bob.client.invited_rooms)
        answered(await bob.client.join(room), nio.JoinResponse)
        await until("bob is in", lambda: room in bob.client.rooms and len(bob.client.rooms[room].users) == 2)
        await until("alice sees bob", lambda: bob.user_id in alice.client.rooms[room].users)
        expect(bob.client.rooms[room].name == "Nio's room", f"name {bob.client.rooms[room].name}")
        expect(bob.client.rooms[room].topic == "bots", f"topic {bob.client.rooms[room].topic}")
        members = answered(await bob.client.joined_members(room), nio.JoinedMembersResponse)
        expect({member.user_id for member in members.members} == {alice.user_id, bob.user_id}, f"members {members}")
        rooms["plain"] = room

    await check("setup: room, invite, join", make_room)
    room = rooms["plain"]

    async def say(person, body, where=room):
        return answered(
            await person.client.room_send(where, "m.room.message", {"msgtype": "m.text", "body": body}, ignore_unverified_devices=True), nio.RoomSendResponse
        ).event_id

    async def text():
        for speaker, listener, body in ((alice, bob, "hello bob"), (bob, alice, "hello alice ☃")):
            event = await listener.sees(await say(speaker, body))
            expect((event.body, event.sender) == (body, speaker.user_id), f"{event}")

    await check("text both ways", text)

    async def media():
        for data, name, mime, msgtype in ((png(), "dot.png", "image/png", "m.image"), (secrets.token_bytes(300_000), "data.bin", "application/octet-stream", "m.file")):
            upload, _ = await alice.client.upload(lambda *_, data=data: io.BytesIO(data), content_type=mime, filename=name, filesize=len(data))
            uri = answered(upload, nio.UploadResponse).content_uri
            sent = await alice.client.room_send(room, "m.room.message", {"msgtype": msgtype, "body": name, "url": uri, "info": {"size": len(data), "mimetype": mime}})
            event = await bob.sees(answered(sent, nio.RoomSendResponse).event_id)
            got = answered(await bob.client.download(event.url), nio.DownloadResponse)
            expect(got.body == data, f"{name}: other bytes came back")
            expect(got.content_type == mime, f"{name}: content type {got.content_type}")
            if msgtype == "m.image":
                server, media_id = event.url[len("mxc://"):].split("/")
                small = answered(await bob.client.thumbnail(server, media_id, 16, 16, nio.ResizingMethod.crop), nio.ThumbnailResponse)
                expect(len(small.body) > 20, "an empty thumbnail")

    await check("image and file: upload, download, thumbnail", media)

    async def typing():
        answered(await alice.client.room_typing(room, True, 20_000), nio.RoomTypingResponse)
        await until("bob sees alice typing", lambda: any(alice.user_id in getattr(event, "users", []) for _, event in bob.ephemeral))
        answered(await alice.client.room_typing(room, False), nio.RoomTypingResponse)
        await until("bob sees it end", lambda: [event for _, event in bob.ephemeral if isinstance(event, nio.TypingNoticeEvent)][-1].users == [])

    await check("typing", typing)

    async def receipts():
        event_id = await say(alice, "read me")
        await bob.sees(event_id)
        answered(await bob.client.update_receipt_marker(room, event_id), nio.UpdateReceiptMarkerResponse)
        await until(
            "alice sees the receipt",
            lambda: any(
                receipt.event_id == event_id and receipt.user_id == bob.user_id
                for _, event in alice.ephemeral if isinstance(event, nio.ReceiptEvent) for receipt in event.receipts
            ),
        )
        answered(await bob.client.room_read_markers(room, event_id, event_id), nio.RoomReadMarkersResponse)
        await until("bob's fully-read marker", lambda: bob.client.rooms[room].fully_read_marker == event_id)

    await check("receipts", receipts)

    async def state():
        answered(await alice.client.room_put_state(room, "m.room.name", {"name": "Renamed"}), nio.RoomPutStateResponse)
        await until("bob sees the name", lambda: bob.client.rooms[room].name == "Renamed")
        one = answered(await bob.client.room_get_state_event(room, "m.room.name"), nio.RoomGetStateEventResponse)
        expect(one.content == {"name": "Renamed"}, f"{one}")
        whole = answered(await bob.client.room_get_state(room), nio.RoomGetStateResponse)
        expect(any(event["type"] == "m.room.create" for event in whole.events), "no create event")

    await check("state", state)

    async def redaction():
        event_id = await say(alice, "regretted")
        await bob.sees(event_id)
        answered(await alice.client.room_redact(room, event_id, reason="regret"), nio.RoomRedactResponse)
        await until("bob sees the redaction", lambda: any(isinstance(event, nio.RedactionEvent) and event.redacts == event_id for _, event in bob.events))
        got = answered(await bob.client.room_get_event(room, event_id), nio.RoomGetEventResponse)
        expect(isinstance(got.event, nio.RedactedEvent), f"{got.event!r}")

    await check("redaction", redaction)

    async def history():
        bodies = [f"line {number}" for number in range(12)]
        for body in bodies:
            await say(alice, body)
        seen, token = [], ""
        for _ in range(20):
            page = answered(await bob.client.room_messages(room, token, limit=5), nio.RoomMessagesResponse)
            seen += [getattr(event, "body", None) for event in page.chunk]
            token = page.end
            if not token:
                break
        expect([body for body in reversed(seen) if body in bodies] == bodies, f"backwards: {seen}")

    await check("history backwards", history)

    async def profile():
        answered(await alice.client.set_displayname("Alice of nio"), nio.ProfileSetDisplayNameResponse)
        await until("bob sees her name", lambda: bob.client.rooms[room].user_name(alice.user_id) == "Alice of nio")
        got = answered(await bob.client.get_profile(alice.user_id), nio.ProfileGetResponse)
        expect(got.displayname == "Alice of nio", f"{got}")
        answered(await alice.client.set_presence("unavailable", "at tea"), nio.PresenceSetResponse)
        presence = answered(await bob.client.get_presence(alice.user_id), nio.PresenceGetResponse)
        expect((presence.presence, presence.status_msg) == ("unavailable", "at tea"), f"{presence}")

    await check("profile and presence", profile)

    async def secret_room():
        encrypted = [{"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]
        secret = answered(await alice.client.room_create(name="Secret", invite=[bob.user_id], initial_state=encrypted), nio.RoomCreateResponse).room_id
        await until("bob is invited", lambda: secret in bob.client.invited_rooms)
        answered(await bob.client.join(secret), nio.JoinResponse)
        await until("both are in", lambda: all(secret in one.client.rooms and len(one.client.rooms[secret].users) == 2 for one in (alice, bob)))
        await until("both know it is encrypted", lambda: all(one.client.rooms[secret].encrypted for one in (alice, bob)))
        await until("devices are known", lambda: any(alice.client.device_store.active_user_devices(bob.user_id)) and any(bob.client.device_store.active_user_devices(alice.user_id)))
        for speaker, listener, body in ((alice, bob, "a secret for bob"), (bob, alice, "a secret for alice")):
            event = await listener.sees(await say(speaker, body, secret))
            expect(isinstance(event, nio.RoomMessageText) and event.decrypted and event.body == body, f"not decrypted: {event!r}")

    await check("encrypted messages both ways", secret_room)

    async def goodbye():
        answered(await bob.client.room_leave(room), nio.RoomLeaveResponse)
        await until("alice sees bob gone", lambda: bob.user_id not in alice.client.rooms[room].users)
        answered(await bob.client.room_forget(room), nio.RoomForgetResponse)
        bob.task.cancel()
        await asyncio.gather(bob.task, return_exceptions=True)
        answered(await bob.client.logout(), nio.LogoutResponse)

    await check("leave, forget, log out", goodbye)
    for person in people.values():
        await person.stop()


def png():
    """A valid PNG of 64×48 pixels."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"".join(bytes((x * 4 % 256, y * 5 % 256, x * y % 256)) for x in range(64)) for y in range(48))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 48, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    asyncio.run(main())
