--- Certificates for the specs, made by `openssl` once for each process that asks: a CA,
--- certificates of servers and of a client, and such as are to be refused. A name is a
--- table: cert and key are files.

local M = {}

local SCRIPT = [[
set -e
cd "$1"
key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }
cat >ext <<'END'
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
subjectAltName = DNS:localhost, DNS:*.wild.example, IP:127.0.0.1, IP:::1
extendedKeyUsage = serverAuth
[other]
subjectAltName = DNS:other.example
[client]
extendedKeyUsage = clientAuth
END
new() { # name, section, subject, what the CA does
  key "$1"
  openssl req -new -key "$1.key" -subj "$3" -out "$1.csr"
  shift_name=$1 section=$2
  shift 3
  openssl x509 -req -in "$shift_name.csr" -out "$shift_name.pem" -extfile ext \
    -extensions "$section" "$@"
}
root() { # name, subject
  key "$1"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
  openssl x509 -req -in "$1.csr" -signkey "$1.key" -days 3650 -extfile ext \
    -extensions ca -out "$1.pem"
}
signed() { # name, section, subject, serial
  new "$1" "$2" "$3" -CA "${4:-ca}.pem" -CAkey "${4:-ca}.key" -days "${5:-3650}" \
    -set_serial "${6:-1}"
}
root ca "/O=neap/CN=neap test CA"
root stranger "/O=neap/CN=neap other CA"
signed middle ca "/O=neap/CN=neap middle CA" ca 3650 2
signed server server "/O=neap/CN=localhost" ca 3650 4660
signed leaf server "/O=neap/CN=localhost" middle 3650 4
signed client client "/O=neap/CN=a client" ca 3650 5
signed other other "/O=neap/CN=other.example" ca 3650 6
signed foreign client "/O=neap/CN=a stranger" stranger 3650 7
cat leaf.pem middle.pem >chain.pem
cp leaf.key chain.key
key self
openssl req -new -key self.key -subj "/CN=localhost" -out self.csr
openssl x509 -req -in self.csr -signkey self.key -days 3650 -extfile ext \
  -extensions server -out self.pem
openssl ec -in server.key -aes128 -passout pass:secret -out locked.key
cp server.pem locked.pem
# What has expired: `x509 -req` knows no dates, `ca` does.
key expired
openssl req -new -key expired.key -subj "/O=neap/CN=localhost" -out expired.csr
mkdir db; : >db/index; echo 10 >db/serial
cat >ca.conf <<'END'
[ca]
default_ca = it
[it]
database = db/index
serial = db/serial
new_certs_dir = db
default_md = sha256
policy = any
unique_subject = no
[any]
organizationName = optional
commonName = supplied
END
openssl ca -batch -config ca.conf -cert ca.pem -keyfile ca.key -in expired.csr -notext \
  -startdate 20200101000000Z -enddate 20200201000000Z -extfile ext -extensions server \
  -out expired.pem
]]

local function run(command)
  local pipe = assert(io.popen(command, "r"))
  local output = pipe:read "a"
  return pipe:close(), output
end

local folder

local function make()
  local _, path = run "mktemp -d"
  path = path:gsub("%s+$", "")
  local script = assert(io.open(path .. "/make.sh", "w"))
  script:write(SCRIPT)
  script:close()
  local ok, output = run(("bash %s/make.sh %s 2>&1"):format(path, path))
  if not ok then error("cannot make certificates: " .. output) end
  return path
end

-- The folder goes when the process does.
local Remover = {
  __gc = function(self) os.execute(("rm -rf '%s'"):format(self.path)) end,
}

--- The folder with all files.
function M.folder()
  if not folder then
    folder = setmetatable({ path = make() }, Remover)
  end
  return folder.path
end

--- The path of a file there: path "ca.pem".
function M.path(name) return M.folder() .. "/" .. name end

--- The content of such a file.
function M.text(name)
  local file <close> = assert(io.open(M.path(name), "rb"))
  return file:read "a"
end

--- Options with cert and key of that name, and what else is given.
function M.identity(name, more)
  local opts = { cert = M.path(name .. ".pem"), key = M.path(name .. ".key") }
  for key, value in pairs(more or {}) do opts[key] = value end
  return opts
end

--- Options for a client that trusts the CA.
function M.trust(more)
  local opts = { cafile = M.path "ca.pem" }
  for key, value in pairs(more or {}) do opts[key] = value end
  return opts
end

return M
