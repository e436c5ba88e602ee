"""llama.cpp's own HTTP server on a GGUF, on the CPU, for measuring beside `tril serve`.

Needs: pip install xllamacpp
Usage: python scripts/serve_gguf.py shape.gguf [PORT] [THREADS] [PARALLEL]
"""

import sys
import time

import xllamacpp

if len(sys.argv) < 2:
    sys.exit(__doc__)
model, port, threads, parallel = (sys.argv[1:] + ["8091", "2", "16"][len(sys.argv) - 2 :])[:4]
params = xllamacpp.CommonParams()
params.model.path = model
params.port = int(port)
params.n_parallel = int(parallel)
# Of all sequences together.
params.n_ctx = 512 * int(parallel)
params.n_gpu_layers = 0
params.cpuparams.n_threads = int(threads)
params.cpuparams_batch.n_threads = int(threads)
params.cont_batching = True
server = xllamacpp.Server(params)
print("listening on", server.listening_address, flush=True)
while True:
    time.sleep(1)
