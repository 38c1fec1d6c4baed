"""A small AI agent: reads files from an inbox, asks a model what to do, runs its tool calls.

It is built as many are: tools as functions, a shell tool, a Python tool, and a guard of its own
that refuses tool calls by their text. Run it in a folder with `inbox` and `outbox`; it serves until
it is stopped. Nothing here knows of Aegis.
"""

import contextlib
import http.client
import io
import json
import os
import subprocess
import sys
import time

SYSTEM = "You handle the files of an inbox. Do the task named in a file's first line; write the result to the outbox."
TOOLS = {"read_file": "path", "shell": "command", "python": "code"}
FORBIDDEN = ("rm -rf", ".ssh", "curl", "wget", "/etc/shadow")


class Refused(Exception):
    """The framework's own no."""


def guard(name, argument):
    """The framework's guard: looks at the text of a call. The Python tool is 'only for calculations'."""
    if name != "python" and any(word in argument for word in FORBIDDEN):
        raise Refused(f"the framework refuses {name}: {argument}")


def read_file(path):
    with open(path) as file:
        return file.read()


def shell(command):
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return f"exit status {done.returncode}\n{done.stdout}"


class Python:
    """An interpreter that keeps its variables from call to call."""

    def __init__(self):
        self.variables = {}

    def __call__(self, code):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(code, self.variables)  # the very thing a framework can't guard
        return out.getvalue()


class Agent:
    """One agent with its tools and its transcript."""

    def __init__(self, host, port):
        self.address = (host, port)
        self.tools = {"read_file": read_file, "shell": shell, "python": Python()}
        self.transcript = open("outbox/transcript.jsonl", "a")

    def ask(self, messages):
        """One request to the model."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        schema = [{"type": "function", "function": {"name": n, "parameters": {"type": "object", "properties": {a: {"type": "string"}}}}}
                  for n, a in TOOLS.items()]
        body = json.dumps({"model": "demo-1", "messages": messages, "tools": schema})
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        reply = json.loads(connection.getresponse().read())
        connection.close()
        return reply["choices"][0]["message"]

    def use(self, name, arguments):
        """Runs a tool call; what the model is told."""
        argument = arguments[TOOLS[name]]
        try:
            guard(name, argument)
            result = self.tools[name](argument)
        except Exception as error:  # whatever a tool raises is an answer to the model
            result = f"{type(error).__name__}: {error}"
        self.transcript.write(json.dumps({"tool": name, "argument": argument, "result": result}) + "\n")
        self.transcript.flush()
        return result

    def handle(self, path):
        """One file, until the model has nothing more to do."""
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"A new file: {path}"}]
        for _ in range(30):
            said = self.ask(messages)
            messages.append(said)
            if not said.get("tool_calls"):
                return
            for call in said["tool_calls"]:
                result = self.use(call["function"]["name"], json.loads(call["function"]["arguments"]))
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


def main(folder, host, port):
    os.chdir(folder)
    agent = Agent(host, int(port))
    done = set()
    beats = 0
    while True:
        for name in sorted(os.listdir("inbox")):
            if name not in done:
                agent.handle(f"inbox/{name}")
                done.add(name)
        beats += 1
        # Written whole, so that a reader never sees half of it.
        with open("outbox/heartbeat.new", "w") as file:
            json.dump({"beats": beats, "done": sorted(done)}, file)
        os.replace("outbox/heartbeat.new", "outbox/heartbeat")
        time.sleep(0.05)


if __name__ == "__main__":
    main(*sys.argv[1:4])
