-- Chooses the answer to each request: by the rules of its listener, as an Application Load Balancer does.
--
-- The variable BAKEBOOT_ROUTES is the path of the first table of routes: Lua source that returns
--   { listeners = { NAME = { idle = MILLISECONDS, rules = { { conditions = {...}, action = {...} }, ... } } },
--     groups = { KEY = { algorithm = "round_robin" | "least_outstanding_requests", targets = { { KEY, IP, PORT }, ... } } } }
-- with rules in the order in which they are tried and targets that may be chosen now (region/balancer/table.py writes it).
-- "routes load PATH" on the admin socket swaps the whole table: HAProxy runs one thread, so no request sees half of it.

local routes = { listeners = {}, groups = {} }
local turns = {} -- a group's key to the number of targets that it has handed out: it outlives a swap

-- AWS: "Listener rules", wildcards: * is any number of characters, ? is exactly one.
local function pattern(wildcard, ignore_case)
  local text = ignore_case and wildcard:lower() or wildcard
  text = text:gsub("[%^%$%(%)%%%.%[%]%+%-]", "%%%0"):gsub("%*+", ".*"):gsub("%?", ".")
  return "^" .. text .. "$"
end

local function any(patterns, text)
  for _, each in ipairs(patterns) do
    if text:match(each) then return true end
  end
  return false
end

local function patterns(values, ignore_case)
  local compiled = {}
  for index, value in ipairs(values) do compiled[index] = pattern(value, ignore_case) end
  return compiled
end

local function address_number(address)
  local a, b, c, d = address:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  return a and (a << 24 | b << 16 | c << 8 | d) or nil
end

-- Each takes a condition's values and gives a function of a request that says whether the condition holds.
local conditions = {}

function conditions.host(condition)
  local compiled = patterns(condition.values, true)
  return function(request)
    return any(compiled, (request.host:lower():gsub(":%d+$", "")))
  end
end

function conditions.path(condition)
  local compiled = patterns(condition.values, false)
  return function(request) return any(compiled, request.path) end
end

function conditions.header(condition)
  local compiled, name = patterns(condition.values, true), condition.name:lower()
  return function(request)
    for _, value in ipairs(request.header(name)) do
      if any(compiled, value:lower()) then return true end
    end
    return false
  end
end

function conditions.method(condition)
  return function(request)
    for _, method in ipairs(condition.values) do
      if method == request.method then return true end
    end
    return false
  end
end

function conditions.query(condition)
  local pairs_wanted = {}
  for index, wanted in ipairs(condition.values) do
    pairs_wanted[index] = { key = wanted.key and pattern(wanted.key, true), value = pattern(wanted.value, true) }
  end
  return function(request)
    for part in request.query:gmatch("[^&]+") do
      local key, value = part:lower():match("^([^=]*)=?(.*)$")
      for _, wanted in ipairs(pairs_wanted) do
        if (not wanted.key or key:match(wanted.key)) and value:match(wanted.value) then return true end
      end
    end
    return false
  end
end

function conditions.source(condition)
  return function(request)
    local source = address_number(request.source)
    for _, network in ipairs(condition.values) do
      if source and source & network.mask == network.address then return true end
    end
    return false
  end
end

local function compile(source)
  local listeners = {}
  for name, listener in pairs(source.listeners) do
    local rules = {}
    for index, rule in ipairs(listener.rules) do
      local tests = {}
      for number, condition in ipairs(rule.conditions) do tests[number] = conditions[condition.kind](condition) end
      rules[index] = { tests = tests, action = rule.action, priority = rule.priority }
    end
    listeners[name] = { idle = listener.idle, rules = rules, secure = listener.secure, port = listener.port }
  end
  return { listeners = listeners, groups = source.groups }
end

local function load_routes(path)
  routes = compile(assert(loadfile(path, "t", {}))())
  for key in pairs(turns) do
    if not routes.groups[key] then turns[key] = nil end
  end
end

local function find_rule(listener, request)
  for _, rule in ipairs(listener.rules) do
    local holds = true
    for _, test in ipairs(rule.tests) do
      if not test(request) then holds = false break end
    end
    if holds then return rule end
  end
end

-- By weight, at random; one of weight 0 never. nil where all have weight 0.
local function pick_group(weighted)
  local total = 0
  for _, each in ipairs(weighted) do total = total + each[2] end
  if total == 0 then return nil end
  local left = math.random(total)
  for _, each in ipairs(weighted) do
    left = left - each[2]
    if left <= 0 then return each[1] end
  end
end

-- `busy(key)` is the number of requests that a target is answering now.
local function pick_target(key, group, busy)
  local count = #group.targets
  if count == 0 then return nil end
  local turn = (turns[key] or math.random(count)) + 1
  turns[key] = turn
  local best = group.targets[turn % count + 1]
  if group.algorithm == "least_outstanding_requests" then
    local least = busy(best[1])
    for offset = 1, count - 1 do
      local other = group.targets[(turn + offset) % count + 1]
      local load = busy(other[1])
      if load < least then best, least = other, load end
    end
  end
  return best
end

-- AWS: "Redirect actions": #{protocol}, #{host}, #{port}, #{path} (without its first slash) and #{query} are the request's.
local function location(action, request)
  local own = {
    protocol = request.protocol,
    host = (request.host:gsub(":%d+$", "")),
    port = tostring(request.port),
    path = (request.path:gsub("^/", "")),
    query = request.query,
  }
  local function fill(text) return (text:gsub("#{(%a+)}", function(word) return own[word] end)) end
  local protocol, port, query = fill(action.protocol):lower(), fill(action.port), fill(action.query)
  local usual = (protocol == "http" and port == "80") or (protocol == "https" and port == "443")
  return protocol .. "://" .. fill(action.host) .. (usual and "" or ":" .. port) .. fill(action.path)
    .. (query ~= "" and "?" .. query or "")
end

local REASONS = {
  [301] = "Moved Permanently", [302] = "Found", [405] = "Method Not Allowed", [503] = "Service Temporarily Unavailable",
}

local function page(status)
  local title = status .. " " .. REASONS[status]
  return "<html>\r\n<head><title>" .. title .. "</title></head>\r\n<body>\r\n<center><h1>" .. title
    .. "</h1></center>\r\n</body>\r\n</html>\r\n"
end

local function answer(txn, status, kind, body, headers)
  txn:set_var("txn.kind", kind)
  local reply = txn:reply({ status = status, body = body })
  reply:add_header("Server", "awselb/2.0")
  for _, header in ipairs(headers) do reply:add_header(header[1], header[2]) end
  txn:done(reply)
end

local function read_request(txn, listener)
  local read = txn.f
  return {
    method = read:method(),
    path = read:path() or "/",
    query = read:query() or "",
    host = read:req_fhdr("host") or "",
    source = tostring(read:src()),
    protocol = listener.secure and "https" or "http",
    port = listener.port,
    header = function(name)
      local values = {}
      local lines = txn.http:req_get_headers()[name]
      if lines then
        for index = 0, #lines do values[index + 1] = lines[index] end
      end
      return values
    end,
  }
end

-- AWS: "Request tracing for your Application Load Balancer": a request without the header gets a Root of its own, one
-- that has a Root keeps it behind a Self.
local function trace(txn)
  local old = txn.f:req_fhdr("x-amzn-trace-id")
  local id = string.format("1-%08x-%08x%08x%08x", os.time(), math.random(0, 0xffffffff), math.random(0, 0xffffffff),
    math.random(0, 0xffffffff))
  local new = "Root=" .. id
  if old and old:find("Root=", 1, true) then
    new = "Self=" .. id .. ";" .. old:gsub("Self=[^;]*;?", "")
  elseif old then
    new = new .. ";" .. old
  end
  txn.http:req_set_header("X-Amzn-Trace-Id", new)
end

local function forward(txn, listener, action)
  local key = pick_group(action.groups)
  local group = key and routes.groups[key]
  if key then txn:set_var("txn.group", key) end
  local target = group and pick_target(key, group, function(target_key)
    return txn.c:table_conn_cur(target_key, "outstanding") or 0
  end)
  if not target then
    return answer(txn, 503, "elb", page(503), { { "Content-Type", "text/html" } })
  end
  txn:set_var("txn.kind", "forward")
  txn:set_var("txn.target", target[1])
  txn:set_var("txn.ip", target[2])
  txn:set_var("txn.port", target[3])
  txn:set_var("txn.idle", listener.idle)
  trace(txn)
end

local function choose(txn)
  local listener = routes.listeners[txn.f:fe_name()]
  if not listener then return answer(txn, 503, "elb", page(503), { { "Content-Type", "text/html" } }) end
  local request = read_request(txn, listener)
  if request.method == "TRACE" then
    return answer(txn, 405, "elb", page(405), { { "Content-Type", "text/html" } })
  end
  local action = find_rule(listener, request).action -- the last rule, the default one, has no condition
  if action.kind == "forward" then return forward(txn, listener, action) end
  if action.kind == "fixed" then
    return answer(txn, action.status, "fixed", action.body, { { "Content-Type", action.type } })
  end
  answer(txn, action.status, "redirect", page(action.status), {
    { "Content-Type", "text/html" }, { "Location", location(action, request) },
  })
end

if core then
  math.randomseed(os.time() ~ (tonumber(tostring({}):match("0x(%x+)"), 16) or 0))
  core.register_action("choose", { "http-req" }, choose)
  core.register_cli({ "routes", "load" }, "routes load PATH: takes a new table of routes", function(applet, _, _, path)
    local done, problem = pcall(load_routes, path)
    applet:send(done and "ok\n" or "failed: " .. tostring(problem) .. "\n")
  end)
  core.register_init(function() load_routes(os.getenv("BAKEBOOT_ROUTES")) end)
end

return { compile = compile, find_rule = find_rule, pick_group = pick_group, pick_target = pick_target, location = location }
