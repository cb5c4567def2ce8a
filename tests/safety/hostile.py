"""What an attacker would write: conditions that run code or take for ever, and names that a terminal obeys."""

import sys

ESCAPES = "cell.__init__.__globals__['sys'].modules['os'].system('touch {canary}')"

CONDITIONS = (
    ESCAPES,
    "cell.to_csv('{canary}') == 1",
    "cell.to_pickle('{canary}')",
    "cell.map(print)",
    "cycle.apply(lambda x: open('{canary}', 'w'))",
    "cell.str.len() > 0",
    "cell.__class__.__mro__[1].__subclasses__()",
    "().__class__.__bases__[0].__subclasses__()",
    "''.__class__",
    "'{{0.__class__}}'.format(cell) == cell",
    "__import__('os').system('touch {canary}')",
    "__builtins__",
    "open('{canary}', 'w')",
    "eval('1')",
    "exec('import os')",
    "getattr(cell, 'to_csv')('{canary}')",
    "@__builtins__",
    "@pd.read_pickle('{canary}')",
    "@os.system('touch {canary}') == 0",
    "globals()",
    "print(1)",
    "sin(cycle) > 0",
    "abs(cycle) == 1",
    "cell[0] == 'A'",
    "cycle[cycle > 1] > 0",
    "cycle < 9**9**9",
    "cycle ** 2 > 1",
    "2 ** 99999999999 > cycle",
    "cycle // 2 == 1",
    "cycle % 2 == 1",
    "cycle << 99999999 > 1",
    "1 << 99999999999 > cycle",
    "'a' * 9999999999 == cell",
    "['a'] * 9999999999 == cell",
    "cell * 1000000000 == 'A'",
    "cell + 'A' == 'AA'",
    "f'{{cell}}' == cell",
    'f\'{{__import__("os").system("touch {canary}")}}\' == cell',
    "b'A' == cell",
    "(x := 3) == cycle",
    "cell = 'A'",
    "cycle = cycle",
    "lambda: 1",
    "(lambda: cycle)() > 1",
    "[x for x in cell]",
    "{{x for x in cell}}",
    "{{x: 1 for x in cell}}",
    "(x for x in cell)",
    "cell if cycle else cell",
    "*cell",
    "{{**cell}}",
    "yield cell",
    "await cell",
    "import os",
    "cycle > 1; import os",
    "cycle > 1\nimport os",
    "cell == 'A'\n@x",
    "cell == None",
    "cell is 'A'",
    "cycle == 1j",
    "cycle == ...",
    "cycle < 1e999",
    "cycle < " + "9" * 5000,
    "cycle < 0x" + "f" * 5000,
    "cycle in [" + "1, " * 10**6 + "1]",
    "cycle in [cycle]",
    "cycle in [[1]]",
    "'A' in cell",
    "(" * 10**5 + "cycle" + ")" * 10**5,
    "(" * 60 + "cycle > 1" + ")" * 60,
    "-" * 9000 + "cycle > 1",
    "not " * 2000 + "cycle > 1",
    "cycle" + "+1" * 4000 + " > 1",
    "cycle" + " == 1" * 1900,
    " or ".join(["cycle == 1"] * 700),
    "cycle.x" * 1400,
    "cycle" + "[0" * 3000,
    "`cell",
    "`cell`.x",
    "`__builtins__` == 1",
    "index > 0",
    "ilevel_0 > 0",
    "cell == 'A' and",
    "cell == 'A",
    "cell == '''A'''",
    "cycle",
    "True",
    "1 < 2",
    "cell",
    "\x1b]0;owned\x07 == 1",
    "cell == \u202e'A'",
    "",
    " ",
    "#",
    "\\",
)
"""With ``{canary}`` for a file that must not appear."""

NAMES = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31mC1",
    "a\x85b\x90c",
    "back\x08\x08\x08space",
    "return\rreturn",
    "line\nline",
    "tab\ttab",
    "\x7fdelete",
    "\u202egnp.exe\u202c",
    "\u2066isolate\u2069",
    "zero\u200bwidth\ufeff",
    "para\u2029graph\u2028",
    "[/x]",
    "[red]red[/red]",
    "[link=http://example.org]link[/link]",
    "[bold",
    "\\[/]",
    ":warning:",
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\uff1d1+1",
    '=HYPERLINK("http://example.org","x")',
    "$\\frac{$",
    "$x^{2}$",
    "_hidden",
    "%s %(name)s {0} {name}",
    "../../up",
    'a,b;"c"',
)
"""Names of cells that terminals, markup, spreadsheets, figures or file systems take for more than names."""


class Watch:
    """Notes what the interpreter is asked to do beyond computing, while it is switched on.

    Hooks for audits cannot be taken away again, so there is one.
    """

    EVENTS = (
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "subprocess.Popen",
        "exec",
        "socket.connect",
        "pty.spawn",
    )

    def __init__(self):
        self.seen = None
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if self.seen is None:
            return
        writes = event == "open" and isinstance(arguments[1], str) and not set(arguments[1]).isdisjoint("wax+")
        if writes or event in self.EVENTS:
            self.seen.append((event, str(arguments)[:200]))

    def __enter__(self):
        self.seen = []
        return self.seen

    def __exit__(self, *_):
        self.seen = None


WATCH = Watch()
