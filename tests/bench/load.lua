-- wrk's script: POSTs event bodies from a file in turn, and reports in one line of JSON.
--   wrk ... -s load.lua URL                                   GETs URL
--   wrk ... -s load.lua URL -- BODIES [--path P] [--unique TAG] [--delay-ms N]
-- BODIES has one request body a line. Without --path, an event's type says where it goes.
-- --unique: the last 12 digits of every message id become a count of this run's own (TAG: 2 digits).
-- --delay-ms: mean pause of a connection before each request.

local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
end

local function options_of(args)
    local options = {}
    local i = 2
    while i <= #args do
        options[args[i]] = args[i + 1]
        i = i + 2
    end
    return options
end

local function path_of(body, path)
    if path then return path end
    if body:find('"type":"page"', 1, true) then return "/v1/page" end
    return "/v1/track"
end

function init(args)
    if #args == 0 then return end
    local options = options_of(args)
    local heads, tails, pool, at = {}, {}, {}, 0
    local headers = { ["Content-Type"] = "text/plain;charset=UTF-8" }
    for body in io.lines(args[1]) do
        pool[#pool + 1] = wrk.format("POST", path_of(body, options["--path"]), headers, body)
    end

    if options["--unique"] then
        for i, text in ipairs(pool) do
            local _, last = text:find('"messageId":"[^"]+"')
            heads[i], tails[i] = text:sub(1, last - 13), text:sub(last)
        end
        local count = 0
        local tag = string.format("%s%02d", options["--unique"], number)
        request = function()
            at = at % #heads + 1
            count = count + 1
            return heads[at] .. tag .. string.format("%08d", count) .. tails[at]
        end
    else
        -- Threads begin at different places.
        at = math.floor(#pool * number / 4) % #pool
        request = function()
            at = at % #pool + 1
            return pool[at]
        end
    end
    local pause = tonumber(options["--delay-ms"])
    if pause then
        delay = function() return math.random(0, math.floor(2 * pause + 0.5)) end
    end
end

function done(summary, latency, requests)
    io.write(string.format(
        'REPORT {"requests":%d,"seconds":%.6f,"failed":%d,"refused":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
        summary.requests, summary.duration / 1e6,
        summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
        summary.errors.status, latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
