"""How the demo looks. Knows nothing of what it shows."""

import os
import sys

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
RED, GREEN, DIM, BOLD = "31", "32", "2", "1"


def paint(text, *codes):
    return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if COLOUR else text


def say(text=""):
    print(text, flush=True)


def note(text):
    say(paint(f"  {text}", DIM))


def begin(kernel, user):
    say()
    say(paint("An AI agent, an inbox, and one file that says what it should not.", BOLD))
    note(f"Linux {kernel}; the agent runs as {user}, whom ordinary permissions allow everything below")
    say()


def took(run, seconds):
    """When the agent began (with Aegis: after the kernel had verified and loaded its programs), and when it was done."""
    started, done = seconds
    first = "" if started < 5 else " (the kernel verified and loaded the programs first)"
    note(f"{run.ljust(14)} began after {started:.1f} s{first}, did its work in {done - started:.1f} s")


def table(acts, free, bound, rules, results):
    """One row an act: the same script, the same user, with and without."""
    rows = []
    for name, (_, seen), (_, kept), (rule, seq) in zip(acts, free, bound, rules):
        shown = rule if rule != "default" else "default: nothing allows it"
        rows.append((name, seen, f"denied, {kept}", f"{shown}  (#{seq})"))
    widths = [max(len(row[i]) for row in [*rows, HEAD]) for i in range(4)]
    say()
    say("  " + paint("   ".join(h.ljust(w) for h, w in zip(HEAD, widths)).rstrip(), BOLD))
    say("  " + paint("   ".join("─" * w for w in widths), DIM))
    for name in results:
        row = (f"honest work: {name.split('-')[1].split('.')[0]}", "done", "done, same result", "")
        say("  " + "   ".join((row[0].ljust(widths[0]), paint(row[1].ljust(widths[1]), GREEN), paint(row[2].ljust(widths[2]), GREEN))))
    for row in rows:
        cells = (row[0].ljust(widths[0]), paint(row[1].ljust(widths[1]), RED), paint(row[2].ljust(widths[2]), GREEN), paint(row[3], DIM))
        say("  " + "   ".join(cells))
    say()


HEAD = ("what the agent does", "without Aegis", "with Aegis", "rule that decided (entry in the log)")


def duration(nanoseconds):
    return f"{nanoseconds / 1e6:.1f} ms" if nanoseconds >= 100_000 else f"{nanoseconds / 1e3:.0f} µs"


def proofs(switch, checked, policy):
    flag, last, tasks = switch
    words, seconds, found = checked
    bad = next((part for part in found.splitlines() if "first bad" in part), found)
    line("kill switch", f"denies everything after {duration(flag)}; {tasks} task{'s' * (tasks != 1)} proven frozen after {duration(last)}")
    line("its heart", "stopped; a file dropped in the inbox afterwards was not touched")
    line("the log", f"verified in {seconds:.2f} s: {words.splitlines()[0].split('. ')[0]}")
    line("one bit changed", f"in a copy, and found: {bad.strip()}")
    say()
    say(paint("Where to look next", BOLD))
    machine = os.uname().nodename == "aegis-vm"
    here = "in a machine like this one: cargo xtask vm -- COMMAND" if machine else "on this host"
    for command, what in [
        ("aegis events --agent demo-agent --verdict deny", "what was denied, by which rule, to which program"),
        ("aegis verify", "whether the log is whole"),
        (f"aegis policy show {policy}", "what the agent was allowed"),
        ("aegis run --policy FILE -- CMD", f"your own agent, {here}"),
    ]:
        say(f"  {command.ljust(58)} {paint(what, DIM)}")
    say()


def sample(lines):
    """Entries as an operator reads them."""
    say(paint("  What the log says of the first two", BOLD))
    for text in lines:
        say("  " + paint(text.rstrip(), DIM))
    say()


def line(name, text):
    say(f"  {paint(name.ljust(16), BOLD)} {text}")


def failure(error):
    print(paint(f"\nThe demo failed: {error}", RED), file=sys.stderr)
