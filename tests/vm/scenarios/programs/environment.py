from attempt import T, output, say, word

ECHO = "/usr/bin/echo"
prog = f"{T}/prog"
SECRET = f"{prog}/good.so"


def ran(variables, *words, program=ECHO):
    """Runs a program with these variables alone; what it said."""
    return output([program.rsplit("/", 1)[1], *words], executable=program, env=variables)


def tried(name, variables, *words, program=ECHO):
    try:
        said = ran(variables, *(words or [name]), program=program)
        say(name, "ran" if said.strip() else "refused")
    except OSError as error:
        say(name, word(error))


def at_every_place(name):
    """The variable at each place in a word and across a page's end: the last strings lie topmost."""
    passed = 0
    places = [*range(0, 17), *range(4040, 4080)]
    for length in places:
        try:
            ran({"LD_PRELOAD": "/x", "A": "x" * length}, "x")
            passed += 1
        except PermissionError:
            pass
    say(name, "ran" if passed == len(places) else "refused" if passed == 0 else f"{passed}")


much = {f"V{n}": "x" * 90 for n in range(5000)}
tried("preloaded", {"LD_PRELOAD": SECRET})
tried("audit-library", {"HOME": "/", "LD_AUDIT": f"{prog}/audit.so"})
tried("options-of-an-interpreter", {"NODE_OPTIONS": "--require /x"})
tried("long-name", {"NODE_" + "A" * 100: "x"})
tried("script", {"LD_PRELOAD": SECRET}, program=f"{prog}/script")
at_every_place("at-every-place")
tried("behind-much", {**much, "LD_PRELOAD": SECRET})
say("changed-by-another-thread", output([f"{prog}/changing", "variable", f"{prog}/changing"]).strip())
tried("in-a-value", {"A": "LD_PRELOAD=/x"}, "in", "a", "value")
tried("longer-name", {"XLD_PRELOAD": "/x", "LD_PRELOADED": "x"}, "longer", "name")
tried("as-an-argument", {"HOME": "/"}, "LD_PRELOAD=/x")
tried("none", {})
tried("told-only", {"PYTHONPATH": "/x", "HOME": "/", "BASH_ENV": "/x", "LD_LIBRARY_PATH": "/x", "PYTHONPATHS": "/x"}, "told", "only")
tried("told-behind-too-much", {**much, "PYTHONPATH": "/x"}, "told", "behind", "too", "much")
