# SPDX-License-Identifier: GPL-2.0
"""What counts as trouble in a kernel log."""

import re

# RCU stalls and soft lockups are in here although a slow machine can cause
# them: tests/vm/run raises their thresholds to two minutes, which is a hang.
TROUBLE = re.compile(r"""
    \bWARNING:                      # WARN_ON and most reports of lockdep
  | \bBUG:                          # KASAN, KCSAN, Bad page, soft lockup, ...
  | \bkernel\ BUG\ at\b
  | -\[\ cut\ here\ \]-
  | \bOops\b
  | \bKernel\ panic\b
  | \bgeneral\ protection\b
  | \bdouble\ fault\b
  | \bUnable\ to\ handle\ kernel\b
  | \b(KASAN|KCSAN|KMSAN|KFENCE|UBSAN|ODEBUG):
  | \bBad\ (page|rss-counter|swap)\b
  | \bbad\ (pgd|p4d|pud|pmd)\b     # cleared where it was found, with no flush
  | \bpossible\ (recursive|circular|irq)\b.*\block
  | \binconsistent\ lock\ state\b
  | \b(in|I)nvalid\ wait\ context\b
  | \bsuspicious\ RCU\ usage\b
  | \bheld\ lock\ freed\b
  | \block\ held\ when\ returning\ to\ user\ space\b
  | \bbad\ unlock\ balance\b
  | \bDEBUG_LOCKS_WARN_ON\b
  | \bINFO:\ trying\ to\ register\ non-static\ key\b
  | \bINFO:\ task\ .*\ blocked\ for\ more\ than\b
  | \brcu:?\ INFO:\ .*\bdetected\ .*stall
  | \brefcount_t:
  | \blist_(add|del)\ corruption\b
  | \bunreferenced\ object\b
  | \bmemory_view:.*\bbug\b
  | \bprintk\ messages\ dropped\b    # the trouble may be among them
""", re.VERBOSE)

# Each entry with the reason why it is none of our business.
BENIGN = re.compile(r"""
    (?!)                            # none so far
""", re.VERBOSE)

# Of a kernel that patches its own text, which QEMU's TCG with several CPUs gets
# wrong now and then: a CPU meets the breakpoint when it is no longer expected.
BREAKPOINT = re.compile(r"\bint3: 0000\b")

# Bits of /proc/sys/kernel/tainted which show trouble even without a line.
TAINTS = {5: "bad page", 7: "oops", 9: "warning", 14: "soft lockup"}


def is_trouble(line):
    return bool(TROUBLE.search(line)) and not BENIGN.search(line)


def is_lost_boot(lines):
    """Did a kernel that had nothing of ours in it die of its own breakpoint?"""
    return any(BREAKPOINT.search(line) for line in lines) and \
        not any("memory_view" in line for line in lines)


def is_own_breakpoint(lines):
    """Is the first trouble a breakpoint in the kernel's own text, not in ours?

    The driver puts none there; what else goes wrong follows from it.
    """
    died = False
    for line in lines:
        if died and "RIP: " in line:
            return "[memory_view]" not in line
        if not died and is_trouble(line):
            if not BREAKPOINT.search(line):
                return False
            died = True
    return False


def taint_names(before, after):
    new = after & ~before
    return [name for bit, name in TAINTS.items() if new >> bit & 1]
