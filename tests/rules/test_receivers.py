"""What receivers get: pages through a real Alertmanager and the shipped examples to a server that keeps what comes."""

import base64
import email
import email.policy
import hashlib
import hmac
import json
import os
import re
import shutil
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.rules.stories import PROMETHEUS, tool
from tests.support.ports import free_ports

pytestmark = pytest.mark.promtool

RECEIVERS = PROMETHEUS / "receivers"
EXAMPLES = sorted(RECEIVERS.glob("*.yml"))
CHATS = ("feishu", "lark", "dingtalk", "wecom")
#: Where each of them gets its messages; e-mail has a server of its own.
PATHS = ("slack", "pagerduty", *CHATS)
SECRET = "SEC-of-the-robot"
#: Markup of every receiver, a call to everybody, a line of its own, a command, a character that turns the text round.
HOSTILE = "<!channel> <b>&x</b> <at id=all></at> *b* [a](http://evil)\n$(id) \u202egnp\u200b\u3164\ufe00 站"


def page_of_ours() -> dict[str, Any]:
    """The labels and texts that promtool has compared with the rules, to the letter."""
    story = yaml.safe_load((PROMETHEUS / "tests" / "pages_test.yml").read_text("utf-8"))["tests"][0]
    (alert,) = story["alert_rule_test"][1]["exp_alerts"]
    labels = {"alertname": "LabelwatchSiteQualityDrift", **alert["exp_labels"]}
    return {"labels": labels, "annotations": alert["exp_annotations"]}


def hostile_page() -> dict[str, Any]:
    ours = page_of_ours()
    texts = {
        name: said if name.endswith("_url") else said.replace("manila-1", HOSTILE)
        for name, said in ours["annotations"].items()
    }
    texts["dashboard_url"] = f"http://boards/d/labelwatch-site?var-site={urllib.parse.quote(HOSTILE)}"
    return {"labels": {**ours["labels"], "site": HOSTILE}, "annotations": texts}


class _Kept(BaseHTTPRequestHandler):
    got: list[tuple[str, dict[str, Any]]]
    #: Paths that refuse as a robot does: with 200, and an error's number in the body.
    refusing: set[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = urllib.parse.urlsplit(self.path).path in self.refusing
        if not refused:
            self.got.append((self.path, body))
        raw = json.dumps({"errcode": 130101, "errmsg": "send too fast"} if refused else {"errcode": 0}).encode()
        # PagerDuty's 202 says that it took the event.
        self.send_response(202 if self.path.startswith("/pagerduty") else 200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""


class _Mail(socketserver.StreamRequestHandler):
    got: list[bytes]

    def handle(self) -> None:
        self.wfile.write(b"220 kept\r\n")
        while line := self.rfile.readline():
            word = line.strip().upper()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                # A dot at the beginning of a line comes as two.
                said = (each.removeprefix(b".") for each in iter(self.rfile.readline, b".\r\n"))
                self.got.append(b"".join(said))
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


class Bench:
    """An Alertmanager with every receiver of the examples, the pager beside it, and what arrived."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        if shutil.which("prometheus-alertmanager") is None:
            pytest.skip("prometheus-alertmanager is missing: on Debian, install the package of this name")
        self._folder = folder
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.refusing: set[str] = set()
        self._mails: list[bytes] = []
        handler = type("Kept", (_Kept,), {"got": self.got, "refusing": self.refusing})
        mail = type("Mail", (_Mail,), {"got": self._mails})
        web = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        smtp = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), mail))
        for server in (web, smtp):
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        self._pager_port, self._port = free_ports(2)
        config = self._config(f"http://127.0.0.1:{web.server_port}", f"127.0.0.1:{smtp.server_address[1]}")
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        robots = [("--robot", f"oncall-{kind}={kind}:{folder / kind}") for kind in CHATS]
        self._log = stack.enter_context((folder / "log").open("wb"))
        for command in (
            [sys.executable, str(PROMETHEUS / "pager.py"), "--port", str(self._pager_port), *sum(robots, ())],
            [
                *("prometheus-alertmanager", f"--config.file={config}", f"--storage.path={folder / 'data'}"),
                *(f"--web.listen-address=127.0.0.1:{self._port}", "--cluster.listen-address="),
            ],
        ):
            process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=environment)
            stack.callback(process.wait)
            stack.callback(process.kill)
        eventually(self._ready, self)

    def _config(self, web: str, smtp: str) -> Path:
        """The examples in one file: other addresses, no waiting, nothing else changed."""
        shutil.copy(RECEIVERS / "labelwatch.tmpl", self._folder)
        (self._folder / "slack-address").write_text(f"{web}/slack")
        (self._folder / "pagerduty-key").write_text("key-of-ours")
        for kind in CHATS:
            # Alertmanager knows nothing of these: the pager has them from files alone.
            (self._folder / kind).write_text(f"{web}/{kind}/k/?access_token=t\n{SECRET * (kind != 'wecom')}")
        texts = [file.read_text("utf-8").replace("/etc/alertmanager", str(self._folder)) for file in EXAMPLES]
        receivers = [each for text in texts for each in yaml.safe_load(text)["receivers"]]
        for number, receiver in enumerate(receivers):
            for hook in receiver.get("webhook_configs", []):
                hook["url"] = hook["url"].replace(":9095", f":{self._pager_port}")
            for duty in receiver.get("pagerduty_configs", []):
                duty["url"] = f"{web}/pagerduty"
            for mail in receiver.get("email_configs", []):
                mail.update(smarthost=smtp, require_tls=False)
                # Alertmanager gives a password to nobody without encryption.
                del mail["auth_username"], mail["auth_password_file"]
            receiver["name"] += f"-{number}"
        route = {
            "receiver": receivers[0]["name"],
            "group_by": ["site"],
            "group_wait": "1s",
            "group_interval": "1s",
            "repeat_interval": "4h",
            "routes": [{"receiver": each["name"], "continue": True} for each in receivers],
        }
        config = self._folder / "alertmanager.yml"
        config.write_text(yaml.safe_dump({"templates": ["labelwatch.tmpl"], "route": route, "receivers": receivers}))
        return config

    def _ready(self) -> bool:
        for url in (f"http://127.0.0.1:{self._pager_port}/", f"http://127.0.0.1:{self._port}/-/ready"):
            try:
                urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5).close()
            except OSError:
                return False
        return True

    def log(self) -> str:
        return (self._folder / "log").read_text("utf-8", "replace")[-4000:]

    def tell(self, *alerts: dict[str, Any], ends: bool = False) -> None:
        """As Prometheus does: firing, or resolved a second ago."""
        now = datetime.now(UTC)
        times = {"startsAt": (now - timedelta(minutes=5)).isoformat()}
        times["endsAt"] = (now + timedelta(seconds=-1 if ends else 3600)).isoformat()
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/api/v2/alerts",
            json.dumps([{**alert, **times} for alert in alerts]).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=10).close()

    def to(self, name: str) -> list[tuple[str, dict[str, Any]]]:
        return [(path, body) for path, body in self.got if path.strip("/").split("/")[0] == name]

    def all_got(self, count: int) -> bool:
        """Whether every receiver has so many, mail too."""
        return all(len(self.to(name)) == count for name in PATHS) and len(self.mails()) == count

    def mails(self) -> list[Any]:
        return [email.message_from_bytes(each, policy=email.policy.default) for each in self._mails]


def eventually(holds: Callable[[], object], bench: Bench) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"{[path for path, _ in bench.got]}\n{bench.log()}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path_factory.mktemp("receivers"), stack)


@pytest.fixture(scope="module")
def told(bench: Bench) -> Bench:
    """A page of ours and one of a site with a hostile name fire, then both are over."""
    alerts = page_of_ours(), hostile_page()
    for times, ends in ((1, False), (2, True)):
        bench.tell(*alerts, ends=ends)
        eventually(partial(bench.all_got, 2 * times), bench)
    return bench


def said_by(bench: Bench, name: str, hostile: bool) -> list[Any]:
    """What one receiver got of one site, firing before resolved."""
    mark = "evil" if hostile else "manila-1"
    bodies = [body for _, body in bench.to(name) if mark in json.dumps(body)]
    assert len(bodies) == 2, "once when it fires, once when it is over"
    return bodies


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_configuration_and_holds_no_secret(example: Path) -> None:
    tool("amtool", "check-config", example)
    for receiver in yaml.safe_load(example.read_text("utf-8"))["receivers"]:
        for options in (each for name, many in receiver.items() if name != "name" for each in many):
            assert not {"api_url", "routing_key", "service_key", "auth_password", "api_secret"} & set(options)


def test_slack_gets_the_page_and_its_end(told: Bench) -> None:
    fires, over = (body["attachments"][0] for body in said_by(told, "slack", hostile=False))
    assert fires["title"] == "[FIRING page] Site manila-1: accuracy down to 89.8% from 95.1%"
    assert fires["title_link"] == "http://boards/d/labelwatch-site?var-site=manila-1"
    assert (fires["color"], over["color"]) == ("danger", "good")
    texts = page_of_ours()["annotations"]
    for name in ("summary", "description", "summary_zh", "description_zh"):
        assert texts[name].replace("&", "&amp;") in fires["text"]
    assert [each["url"] for each in fires["actions"]] == [texts["dashboard_url"], texts["runbook_url"]]
    assert over["title"].startswith("[RESOLVED page] Site manila-1")
    minute = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.match(rf"FIRING since {minute}\n", fires["text"])
    assert re.match(rf"RESOLVED at {minute}; it began at {minute}\n", over["text"])


def test_slack_reads_no_markup_in_a_name(told: Bench) -> None:
    fires, _ = (body["attachments"][0] for body in said_by(told, "slack", hostile=True))
    for field in ("title", "text", "fallback"):
        assert not set("<>\u202e\u200b\u3164\ufe00") & set(fires[field])
        assert "&lt;!channel&gt; &lt;b&gt;&amp;x&lt;/b&gt;" in fires[field]
    assert fires["mrkdwn_in"] == ["pretext"]


def test_pagerduty_gets_one_incident_that_ends(told: Bench) -> None:
    fires, over = said_by(told, "pagerduty", hostile=False)
    assert (fires["event_action"], over["event_action"]) == ("trigger", "resolve")
    assert fires["dedup_key"] == over["dedup_key"]
    assert fires["routing_key"] == "key-of-ours"
    page = fires["payload"]
    assert page["summary"] == "[FIRING page] Site manila-1: accuracy down to 89.8% from 95.1%"
    assert (page["severity"], page["component"], page["class"]) == (
        *("critical", "manila-1", "LabelwatchSiteQualityDrift"),
    )
    assert page_of_ours()["annotations"]["description_zh"] in page["custom_details"]["firing"]
    assert [each["href"] for each in fires["links"]][1] == "http://runbooks/LabelwatchSiteQualityDrift.md"
    odd, _ = said_by(told, "pagerduty", hostile=True)
    assert not set("\n\u202e\u200b\u3164\ufe00") & set(odd["payload"]["summary"])


def test_an_e_mail_is_text_and_html_and_escapes_both(told: Bench) -> None:
    ours = [mail for mail in told.mails() if "manila-1" in mail["Subject"]]
    assert [mail["Subject"].split(" Site")[0] for mail in ours] == ["[FIRING page]", "[RESOLVED page]"]
    assert ours[0]["To"] == "quality-team@example.com"
    texts = page_of_ours()["annotations"]
    for kind in ("plain", "html"):
        body = ours[0].get_body((kind,)).get_content()
        for name in ("summary", "description", "summary_zh", "description_zh", "runbook_url"):
            assert texts[name] in body.replace("&#43;", "+"), (kind, name)
    odd = [mail for mail in told.mails() if "manila-1" not in mail["Subject"]]
    assert len(odd) == 2
    html = odd[0].get_body(("html",)).get_content()
    assert "<b>&x" not in html
    assert "&lt;b&gt;&amp;x&lt;/b&gt;" in html
    assert not set("\u202e\u200b\u3164\ufe00") & set(html + odd[0].get_body(("plain",)).get_content())
    assert "Bcc" not in odd[0]


@pytest.mark.parametrize("name", ["feishu", "lark"])
def test_a_card_is_plain_text_with_two_links_and_signed(told: Bench, name: str) -> None:
    fires, over = said_by(told, name, hostile=False)
    header = fires["card"]["header"]
    assert header["title"]["content"] == f"[告警 page] {page_of_ours()['annotations']['summary_zh']}"
    assert (header["template"], over["card"]["header"]["template"]) == ("red", "green")
    div, action = fires["card"]["elements"]
    texts = page_of_ours()["annotations"]
    assert texts["description_zh"] in div["text"]["content"]
    assert texts["description"] in div["text"]["content"]
    assert [each["url"] for each in action["actions"]] == [texts["dashboard_url"], texts["runbook_url"]]
    # As Feishu's documentation has it: the time in seconds and the secret are the key, and nothing is signed.
    key = f"{fires['timestamp']}\n{SECRET}".encode()
    assert base64.b64decode(fires["sign"]) == hmac.new(key, b"", hashlib.sha256).digest()
    assert abs(time.time() - int(fires["timestamp"])) < 3600
    odd, _ = said_by(told, name, hostile=True)
    assert odd["card"]["elements"][0]["text"]["tag"] == "plain_text"
    assert not set("\u202e\u200b\u3164\ufe00") & set(odd["card"]["elements"][0]["text"]["content"])


def test_dingtalk_gets_text_and_a_signature_in_the_address(told: Bench) -> None:
    (path, fires), *_ = [(path, body) for path, body in told.to("dingtalk") if "manila-1" in json.dumps(body)]
    query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query))
    signed = hmac.new(SECRET.encode(), f"{query['timestamp']}\n{SECRET}".encode(), hashlib.sha256).digest()
    assert query["access_token"] == "t"
    assert base64.b64decode(query["sign"]) == signed
    assert abs(time.time() - int(query["timestamp"]) / 1000) < 3600
    assert fires["msgtype"] == "text"
    texts = page_of_ours()["annotations"]
    for name in ("summary", "description", "summary_zh", "description_zh"):
        assert f"\n{texts[name]}\n" in fires["text"]["content"]
    for name in ("dashboard_url", "runbook_url"):
        assert texts[name] in fires["text"]["content"]
    _, (_, over) = [(path, body) for path, body in told.to("dingtalk") if "manila-1" in json.dumps(body)]
    minute = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"
    assert re.search(rf"\n开始 Began: {minute} · 恢复 Resolved: {minute}\n", over["text"]["content"])


def test_wecom_gets_as_much_as_it_takes_and_always_the_links(told: Bench) -> None:
    for hostile in (False, True):
        fires, over = said_by(told, "wecom", hostile)
        assert (fires["msgtype"], over["msgtype"]) == ("text", "text")
        content = fires["text"]["content"]
        assert len(content.encode()) <= 2048
        assert content.endswith("\n手册 Runbook: http://runbooks/LabelwatchSiteQualityDrift.md")
        assert "准确率由 95.1% 下降至 89.8%" in content
        assert over["text"]["content"].startswith("[恢复 page]")
        assert not set("\u202e\u200b\u3164\ufe00") & set(content)


def test_a_robot_that_refuses_gets_the_message_again(told: Bench) -> None:
    """Robots say 200 and refuse in the body, as at 20 messages a minute: Alertmanager must learn of it."""
    told.refusing.add("/dingtalk/k/")
    page = page_of_ours()
    before = len(told.to("dingtalk"))
    told.tell({**page, "labels": {**page["labels"], "site": "lima-2"}})
    eventually(lambda: "the dingtalk robot refused a message: code 130101, send too fast" in told.log(), told)
    assert "access_token" not in told.log()
    assert SECRET not in told.log()
    assert len(told.to("dingtalk")) == before
    told.refusing.clear()
    eventually(lambda: len(told.to("dingtalk")) == before + 1, told)


@pytest.mark.parametrize(
    ("robot", "said", "why"),
    [
        ("oncall=telegram:{file}", "https://robot", "for KIND use feishu, lark, dingtalk or wecom"),
        ("oncall=feishu:{file}", "robot", "must be on the first line"),
        ("oncall=wecom:{file}", "https://robot\nsecret", "WeCom's robots have no signing secret"),
        ("oncall=feishu:{file}-gone", "", "cannot be read: No such file"),
    ],
)
def test_a_robots_file_that_cannot_be_used_stops_the_pager(tmp_path: Path, robot: str, said: str, why: str) -> None:
    (tmp_path / "robot").write_text(said)
    command = [sys.executable, str(PROMETHEUS / "pager.py"), "--port", "1", "--robot"]
    done = subprocess.run(
        [*command, robot.format(file=tmp_path / "robot")], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert why in " ".join(done.stderr.split())
