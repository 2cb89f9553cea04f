-- Runs one program: prints the seconds of processor time that it took and its result. Arrays are those that are fast
-- here: of bytes and words in LuaJIT, tables elsewhere.
local ok, ffi = pcall(require, "ffi")

local function array(kind, count)
  if ok then return ffi.new(kind, count) end
  local made = {}
  for i = 0, count - 1 do made[i] = 0 end
  return made
end

function bytes(count) return array("uint8_t[?]", count) end
function words(count) return array("int32_t[?]", count) end

local run = dofile(arg[1])
local began = os.clock()
local result = run()
print(string.format("%.9f %.0f", os.clock() - began, result))
