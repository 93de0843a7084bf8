"""The alarms with what to do about each, by the words of alerts.yml."""
from pathlib import Path

import yaml

from .model import Panel, Query
from .words import ALARM_STATES, ALARMS

ALERTS = Path(__file__).resolve().parents[1] / "alerts.yml"


def remedies():
    """What each alert says is to be done; one that has several conditions says it for each."""
    found = {}
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            remedy = rule["annotations"]["remedy"].strip()
            name = rule["alert"]
            found[name] = f"{found[name]} Or: {remedy}" if name in found else remedy
    return found


def now(labels, **place):
    """The alerts that fire, a row for each set of the labels (with their headings), and the name of the alert."""
    by = ", ".join([*labels, "alertname"])
    return Panel(
        "table", "Alarms now, and what to do",
        shows="The alerts that fire, and what to do about each.",
        normal="none.",
        otherwise="PAGE comes before warning. Hover over a text that is cut off; docs/alerts.md says more.",
        unit="none",
        # The name again, as the label `do`: its text is what to do.
        queries=(
            Query(f'label_join(max by ({by}) ({ALARMS}), "do", "", "alertname")', "How urgent", states=ALARM_STATES),
        ),
        labels={**labels, "alertname": "Alarm", "do": "What to do"}, texts={"What to do": remedies()},
        widths={"Alarm": 210, "How urgent": 100}, sort="How urgent", empty="none", **place,
    )
