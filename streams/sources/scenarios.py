"""The changes that a simulated operation can go through, by name; light enough for the command line's help."""

#: Name and what happens, to the first site unless it says otherwise.
SCENARIOS: dict[str, str] = {
    "steady": "nothing changes",
    "site-dip": "accuracy falls by some points at once",
    "slow-drift": "accuracy falls little by little",
    "one-agent": "one person goes wrong",
    "sop-change": "new rules for a project, at every site, are got wrong",
    "handle-time": "labels take half as long again",
    "mix-shift": "harder work comes; nobody does worse",
    "lenient-qa": "reviewers overlook most errors",
    "outage": "the site falls silent",
    "backlog": "twice as much work comes as is done: the site's queues grow",
    "late-and-dirty": "late, repeated and broken records, at every site",
}
