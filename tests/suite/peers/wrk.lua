-- For wrk(1): every POST is another alert. Prints the sums as JSON.
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

local sent = 0

function request()
  if wrk.path ~= "/" then
    return wrk.format("GET")
  end
  sent = sent + 1
  local instance = string.format("localhost:%d%04d", number, sent)
  local alert = string.format(
    '{"status":"firing","labels":{"alertname":"Pressed","heal":"true","instance":"%s"},"annotations":{},'
      .. '"startsAt":"2026-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","fingerprint":"%016x"}',
    instance, number * 10000 + sent)
  local body = '{"version":"4","status":"firing","receiver":"r","truncatedAlerts":0,"alerts":[' .. alert .. "]}"
  return wrk.format("POST", "/", { ["Content-Type"] = "application/json" }, body)
end

function done(summary)
  local errors = summary.errors
  print(string.format('{"requests":%d,"errors":%d}', summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
