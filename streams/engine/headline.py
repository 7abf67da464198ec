"""Decides which reviews count for the headline accuracy, for figures, drift and `labelwatch explain` alike.

Rules, boards and runbooks read what the engine exports (`labelwatch_reviews_window{headline="true"}`). They never
repeat the definition, which depends on the policy.
"""

from schemas.policy import Policy
from streams.engine.batch import VerdictKind


def why_not_windowed(purpose: str | None, review_round: int | None) -> str:
    """Why a review is in no window, in words; empty where it is in the windows. None is the field's default."""
    if purpose not in (None, "production"):
        return f"purpose {purpose}"
    return "" if review_round in (None, 1) else "a later review round"


def why_not_headline(source: str | None, sampling: str | None, policy: Policy) -> str:
    """Why a review that is in the windows does not count for the headline, in words; empty where it counts."""
    if sampling == "targeted":
        return "sampling targeted"
    source = source or "qa"
    return "" if source in policy.headline_sources else f"source {source}, by the policy"


def is_headline(kind: VerdictKind, policy: Policy) -> bool:
    """Whether reviews of a kind count for the headline accuracy (docs: what counts as accuracy)."""
    return kind.windowed and not why_not_headline(kind.source, kind.sampling, policy)
