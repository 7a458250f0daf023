-- Lets readers in by what the gateway said of them a moment ago, and counts them in blocks of budgets that it lends.
--
-- A ticket says what one caller may have under one path. It stands under a keyed digest in the memory of one worker,
-- with a key that is drawn when nginx starts or is reloaded, and holds no longer than the gateway knows the caller.
-- Budgets stand in memory that all workers share. What is out of the ordinary is asked about each time.

local AUTHORIZE = "/_authorize"
local HOUR = 3600
local MOST_TICKETS = 20000 -- of one worker, in each of two generations
local MOST_RETURNED = 50 -- budgets that one exchange gives back
local OVER_SECONDS = 0.2 -- for which a budget that is used up is taken to be so still

local shared = ngx.shared.stella_door
local floor, concat = math.floor, table.concat

local random = assert(io.open("/dev/urandom", "rb"))
local KEY = assert(random:read(32))
random:close()

local young, old, number = {}, {}, 0
local unused = {} -- what was left of each budget a second ago
local door = {}

local function keep(id, ticket)
  if number >= MOST_TICKETS then
    old, young, number = young, {}, 0
  end
  young[id] = ticket
  number = number + 1
end

local function ticket_of(id)
  local found = young[id]
  if found then
    return found
  end
  found = old[id]
  if found then
    keep(id, found)
  end
  return found
end

-- The names under which stands what the workers have of a budget in an hour, and what is left of it elsewhere.
local function names_of(budget, hour)
  return "b " .. hour .. " " .. budget, "e " .. hour .. " " .. budget
end

-- Whether the request is counted; a caller without a budget always is.
local function spend(ticket, var)
  if not ticket.budget then
    return true
  end
  local now = ngx.time()
  local hour = floor(now / HOUR)
  if ticket.hour ~= hour then
    ticket.hour = hour
    ticket.counter, ticket.elsewhere = names_of(ticket.budget, hour)
  end
  local left = shared:incr(ticket.counter, -1)
  if not left then
    return false
  end
  if left < 0 then
    shared:incr(ticket.counter, 1)
    return false
  end
  var.stella_limit = ticket.limit
  var.stella_remaining = left + (shared:get(ticket.elsewhere) or 0)
  var.stella_reset = HOUR - now % HOUR
  return true
end

local function admit(ticket, var)
  var.stella_audience = ticket.audience
  var.stella_domain = ticket.domain
  var.stella_class = ticket.class
  var.stella_caller = ticket.caller
end

local function text_of(value)
  return type(value) == "table" and concat(value, ", ") or value or ""
end

-- The fields of an answer's head, by names in lower case.
local function fields_of(answer)
  local found = {}
  for name, value in pairs(answer.header) do
    found[name:lower()] = value
  end
  return found
end

local function refuse(status, told)
  local var = ngx.var
  var.stella_domain = text_of(told["x-stella-domain"])
  var.stella_class = text_of(told["x-stella-class"])
  var.stella_status = text_of(told["x-stella-status"])
  var.stella_code = text_of(told["x-stella-code"])
  var.stella_problem = text_of(told["x-stella-problem"])
  var.stella_challenge = text_of(told["www-authenticate"])
  var.stella_range = text_of(told["content-range"])
  var.stella_retry = text_of(told["retry-after"])
  var.stella_limit = text_of(told["ratelimit-limit"])
  var.stella_remaining = text_of(told["ratelimit-remaining"])
  var.stella_reset = text_of(told["ratelimit-reset"])
  return ngx.exit(status)
end

-- What an answer says of a budget: a block of it, perhaps, and what is left elsewhere. A block may be of an hour that
-- is over here; it is then never used.
local function store(told, budget)
  local hour, block, left = text_of(told["x-stella-block"]):match("^(%d+) (%d+) (%d+)$")
  if not hour then
    return
  end
  local counter, elsewhere = names_of(budget, hour)
  if tonumber(block) > 0 then
    shared:incr(counter, tonumber(block), 0, 2 * HOUR)
  end
  shared:set(elsewhere, tonumber(left), 2 * HOUR)
  return (shared:get(counter) or 0) + tonumber(left)
end

local function written(told)
  local budget = text_of(told["x-stella-budget"])
  return {
    audience = text_of(told["x-stella-audience"]),
    domain = text_of(told["x-stella-domain"]),
    class = text_of(told["x-stella-class"]),
    caller = text_of(told["x-stella-caller"]),
    state = text_of(told["x-stella-state"]),
    budget = budget ~= "" and budget or nil,
    limit = text_of(told["ratelimit-limit"]),
    ends = ngx.now() + (tonumber(told["x-stella-ticket"]) or 0),
  }
end

-- Decide about the request at hand; to be called in the access phase.
function door.enter()
  local var, id, ticket = ngx.var, nil, nil
  local lend = false
  if not var.http_range then
    local caller = { var.host or "", var.stella_path, var.remote_addr, var.http_authorization or "" }
    id = ngx.hmac_sha1(KEY, concat(caller, "\0"))
    ticket = ticket_of(id)
    local now = ngx.now()
    if ticket and now < ticket.ends and ticket.state == shared:get("state") and var.stella_plain == "1" then
      if spend(ticket, var) then
        return admit(ticket, var)
      end
      if ticket.over and now < ticket.over_until then
        return refuse(403, ticket.over)
      end
      lend = true
    end
  end

  local answer = ngx.location.capture(AUTHORIZE, { args = lend and "lend=1" or "lend=0" })
  local told = fields_of(answer)
  if answer.status == 401 or answer.status == 403 then
    if lend and told["x-stella-status"] == "429" then
      ticket.over, ticket.over_until = told, ngx.now() + OVER_SECONDS
    end
    return refuse(answer.status, told)
  end
  if answer.status ~= 204 then
    return ngx.exit(500)
  end
  local fresh = written(told)
  local left = fresh.budget and store(told, fresh.budget)
  admit(fresh, var)
  var.stella_limit = fresh.limit
  var.stella_remaining = left or text_of(told["ratelimit-remaining"])
  var.stella_reset = text_of(told["ratelimit-reset"])
  if id and var.stella_plain == "1" then
    shared:set("state", fresh.state)
    keep(id, fresh)
  end
end

-- Units that nobody has used for a second, taken out of what the workers share.
local function gathered()
  local hour, found, seen = floor(ngx.time() / HOUR), {}, {}
  for _, counter in ipairs(shared:get_keys(0)) do
    local of, budget = counter:match("^b (%d+) (.+)$")
    local left = of and shared:get(counter)
    if of and tonumber(of) < hour then
      shared:delete(counter)
    elseif left and left > 0 then
      if unused[counter] == left and #found < MOST_RETURNED then
        if (shared:incr(counter, -left) or -1) >= 0 then
          found[#found + 1] = { counter = counter, left = left, line = of .. " " .. left .. " " .. budget }
        else
          shared:incr(counter, left)
        end
      else
        seen[counter] = left
      end
    end
  end
  unused = seen
  return found
end

-- Give back what is not used, and hear whether settings or users have changed; once a second, in one worker.
-- What was sent and not answered is not given back again: it may have arrived.
local function exchange(host, port)
  local socket = ngx.socket.tcp()
  socket:settimeouts(1000, 1000, 2000)
  if not socket:connect(host, port) then
    return
  end
  local lines = { "GET /_stella/exchange HTTP/1.1", "Host: " .. host, "Connection: close" }
  for _, each in ipairs(gathered()) do
    lines[#lines + 1] = "X-Stella-Return: " .. each.line
  end
  if not socket:send(concat(lines, "\r\n") .. "\r\n\r\n") then
    return
  end
  local first = socket:receive()
  while first and first:match("^HTTP/1%.1 204 ") do
    local line = socket:receive()
    local state = line and line:lower():match("^x%-stella%-state: *(%x+)")
    if state then
      shared:set("state", state)
    end
    if not line or line == "" or state then
      break
    end
  end
  socket:close()
end

-- Begin to exchange with the gateway; to be called when a worker starts.
function door.start(host, port)
  if ngx.worker.id() ~= 0 then
    return
  end
  ngx.timer.every(1, function(premature)
    if not premature then
      exchange(host, port)
    end
  end)
end

return door
