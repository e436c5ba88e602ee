"""Sends 10,000 requests of many kinds to a running server, good and bad, eight at a time, and prints the memory that the server
uses: whole answers, streams, chats, scored prompts, receipts, prompts that are refused, and clients that leave.

Needs: a server on this machine, such as `tril serve runs/tales`, and the id of its process (Linux).
Usage: python scripts/many_requests.py PID [http://127.0.0.1:8080] [REQUESTS]
"""

import http.client
import json
import pathlib
import sys
import threading
import time
import urllib.parse

if len(sys.argv) < 2:
    sys.exit(__doc__)
pid = sys.argv[1]
address = urllib.parse.urlparse(sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8080")
requests = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000
CLIENTS = 8
statuses = {}
lock = threading.Lock()


def memory():
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def body(number):
    prompt = f"Story {number}. Once there was"
    kinds = [
        ("completions", {"prompt": prompt, "max_tokens": 20}),
        ("completions", {"prompt": prompt, "max_tokens": 20, "stream": True, "logprobs": 5}),
        ("completions", {"prompt": [prompt, "Once"], "max_tokens": 4, "echo": True, "logprobs": 2}),
        ("completions", {"prompt": prompt, "max_tokens": 8, "receipt": True}),
        ("completions", {"prompt": prompt, "suffix": "refused"}),
        ("completions", {"prompt": prompt * 60, "max_tokens": 2}),
        ("chat/completions", {"messages": [{"role": "user", "content": prompt}], "max_tokens": 20}),
        ("completions", {"prompt": prompt, "max_tokens": -1, "stream": True, "ignore_eos": True}),
    ]
    return kinds[number % len(kinds)]


def client(first):
    connection = None
    for number in range(first, requests, CLIENTS):
        if connection is None:
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
        # Each client sends all kinds.
        path, fields = body(number + number // CLIENTS)
        connection.request("POST", "/v1/" + path, json.dumps(fields), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if fields.get("max_tokens") == -1:
            response.read(200)
            connection.close()
            connection = None
        else:
            response.read()
        with lock:
            statuses[response.status] = statuses.get(response.status, 0) + 1


threads = [threading.Thread(target=client, args=(first,)) for first in range(CLIENTS)]
begin = time.monotonic()
print(f"{memory():7.1f} MiB before")
for thread in threads:
    thread.start()
step = requests // 10
for done in range(step, requests + 1, step):
    while sum(statuses.values()) < done and any(thread.is_alive() for thread in threads):
        time.sleep(0.01)
    print(f"{memory():7.1f} MiB after {sum(statuses.values())} requests", flush=True)
for thread in threads:
    thread.join()
print(f"{time.monotonic() - begin:.1f} s; answers by status: {dict(sorted(statuses.items()))}")
