from attempt import INSIDE, T, attempt, output, read, say, step

key = f"{T}/vault/key"
attempt("before", read, key)
if INSIDE:
    step("first-is-durable")
    step("@daemon-kill")
attempt("while-dead", read, key)
said = output(["cat", key])
say("program-while-dead", "key" if said == "key\n" else "refused")
attempt("allowed-while-dead", read, f"{T}/in/note")
if INSIDE:
    step("@daemon-start")
    step("agent-is-known")
attempt("after-restart", read, key)
attempt("allowed-after-restart", read, f"{T}/in/note")
