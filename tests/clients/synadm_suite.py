"""synadm: the command line with which admins of Synapse work, each of its commands, unchanged; what they do is looked
at by another client."""

import contextlib
import hashlib
import hmac
import json
import logging
import os
import secrets
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

import requests
from click.testing import CliRunner

from synadm import cli

URL = os.environ["CLIENTS_URL"]
SECRET = os.environ["CLIENTS_SECRET"]
PASSWORD = "correct horse battery staple 7"
RUN = secrets.token_hex(4)
WAIT_SECONDS_MAX = 15
ROOM_SORTS = [
    "name", "canonical_alias", "joined_members", "joined_local_members", "version", "creator", "encryption",
    "federatable", "public", "join_rules", "guest_access", "history_visibility", "state_events",
]
USER_SORTS = [
    "name", "is_guest", "admin", "user_type", "deactivated", "shadow_banned", "displayname", "avatar_url",
    "creation_ts", "last_seen_ts",
]
MEDIA_SORTS = [
    "media_id", "upload_name", "created_ts", "last_access_ts", "media_length", "media_type", "quarantined_by",
    "safe_from_quarantine",
]
counts = {"passed": 0, "failed": 0}


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def equal(found, wanted, what):
    expect(found == wanted, f"{what}: {found!r}, not {wanted!r}")


@contextlib.contextmanager
def check(name):
    started = time.monotonic()
    try:
        yield
    except Exception as error:  # a failed check must not end the suite
        counts["failed"] += 1
        why = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        print(f"FAILED synadm: {name}: {why}".replace("\n", " "), flush=True)
    else:
        counts["passed"] += 1
        print(f"ok     synadm: {name} ({(time.monotonic() - started) * 1000:.0f} ms)", flush=True)


def until(what, condition):
    end = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        value = condition()
        if value:
            return value
        expect(time.monotonic() < end, f"waited {WAIT_SECONDS_MAX} s for: {what}")
        time.sleep(0.02)


class Synadm:
    """synadm with a configuration that its own `config` wrote."""

    def __init__(self, config):
        self.config = config
        self.runner = CliRunner()

    def run(self, *arguments, form="json", batch=True, typed=None):
        """What a command printed."""
        # It keeps its handlers from one run to the next, and they hold the streams of the run before.
        logging.getLogger("synadm.cli._helper").handlers.clear()
        command = ["-c", str(self.config), "-o", form, *(["--batch"] if batch else []), *arguments]
        result = self.runner.invoke(cli.root, command, input=typed)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise Failed(f"synadm {' '.join(arguments)}: {type(result.exception).__name__}: {result.exception}: {result.output[-800:]}")
        expect(result.exit_code == 0, f"synadm {' '.join(arguments)}: exit code {result.exit_code}: {result.output[-800:]}")
        return result.output

    def answer(self, *arguments):
        """What the server answered, be it good or not."""
        documents = parsed(self.run(*arguments))
        expect(documents, f"synadm {' '.join(arguments)} printed no answer")
        return documents[-1]

    def ok(self, *arguments):
        """What the server answered to what it must do."""
        answer = self.answer(*arguments)
        expect(not (isinstance(answer, dict) and "errcode" in answer), f"synadm {' '.join(arguments)}: {answer}")
        return answer

    def code(self, *arguments):
        """The error code to what the server must not do."""
        return self.answer(*arguments).get("errcode", "no error")

    def table(self, *arguments):
        """The table for people."""
        printed = self.run(*arguments, form="human", batch=False)
        expect("errcode" not in printed, f"synadm {' '.join(arguments)}: {printed[:500]}")
        return printed


def parsed(printed):
    """The JSON documents in a text, each of which begins a line."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(printed):
        line_end = printed.find("\n", at) + 1 or len(printed)
        if printed[at] in "[{\"":
            with contextlib.suppress(ValueError):
                value, at = decoder.raw_decode(printed, at)
                found.append(value)
                continue
        at = line_end
    return found


class Person:
    """Somebody with a client of their own."""

    def __init__(self, user_id, token, device_id):
        self.id, self.token, self.device_id = user_id, token, device_id

    def ask(self, method, path, **options):
        return requests.request(method, URL + path, headers={"Authorization": f"Bearer {self.token}"}, timeout=30, **options)

    def ok(self, method, path, body=None, **options):
        answer = self.ask(method, path, json={} if body is None and method != "GET" else body, **options)
        expect(answer.status_code == 200, f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    def room(self, **creation):
        return self.ok("POST", "/_matrix/client/v3/createRoom", creation)["room_id"]

    def join(self, room):
        self.ok("POST", f"/_matrix/client/v3/join/{quoted(room)}")

    def say(self, room, text):
        return self.ok("PUT", f"/_matrix/client/v3/rooms/{quoted(room)}/send/m.room.message/{secrets.token_hex(8)}", {"msgtype": "m.text", "body": text})["event_id"]

    def bodies(self, room):
        """What was said in a room, the newest first; what was redacted is None."""
        chunk = self.ok("GET", f"/_matrix/client/v3/rooms/{quoted(room)}/messages?dir=b&limit=100")["chunk"]
        return [event["content"].get("body") for event in chunk if event["type"] == "m.room.message"]

    def state(self, room, kind):
        return self.ok("GET", f"/_matrix/client/v3/rooms/{quoted(room)}/state/{kind}")

    def members(self, room):
        return sorted(self.ok("GET", f"/_matrix/client/v3/rooms/{quoted(room)}/joined_members")["joined"])

    def invitations(self):
        return list(self.ok("GET", "/_matrix/client/v3/sync?timeout=0").get("rooms", {}).get("invite", {}))

    def upload(self, name, content, kind="image/png"):
        answer = requests.post(
            f"{URL}/_matrix/media/v3/upload?filename={name}", data=content, timeout=30,
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": kind},
        )
        expect(answer.status_code == 200, f"upload: {answer.status_code} {answer.text[:300]}")
        return answer.json()["content_uri"]

    def download(self, uri):
        return self.ask("GET", f"/_matrix/client/v1/media/download/{uri.removeprefix('mxc://')}").status_code

    def picture(self, room, uri):
        return self.ok("PUT", f"/_matrix/client/v3/rooms/{quoted(room)}/send/m.room.message/{secrets.token_hex(8)}", {"msgtype": "m.image", "body": "a picture", "url": uri})["event_id"]

    def is_logged_in(self):
        return self.ask("GET", "/_matrix/client/v3/account/whoami").status_code == 200


def quoted(text):
    return requests.utils.quote(text, safe="")


def registered(name, admin=False):
    """Somebody new, made by the shared secret."""
    username = f"{name}-synadm-{RUN}"
    nonce = requests.get(f"{URL}/_synapse/admin/v1/register", timeout=30).json()["nonce"]
    text = b"\0".join(part.encode() for part in (nonce, username, PASSWORD, "admin" if admin else "notadmin"))
    body = {
        "nonce": nonce, "username": username, "password": PASSWORD, "admin": admin,
        "mac": hmac.new(SECRET.encode(), text, hashlib.sha1).hexdigest(),
    }
    answer = requests.post(f"{URL}/_synapse/admin/v1/register", json=body, timeout=30)
    expect(answer.status_code == 200, f"registration: {answer.status_code} {answer.text}")
    answer = answer.json()
    return Person(answer["user_id"], answer["access_token"], answer["device_id"])


def logged_in(user_id, password):
    """A new session, or None."""
    body = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user_id}, "password": password}
    answer = requests.post(f"{URL}/_matrix/client/v3/login", json=body, timeout=30)
    return Person(answer.json()["user_id"], answer.json()["access_token"], answer.json()["device_id"]) if answer.status_code == 200 else None


def png(shade):
    """A picture of eight by eight points."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes([shade, 0, 0] * 8) for _ in range(8))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def names(users):
    return [user["name"] for user in users["users"]]


def localpart(user_id):
    return user_id[1:].split(":")[0]


def main():
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="synadm-") as folder:
        admin, alice, bob = registered("admin", admin=True), registered("alice"), registered("bob")
        synadm = Synadm(Path(folder) / "synadm.yaml")
        configure(synadm, admin)
        users(synadm, admin, alice, bob)
        sessions(synadm, admin, alice)
        sanctions(synadm, admin, alice, bob)
        rooms(synadm, admin, alice, bob)
        deletions(synadm, admin, alice, bob)
        media(synadm, alice, bob)
        the_rest(synadm, admin, alice, bob, Path(folder))
        farewells(synadm, admin, alice)
    return 0 if counts["failed"] == 0 and counts["passed"] > 0 else 1


def configure(synadm, admin):
    with check("config asks its questions and writes what it is told"):
        synadm.run(
            "config", "-u", admin.id, "-t", admin.token, "-b", URL, "--protocol", "http", "-o", "yaml", "-w", "30",
            "-d", "well-known", "-n", "auto-retrieval", batch=False, typed="\n" * 11,
        )
        expect(admin.token in synadm.config.read_text(), "the token is not in the configuration")
    with check("version"):
        expect(synadm.ok("version")["server_version"], "no version")
    with check("a name without its server: synadm asks the server what it is called"):
        equal(synadm.ok("user", "details", localpart(admin.id))["name"], admin.id, "name")


def users(synadm, admin, alice, bob):
    carol = alice.id.replace("alice", "carol")
    picture = alice.upload("face.png", png(1))
    with check("user modify makes an account with all that one can have"):
        made = synadm.ok(
            "user", "modify", carol, "-P", PASSWORD, "-n", "Carol", "-t", "email", f"carol-{RUN}@example.org",
            "-t", "msisdn", "4915112345678", "-v", picture, "--user-type", "bot", "--admin",
        )
        equal((made["name"], made["displayname"], made["avatar_url"], made["user_type"]), (carol, "Carol", picture, "bot"), "account")
        equal(bool(made["admin"]), True, "admin")
        equal(sorted(one["address"] for one in made["threepids"]), sorted(["4915112345678", f"carol-{RUN}@example.org"]), "addresses")
        expect(logged_in(carol, PASSWORD), "the new password does not log in")
        profile = alice.ok("GET", f"/_matrix/client/v3/profile/{quoted(carol)}")
        equal((profile["displayname"], profile["avatar_url"]), ("Carol", picture), "profile")
    with check("user details of this account"):
        details = synadm.ok("user", "details", carol)
        expect({"name", "displayname", "threepids", "avatar_url", "is_guest", "admin", "deactivated", "erased", "shadow_banned", "creation_ts",
                "appservice_id", "consent_server_notice_sent", "consent_version", "consent_ts", "external_ids", "user_type", "locked",
                "suspended", "last_seen_ts"} <= set(details), f"fields are missing: {sorted(details)}")
        expect(abs(details["creation_ts"] - time.time()) < 600, f"made at {details['creation_ts']}, not now in seconds")
    with check("user modify changes one thing and leaves the others"):
        synadm.ok("user", "modify", carol, "-n", "Carola")
        synadm.ok("user", "modify", carol, "--no-admin", "--user-type", "regular")
        details = synadm.ok("user", "details", carol)
        equal((details["displayname"], bool(details["admin"]), details["user_type"], len(details["threepids"])), ("Carola", False, None, 2), "account")
    with check("user 3pid finds by address, and not what nobody has"):
        equal(synadm.ok("user", "3pid", "-m", "email", f"carol-{RUN}@example.org"), {"user_id": carol}, "answer")
        equal(synadm.code("user", "3pid", "-m", "email", f"nobody-{RUN}@example.org"), "M_NOT_FOUND", "of nobody")
    with check("user modify --clear-threepids"):
        synadm.ok("user", "modify", carol, "--clear-threepids")
        equal(synadm.ok("user", "details", carol)["threepids"], [], "addresses")
    with check("user auth-provider"):
        external = [{"auth_provider": "oidc-school", "external_id": f"carol-{RUN}"}]
        admin.ok("PUT", f"/_synapse/admin/v2/users/{quoted(carol)}", {"external_ids": external})
        equal(synadm.ok("user", "auth-provider", "-p", "oidc-school", f"carol-{RUN}"), {"user_id": carol}, "answer")
        equal(synadm.code("user", "auth-provider", "-p", "oidc-school", f"nobody-{RUN}"), "M_NOT_FOUND", "of nobody")
    with check("user details, whois, membership of nobody"):
        nobody = alice.id.replace("alice", "nobody")
        equal(synadm.code("user", "details", nobody), "M_NOT_FOUND", "details")
    with check("user list: by name, page for page, sorted in every way it offers"):
        ours = sorted([admin.id, alice.id, bob.id, carol])
        equal(names(synadm.ok("user", "list", "-n", RUN)), ours, "by name")
        equal(names(synadm.ok("user", "list", "-i", alice.id)), [alice.id], "by id")
        equal(names(synadm.ok("user", "list", "-n", RUN, "--reverse")), ours[::-1], "reverse")
        first = synadm.ok("user", "list", "-n", RUN, "-l", "3")
        equal((names(first), first["total"]), (ours[:3], 4), "first page")
        second = synadm.ok("user", "list", "-n", RUN, "-l", "3", "-f", first["next_token"])
        equal((names(second), "next_token" in second), (ours[3:], False), "second page")
        for sort in USER_SORTS:
            equal(sorted(names(synadm.ok("user", "list", "-n", RUN, "--sort-by", sort))), ours, f"by {sort}")
    with check("user list: admins, others, types of users, guests"):
        synadm.ok("user", "modify", carol, "--user-type", "bot")
        equal(names(synadm.ok("user", "list", "-n", RUN, "-a")), [admin.id], "admins")
        equal(names(synadm.ok("user", "list", "-n", RUN, "-A")), sorted([alice.id, bob.id, carol]), "not admins")
        equal(names(synadm.ok("user", "list", "-n", RUN, "--exclude-user-type", "bot")), sorted([admin.id, alice.id, bob.id]), "no bots")
        equal(names(synadm.ok("user", "list", "-n", RUN, "--exclude-user-type", "")), [carol], "no people")
        equal(names(synadm.ok("user", "list", "-n", RUN, "--exclude-user-type", "", "--exclude-user-type", "bot")), [], "neither")
        equal(names(synadm.ok("user", "list", "-n", RUN, "-G")), sorted([admin.id, alice.id, bob.id, carol]), "no guests")
        one = synadm.ok("user", "list", "-n", f"alice-synadm-{RUN}")["users"][0]
        expect({"name", "is_guest", "admin", "user_type", "deactivated", "erased", "shadow_banned", "displayname", "avatar_url", "creation_ts",
                "last_seen_ts", "locked"} <= set(one), f"fields are missing: {sorted(one)}")
    with check("user list and user search for people"):
        expect(f"{alice.id}" in synadm.table("user", "list", "-n", RUN), "not in the table")
        expect(synadm.table("user", "search", f"ALICE-synadm-{RUN}").count(alice.id) == 2, "search does not find in any case")


def sessions(synadm, admin, alice):
    with check("matrix login, and matrix raw with the token that it gave"):
        login = synadm.ok("matrix", "login", alice.id, "-p", PASSWORD)
        expect(login["access_token"] and login["device_id"] and login["home_server"], f"login: {sorted(login)}")
        equal(synadm.ok("matrix", "raw", "client/v3/account/whoami", "-t", login["access_token"])["user_id"], alice.id, "whoami")
    with check("matrix login by a name without its server, and with a wrong password"):
        equal(synadm.ok("matrix", "login", localpart(alice.id), "-p", PASSWORD)["user_id"], alice.id, "user")
        equal(synadm.code("matrix", "login", alice.id, "-p", "wrong"), "M_FORBIDDEN", "wrong password")
    with check("user whois tells sessions, addresses and programs"):
        whois = synadm.ok("user", "whois", alice.id)
        equal(whois["user_id"], alice.id, "user")
        seen = [connection for device in whois["devices"].values() for session in device["sessions"] for connection in session["connections"]]
        expect(seen and all({"ip", "last_seen", "user_agent"} <= set(one) for one in seen), f"connections: {seen}")
        expect(any(one["ip"].startswith("127.0.0.1") for one in seen), f"connections: {seen}")
    with check("user prune-devices lists, then removes all but one"):
        devices = alice.ok("GET", "/_matrix/client/v3/devices")["devices"]
        expect(len(devices) >= 3, f"{len(devices)} devices")
        listed = synadm.answer("user", "prune-devices", alice.id, "--ts", "-d", "0", "-s", "1", "-l", "-i", devices[-1]["device_id"])
        equal([one["device_id"] for one in listed], [devices[-1]["device_id"]], "listed")
        expect({"device_id", "display_name", "last_seen_ip", "last_seen_ts", "user_id"} <= set(listed[0]), f"fields: {sorted(listed[0])}")
        gone = next(one["device_id"] for one in devices if one["device_id"] != alice.device_id)
        synadm.answer("user", "prune-devices", alice.id, "--ts", "-d", "0", "-s", "1", "-i", gone)
        left = [one["device_id"] for one in alice.ok("GET", "/_matrix/client/v3/devices")["devices"]]
        equal(sorted(left), sorted(one["device_id"] for one in devices if one["device_id"] != gone), "devices that are left")
    with check("user login: acts as her, without a device, until the admin says otherwise"):
        before = len(alice.ok("GET", "/_matrix/client/v3/devices")["devices"])
        token = synadm.ok("user", "login", alice.id)["access_token"]
        equal(Person(alice.id, token, None).ok("GET", "/_matrix/client/v3/account/whoami")["user_id"], alice.id, "whoami")
        equal(len(alice.ok("GET", "/_matrix/client/v3/devices")["devices"]), before, "devices")
        expect(synadm.ok("user", "login", alice.id, "--expire-never")["access_token"], "no token")
        past = synadm.answer("user", "login", alice.id, "--expire-ts", str(int(time.time() * 1000) + 1))
        until("the token's end", lambda: not Person(alice.id, past["access_token"], None).is_logged_in())
    with check("user password --no-logout, then without"):
        other = logged_in(alice.id, PASSWORD)
        equal(synadm.ok("user", "password", alice.id, "-n", "-p", "another long password 1"), {}, "answer")
        expect(other.is_logged_in(), "logged out though it should not be")
        equal(logged_in(alice.id, PASSWORD), None, "login with the old password")
        expect("reset successfully" in synadm.run("user", "password", alice.id, "-p", PASSWORD, form="human"), "no word of success")
        expect(not other.is_logged_in(), "still logged in")
        fresh = logged_in(alice.id, PASSWORD)
        alice.token, alice.device_id = fresh.token, fresh.device_id


def sanctions(synadm, admin, alice, bob):
    room = alice.room(preset="public_chat", name=f"Sanctions {RUN}")
    bob.join(room)
    message = f"/_matrix/client/v3/rooms/{quoted(room)}/send/m.room.message"
    words = {"msgtype": "m.text", "body": "words"}
    with check("user modify --lock and --unlock"):
        equal(synadm.ok("user", "modify", bob.id, "--lock")["locked"], True, "locked")
        locked = bob.ask("GET", "/_matrix/client/v3/account/whoami")
        equal((locked.status_code, locked.json()["errcode"], locked.json().get("soft_logout")), (401, "M_USER_LOCKED", True), "a locked user's request")
        expect(bob.id not in names(synadm.ok("user", "list", "-n", RUN)), "in the list of those not locked")
        expect(bob.id in names(synadm.ok("user", "list", "-n", RUN, "-L")), "not in the list with those locked")
        equal(synadm.ok("user", "modify", bob.id, "--unlock")["locked"], False, "locked")
        expect(bob.is_logged_in(), "still locked")
    with check("user suspend and its end"):
        synadm.ok("user", "suspend", bob.id)
        equal(synadm.ok("user", "details", bob.id)["suspended"], True, "suspended")
        refused = bob.ask("PUT", f"{message}/s1", json=words)
        equal((refused.status_code, refused.json()["errcode"]), (403, "M_USER_SUSPENDED"), "a suspended user's message")
        synadm.ok("user", "suspend", bob.id, "--unsuspend")
        bob.ok("PUT", f"{message}/s2", words)
    with check("user shadow-ban: nobody hears, and afterwards they do"):
        expect("Successfully" in synadm.run("user", "shadow-ban", bob.id, form="human"), "no word of success")
        equal(bool(synadm.ok("user", "details", bob.id)["shadow_banned"]), True, "shadow_banned")
        bob.ok("PUT", f"{message}/b1", {"msgtype": "m.text", "body": "unheard"})
        synadm.ok("user", "shadow-ban", bob.id, "-u")
        bob.say(room, "heard")
        equal(alice.bodies(room)[:2], ["heard", "words"], "what alice hears")
    with check("user redact and redact-status: his words are gone, hers are not"):
        alice.say(room, "hers")
        job = synadm.ok("user", "redact", bob.id, "--reason", "spam", "-l", "50")["redact_id"]
        status = until("the redactions", lambda: (s := synadm.ok("user", "redact-status", job))["status"] in ("complete", "failed") and s)
        equal((status["status"], status["failed_redactions"]), ("complete", {}), "status")
        equal(alice.bodies(room), ["hers", None, None], "what is left")
        equal(synadm.code("user", "redact-status", "nothing"), "M_NOT_FOUND", "of an unknown job")
    with check("user redact in one room only"):
        other = alice.room(preset="public_chat")
        bob.join(other)
        bob.say(room, "first"), bob.say(other, "second")
        job = synadm.ok("user", "redact", bob.id, "-r", room)["redact_id"]
        until("the redactions", lambda: synadm.ok("user", "redact-status", job)["status"] == "complete")
        equal((alice.bodies(room)[0], alice.bodies(other)[0]), (None, "second"), "the newest in both rooms")
    with check("user membership by ids and by aliases"):
        alias = f"#membership-{RUN}:{bob.id.split(':', 1)[1]}"
        named = bob.room(preset="private_chat", room_alias_name=f"membership-{RUN}")
        equal(sorted(synadm.ok("user", "membership", bob.id, "--ids")["joined_rooms"]), sorted([room, other, named]), "by ids")
        answer = synadm.ok("user", "membership", registered("hermit").id)
        equal((answer["joined_rooms"], answer["total"]), ([], 0), "of somebody in no room")
        expect("User is member of 3 rooms" in synadm.table("user", "membership", bob.id, "--ids"), "no table")
        equal(synadm.ok("room", "resolve", alias), named, "the room of an alias")


def rooms(synadm, admin, alice, bob):
    server = alice.id.split(":", 1)[1]
    open_room = alice.room(preset="public_chat", visibility="public", name=f"Open {RUN}", room_alias_name=f"open-{RUN}", topic="all may come")
    secret = bob.room(preset="private_chat", name=f"Secret {RUN}", initial_state=[{"type": "m.room.encryption", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}])
    alice.ok("PUT", f"/_matrix/client/v3/rooms/{quoted(open_room)}/state/m.room.canonical_alias", {"alias": f"#open-{RUN}:{server}"})
    bob.join(open_room)
    with check("room list: search, pages, sorted in every way it offers"):
        found = synadm.ok("room", "list", "-n", f"Open {RUN}")
        equal(([room["room_id"] for room in found["rooms"]], found["total_rooms"], found["offset"]), ([open_room], 1, 0), "by name")
        one = found["rooms"][0]
        equal(
            {key: one[key] for key in ("name", "canonical_alias", "joined_members", "joined_local_members", "creator", "encryption", "federatable",
                                       "public", "join_rules", "guest_access", "history_visibility", "room_type")},
            {"name": f"Open {RUN}", "canonical_alias": f"#open-{RUN}:{server}", "joined_members": 2, "joined_local_members": 2, "creator": alice.id,
             "encryption": None, "federatable": True, "public": True, "join_rules": "public", "guest_access": one["guest_access"],
             "history_visibility": "shared", "room_type": None}, "the room")
        expect(one["version"] and one["state_events"] >= 8, f"the room: {one}")
        equal(synadm.ok("room", "search", f"open-{RUN}")["rooms"][0]["room_id"], open_room, "by alias")
        equal(synadm.ok("room", "list", "-n", secret)["rooms"][0]["encryption"], "m.megolm.v1.aes-sha2", "encryption, by the room's id")
        total = synadm.ok("room", "list", "-l", "1")["total_rooms"]
        for sort in ROOM_SORTS:
            there = [room["room_id"] for room in synadm.ok("room", "list", "-s", sort, "-l", "1000")["rooms"]]
            back = [room["room_id"] for room in synadm.ok("room", "list", "-s", sort, "-r", "-l", "1000")["rooms"]]
            equal((len(there), sorted(there)), (total, sorted(back)), f"by {sort}")
        paged, start = [], 0
        while start is not None:
            page = synadm.ok("room", "list", "-l", "2", "-f", str(start))
            paged += [room["room_id"] for room in page["rooms"]]
            start = page.get("next_batch")
        equal((len(paged), len(set(paged))), (total, total), "all pages together")
        last = synadm.ok("room", "list", "-l", "2", "-f", "2")
        equal(last.get("prev_batch"), 0, "prev_batch")
        expect(open_room in synadm.table("room", "list"), "not in the table")
    with check("room details"):
        details = synadm.ok("room", "details", open_room)
        expect({"room_id", "name", "topic", "avatar", "canonical_alias", "joined_members", "joined_local_members", "joined_local_devices", "version",
                "creator", "encryption", "federatable", "public", "join_rules", "guest_access", "history_visibility", "state_events", "room_type",
                "forgotten"} <= set(details), f"fields are missing: {sorted(details)}")
        equal((details["topic"], details["joined_members"], details["forgotten"]), ("all may come", 2, False), "the room")
        equal(synadm.code("room", "details", "!nothing:" + server), "M_NOT_FOUND", "of no room")
    with check("room members"):
        answer = synadm.ok("room", "members", open_room)
        equal((sorted(answer["members"]), answer["total"]), (sorted([alice.id, bob.id]), 2), "members")
        expect(alice.id in synadm.table("room", "members", open_room), "not in the table")
    with check("room state"):
        state = synadm.ok("room", "state", secret)["state"]
        equal([event["content"]["algorithm"] for event in state if event["type"] == "m.room.encryption"], ["m.megolm.v1.aes-sha2"], "encryption")
        expect(all({"event_id", "room_id", "sender", "state_key", "type", "content", "origin_server_ts"} <= set(event) for event in state), "fields are missing")
    with check("room power-levels of one room and of those found"):
        alice.ok("PUT", f"/_matrix/client/v3/rooms/{quoted(open_room)}/state/m.room.power_levels",
                 {**alice.state(open_room, "m.room.power_levels"), "users": {**alice.state(open_room, "m.room.power_levels").get("users", {}), bob.id: 50}})
        levels = synadm.ok("room", "power-levels", "-i", open_room)
        equal(levels["rooms"][0]["power_levels"][bob.id], 50, "level")
        equal(levels["rooms_w_power_levels_curr_batch"], 1, "rooms")
        expect(f"{bob.id} 50" in synadm.table("room", "power-levels", "-n", f"Open {RUN}", "-a"), "not in the table")
    with check("room resolve: the room of an alias, and the aliases of a room"):
        equal(synadm.ok("room", "resolve", f"#open-{RUN}:{server}"), open_room, "room")
        admin.join(open_room)
        equal(synadm.ok("room", "resolve", "-r", open_room)["aliases"], [f"#open-{RUN}:{server}"], "aliases")
        equal(synadm.code("room", "resolve", f"#nothing-{RUN}:{server}"), "M_NOT_FOUND", "of no alias")
    with check("room join brings somebody into a room, by its alias too"):
        dora, emil = registered("dora"), registered("emil")
        equal(synadm.ok("room", "join", open_room, dora.id), {"room_id": open_room}, "answer")
        equal(synadm.ok("room", "join", f"#open-{RUN}:{server}", emil.id), {"room_id": open_room}, "answer")
        equal(alice.members(open_room), sorted([admin.id, alice.id, bob.id, dora.id, emil.id]), "members")
        equal(synadm.code("room", "join", secret, dora.id), "M_FORBIDDEN", "into a room to which the admin cannot invite")
    with check("room make-admin: a member gets the creator's power"):
        old = alice.room(preset="private_chat", room_version="11", invite=[bob.id])
        bob.join(old)
        equal(synadm.ok("room", "make-admin", old, "-u", bob.id), {}, "answer")
        equal(alice.state(old, "m.room.power_levels")["users"][bob.id], 100, "level")
    with check("room make-admin: the admin is invited into a private room, with power"):
        equal(synadm.ok("room", "make-admin", old), {}, "answer")
        admin.join(old)
        equal(alice.state(old, "m.room.power_levels")["users"][admin.id], 100, "level")
    with check("room block, block-status, and its end"):
        equal(synadm.ok("room", "block", open_room), {"block": True}, "answer")
        equal(synadm.ok("room", "block-status", open_room), {"block": True, "user_id": admin.id}, "status")
        equal(registered("fred").ask("POST", f"/_matrix/client/v3/join/{quoted(open_room)}", json={}).status_code, 403, "joining")
        equal(synadm.ok("room", "block", "--unblock", open_room), {"block": False}, "answer")
        equal(synadm.ok("room", "block-status", open_room), {"block": False}, "status")
        registered("gina").join(open_room)


def deletions(synadm, admin, alice, bob):
    with check("room delete, and delete-status by both ids"):
        doomed = alice.room(preset="public_chat", name=f"Doomed {RUN}")
        bob.join(doomed)
        job = synadm.ok("room", "delete", doomed, "-b")["delete_id"]
        status = until("the deletion", lambda: (s := synadm.ok("room", "delete-status", "-d", job))["status"] in ("complete", "failed") and s)
        equal((status["status"], sorted(status["shutdown_room"]["kicked_users"]), status["shutdown_room"]["failed_to_kick_users"], status["shutdown_room"]["new_room_id"]),
              ("complete", sorted([alice.id, bob.id]), [], None), "status")
        results = synadm.ok("room", "delete-status", "-r", doomed)["results"]
        equal([(one["delete_id"], one["status"]) for one in results], [(job, "complete")], "by the room's id")
        equal(alice.ask("GET", f"/_matrix/client/v3/rooms/{quoted(doomed)}/state").status_code, 403, "reading it")
        equal(synadm.code("raw", f"v1/rooms/{quoted(doomed)}"), "M_NOT_FOUND", "details")
        equal(synadm.ok("room", "block-status", doomed)["block"], True, "blocked")
        equal(synadm.code("room", "delete-status", "-d", "nothing"), "M_NOT_FOUND", "of an unknown job")
    with check("room delete --v1 moves people into a new room and says why"):
        doomed = alice.room(preset="public_chat", name=f"Moved {RUN}", room_alias_name=f"moved-{RUN}")
        bob.join(doomed)
        answer = synadm.ok("room", "delete", "--v1", doomed, "-u", admin.id, "-n", f"Moved on {RUN}", "-m", "this room is closed", "--no-purge")
        equal((sorted(answer["kicked_users"]), answer["failed_to_kick_users"], answer["local_aliases"]),
              (sorted([alice.id, bob.id]), [], [f"#moved-{RUN}:{alice.id.split(':', 1)[1]}"]), "answer")
        equal(bob.state(answer["new_room_id"], "m.room.name")["name"], f"Moved on {RUN}", "the new room's name")
        equal(bob.bodies(answer["new_room_id"]), ["this room is closed"], "what is said there")
        equal(synadm.ok("room", "resolve", f"#moved-{RUN}:{alice.id.split(':', 1)[1]}"), answer["new_room_id"], "the alias")
    with check("room purge-empty"):
        empty = alice.room(preset="private_chat", name=f"Empty {RUN}")
        alice.ok("POST", f"/_matrix/client/v3/rooms/{quoted(empty)}/leave")
        until("the room in the list of empty ones", lambda: [room["room_id"] for room in synadm.ok("room", "list", "-e", "-n", f"Empty {RUN}")["rooms"]] == [empty])
        equal(synadm.ok("room", "list", "-E", "-n", f"Empty {RUN}")["rooms"], [], "rooms with people")
        expect(empty in parsed(synadm.run("room", "purge-empty", "--dry-run"))[0], "not in the list")
        expect(synadm.ok("room", "list", "-n", f"Empty {RUN}")["rooms"], "gone though nothing should be deleted")
        synadm.run("room", "purge-empty")
        until("the room's end", lambda: synadm.code("raw", f"v1/rooms/{quoted(empty)}") == "M_NOT_FOUND")


def media(synadm, alice, bob):
    room = alice.room(preset="public_chat", name=f"Media {RUN}")
    bob.join(room)
    first, second, third = (alice.upload(f"picture {index}.png", png(10 + index)) for index in range(3))
    his = bob.upload("his.png", png(20))
    for uri in (first, second):
        alice.picture(room, uri)
    bob.picture(room, his)
    identifier = first.rsplit("/", 1)[1]
    with check("user media and media list --user-id: pages and every sort"):
        listed = synadm.ok("user", "media", alice.id)
        one = next(item for item in listed["media"] if item["media_id"] == identifier)
        expect({"media_id", "media_type", "media_length", "upload_name", "created_ts", "last_access_ts", "quarantined_by", "safe_from_quarantine"} <= set(one), f"fields: {sorted(one)}")
        equal((one["media_type"], one["media_length"], one["upload_name"], one["quarantined_by"], one["safe_from_quarantine"]),
              ("image/png", len(png(10)), "picture 0.png", None, False), "the file")
        equal(synadm.ok("media", "list", "-u", alice.id)["total"], listed["total"], "total")
        for sort in MEDIA_SORTS:
            there = [item["media_id"] for item in synadm.ok("user", "media", alice.id, "-s", sort)["media"]]
            back = [item["media_id"] for item in synadm.ok("user", "media", alice.id, "-s", sort, "-r")["media"]]
            equal((len(there), sorted(there)), (listed["total"], sorted(back)), f"by {sort}")
        page = synadm.ok("user", "media", alice.id, "-l", "2")
        equal((len(page["media"]), page["next_token"]), (2, 2), "a page")
        expect(identifier in synadm.table("user", "media", alice.id), "not in the table")
    with check("media list --room-id"):
        answer = synadm.ok("media", "list", "-r", room)
        equal((sorted(answer["local"]), answer["remote"]), (sorted([first, second, his]), []), "files")
    with check("media quarantine and unquarantine by id, by address"):
        equal(synadm.ok("media", "quarantine", "-i", identifier), {}, "answer")
        expect(alice.download(first) == 404, f"download: {alice.download(first)}")
        equal(synadm.ok("media", "unquarantine", "-U", first), {}, "answer")
        equal(alice.download(first), 200, "download")
        equal(synadm.ok("media", "quarantine", "-U", third), {}, "answer")
        equal(alice.download(third), 404, "download")
        equal(synadm.ok("media", "unquarantine", "-i", third.rsplit("/", 1)[1]), {}, "answer")
        equal(alice.download(third), 200, "download")
    with check("media protect, then quarantine of a room spares it"):
        equal(synadm.ok("media", "protect", identifier), {}, "answer")
        equal(synadm.ok("media", "quarantine", "-r", room), {"num_quarantined": 2}, "answer")
        equal([alice.download(uri) for uri in (first, second, his, third)], [200, 404, 404, 200], "downloads")
        by = {item["media_id"]: item["quarantined_by"] for item in synadm.ok("user", "media", bob.id)["media"]}
        equal(by[his.rsplit("/", 1)[1]], synadm_admin(synadm), "quarantined_by")
    with check("media quarantine --user-id"):
        for uri in (second, his):
            synadm.ok("media", "unquarantine", "-U", uri)
        count = synadm.ok("media", "quarantine", "-u", bob.id)["num_quarantined"]
        equal((count, alice.download(his)), (len(synadm.ok("user", "media", bob.id)["media"]), 404), "files, and the download")
    with check("media delete by id"):
        equal(synadm.ok("media", "delete", "-i", second.rsplit("/", 1)[1]), {"deleted_media": [second.rsplit("/", 1)[1]], "total": 1}, "answer")
        equal(alice.download(second), 404, "download")
    with check("media delete by age and size spares pictures of people, unless told"):
        face, big = alice.upload("face.png", png(30)), alice.upload("big.bin", bytes(4096), "application/octet-stream")
        alice.ok("PUT", f"/_matrix/client/v3/profile/{quoted(alice.id)}/avatar_url", {"avatar_url": face})
        soon = str(int(time.time() * 1000) + 60_000)
        # Other suites' files lie on the same server.
        answer = synadm.ok("media", "delete", "-t", soon, "--size", "2")
        large = answer["deleted_media"]
        small = [uri.rsplit("/", 1)[1] for uri in (face, third)]
        expect(big.rsplit("/", 1)[1] in large and not set(small) & set(large), f"of more than two KiB: {answer}")
        equal(answer["total"], len(large), "total")
        deleted = synadm.ok("media", "delete", "-t", soon)["deleted_media"]
        expect(face.rsplit("/", 1)[1] not in deleted and third.rsplit("/", 1)[1] in deleted, f"deleted {deleted}")
        equal(alice.download(face), 200, "download of the picture")
        expect(face.rsplit("/", 1)[1] in synadm.ok("media", "delete", "-t", soon, "--delete-profiles")["deleted_media"], "kept")
    with check("media purge of what came from other servers: there is none"):
        equal(synadm.ok("media", "purge", "-d", "1"), {"deleted": 0}, "answer")


def synadm_admin(synadm):
    return synadm.ok("matrix", "raw", "client/v3/account/whoami")["user_id"]


def the_rest(synadm, admin, alice, bob, folder):
    with check("regtok new, list, details, update, delete"):
        made = synadm.ok("regtok", "new", "-n", f"token-{RUN}", "-u", "3", "-t", str(int(time.time() * 1000) + 3_600_000))
        equal({key: made[key] for key in ("token", "uses_allowed", "pending", "completed")}, {"token": f"token-{RUN}", "uses_allowed": 3, "pending": 0, "completed": 0}, "made")
        random = synadm.ok("regtok", "new", "-l", "24")
        equal((len(random["token"]), random["uses_allowed"], random["expiry_time"]), (24, None, None), "a token that the server thought of")
        listed = [one["token"] for one in synadm.ok("regtok", "list")["registration_tokens"]]
        expect({made["token"], random["token"]} <= set(listed), f"listed: {listed}")
        updated = synadm.ok("regtok", "update", made["token"], "-u", "-1", "-t", "-1")
        equal((updated["uses_allowed"], updated["expiry_time"]), (None, None), "updated")
        equal(synadm.ok("regtok", "update", made["token"], "-u", "0")["uses_allowed"], 0, "uses")
        invalid = [one["token"] for one in synadm.ok("regtok", "list", "-V")["registration_tokens"]]
        valid = [one["token"] for one in synadm.ok("regtok", "list", "-v")["registration_tokens"]]
        expect(made["token"] in invalid and made["token"] not in valid and random["token"] in valid, f"valid {valid}, invalid {invalid}")
        expect(made["token"] in synadm.table("regtok", "list"), "not in the table")
        equal(synadm.ok("regtok", "details", "--", random["token"])["token"], random["token"], "details")
        expect("successfully deleted" in synadm.run("regtok", "delete", made["token"]), "no word of success")
        equal(synadm.code("regtok", "details", made["token"]), "M_NOT_FOUND", "details of one that is gone")
        equal(synadm.code("regtok", "new", "-n", random["token"]), "M_INVALID_PARAM", "a token that exists")
    with check("notice send to one, from a file, and to many"):
        answer = synadm.ok("notice", "send", bob.id, "the server will rest", "<b>the server will rest</b>")
        expect(answer[0]["event_id"].startswith("$"), f"answer: {answer}")
        room = until("the invitation", lambda: bob.invitations())[0]
        bob.join(room)
        equal(bob.bodies(room), ["the server will rest"], "what he reads")
        (folder / "notice.txt").write_text("from a file")
        synadm.ok("notice", "send", "-f", localpart(bob.id), str(folder / "notice.txt"))
        equal(bob.bodies(room)[0], "from a file", "the second notice, in the same room")
        answers = synadm.ok("notice", "send", "-r", "-p", "2", f"@(alice|bob)-synadm-{RUN}:", "to many")
        equal((len(answers), bob.bodies(room)[0]), (2, "to many"), "answers, and what he reads")
    with check("history purge by event and by time, and purge-status"):
        room = alice.room(preset="public_chat")
        for word in ("one", "two", "three"):
            last = alice.say(room, word)
        job = synadm.ok("history", "purge", room, "-i", last, "--delete-local")["purge_id"]
        until("the purge", lambda: synadm.ok("history", "purge-status", job)["status"] == "complete")
        equal(alice.bodies(room), ["three"], "what is left")
        alice.say(room, "four")
        job = synadm.ok("history", "purge", room, "--before-ts", str(int(time.time() * 1000)), "--delete-local")["purge_id"]
        until("the purge", lambda: synadm.ok("history", "purge-status", job)["status"] == "complete")
        equal(alice.bodies(room)[0], "four", "what is left")
        equal(synadm.code("history", "purge-status", "nothing"), "M_NOT_FOUND", "of an unknown job")
    with check("raw: any request, with a body and with an error"):
        equal(synadm.ok("raw", f"v1/users/{quoted(bob.id)}/admin"), {"admin": False}, "answer")
        equal(synadm.ok("raw", "-m", "put", "-d", '{"admin": true}', f"v1/users/{quoted(bob.id)}/admin"), {}, "answer")
        equal(synadm.ok("raw", f"v1/users/{quoted(bob.id)}/admin"), {"admin": True}, "answer")
        equal(synadm.code("raw", "v1/nothing"), "M_UNRECOGNIZED", "of an unknown path")
    with check("group delete: groups are gone, as with Synapse"):
        equal(synadm.code("raw", "-m", "post", "v1/delete_group/%2Bgroup%3Aexample.org"), "M_UNRECOGNIZED", "answer")
    with check("an answer to somebody who is no admin"):
        bare = Synadm(synadm.config.parent / "alice.yaml")
        bare.config.write_text(synadm.config.read_text().replace(admin.token, alice.token))
        equal(bare.code("user", "list"), "M_FORBIDDEN", "answer")


def farewells(synadm, admin, alice):
    zoe, zara = registered("zoe"), registered("zara")
    room = alice.room(preset="public_chat")
    zoe.join(room)
    with check("user deactivate: out of rooms, no login, in the list only when asked"):
        equal(synadm.ok("user", "deactivate", zoe.id), {"id_server_unbind_result": "success"}, "answer")
        until("her leaving", lambda: alice.members(room) == [alice.id])
        equal((zoe.is_logged_in(), logged_in(zoe.id, PASSWORD)), (False, None), "sessions")
        equal(bool(synadm.ok("user", "details", zoe.id)["deactivated"]), True, "deactivated")
        equal(names(synadm.ok("user", "list", "-n", f"zoe-synadm-{RUN}")), [], "in the list")
        equal(names(synadm.ok("user", "list", "-d", "-n", f"zoe-synadm-{RUN}")), [zoe.id], "in the list with those deactivated")
    with check("user modify --activate with a password brings her back"):
        equal(synadm.ok("user", "modify", zoe.id, "--activate", "-P", PASSWORD)["deactivated"], False, "deactivated")
        expect(logged_in(zoe.id, PASSWORD), "no login")
    with check("user deactivate-regex --dry-run, then with erasure"):
        printed = synadm.run("user", "deactivate-regex", "-n", f"@z[a-z]+-synadm-{RUN}:")
        equal(sorted(line.split(": ")[1] for line in printed.splitlines()), sorted([zoe.id, zara.id]), "who would be")
        synadm.run("user", "deactivate-regex", "-e", f"@z[a-z]+-synadm-{RUN}:")
        for person in (zoe, zara):
            details = synadm.ok("user", "details", person.id)
            equal((bool(details["deactivated"]), details["erased"]), (True, True), person.id)
    with check("user modify --deactivate"):
        yves = registered("yves")
        equal(bool(synadm.ok("user", "modify", yves.id, "--deactivate")["deactivated"]), True, "deactivated")
        expect(not yves.is_logged_in(), "still logged in")


if __name__ == "__main__":
    sys.exit(main())
