"""A client with urllib, with the openai SDK, or with sockets that know of no proxy, as its argument says.

Each line of standard input is a number of requests and the addresses to take turns with; each line of output is how many
were answered, and the last answer or what went wrong.
"""

import errno
import socket
import ssl
import sys
import urllib.parse
import urllib.request

sys.path.insert(0, "/usr/lib/aegis-clients/python")
kits = {}


def by_urllib(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def by_openai(url):
    from openai import OpenAI
    if url not in kits:
        kits[url] = OpenAI(api_key="none", base_url=url, max_retries=0, timeout=60)
    answer = kits[url].models.with_raw_response.list()
    assert answer.parse().data[0].object == "model"
    return answer.http_response.text


def by_sockets(url):
    host = urllib.parse.urlsplit(url).hostname
    with socket.create_connection((host, 443), timeout=60) as plain, ssl.create_default_context().wrap_socket(plain, server_hostname=host) as stream:
        stream.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        with stream.makefile("rb") as answer:
            return answer.read().decode().splitlines()[-1]


def word(error):
    """The system's error at the bottom of a library's own."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return "no-address"
        if isinstance(error, OSError) and error.errno in errno.errorcode:
            return errno.errorcode[error.errno]
        error = error.__cause__ or error.__context__
    return "failed"


get = {"urllib": by_urllib, "openai": by_openai, "sockets": by_sockets}[sys.argv[1]]
for order in sys.stdin:
    count, *urls = order.split()
    done, said = 0, ""
    try:
        while done < int(count):
            said = get(urls[done % len(urls)]).strip()
            done += 1
    except Exception as error:
        print(sys.argv[1], repr(error), file=sys.stderr, flush=True)
        said = word(error)
    print(done, said, flush=True)
