-- What wrk sends in scripts/load_test.sh: prompts that differ, so that nothing but their beginning can be kept from one to the
-- next, and 64 tokens each whatever they are.
local number = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

request = function()
  number = number + 1
  local body = string.format(
    '{"prompt":"Story %d. Once there was a","max_tokens":64,"seed":%d,"ignore_eos":true,"temperature":1}', number, number)
  return wrk.format(nil, "/v1/completions", nil, body)
end

done = function(summary, latency, requests)
  local seconds = summary.duration / 1e6
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
    + summary.errors.timeout
  io.write(string.format("%d requests, %d failed; %.1f requests and %.0f tokens a second; latency p50 %.0f ms, p99 %.0f ms\n",
    summary.requests, failed, summary.requests / seconds, 64 * (summary.requests - failed) / seconds,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
