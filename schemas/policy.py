"""The policy file: the business' own numbers, in one place; read once at start, resolved by scope."""

import difflib
import hashlib
import tomllib
from collections.abc import Container
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from schemas.drift import SIGNALS, Signal
from schemas.events import Source, State
from schemas.river import DETECTORS, SCOPES, RiverChoice, RiverPolicy
from schemas.text import choice

Share = Annotated[float, Meta(ge=0, le=1)]
Target = Annotated[float, Meta(gt=0, lt=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
#: How long a task may wait and be worked on: up to a quarter of a year.
TurnaroundSeconds = Annotated[float, Meta(gt=0, le=7_776_000)]


class PolicyError(ValueError):
    """The policy file cannot be used; the message names the key, the value and what is allowed."""


class _Table(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A table of the file: an unknown key is an error, never ignored."""


class Oncall(_Table, frozen=True):
    """How often people may be disturbed for nothing, over all streams together."""

    false_pages_per_month: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    false_tickets_per_month: Annotated[float, Meta(gt=0, le=10_000)] = 8.0


class Overrides(_Table, frozen=True):
    """Numbers that a scope may set; absent ones come from the wider scope."""

    accuracy_target: Target | None = None
    qa_accuracy_target: Target | None = None
    critical_error_target: Share | None = None
    utilization_target: Share | None = None
    handle_seconds_target: Seconds | None = None
    turnaround_target_seconds: TurnaroundSeconds | None = None
    min_reviews: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


class Defaults(Overrides, frozen=True):
    """The widest scope, and what counts as headline accuracy."""

    accuracy_target: Target = 0.95
    qa_accuracy_target: Target = 0.98
    critical_error_target: Share = 0.005
    utilization_target: Share = 0.80
    handle_seconds_target: Seconds = 45.0
    turnaround_target_seconds: TurnaroundSeconds = 86_400.0
    min_reviews: Annotated[int, Meta(ge=1, le=1_000_000)] = 30
    headline_sources: Annotated[list[Source], Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["qa", "audit", "consensus", "gold"]
    )


class ProjectScope(Overrides, frozen=True):
    """A project, at one site or at all."""

    market: dict[str, Overrides] = {}


class SiteScope(Overrides, frozen=True):
    """A site."""

    vendor: str = ""
    timezone: str = "UTC"
    project: dict[str, ProjectScope] = {}


class Utilization(_Table, frozen=True):
    """What counts as logged-in time, and how much of it says something."""

    logged_in: Annotated[list[State], Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["productive", "available", "training", "meeting", "break"]
    )
    #: Minutes of people's time behind a rate or a share of it; of less nothing is said.
    min_minutes: Annotated[float, Meta(gt=0, le=1_440)] = 10.0


class Detection(_Table, frozen=True):
    """Which changes are watched for; `hold_hours`: age of a label at which its verdict counts for drift.

    `river` names detectors of river that run beside ours.
    """

    signals: list[Signal] = msgspec.field(default_factory=lambda: list(SIGNALS))
    hold_hours: Annotated[float, Meta(ge=0, le=720)] = 0
    river: RiverPolicy = RiverPolicy()


#: The name under which everything counts that is beyond a limit; no site may have it.
OTHER = "other"


class Limits(_Table, frozen=True):
    """How many names have figures of their own on a worker's page; what is beyond counts under `other`.

    `removed_sites` are left out: forged or closed ones. Their events are counted and skipped.
    """

    sites: Annotated[int, Meta(ge=1, le=100_000)] = 500
    combinations: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    series: Annotated[int, Meta(ge=1_000, le=10_000_000)] = 400_000
    removed_sites: list[str] = []


class _File(_Table, frozen=True):
    oncall: Oncall = Oncall()
    defaults: Defaults = Defaults()
    site: dict[str, SiteScope] = {}
    project: dict[str, ProjectScope] = {}
    utilization: Utilization = Utilization()
    detection: Detection = Detection()
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Targets:
    """A scope's numbers, resolved. Ratios 0 to 1; seconds where the name says so; `min_reviews` a count."""

    accuracy: float
    qa_accuracy: float
    critical_error: float
    utilization: float
    handle_seconds: float
    turnaround_target_seconds: float
    min_reviews: int


class Policy:
    """The policy as it applies; immutable.

    Precedence: site + project + market, site + project, project, site, defaults.
    """

    def __init__(self, file: _File | None = None) -> None:
        self._file = file or _File()
        self.oncall = self._file.oncall
        self.detection = self._file.detection
        self.limits = self._file.limits
        self.headline_sources = frozenset(self._file.defaults.headline_sources)
        self.logged_in = frozenset(self._file.utilization.logged_in)
        self.min_time_ms = self._file.utilization.min_minutes * 60_000
        self.resolve = lru_cache(maxsize=65_536)(self._resolve)

    @property
    def fingerprint(self) -> str:
        """Which policy this is, 12 hex digits: the same for every file that means the same numbers."""
        return hashlib.sha256(msgspec.json.encode(self._file, order="sorted")).hexdigest()[:12]

    @classmethod
    def load(cls, path: str | Path | None) -> "Policy":
        """Reads a policy file; None gives all defaults.

        Raises:
            PolicyError: The file cannot be read, or something in it is not allowed.
        """
        if path is None:
            return cls()
        try:
            # Windows' editors write a byte order mark.
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(f"{path}: cannot be read ({error}); give the path of a TOML file in UTF-8") from error
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, source: str = "policy.toml") -> "Policy":
        """Reads a policy from TOML text; `source` names it in errors.

        Raises:
            PolicyError: Something in it is not allowed.
        """
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise PolicyError(f"{source}: not valid TOML: {error}") from error
        file: _File = _convert(raw, _File, source, "")
        for name, site in file.site.items():
            try:
                ZoneInfo(site.timezone)
            except (KeyError, ValueError, OSError):
                raise PolicyError(
                    f"{source}: site.{name}.timezone = {site.timezone!r}: no such time zone; "
                    "write an IANA name such as 'Asia/Manila'"
                ) from None
        _check_river(file.detection, source)
        if OTHER in file.limits.removed_sites:
            raise PolicyError(
                f"{source}: limits.removed_sites: {OTHER!r} is no site: what is beyond the limits counts under it, and "
                "sums would be wrong without it; name the sites that take the room (`labelwatch sites` lists them)"
            )
        return cls(file)

    def _resolve(self, site: str = "", project: str = "", market: str = "") -> Targets:
        """A scope's numbers; an empty name is the wider scope."""
        file = self._file
        at_site = file.site.get(site)
        local = at_site.project.get(project) if at_site else None
        general = file.project.get(project)
        chain: list[Overrides | None] = [
            local.market.get(market) if local else None,
            local,
            general.market.get(market) if general else None,
            general,
            at_site,
            file.defaults,
        ]
        chosen: dict[str, Any] = {}
        for field in Overrides.__struct_fields__:
            chosen[field.removesuffix("_target")] = next(
                value for scope in chain if scope is not None and (value := getattr(scope, field)) is not None
            )
        return Targets(**chosen)

    def with_river(self, river: RiverPolicy) -> "Policy":
        """The same with other detectors of river."""
        detection = msgspec.structs.replace(self.detection, river=river)
        return Policy(msgspec.structs.replace(self._file, detection=detection))

    def sites(self) -> list[str]:
        """Sites that the file names."""
        return list(self._file.site)

    def projects(self) -> list[str]:
        """Projects that the file names, at any site."""
        names = dict.fromkeys(self._file.project)
        for site in self._file.site.values():
            names.update(dict.fromkeys(site.project))
        return list(names)

    def scopes(self) -> list[tuple[str, str, str]]:
        """Every (site, project, market) that the file names, the widest first; ("", "", "") are the defaults."""
        found = [("", "", "")]
        for site, projects in (("", self._file.project), *((name, at.project) for name, at in self._file.site.items())):
            if site:
                found.append((site, "", ""))
            for project, scope in projects.items():
                found += [(site, project, market) for market in ("", *scope.market)]
        return found

    def exported_scopes(self) -> list[tuple[str, str, str]]:
        """The scopes whose numbers are exported: those that the file names, and those that differ from their fallback.

        A reader takes the first of these that is exported: site + project + market, site + project,
        project + market, project, site, and ("", "", ""), which always is. The widest come first.
        """
        named = self.scopes()
        wanted = dict.fromkeys(named)
        markets: dict[str, dict[str, None]] = {}
        for _, project, market in named:
            markets.setdefault(project, {"": None})[market] = None
        candidates = [
            (site, project, market)
            for site in ("", *self._file.site)
            for project, at in markets.items()
            for market in at
            if project
        ]
        for scope in sorted(candidates, key=lambda scope: bool(scope[2])):
            if scope not in wanted and self.resolve(*scope) != self.resolve(*fallback(scope, wanted)):
                wanted[scope] = None
        return sorted(wanted, key=lambda scope: (sum(map(bool, scope)), scope))

    def names_site(self, site: str) -> bool:
        """Whether the file has numbers of the site's own."""
        return site in self._file.site

    def vendor(self, site: str) -> str:
        """The site's vendor, empty where not given."""
        found = self._file.site.get(site)
        return found.vendor if found else ""

    def timezone(self, site: str) -> str:
        """The site's IANA time zone, UTC where not given."""
        found = self._file.site.get(site)
        return found.timezone if found else "UTC"

    def utc_offset_seconds(self, site: str, at_ms: int) -> float:
        """What the site's clocks are ahead of UTC at a time; below 0 west of it."""
        offset = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(self.timezone(site))).utcoffset()
        return offset.total_seconds() if offset else 0.0


def fallback(scope: tuple[str, str, str], exported: Container[tuple[str, str, str]]) -> tuple[str, str, str]:
    """The scope whose exported numbers apply to a scope: the first that is exported, from narrow to wide."""
    site, project, market = scope
    wider = (scope, (site, project, ""), ("", project, market), ("", project, ""), (site, "", ""))
    return next((each for each in wider if each in exported), ("", "", ""))


#: Keys of the contract that nothing reads yet, and what will: better refused than silently without effect. Anyone
#: who builds the reader gives the key its field above and takes its line out here.
NOT_READ_YET = {
    "weighted": "reviews weighted by their sampling_rate",
    "severity": "a quality score weighted by severity",
    "ramp": "targets of new joiners by their weeks of tenure",
    "shifts": "staffing against planned shifts",
}


def _convert(value: Any, kind: Any, source: str, path: str) -> Any:
    """Builds a value of the file, table by table, so that an error names its whole path.

    Raises:
        PolicyError: One sentence with file, key, value and what is allowed.
    """
    if kind == RiverChoice | None:
        value, kind = _named_detector(value, source, path)
    origin, args = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and isinstance(value, dict):
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        for key in value:
            if key not in fields:
                raise PolicyError(f"{source}: {_unknown(path + key, key, list(fields))}")
        built = {key: _convert(part, fields[key], source, f"{path}{key}.") for key, part in value.items()}
        try:
            return kind(**built)
        except TypeError:
            missing = [f.name for f in msgspec.structs.fields(kind) if f.required and f.name not in built]
            raise PolicyError(f"{source}: {path[:-1]}: {' and '.join(missing)} must be given") from None
        except ValueError as error:
            raise PolicyError(f"{source}: {path[:-1]}: {error}") from None
    if origin is dict and isinstance(value, dict):
        return {key: _convert(part, args[1], source, f"{path}{key}.") for key, part in value.items()}
    if origin is list and isinstance(value, list) and isinstance(args[0], type):
        return [_convert(part, args[0], source, f"{path}{number}.") for number, part in enumerate(value)]
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise PolicyError(f"{source}: {path[:-1]} = {value!r}: not allowed; give {_describe(kind)}") from None


def _named_detector(value: Any, source: str, path: str) -> tuple[Any, type[RiverChoice]]:
    """The parameters of a detector of river, and which it is: a name, or a table with `name`.

    Raises:
        PolicyError: It names none of them.
    """
    params = dict(value) if isinstance(value, dict) else {"name": value}
    name = params.pop("name", None)
    if not isinstance(name, str) or name not in DETECTORS:
        raise PolicyError(
            f"{source}: {path[:-1]}{'' if name is None else f' = {name!r}'}: name a detector of river, as in "
            f"'ADWIN' or {{ name = 'ADWIN', delta = 0.01 }}; use {choice(DETECTORS)}"
        )
    return params, DETECTORS[name]


def _check_river(detection: Detection, source: str) -> None:
    """Whether river's detectors have outcomes to watch.

    Raises:
        PolicyError: One has not.
    """
    for signal, detector in detection.river.chosen().items():
        path = f"{source}: detection.river.{signal}"
        if signal not in detection.signals:
            raise PolicyError(f"{path}: {signal} is not among detection.signals; river runs beside ours on the same")
        for scope in detector.of or ():
            if scope not in SCOPES[signal]:
                raise PolicyError(f"{path}.of = {scope!r}: {signal} is of {' and '.join(SCOPES[signal])} alone")


_WORDS = {str: "a text", float: "a number", int: "a whole number", bool: "true or false"}


def _describe(kind: Any) -> str:
    """What a key may hold, in words."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        (meta,) = (part for part in args[1:] if isinstance(part, Meta))
        bounds = [
            f"{word} {bound:,}"
            for word, bound in (("above", meta.gt), ("from", meta.ge), ("and below", meta.lt), ("up to", meta.le))
            if bound is not None
        ]
        return " ".join([_describe(args[0]), *bounds]) + (", not empty" if meta.min_length else "")
    if origin is Literal:
        return f"one of {choice(map(repr, args))}"
    if origin in (list, tuple):
        return f"a list, each {_describe(args[0])}"
    if origin is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "a table"
    if args:
        return _describe(next(part for part in args if part is not type(None)))
    return _WORDS[kind]


def _unknown(path: str, key: str, allowed: list[str]) -> str:
    if key in NOT_READ_YET:
        return (
            f"{path}: nothing in this release reads it: {NOT_READ_YET[key]} will come with a later one; "
            "take it out of the file until then, so that nobody believes that it has an effect"
        )
    near = difflib.get_close_matches(key, allowed, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown key {path}; {hint}allowed here: {', '.join(allowed)}"
