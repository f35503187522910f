# SPDX-License-Identifier: GPL-2.0
"""What comes out of the guest, as results: merged, compared, tabulated.

A result compares the view with one rival:

  name, variant      the benchmark, and what distinguishes it from others of
                     that name (may be empty)
  unit, mode         mode is "time" or "icount"
  rival              what the view is compared to
  view, rival_value  medians of the runs, and ratio = view / rival_value
  runs               how many runs there were, of each
  min, max           of the view's runs; rival_min, rival_max of the rival's
  target             the most that target_of ("ratio" or "view") should be;
                     null if no target was set
"""

import json
import re
import statistics

# Name, variant and rival (patterns for all of it), the mode in which the target
# holds, and the largest ratio.
TARGETS = [
    ("fault-first-write", "", ".*", "icount", 1.00),
    ("fault-cold-write", ".*", ".*", "icount", 0.35),
    ("fault-cold-read", "", ".*", "icount", 1.50),
    ("fault-warm-write", ".*", ".*", "icount", 0.15),
    ("fault-warm-read", ".*", ".*", "icount", 0.45),
    ("fault-random-read", ".*", ".*", "icount", 1.10),
    ("fault-numa", "read|write", ".*", "icount", 1.00),
    ("fault-huge", "", ".*", "icount", 1.00),
    ("steady-.*", ".*", ".*", ".*", 1.01),
    ("teardown", ".*", ".*", "icount", 0.25),
    ("unmap-page", ".*", r"fallocate\(PUNCH_HOLE\)", "icount", 0.80),
    ("unmap-64M", ".*", ".*", "icount", 0.20),
    (".*map-batch", "UPDATE", ".*", "icount", 0.15),
    ("remote-map", ".*", "ptrace", "time", 0.05),
    ("remote-map", ".*", "stub", "time", 0.30),
    ("revoke-cooperative", ".*", ".*", "time", 0.20),
    ("ranges-scaling", ".*", "the view at .*", "icount", 3.00),
    # Since zaps take no i_mmap: correctness has its price.
    ("invalidate", r"punch, 1 view \(adopted\)", "no view", "icount", 1.60),
    ("invalidate", "punch, 8 views", "no view, 8 plain peers", "icount", 1.20),
    ("invalidate", ".*, 1 view.*", "no view", "icount", 1.50),
]
# Where the value itself has a limit.
LIMITS = [
    ("ranges-scaling", r"memory, 10\^6 ranges", ".*", ".*", 128),
]

FEW_RANGES, MANY_RANGES = "10^2 ranges", "10^6 ranges"


class Broken(Exception):
    """What the guest wrote is not what it had to write."""


class Reader:
    """Takes the lines of one boot, in order."""

    def __init__(self, mode):
        self.mode = mode
        self.plan = None
        self.machine = {}
        self.current = None
        self.figures = []
        self.ended = False

    def line(self, text):
        """Returns the figure if there is a new one; a string if the line is a
        message to be shown; else None."""
        try:
            record = json.loads(text)
        except ValueError:
            return text
        if not isinstance(record, dict):
            return text
        if "plan" in record:
            self.plan = record.pop("plan")
            self.machine = record
        elif "start" in record:
            self.current = record["start"]
        elif "end" in record:
            self.ended = True
        elif "absent" in record:
            self.figures.append({**record, "mode": self.mode})
            return self.figures[-1]
        elif "contenders" in record:
            self.figures.append({**record, "mode": self.mode})
            return self.figures[-1]
        else:
            raise Broken(f"line of no known kind: {text}")
        return None

    def finish(self):
        """All of it, or an exception that says where it broke off."""
        if self.plan is None:
            raise Broken("the guest has written no plan")
        if not self.ended:
            raise Broken(f"it broke off in {self.current}")
        if len(self.figures) != self.plan:
            raise Broken(f"{len(self.figures)} figures of {self.plan}")
        return self.figures


def _target(table, result):
    for name, variant, rival, mode, limit in table:
        if re.fullmatch(name, result["name"]) and \
                re.fullmatch(variant, result["variant"]) and \
                re.fullmatch(rival, result["rival"]) and \
                re.fullmatch(mode, result["mode"]):
            return limit
    return None


def _compare(figure, view, rival, rival_name):
    if not view or len(view) != len(rival):
        raise Broken(f"{figure['name']}: {len(view)} runs of the view, "
                     f"{len(rival)} of {rival_name}")
    if min(view) <= 0 or min(rival) <= 0:
        raise Broken(f"{figure['name']} {figure['variant']}: a value of "
                     "nothing or less")
    result = {
        "name": figure["name"], "variant": figure["variant"],
        "unit": figure["unit"], "mode": figure["mode"], "rival": rival_name,
        "view": statistics.median(view),
        "rival_value": statistics.median(rival),
        "runs": len(view), "min": min(view), "max": max(view),
        "rival_min": min(rival), "rival_max": max(rival),
    }
    result["ratio"] = result["view"] / result["rival_value"]
    result["target_of"] = "ratio"
    result["target"] = _target(TARGETS, result)
    if result["target"] is None:
        result["target"] = _target(LIMITS, result)
        if result["target"] is not None:
            result["target_of"] = "view"
    return result


def _growth(figures):
    """The view against itself: what many ranges add to what few cost."""
    view = {(f["variant"], f["mode"]): f for f in figures
            if f["name"] == "ranges-scaling" and "contenders" in f}
    for (variant, mode), many in view.items():
        few = view.get((variant.replace(MANY_RANGES, FEW_RANGES), mode))
        if MANY_RANGES in variant and few:
            yield _compare(many, many["contenders"][0]["values"],
                           few["contenders"][0]["values"],
                           f"the view at {FEW_RANGES}")


def compare(figures):
    """Figures of all boots -> (results, absent)."""
    results, absent = [], []
    for figure in figures:
        if "absent" in figure:
            absent.append(figure)
            continue
        view, *rivals = figure["contenders"]
        if view["name"] != "view" or not rivals:
            raise Broken(f"{figure['name']}: no view, or no rival")
        for rival in rivals:
            results.append(_compare(figure, view["values"], rival["values"],
                                    rival["name"]))
    return results + list(_growth(figures)), absent


def met(result):
    """True or False, or None where there is no target."""
    if result["target"] is None:
        return None
    return result[result["target_of"]] <= result["target"]


def number(x):
    if x >= 100:
        return f"{x:,.0f}"
    return f"{x:.3g}" if x >= 0.001 else f"{x:.1g}"


HEAD = ("benchmark", "unit", "rival", "view", "rival", "ratio", "view min…max",
        "target", "met")


def row(result):
    title = result["name"]
    if result["variant"]:
        title += ": " + result["variant"]
    verdict = {True: "yes", False: "NO", None: ""}[met(result)]
    target = ""
    if result["target"] is not None:
        target = f"≤ {result['target']:.2f}" if result["target_of"] == "ratio" \
            else f"view ≤ {result['target']}"
    return (title, result["unit"], result["rival"], number(result["view"]),
            number(result["rival_value"]), f"{result['ratio']:.3f}",
            f"{number(result['min'])}…{number(result['max'])}", target, verdict)


def _unmet(results):
    """What the table says below it."""
    verdicts = [met(r) for r in results if met(r) is not None]
    return f"{verdicts.count(True)} targets met, {verdicts.count(False)} not"


TITLES = {
    "icount": "Instructions",
    "time": "Time",
}


def _sections(results, absent):
    for mode in "icount", "time":
        rows = [row(r) for r in results if r["mode"] == mode]
        missing = [(": ".join(filter(None, (f["name"], f["variant"]))),
                    f["absent"]) for f in absent if f["mode"] == mode]
        if rows or missing:
            yield TITLES[mode], rows, missing


def terminal(results, absent):
    lines = []
    for title, rows, missing in _sections(results, absent):
        widths = [max(map(len, column)) for column in zip(HEAD, *rows)]
        left = (0, 1, 2)
        lines += ["", title, ""]
        for cells in HEAD, *rows:
            lines.append("  ".join(
                cell.ljust(w) if i in left else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(cells, widths))).rstrip())
        lines += [f"absent: {name}: {why}" for name, why in missing]
    return "\n".join(lines + ["", _unmet(results), ""])


def markdown(results, absent):
    lines = []
    for title, rows, missing in _sections(results, absent):
        lines += [f"### {title}", "", "| " + " | ".join(HEAD) + " |",
                  "|---|---|---|--:|--:|--:|--:|--:|---|"]
        for cells in rows:
            cells = [c.replace("|", "\\|") for c in cells]
            if cells[-1] == "NO":
                cells[-1] = "**no**"
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        if missing:
            lines += [f"- absent: {name}: {why}" for name, why in missing] + [""]
    return "\n".join(lines + [_unmet(results) + ".", ""])
