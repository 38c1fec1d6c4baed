from attempt import T, attempt, read


def often(path):
    for _ in range(8):
        read(path)


attempt("allowed", often, f"{T}/in/note")
attempt("denied", often, f"{T}/vault/key")
