"""What a Redis server does in one step, for the sake of all processes: Lua, run by the server."""

from __future__ import annotations

# All entries come in one argument, a line each: an argument costs the client more than a microsecond.
APPEND = """
local refused = {}
local entries = string.gmatch(ARGV[1], '(%S+) (%S+) ([^\\n]+)')
for i, key in ipairs(KEYS) do
  local before, id, data = entries()
  local last = redis.pcall('XREVRANGE', key, '+', '-', 'COUNT', 1)
  if last[1] and last[1][1] == before then
    redis.call('XADD', key, id, 'd', data)
    redis.call('PUBLISH', key, string.match(before, '%d+') - 1 .. ' ' .. data)
  else
    refused[#refused + 1] = i
  end
end
return refused
"""

# A run that has ended, or has a later owner, is never rewritten.
CREATE = """
local run, process, epoch, request, first, length, data, restore = unpack(ARGV)
local known = redis.pcall('HMGET', KEYS[2], 'epoch', 'token')
if known.err then  -- Another program's: a key of ours is a hash.
  redis.call('DEL', KEYS[2])
  known = {}
end
if known[2] or (known[1] and (restore == '' or tonumber(known[1]) > tonumber(epoch))) then return 0 end
redis.call('HSET', KEYS[2], 'run', run, 'process', process, 'epoch', epoch, 'request', request)
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[1], length, 'd', data)
redis.call('PUBLISH', KEYS[1], first .. ' ' .. data)
return 1
"""

ADOPT = """
local name, epoch = unpack(ARGV)
local known = redis.call('HMGET', KEYS[2], 'process', 'epoch', 'token')
if known[3] or not known[2] then return 0 end
if known[1] == name and tonumber(known[2]) == epoch + 1 then return 1 end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if known[2] ~= epoch or not last[1] then return 0 end
local length = string.match(last[1][1], '%d+')
redis.call('XADD', KEYS[1], length .. '-' .. (epoch + 1), 'd', '[]')
redis.call('HSET', KEYS[2], 'process', name, 'epoch', epoch + 1)
return 1
"""

RELEASE = """
local known = redis.call('HMGET', KEYS[1], 'process', 'epoch', 'token')
if known[3] or known[2] ~= ARGV[2] or (known[1] ~= ARGV[1] and known[1] ~= '') then return 0 end
redis.call('HSET', KEYS[1], 'process', '')
return 1
"""

# 1: ended, 0: had ended already or is of another epoch, -1: the log is not just as long as that.
END = """
local number, data, token, keep, exactly, fence, row, claimant = unpack(ARGV)
local known = redis.call('HMGET', KEYS[2], 'epoch', 'token')
if known[2] then return known[2] == token and 1 or 0 end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if not (known[1] and last[1]) then return -1 end
if fence ~= '' and known[1] ~= fence then return 0 end
number = tonumber(number)
if exactly ~= '' then
  if last[1][1] ~= (number + 1) .. '-' .. known[1] then return -1 end
else
  -- Its owner may be appending as fast as it can.
  number = math.max(number, string.match(last[1][1], '%d+') - 1)
end
redis.call('XADD', KEYS[1], (number + 2) .. '-' .. known[1], 'd', data)
redis.call('HSET', KEYS[2], 'token', token)
if row ~= '' then redis.call('HSET', KEYS[2], 'outbox', claimant) end
if keep ~= '' then
  redis.call('PEXPIRE', KEYS[1], keep)
  redis.call('PEXPIRE', KEYS[2], keep)
end
redis.call('PUBLISH', KEYS[1], number .. ' ' .. data)
return 1
"""

# How often the row was claimed, or 0: another process has claimed it.
CLAIM = """
local name, claimant = unpack(ARGV)
if redis.call('HGET', KEYS[1], 'outbox') ~= claimant then return 0 end
redis.call('HSET', KEYS[1], 'outbox', name)
return redis.call('HINCRBY', KEYS[1], 'deliveries', 1)
"""

DELIVERED = """
if redis.call('HGET', KEYS[1], 'outbox') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[1], 'outbox')
"""

# Of each run, 1: ended, 0: living, -1: unknown.
STATES = """
local states = {}
for i = 1, #KEYS, 2 do
  local known = redis.pcall('HMGET', KEYS[i + 1], 'epoch', 'token')
  if known.err or not known[1] or redis.call('EXISTS', KEYS[i]) == 0 then
    states[#states + 1] = -1
  else
    states[#states + 1] = known[2] and 1 or 0
  end
end
return states
"""

COUNT = """
local run, limit = unpack(ARGV)
if redis.call('SISMEMBER', KEYS[1], run) == 1 then return 1 end
if redis.call('SCARD', KEYS[1]) >= tonumber(limit) then return 0 end
return redis.call('SADD', KEYS[1], run)
"""

# The runs of a chat: a sorted set, in the order of their creation. Empty: the run is in it now; else the newest run.
ENTER_CHAT = """
local run, previous, limit = unpack(ARGV)
if redis.call('ZSCORE', KEYS[1], run) then return '' end
local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if previous ~= '*' and (newest[1] or '') ~= previous then return newest[1] or '-' end
redis.call('ZADD', KEYS[1], (newest[2] or 0) + 1, run)
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -limit - 1)
redis.call('PERSIST', KEYS[1])
return ''
"""

EXPIRE_IF_NEWEST = """
if redis.call('ZREVRANGE', KEYS[1], 0, 0)[1] == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
"""

EXPIRE_IF_EQUAL = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end"
)
DELETE_IF_EQUAL = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"

SUM = """
local sum = 0
for _, size in ipairs(redis.call('HVALS', KEYS[1])) do sum = sum + size end
return sum
"""
