"""Runs the Python side of the pairs: run.py [--record] [NAME...]; all of them if no name.

Prints each trace after a line "=== NAME", or writes it to NAME.out. A program is a file of
top-level code that may await; if its name begins with "loop_", no loop runs it. Time is virtual: it
starts at 0 and jumps to the next deadline when nothing is ready. prelude.lua is the other side.
"""
import ast
import asyncio
import contextvars
import gc
import inspect
import pathlib
import selectors
import sys

HERE = pathlib.Path(__file__).resolve().parent


class Error(Exception):
    """What the programs raise."""


class Selector(selectors.SelectSelector):
    """Never sleeps: the clock of the loop goes to the next deadline instead."""

    def select(self, timeout=None):
        if timeout is None:
            raise RuntimeError("deadlock")
        if timeout > 0:
            self.loop.now = max(self.loop.now, self.loop._scheduled[0].when())
        return []


class Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.now = 0.0
        selector = Selector()
        selector.loop = self
        super().__init__(selector)
        self.set_exception_handler(self.report)

    def time(self):
        return self.now

    def report(self, _, context):
        # "Exception in callback f() at line 3": where is not the matter here.
        message = context["message"].split(" handle")[0]
        if message.startswith("Exception in callback"):
            message = "Exception in callback"
        TRACE.log("report", message, context.get("exception"))


class Trace:
    def __init__(self):
        self.lines = []

    def log(self, *values):
        self.lines.append(" ".join(map(show, values)) + "\n")


def show(value):
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{round(value, 6):g}"
    if isinstance(value, asyncio.Task):
        return value.get_name()
    if isinstance(value, asyncio.Future):
        return "future"
    if isinstance(value, BaseExceptionGroup):
        name = type(value).__name__.removeprefix("Base")
        return f"{name}: {value.message} {show(value.exceptions)}"
    if isinstance(value, BaseException):
        name = type(value).__name__
        return f"{name}: {value}" if value.args else name
    if isinstance(value, (set, frozenset)):
        return show(sorted(map(show, value)))
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(show, value)) + "]"
    return str(value)


def kind(error):
    """The name of its class. Errors that are mere strings in Lua are called RuntimeError."""
    if isinstance(error, (ValueError, TypeError)):
        return "RuntimeError"
    return type(error).__name__.removeprefix("Base")


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


def run(name):
    """The trace of a program."""
    global TRACE
    TRACE = Trace()
    loop = Loop()
    asyncio.set_event_loop(loop)
    space = {key: value for key, value in vars(asyncio).items() if not key.startswith("_")}
    space.update(
        asyncio=asyncio, gc=gc, ContextVar=contextvars.ContextVar, Error=Error, Loop=Loop,
        loop=loop, start=0, now=loop.time, log=TRACE.log, kind=kind, turns=turns, __name__=name)
    path = HERE / (name + ".py")
    code = compile(path.read_text(), str(path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    runner = asyncio.Runner(loop_factory=lambda: loop)
    runner.get_loop()
    try:
        if name.startswith("loop_"):
            eval(code, space)
        else:
            runner.run(as_coroutine(code, space))
    except BaseException as error:
        TRACE.log("main raised", error)
    if not loop.is_closed():
        runner.close()
    space.clear()
    gc.collect()
    asyncio.set_event_loop(None)
    return "".join(TRACE.lines)


async def as_coroutine(code, space):
    result = eval(code, space)
    if inspect.isawaitable(result):
        await result


def main(arguments):
    record = "--record" in arguments
    names = [name for name in arguments if name != "--record"]
    if not names:
        names = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run")
    for name in names:
        trace = run(name)
        if record:
            (HERE / (name + ".out")).write_text(trace)
        else:
            sys.stdout.write(f"=== {name}\n{trace}")


if __name__ == "__main__":
    main(sys.argv[1:])
