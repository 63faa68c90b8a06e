-- Asks for one thing with wrk and checks every answer. The variables BODY, EXPECTED and STATUS are what is sent and
-- what must come back; the last line of the output is one object of JSON.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = os.getenv("BODY")

local expected = os.getenv("EXPECTED")
local expected_status = tonumber(os.getenv("STATUS"))
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init()
  wrong = 0 -- answers; global, so that `done` reads it
end

function response(status, headers, body)
  if status ~= expected_status or body ~= expected then
    wrong = wrong + 1
  end
end

function done(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  for _, thread in ipairs(threads) do
    failed = failed + thread:get("wrong")
  end
  print(string.format('{"calls": %d, "seconds": %f, "failed": %d}', summary.requests, summary.duration / 1e6, failed))
end
