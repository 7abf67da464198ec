"""A paging service for one machine: takes Alertmanager's webhooks, prints each alert, passes it on to chat robots.

Robots of Feishu, Lark, DingTalk and WeCom take JSON that Alertmanager cannot write: `--robot oncall=feishu:FILE` sends
what comes for the receiver `oncall` to one. FILE has the robot's address on its first line, its signing secret on the
second. Standard library only, so that it runs in the labelwatch image and without it.
"""

import argparse
import base64
import hashlib
import hmac
import json
import re
import sys
import time
import unicodedata
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BODY_BYTES_MAX = 4 << 20
KINDS = ("feishu", "lark", "dingtalk", "wecom")
_CHOICE = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"
#: Alerts with their whole text in one message; the others are counted.
SHOWN_MAX = 3
#: What a robot takes: WeCom's texts end at 2,048 bytes, the others' messages at 20,000.
_TEXT_BYTES_MAX = {"feishu": 16_000, "lark": 16_000, "dingtalk": 16_000, "wecom": 2_000}
_TIMEOUT_SECONDS = 10
#: Drawn as nothing: Hangul fillers, the empty Braille cell, variation selectors but that of emoji.
_EMPTY = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\ufe00-\ufe0e\uffa0\U000e0000-\U000e0fff]")
#: A card's colour, by what it says.
_COLOURS = {"page": "red", "ticket": "orange"}


class RobotError(Exception):
    """A robot's settings cannot be used, or it did not take a message; never names its address, which is a secret."""


@dataclass(frozen=True)
class Robot:
    """Where messages of a receiver go.

    Attributes:
        kind: One of `KINDS`.
        address: What the service gave for the robot, its token within.
        secret: Signs messages; empty where the service asks for none.
    """

    kind: str
    address: str
    secret: str


def read_robot(kind: str, file: Path) -> Robot:
    """A robot by its file.

    Raises:
        RobotError: The file cannot be read or says nothing usable.
    """
    try:
        address, _, secret = file.read_text("utf-8").strip().partition("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise RobotError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}") from error
    if urllib.parse.urlsplit(address.strip()).scheme not in ("http", "https"):
        raise RobotError(f"{file}: the robot's address, http:// or https://, must be on the first line")
    if kind == "wecom" and secret.strip():
        raise RobotError(f"{file}: WeCom's robots have no signing secret: remove the second line")
    return Robot(kind, address.strip(), secret.strip())


def plain(text: str) -> str:
    """On one line, and without what turns or hides text; joiners stay, since scripts need them."""
    return "".join(
        "\ufffd"
        if (unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") and each not in "\u200c\u200d")
        or _EMPTY.match(each)
        else each
        for each in text
    )


def cut(text: str, limit: int) -> str:
    """The text within so many bytes of UTF-8, a character never in parts."""
    raw = text.encode()
    return text if len(raw) <= limit else raw[: max(limit - 3, 0)].decode("utf-8", "ignore") + "…"


def title(notification: Mapping[str, Any]) -> str:
    """What a notification says in one line, in Chinese: how it is, how bad it is, of what."""
    first, *others = _by_status(notification)
    state = "告警" if first.get("status") == "firing" else "恢复"
    severity = first.get("labels", {}).get("severity", "")
    more = f" · 共 {len(others) + 1} 条" if others else ""
    return plain(f"[{state} {severity}] {_annotation(first, 'summary_zh') or _annotation(first, 'summary')}{more}")


def text(notification: Mapping[str, Any], limit: int) -> str:
    """The alerts, firing ones first, Chinese before English; links stay where the texts have to be cut."""
    alerts = _by_status(notification)
    shown, left_out = alerts[:SHOWN_MAX], len(alerts) - SHOWN_MAX
    rest = f"\n\n另有 {left_out} 条 / {left_out} more." if left_out > 0 else ""
    room = (limit - len(rest.encode())) // len(shown) - 2
    return "\n\n".join(_alert_text(alert, room) for alert in shown) + rest


def _alert_text(alert: Mapping[str, Any], limit: int) -> str:
    head = f"开始 Began: {_minute(alert, 'startsAt')}"
    if alert.get("status") != "firing":
        head += f" · 恢复 Resolved: {_minute(alert, 'endsAt')}"
    links = "".join(f"\n{name}: {url}" for name, url in _links(alert))
    room = limit - len(head.encode()) - len(links.encode()) - 2
    chinese, english = (
        "\n".join(plain(_annotation(alert, f"{name}{language}")) for name in ("summary", "description"))
        for language in ("_zh", "")
    )
    # The English text has what the Chinese one leaves, half of the room at least.
    chinese = cut(chinese, max(room - len(english.encode()), room // 2))
    return f"{head}\n{chinese}\n{cut(english, room - len(chinese.encode()))}{links}"


def _minute(alert: Mapping[str, Any], name: str) -> str:
    return f"{plain(str(alert.get(name, '')))[:16].replace('T', ' ')} UTC"


def _links(alert: Mapping[str, Any]) -> list[tuple[str, str]]:
    named = (("看板 Board", "dashboard_url"), ("手册 Runbook", "runbook_url"))
    links = [(name, plain(_annotation(alert, key))) for name, key in named]
    return [(name, url) for name, url in links if url.startswith(("http://", "https://"))]


def _annotation(alert: Mapping[str, Any], name: str) -> str:
    return str(alert.get("annotations", {}).get(name, ""))


def _by_status(notification: Mapping[str, Any]) -> list[dict[str, Any]]:
    return sorted(notification["alerts"], key=lambda alert: alert.get("status") != "firing")


def request(robot: Robot, notification: Mapping[str, Any], at_seconds: float) -> tuple[str, dict[str, Any]]:
    """Address and body of a robot's message, signed.

    No text is markup: Feishu's and Lark's elements are `plain_text`, the others' messages `text`. So a name that is
    markup, or calls everybody, is shown as it is.
    """
    said = text(notification, _TEXT_BYTES_MAX[robot.kind])
    if robot.kind in ("feishu", "lark"):
        return robot.address, {**_feishu_signature(robot, at_seconds), **_card(notification, said)}
    head = cut(title(notification), 300)
    limit = _TEXT_BYTES_MAX[robot.kind] - len(head.encode()) - 1
    body = {"msgtype": "text", "text": {"content": f"{head}\n{text(notification, limit)}"}}
    return robot.address + (_dingtalk_signature(robot, at_seconds) if robot.kind == "dingtalk" else ""), body


def _card(notification: Mapping[str, Any], said: str) -> dict[str, Any]:
    first = _by_status(notification)[0]
    colour = _COLOURS.get(first.get("labels", {}).get("severity", ""), "blue")
    buttons = [
        {"tag": "button", "text": {"tag": "plain_text", "content": name}, "url": url, "type": "default"}
        for name, url in _links(first)
    ]
    return {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {
                "title": {"tag": "plain_text", "content": title(notification)},
                "template": colour if first.get("status") == "firing" else "green",
            },
            "elements": [
                {"tag": "div", "text": {"tag": "plain_text", "content": said}},
                *([{"tag": "action", "actions": buttons}] if buttons else []),
            ],
        },
    }


def _feishu_signature(robot: Robot, at_seconds: float) -> dict[str, str]:
    """Of nothing, with time and secret as the key: so Feishu wants it."""
    if not robot.secret:
        return {}
    key = f"{int(at_seconds)}\n{robot.secret}".encode()
    return {"timestamp": str(int(at_seconds)), "sign": base64.b64encode(hmac.digest(key, b"", hashlib.sha256)).decode()}


def _dingtalk_signature(robot: Robot, at_seconds: float) -> str:
    if not robot.secret:
        return ""
    at_ms = int(at_seconds * 1000)
    signed = hmac.digest(robot.secret.encode(), f"{at_ms}\n{robot.secret}".encode(), hashlib.sha256)
    return f"&timestamp={at_ms}&sign={urllib.parse.quote_plus(base64.b64encode(signed))}"


def send(robot: Robot, notification: Mapping[str, Any]) -> None:
    """Sends a notification to a robot.

    Raises:
        RobotError: The robot did not take it.
    """
    address, body = request(robot, notification, time.time())
    raw = json.dumps(body, ensure_ascii=False).encode()
    try:
        asked = urllib.request.Request(address, raw, {"Content-Type": "application/json; charset=utf-8"})
        with urllib.request.urlopen(asked, timeout=_TIMEOUT_SECONDS) as response:
            answer = json.loads(response.read(BODY_BYTES_MAX))
    except (OSError, ValueError) as error:
        raise RobotError(f"the {robot.kind} robot cannot be reached: {type(error).__name__}") from error
    # All of them answer 200 and say in the body that they took it: 0, by one of these names.
    codes = [answer[name] for name in ("code", "errcode", "StatusCode") if name in answer]
    if codes and codes[0] != 0:
        said = plain(str(answer.get("msg") or answer.get("errmsg") or ""))[:200]
        raise RobotError(f"the {robot.kind} robot refused a message: code {codes[0]}, {said}")


def lines(receiver: str, notification: dict[str, Any]) -> list[str]:
    """One JSON line an alert: who is notified, firing or resolved, labels and annotations."""
    return [
        json.dumps(
            {"receiver": receiver, **{key: alert.get(key) for key in ("status", "labels", "annotations", "startsAt")}},
            ensure_ascii=False,
        )
        for alert in notification.get("alerts", [])
    ]


class Handler(BaseHTTPRequestHandler):
    """POST /RECEIVER takes a notification; GET says that the pager lives."""

    robots: Mapping[str, Robot] = {}

    def do_POST(self) -> None:
        """Passes a notification on, and prints it."""
        length = int(self.headers.get("Content-Length") or 0)
        receiver = self.path.strip("/")
        try:
            if not 0 < length <= BODY_BYTES_MAX:
                raise ValueError(f"a body of 1 to {BODY_BYTES_MAX} bytes is needed, not {length}")
            notification = json.loads(self.rfile.read(length))
            made = lines(receiver, notification)
        except (ValueError, AttributeError, TypeError) as error:
            self.send_error(400, "Not a notification of Alertmanager", str(error))
            return
        robot = self.robots.get(receiver)
        try:
            if robot and made:
                send(robot, notification)
        except RobotError as error:
            # Alertmanager tries again, and counts it as failed: LabelwatchNotificationsFailing pages by another way.
            sys.stderr.write(f"{receiver}: {error}\n")
            sys.stderr.flush()
            self.send_error(502, "The robot did not take it")
            return
        sys.stdout.write("".join(f"{line}\n" for line in made))
        sys.stdout.flush()
        self._answer()

    def do_GET(self) -> None:
        """Says that the pager lives."""
        self._answer()

    def _answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet: what is printed is what on-call gets."""


def _robot(argument: str) -> tuple[str, Robot]:
    receiver, _, rest = argument.partition("=")
    kind, _, file = rest.partition(":")
    if not receiver or kind not in KINDS or not file:
        raise argparse.ArgumentTypeError(f"{argument!r}: RECEIVER=KIND:FILE is needed; for KIND use " + _CHOICE)
    try:
        return receiver, read_robot(kind, Path(file))
    except RobotError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    # Anyone who reaches it can write what on-call reads: this machine alone, unless somebody says otherwise.
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--robot", type=_robot, action="append", default=[], metavar="RECEIVER=KIND:FILE")
    given = parser.parse_args(arguments)
    Handler.robots = dict(given.robot)
    ThreadingHTTPServer((given.host, given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
