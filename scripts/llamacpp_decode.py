"""llama.cpp's speed in decoding one sequence, as a line of JSON: the tokens a second that its server reports of itself.

    venv/bin/pip install xllamacpp
    venv/bin/python scripts/llamacpp_decode.py MODEL.gguf THREADS TOKENS SECONDS

The cache is of f32, and nothing is taken from an earlier request. The sampler takes the likeliest token.
"""

import json
import os
import socket
import statistics
import sys
import time
import urllib.request
from importlib.metadata import version

import xllamacpp


def serve(path, threads):
    params = xllamacpp.CommonParams()
    params.model.path = path
    params.n_gpu_layers, params.n_parallel, params.n_ctx = 0, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.fit_params = False
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        params.port = probe.getsockname()[1]
    return xllamacpp.Server(params)


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    path, threads, tokens, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    server = serve(path, threads)
    fields = dict(prompt=[0], n_predict=tokens - 1, temperature=0, top_k=1, ignore_eos=True, cache_prompt=False)

    def one():
        request = urllib.request.Request(
            server.listening_address + "/completion", json.dumps(fields).encode(), {"Content-Type": "application/json"}
        )
        timings = json.load(urllib.request.urlopen(request, timeout=600))["timings"]
        assert timings["predicted_n"] == tokens - 1, timings
        return timings["predicted_per_second"]

    one()
    begin, rates = time.monotonic(), []
    while len(rates) < 3 or time.monotonic() - begin < seconds:
        rates.append(one())
    print(json.dumps({"xllamacpp": version("xllamacpp"), "decode_tok_s": statistics.median(rates)}), flush=True)
    # A server does not end before its process does.
    os._exit(0)


if __name__ == "__main__":
    main()
