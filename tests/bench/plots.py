# SPDX-License-Identifier: GPL-2.0
"""Plots of results, as SVG and PNG, by gnuplot.

A plot is a gnuplot script that has its data in it and lacks only terminal and
output; it is kept beside the pictures.
"""

import re
import shutil
import subprocess

FEWEST_PIXELS = 16      # of height, for a bar and its label


class Failed(Exception):
    """gnuplot did not make a plot."""


def _text(s):
    # ^ would raise what follows it.
    return '"' + re.sub(r'(["\\])', r'\\\1', s) + '"'


def _title(result):
    title = result["name"]
    if result["variant"]:
        title += ": " + result["variant"]
    return f"{title}  vs {result['rival']}"


def ratios(results, mode):
    """A bar for each result, on a logarithmic scale about 1, and its target."""
    rows = [r for r in results if r["mode"] == mode]
    if not rows:
        return None
    what = {"icount": "instructions", "time": "time"}[mode]
    lines = ["$bars << EOD"]
    for y, r in enumerate(reversed(rows)):
        target = r["target"] if r["target"] is not None and \
            r["target_of"] == "ratio" else "NaN"
        missed = target != "NaN" and r["ratio"] > target
        lines.append(f"{y} {r['ratio']:.6f} {target} {int(missed)} "
                     f"{_text(_title(r))}")
    low = min(0.01, *(r["ratio"] / 2 for r in rows))
    high = max(10, *(r["ratio"] * 2 for r in rows))
    lines += [
        "EOD",
        f"set title {_text('view / rival, ' + what + ' (shorter is better)')}",
        "set logscale x", f"set xrange [{low:.6f}:{high:.6f}]",
        f"set yrange [-1:{len(rows)}]",
        "set grid xtics", "set key outside bottom center horizontal",
        "set ytics font ',10' noenhanced", "set lmargin 55",
        "set arrow from 1, graph 0 to 1, graph 1 nohead lw 2 lc 'black'",
        "set style fill solid 0.7 noborder",
        f"plot $bars using 2:1:({low:.6f}):2:($1-0.35):($1+0.35):"
        "($4 > 0 ? 0xd95f02 : 0x1b9e77):ytic(5) with boxxyerror lc rgb variable "
        "notitle, \\",
        "     $bars using 3:1 with points pt 2 ps 0.8 lw 2 lc 'black' "
        "title 'target', \\",
        "     NaN with boxes lc rgb 0x1b9e77 title 'view', \\",
        "     NaN with boxes lc rgb 0xd95f02 title 'view, target missed'",
    ]
    return lines, (1000, 120 + FEWEST_PIXELS * len(rows))


def _curves(results, name, variants):
    """For each operation, mode and side its (x, value) points."""
    curves = {}
    for r in results:
        if r["name"] != name or r["rival"] != "plain mmap":
            continue
        op, x = variants(r["variant"])
        if op is None:
            continue
        curves.setdefault((op, r["mode"], "view"), []).append(
            (x, r["view"]))
        curves.setdefault((op, r["mode"], "plain mmap"), []).append(
            (x, r["rival_value"]))
    return curves


def _plot_curves(curves, mode):
    blocks, plots = [], []
    keys = [k for k in curves if k[1] == mode]
    ops = list(dict.fromkeys(k[0] for k in keys))
    for i, key in enumerate(keys):
        op, _, side = key
        blocks += [f"$d{i} << EOD",
                   *(f"{x} {y:.3f}" for x, y in sorted(curves[key])), "EOD"]
        style = "lw 3 pt 7" if side == "view" else "lw 1 pt 4"
        plots.append(f"$d{i} using 1:2 with linespoints {style} ps 1.2 "
                     f"lc {ops.index(op) + 1} title {_text(f'{op}, {side}')}")
    return blocks, "plot " + ", \\\n     ".join(plots)


def _ranges_variant(variant):
    m = re.fullmatch(r"(\w+), (1|10\^(\d+)) ranges?", variant)
    if not m or m[1] == "memory":
        return None, None
    return m[1], 10 ** int(m[3] or 0)


def ranges(results):
    curves = _curves(results, "ranges-scaling", _ranges_variant)
    modes = {k[1] for k in curves}
    if not modes:
        return None
    mode = "icount" if "icount" in modes else "time"
    unit = "instructions" if mode == "icount" else "ns"
    blocks, plot = _plot_curves(curves, mode)
    return blocks + [
        "set title 'ranges-scaling: one more page among so many ranges'",
        "set logscale xy", "set xlabel 'ranges (VMAs)'",
        f"set ylabel '{unit} per operation'", "set grid",
        "set key outside right", "set xrange [0.7:1500000]", plot,
    ], (900, 500)


def _threads_variant(variant):
    m = re.fullmatch(r"(\d+) (thread|peer)s?", variant)
    return (m[2] + "s", int(m[1])) if m else (None, None)


def threads(results):
    curves = _curves(results, "threads-scaling", _threads_variant)
    if not any(mode == "time" for _, mode, _ in curves):
        return None
    blocks, plot = _plot_curves(curves, "time")
    return blocks + [
        "set title 'threads-scaling: warm faults at the same time'",
        "set xlabel 'threads, or peers'", "set ylabel 'ns per page, all together'",
        "set grid", "set key outside right", "set xtics (1, 2, 4)",
        "set xrange [0.8:4.2]", "set yrange [0:*]", plot,
    ], (900, 450)


def all_plots(results):
    """Name -> (lines of the script, (width, height))."""
    plots = {
        "ratios-icount": ratios(results, "icount"),
        "ratios-time": ratios(results, "time"),
        "ranges-scaling": ranges(results),
        "threads-scaling": threads(results),
    }
    return {name: plot for name, plot in plots.items() if plot}


def write(results, directory):
    """Makes all plots; returns the paths of the pictures."""
    if not shutil.which("gnuplot"):
        raise Failed("no gnuplot (make deps)")
    made = []
    for name, (lines, (width, height)) in all_plots(results).items():
        script = directory / f"{name}.gp"
        script.write_text("\n".join(lines) + "\n", encoding="utf-8")
        for kind, terminal in (
                ("svg", "svg font 'sans,12' background 'white'"),
                ("png", "png font 'sans,11' background 'white'")):
            picture = directory / f"{name}.{kind}"
            r = subprocess.run(
                ["gnuplot", "-e",
                 f"set terminal {terminal} size {width},{height} noenhanced; "
                 f"set output '{picture}'", script],
                capture_output=True, text=True, check=False)
            # It is content with much, and warns on stderr.
            if r.returncode or "warning" in r.stderr or not picture.is_file():
                raise Failed(f"gnuplot: {name}.{kind}: {r.stderr.strip()}")
            made.append(picture)
    return made
