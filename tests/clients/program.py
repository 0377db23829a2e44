"""The program as an admin meets it: first start without a file, command line, environment, TLS, the end.

Starts BINARY (CLIENTS_BINARY) by itself, in folders of its own.
"""

import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

from lyceum_process import answers, free_port

BINARY = os.environ["CLIENTS_BINARY"]
PASSWORD = "correct horse battery staple 7"
counts = {"passed": 0, "failed": 0}


class Failed(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Failed(what)


def check(body):
    """Runs a check; its documentation is its name."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lyceum-program-") as folder:
        try:
            body(Path(folder))
        except Exception as error:  # a failed check must not end the suite
            counts["failed"] += 1
            why = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            print(f"FAILED program: {body.__doc__}: {why}".replace("\n", " ⏎ "), flush=True)
            return
    counts["passed"] += 1
    print(f"ok     program: {body.__doc__} ({(time.monotonic() - started) * 1000:.0f} ms)", flush=True)


class Running:
    """A started process and what it says."""

    def __init__(self, folder, *arguments, port=None, environment=None, scheme="http"):
        self.port = port or free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self.file = folder / "said.log"
        with self.file.open("ab") as out:
            self.process = subprocess.Popen([BINARY, "serve", *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=folder,
                                            env=dict(os.environ, **(environment or {})), start_new_session=True)

    def wait(self, seconds=15):
        end = time.monotonic() + seconds
        while not (answers(self.url) if self.url.startswith("http:") else self.listens()):
            expect(self.process.poll() is None, f"it ended with {self.process.returncode}: {self.said()[-500:]}")
            expect(time.monotonic() < end, f"no answer: {self.said()[-500:]}")
            time.sleep(0.01)
        return self

    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def said(self):
        return self.file.read_text(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def ask(method, url, body=None, token=None, context=None):
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.status, json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")


def log_in(url, user, password=PASSWORD):
    return ask("POST", f"{url}/_matrix/client/v3/login", {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": user}, "password": password})


def command(folder, *arguments, stdin=""):
    finished = subprocess.run([BINARY, *arguments], cwd=folder, input=stdin, capture_output=True, text=True, timeout=30)
    return finished.returncode, finished.stdout + finished.stderr


@check
def defaults(folder):
    """config --defaults prints TOML with every key described"""
    code, text = command(folder, "config", "--defaults")
    expect(code == 0, text)
    table = tomllib.loads(text)
    expect(table["server_name"] == "localhost:8008" and table["registration"]["mode"] == "closed" and table["rooms"]["default_version"] == "12", f"{table}")
    for section in ("storage", "registration", "rooms", "rate_limits", "federation", "application_services"):
        expect(section in table, f"{section} is missing")
    expect(text.count("#") > 30, "keys are described")


@check
def first_start(folder):
    """serve without a file greets, and opens registration by the token it prints"""
    port = free_port()
    with Running(folder, "--listen", f"127.0.0.1:{port}", port=port) as server:
        server.wait()
        said = server.said()
        expect(str(port) in said, f"the address: {said}")
        expect("data" in said, f"where the data lies: {said}")
        expect("user add" in said and "--admin" in said, f"how to make the first admin: {said}")
        status, challenge = ask("POST", f"{server.url}/_matrix/client/v3/register", {"username": "first", "password": PASSWORD})
        expect(status == 401 and any("m.login.registration_token" in flow["stages"] for flow in challenge["flows"]), f"{status} {challenge}")
        wrong = {"type": "m.login.registration_token", "token": "nonsense", "session": challenge["session"]}
        status, answer = ask("POST", f"{server.url}/_matrix/client/v3/register", {"username": "first", "password": PASSWORD, "auth": wrong})
        expect(status == 401 and "user_id" not in answer, f"a wrong token: {status} {answer}")
        words = [word for word in re.findall(r"[A-Za-z0-9_~.-]{8,64}", said)]
        for word in words:
            _, valid = ask("GET", f"{server.url}/_matrix/client/v1/register/m.login.registration_token/validity?token={word}")
            if valid.get("valid"):
                break
        else:
            raise Failed(f"no registration token in: {said}")
        status, answer = ask("POST", f"{server.url}/_matrix/client/v3/register", {"username": "first", "password": PASSWORD, "auth": {"type": "m.login.registration_token", "token": word, "session": challenge["session"]}})
        if status == 401:
            status, answer = ask("POST", f"{server.url}/_matrix/client/v3/register", {"username": "first", "password": PASSWORD, "auth": {"type": "m.login.dummy", "session": challenge["session"]}})
        expect(status == 200 and answer["user_id"].startswith("@first:localhost"), f"registration by the token: {status} {answer}")
        expect((folder / "data").is_dir(), "the data lies in ./data")
        expect(oct((folder / "data").stat().st_mode & 0o077) == "0o0", "nobody else can read the data folder")
    with Running(folder, "--listen", f"127.0.0.1:{port}", port=port) as server:
        server.wait()
        status, answer = log_in(server.url, "first")
        expect(status == 200, f"after a kill and a start: {status} {answer}")


@check
def users(folder):
    """user add, passwd and admin, while the server runs and while not"""
    place = ("--data", str(folder / "d"), "--server-name", "test.example")
    code, said = command(folder, "user", "add", "early", "--admin", "--password", PASSWORD, *place)
    expect(code == 0, f"before any start: {said}")
    port = free_port()
    with Running(folder, *place, "--listen", f"127.0.0.1:{port}", port=port) as server:
        server.wait()
        status, answer = log_in(server.url, "early")
        expect(status == 200 and answer["user_id"] == "@early:test.example", f"made before the start: {status} {answer}")
        code, said = command(folder, "user", "add", "late", *place, stdin=f"{PASSWORD}\n")
        expect(code == 0, f"beside a running server: {said}")
        status, late = log_in(server.url, "late")
        expect(status == 200, f"made beside it: {status} {late}")
        code, said = command(folder, "user", "add", "late", "--password", PASSWORD, *place)
        expect(code != 0 and "panicked" not in said, f"a taken name: {code} {said}")
        code, said = command(folder, "user", "passwd", "late", "--password", "another good password", *place)
        expect(code == 0, said)
        expect(ask("GET", f"{server.url}/_matrix/client/v3/account/whoami", token=late["access_token"])[0] == 401, "a new password ends sessions")
        expect(log_in(server.url, "late")[0] == 403 and log_in(server.url, "late", "another good password")[0] == 200, "the new password")
        code, said = command(folder, "user", "admin", "nobody", *place)
        expect(code != 0, f"an unknown user: {said}")


@check
def environment(folder):
    """the environment overrides, and what is wrong is said in words"""
    port = free_port()
    with Running(folder, "--listen", f"127.0.0.1:{port}", port=port, environment={"LYCEUM_SERVER_NAME": "env.example", "LYCEUM_REGISTRATION__MODE": "open"}) as server:
        server.wait()
        body = {"username": "open", "password": PASSWORD}
        _, challenge = ask("POST", f"{server.url}/_matrix/client/v3/register", body)
        status, answer = ask("POST", f"{server.url}/_matrix/client/v3/register", {**body, "auth": {"type": "m.login.dummy", "session": challenge.get("session")}})
        expect(status == 200 and answer["user_id"] == "@open:env.example", f"open registration: {status} {answer}")
        busy = subprocess.run([BINARY, "serve", "--data", str(folder / "other"), "--listen", f"127.0.0.1:{port}"], cwd=folder, capture_output=True, text=True, timeout=20)
        expect(busy.returncode != 0 and str(port) in busy.stderr + busy.stdout, f"a taken address: {busy.returncode} {busy.stderr}")
    (folder / "wrong.toml").write_text('[registration]\nmood = "open"\n')
    code, said = command(folder, "serve", "--config", "wrong.toml")
    expect(code != 0 and "mood" in said and "panicked" not in said, f"an unknown key: {code} {said}")
    code, said = command(folder, "serve", "--config", "nowhere.toml")
    expect(code != 0 and "nowhere.toml" in said, f"a missing file: {code} {said}")


@check
def server_name_is_kept(folder):
    """another server name on the same data is refused"""
    port = free_port()
    data = str(folder / "d")
    with Running(folder, "--data", data, "--listen", f"127.0.0.1:{port}", "--server-name", "one.example", port=port) as server:
        server.wait()
        server.process.terminate()
        expect(server.process.wait(10) == 0, "SIGTERM")
    second = subprocess.run([BINARY, "serve", "--data", data, "--listen", f"127.0.0.1:{port}", "--server-name", "two.example"], cwd=folder, capture_output=True, text=True, timeout=10)
    expect(second.returncode != 0 and "one.example" in second.stderr + second.stdout, f"{second.returncode} {second.stderr[-300:]}")


@check
def second_process(folder):
    """a second process on the same data does no harm"""
    data = str(folder / "d")
    port, other = free_port(), free_port()
    with Running(folder, "--data", data, "--listen", f"127.0.0.1:{port}", port=port) as server:
        server.wait()
        second = subprocess.Popen([BINARY, "serve", "--data", data, "--listen", f"127.0.0.1:{other}"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            code = second.wait(5)
        except subprocess.TimeoutExpired:
            second.kill()
            second.wait()
            raise Failed("it runs beside the first one, with a cache of its own") from None
        expect(code != 0, f"it ended with {code}")
        expect(answers(server.url), "the first one goes on")


@check
def tls(folder):
    """TLS with certificate files"""
    if not shutil.which("openssl"):
        raise Failed("this check needs the openssl program")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                   cwd=folder, check=True, capture_output=True)
    port = free_port()
    (folder / "tls.toml").write_text(f'[[listeners]]\nbind = "127.0.0.1:{port}"\nserves = ["client"]\ntls_certificate = "{folder}/c.pem"\ntls_private_key = "{folder}/k.pem"\n')
    with Running(folder, "--config", "tls.toml", "--data", str(folder / "d"), port=port, scheme="https") as server:
        server.wait()
        context = ssl.create_default_context(cafile=str(folder / "c.pem"))
        status, answer = ask("GET", f"{server.url}/_matrix/client/versions", context=context)
        expect(status == 200 and "v1.11" in answer["versions"], f"{status} {answer}")


@check
def metrics_and_landing(folder):
    """metrics in Prometheus' form, health, a page for people"""
    port = free_port()
    with Running(folder, "--listen", f"127.0.0.1:{port}", port=port) as server:
        server.wait()
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        expect("# TYPE" in text and re.search(r"^\w+(\{[^}]*\})? [0-9.e+]+$", text, re.M), text[:300])
        with urllib.request.urlopen(f"{server.url}/health", timeout=5) as answer:
            expect(answer.status == 200, "health")
        with urllib.request.urlopen(f"{server.url}/", timeout=5) as answer:
            expect(answer.headers["content-type"].startswith("text/html"), "a page at /")


@check
def application_service(folder):
    """an application service registers, logs in as its users, acts for them, and keeps its names to itself"""
    port = free_port()
    (folder / "bridge.yaml").write_text(
        "id: bridge\nurl: null\nas_token: the-as-token-0123456789\nhs_token: the-hs-token-0123456789\nsender_localpart: bridgebot\n"
        "namespaces:\n  users:\n    - exclusive: true\n      regex: '@bridge_.*'\n  aliases: []\n  rooms: []\nrate_limited: false\n"
    )
    (folder / "as.toml").write_text(f'server_name = "as.example"\n[registration]\nmode = "open"\n[application_services]\nfiles = ["{folder}/bridge.yaml"]\n')
    with Running(folder, "--config", "as.toml", "--data", str(folder / "d"), "--listen", f"127.0.0.1:{port}", port=port) as server:
        server.wait()
        token = "the-as-token-0123456789"
        v3 = f"{server.url}/_matrix/client/v3"
        status, answer = ask("GET", f"{v3}/account/whoami", token=token)
        expect(status == 200 and answer["user_id"] == "@bridgebot:as.example", f"the service itself: {status} {answer}")
        status, answer = ask("POST", f"{v3}/register", {"type": "m.login.application_service", "username": "bridge_ann"}, token)
        expect(status == 200 and answer["user_id"] == "@bridge_ann:as.example", f"register: {status} {answer}")
        status, answer = ask("POST", f"{v3}/login", {"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "bridge_ann"}}, token)
        expect(status == 200 and ask("GET", f"{v3}/account/whoami", token=answer["access_token"])[0] == 200, f"login: {status} {answer}")
        status, answer = ask("POST", f"{v3}/createRoom?user_id=@bridge_ann:as.example", {"name": "Bridged"}, token)
        expect(status == 200, f"acting for a user: {status} {answer}")
        room = answer["room_id"]
        status, answer = ask("PUT", f"{v3}/rooms/{room}/send/m.room.message/1?user_id=@bridge_ann:as.example&ts=1500000000000", {"msgtype": "m.text", "body": "from elsewhere"}, token)
        expect(status == 200, f"sending with a time of its own: {status} {answer}")
        status, event = ask("GET", f"{v3}/rooms/{room}/event/{answer['event_id']}?user_id=@bridge_ann:as.example", token=token)
        expect(event["origin_server_ts"] == 1500000000000 and event["sender"] == "@bridge_ann:as.example", f"{event}")
        status, answer = ask("GET", f"{v3}/account/whoami?user_id=@somebody:as.example", token=token)
        expect(status == 403, f"a user outside its namespace: {status} {answer}")
        status, answer = ask("POST", f"{v3}/register", {"username": "bridge_mallory", "password": PASSWORD, "auth": {"type": "m.login.dummy"}})
        expect(status == 400 and answer["errcode"] == "M_EXCLUSIVE", f"somebody else taking its names: {status} {answer}")
        status, answer = ask("POST", f"{v3}/login", {"type": "m.login.application_service", "identifier": {"type": "m.id.user", "user": "bridge_ann"}}, "wrong")
        expect(status in (401, 403), f"a wrong token: {status} {answer}")


@check
def rate_limits(folder):
    """rate limits answer 429 with Retry-After, also for guessing passwords, and can be exempted"""
    port = free_port()
    settings = ('[registration]\nmode = "open"\n[rate_limits]\nmessage = { per_second = 1.0, burst = 5 }\nlogin = { per_second = 0.5, burst = 4 }\n'
                'exempt_users = ["@free:limits.example"]\n')
    (folder / "limits.toml").write_text(f'server_name = "limits.example"\n{settings}')
    with Running(folder, "--config", "limits.toml", "--data", str(folder / "d"), "--listen", f"127.0.0.1:{port}", port=port) as server:
        server.wait()
        v3 = f"{server.url}/_matrix/client/v3"

        def person(name):
            _, challenge = ask("POST", f"{v3}/register", {"username": name, "password": PASSWORD})
            status, user = ask("POST", f"{v3}/register", {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy", "session": challenge.get("session")}})
            expect(status == 200, f"{status} {user}")
            return user["access_token"], ask("POST", f"{v3}/createRoom", {}, user["access_token"])[1]["room_id"]

        def flood(token, room):
            return [ask("PUT", f"{v3}/rooms/{room}/send/m.room.message/{n}", {"msgtype": "m.text", "body": "x"}, token) for n in range(12)]

        answers_got = flood(*person("limited"))
        refused = [answer for status, answer in answers_got if status == 429]
        expect(5 <= 12 - len(refused) <= 8, f"{12 - len(refused)} of 12 messages went through")
        expect(all(answer["errcode"] == "M_LIMIT_EXCEEDED" and answer["retry_after_ms"] > 0 for answer in refused), f"{refused[:1]}")
        expect(all(status == 200 for status, _ in flood(*person("free"))), "an exempt user is not limited")
        guesses = [log_in(server.url, "limited", f"guess number {n}")[0] for n in range(10)]
        expect(guesses.count(429) >= 4 and 403 in guesses, f"guessing passwords: {guesses}")
        request = urllib.request.Request(f"{v3}/login", method="POST", data=json.dumps({"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "limited"}, "password": "guess"}).encode())
        try:
            urllib.request.urlopen(request, timeout=5)
            raise Failed("one more guess is let through")
        except urllib.error.HTTPError as error:
            expect(error.code == 429 and int(error.headers["Retry-After"]) >= 1, f"{error.code} {error.headers}")


@check
def short_sessions(folder):
    """an access token that can be refreshed ends softly, and its refresh token gives the next"""
    port = free_port()
    (folder / "short.toml").write_text('[registration]\nmode = "open"\n[sessions]\naccess_token_lifetime_ms = 400\n')
    with Running(folder, "--config", "short.toml", "--data", str(folder / "d"), "--listen", f"127.0.0.1:{port}", port=port) as server:
        server.wait()
        v3 = f"{server.url}/_matrix/client/v3"
        _, challenge = ask("POST", f"{v3}/register", {"username": "ann", "password": PASSWORD})
        _, user = ask("POST", f"{v3}/register", {"username": "ann", "password": PASSWORD, "refresh_token": True, "auth": {"type": "m.login.dummy", "session": challenge.get("session")}})
        expect(user["expires_in_ms"] == 400 and user["refresh_token"], f"{user}")
        end = time.monotonic() + 5
        while (answer := ask("GET", f"{v3}/account/whoami", token=user["access_token"]))[0] == 200:
            expect(time.monotonic() < end, "the token does not end")
            time.sleep(0.05)
        expect(answer[0] == 401 and answer[1]["errcode"] == "M_UNKNOWN_TOKEN" and answer[1].get("soft_logout") is True, f"{answer}")
        status, fresh = ask("POST", f"{v3}/refresh", {"refresh_token": user["refresh_token"]})
        expect(status == 200 and ask("GET", f"{v3}/account/whoami", token=fresh["access_token"])[0] == 200, f"{status} {fresh}")
        status, again = ask("POST", f"{v3}/refresh", {"refresh_token": user["refresh_token"]})
        expect(status in (401, 403), f"a refresh token that was used and whose successor was used: {status} {again}")
        status, plain = log_in(server.url, "ann")
        expect("expires_in_ms" not in plain and "refresh_token" not in plain, f"who does not ask for it has no such token: {plain}")


@check
def media_settings(folder):
    """uploads have a limit, and media without a login can be switched off"""
    port = free_port()
    (folder / "media.toml").write_text('[registration]\nmode = "open"\n[media]\nupload_bytes_max = 1000\nlegacy_endpoints = false\n')
    with Running(folder, "--config", "media.toml", "--data", str(folder / "d"), "--listen", f"127.0.0.1:{port}", port=port) as server:
        server.wait()
        v3 = f"{server.url}/_matrix/client/v3"
        _, challenge = ask("POST", f"{v3}/register", {"username": "ann", "password": PASSWORD})
        _, user = ask("POST", f"{v3}/register", {"username": "ann", "password": PASSWORD, "auth": {"type": "m.login.dummy", "session": challenge.get("session")}})
        token = user["access_token"]
        status, answer = ask("GET", f"{server.url}/_matrix/client/v1/media/config", token=token)
        expect(status == 200 and answer["m.upload.size"] == 1000, f"the limit is told: {status} {answer}")
        status, answer = ask("POST", f"{server.url}/_matrix/media/v3/upload", "x" * 2000, token)
        expect(status == 413 and answer["errcode"] == "M_TOO_LARGE", f"too large: {status} {answer}")
        status, answer = ask("POST", f"{server.url}/_matrix/media/v3/upload", "x" * 100, token)
        expect(status == 200, f"small enough: {status} {answer}")
        path = answer["content_uri"][len("mxc://"):]
        status, answer = ask("GET", f"{server.url}/_matrix/media/v3/download/{path}")
        expect(status == 404 and answer["errcode"] in ("M_NOT_FOUND", "M_UNRECOGNIZED"), f"without a login: {status} {answer}")
        status, answer = ask("GET", f"{server.url}/_matrix/client/v1/media/download/{path}", token=token)
        expect(status == 200 and answer == "x" * 100, f"with one: {status}")


@check
def soft_stop(folder):
    """SIGTERM answers waiting syncs and ends within seconds; so does SIGINT"""
    for how in (signal.SIGTERM, signal.SIGINT):
        port = free_port()
        with Running(folder, "--listen", f"127.0.0.1:{port}", port=port, environment={"LYCEUM_REGISTRATION__MODE": "open"}) as server:
            server.wait()
            body = {"username": f"sig{int(how)}", "password": PASSWORD}
            _, challenge = ask("POST", f"{server.url}/_matrix/client/v3/register", body)
            _, user = ask("POST", f"{server.url}/_matrix/client/v3/register", {**body, "auth": {"type": "m.login.dummy", "session": challenge.get("session")}})
            _, first = ask("GET", f"{server.url}/_matrix/client/v3/sync?timeout=0", token=user["access_token"])
            ended = []

            def wait_in_sync(server=server, user=user, first=first, ended=ended):
                try:
                    ended.append(ask("GET", f"{server.url}/_matrix/client/v3/sync?timeout=30000&since={first['next_batch']}", token=user["access_token"])[0])
                except OSError as error:
                    ended.append(str(error))

            waiting = threading.Thread(target=wait_in_sync, daemon=True)
            waiting.start()
            time.sleep(0.3)
            begun = time.monotonic()
            server.process.send_signal(how)
            code = server.process.wait(10)
            seconds = time.monotonic() - begun
            waiting.join(5)
            expect(code == 0 and seconds < 4, f"{how.name}: ended with {code} after {seconds:.1f} s")
            expect(ended and (ended[0] == 200 or ended[0] >= 500 if isinstance(ended[0], int) else True), f"the waiting sync: {ended}")


print(f"program: {counts['passed']} passed, {counts['failed']} failed", flush=True)
sys.exit(0 if counts["failed"] == 0 and counts["passed"] else 1)
