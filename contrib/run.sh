#!/bin/sh
# make run: lighttpd on 127.0.0.1:$PORT with gateway, management, page and a mock provider; all
# state under $VAR.  Stays in the foreground; one Ctrl-C ends everything it started.
#
# usage: run.sh PROGRAMS PORT VAR
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
programs=$(cd "$1" && pwd)
port=$2
mkdir -p "$3" && var=$(cd "$3" && pwd)
sluice="$programs/sluice"
env_file="$var/run.env"
export SLUICE_CONFIG="$var/sluice.conf"
children=""

finish() {
	trap - INT TERM EXIT
	[ -z "$children" ] || kill -TERM $children 2>/dev/null || true
	for child in $children; do wait "$child" 2>/dev/null || true; done
	rm -f "$var/run.pid"
}
trap 'finish; exit 130' INT
trap 'finish; exit 143' TERM
trap finish EXIT

# value NAME: what the last run wrote for it
value() { [ ! -f "$env_file" ] || sed -n "s/^$1=//p" "$env_file" | tail -n 1; }
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1; }
has() { "$sluice" "$1" show "$2" --json >/dev/null 2>&1; }

if [ -f "$var/run.pid" ] && kill -0 "$(cat "$var/run.pid")" 2>/dev/null; then
	echo "run: one is running already under $var (process $(cat "$var/run.pid")); VAR= names another folder" >&2
	exit 1
fi
echo $$ >"$var/run.pid"
mkdir -p "$var/log" "$var/run"
cat >"$SLUICE_CONFIG" <<CONF
state_dir = $var/state
gateway_socket = $var/run/gateway.sock
manage_socket = $var/run/manage.sock
log_file = $var/log/sluice.log
CONF

# ---- the store, and its secrets: shown once by init, so kept in run.env (mode 0600) ----
umask 077
password=$(value SLUICE_ADMIN_PASSWORD)
manage_token=$(value SLUICE_MANAGE_TOKEN)
token=$(value SLUICE_TOKEN)
[ -n "$password" ] || password=$(od -An -tx1 -N12 /dev/urandom | tr -d ' \n')
made=$(SLUICE_ADMIN_PASSWORD="$password" "$sluice" init --json)
[ -n "$manage_token" ] || manage_token=$(printf '%s' "$made" | field management_token)

# ---- a provider to play with, and the real ones whose keys are in the environment ----
"$sluice" mock --listen 127.0.0.1:0 --interval-ms 100 >"$var/log/mock.log" 2>&1 &
children="$children $!"
mock=""
tries=0
while [ -z "$mock" ] && [ $tries -lt 100 ]; do
	mock=$(sed -n 's/.*\(http:[^ ]*\).*/\1/p' "$var/log/mock.log" | head -n 1)
	tries=$((tries + 1))
	[ -n "$mock" ] || sleep 0.05
done
[ -n "$mock" ] || { echo "run: the mock provider did not start; see $var/log/mock.log" >&2; exit 1; }
if has upstream mock; then
	"$sluice" upstream set mock --base-url "$mock/v1" --json >/dev/null
else
	"$sluice" upstream add --name mock --protocol openai --base-url "$mock/v1" --allow-private \
		--default --models 'mock-chat,mock-embedding,mock*' --json >/dev/null
	"$sluice" key add --upstream mock --label "the mock's" --secret sk-mock-0000000000000000 --json >/dev/null
fi
provider() { # NAME PROTOCOL SECRET BASE_URL MODELS
	[ -n "$3" ] || return 0
	if ! has upstream "$1"; then
		"$sluice" upstream add --name "$1" --protocol "$2" --base-url "$4" --models "$5" --json >/dev/null
		printf '%s' "$3" | "$sluice" key add --upstream "$1" --label environment --secret - --json >/dev/null
	fi
	echo "provider     $1"
}
has project playground || "$sluice" project add --name playground --json >/dev/null
[ -n "$token" ] || token=$("$sluice" token add --project playground --label "make run" --json | field token)

# ---- workers and web server ----
"$sluice" serve >"$var/log/serve.log" 2>&1 &
children="$children $!"
tries=0
while [ ! -S "$var/run/gateway.sock" ] || [ ! -S "$var/run/manage.sock" ]; do
	tries=$((tries + 1))
	[ $tries -lt 200 ] || { echo "run: the workers did not start:" >&2; tail -n 5 "$var/log/serve.log" "$var/log/sluice.log" >&2; exit 1; }
	sleep 0.05
done
sed -e "s|@PORT@|$port|g" -e "s|@HTDOCS@|$top/htdocs|g" -e "s|@SOCKETS@|$var/run|g" -e "s|@LOG@|$var/log|g" \
	"$top/conf/lighttpd-socket.conf" >"$var/lighttpd.conf"
lighttpd -D -f "$var/lighttpd.conf" >"$var/log/lighttpd.out" 2>&1 &
web=$!
children="$children $web"
url="http://127.0.0.1:$port"
tries=0
until curl -fsS -o /dev/null "$url/health" 2>/dev/null; do
	tries=$((tries + 1))
	if ! kill -0 $web 2>/dev/null || [ $tries -ge 200 ]; then
		echo "run: lighttpd did not start on $url; is the port taken?  PORT= chooses another" >&2
		cat "$var/log/lighttpd.out" "$var/log/lighttpd.log" 2>/dev/null | tail -n 5 >&2
		exit 1
	fi
	sleep 0.05
done

cat >"$env_file.new" <<ENV
SLUICE_URL=$url
SLUICE_ADMIN_URL=$url/admin/
SLUICE_ADMIN_PASSWORD=$password
SLUICE_MANAGE_URL=$url/manage
SLUICE_MANAGE_TOKEN=$manage_token
SLUICE_TOKEN=$token
SLUICE_MODEL=mock-chat
SLUICE_PID=$$
ENV
mv "$env_file.new" "$env_file"

cat <<TEXT

sluice is up.

gateway      $url/v1
admin page   $url/admin/     password $password
token        $token
settings     $SLUICE_CONFIG, logs in $var/log, all of this in $env_file

  curl -N $url/v1/chat/completions -H "Authorization: Bearer $token" \\
    -H 'Content-Type: application/json' \\
    -d '{"model":"mock-chat","stream":true,"messages":[{"role":"user","content":"Hello"}]}'

TEXT
provider openai openai "${OPENAI_API_KEY:-}" https://api.openai.com/v1 'gpt-*,o1*,o3*,o4*,chatgpt-*,text-embedding-*,whisper-*,tts-*,dall-e-*,omni-moderation-*'
provider anthropic anthropic "${ANTHROPIC_API_KEY:-}" https://api.anthropic.com/v1 'claude-*'
provider gemini gemini "${GEMINI_API_KEY:-}" https://generativelanguage.googleapis.com/v1beta 'gemini-*'
provider openrouter openrouter "${OPENROUTER_API_KEY:-}" https://openrouter.ai/api/v1 '*/*'
provider groq openai_chat "${GROQ_API_KEY:-}" https://api.groq.com/openai/v1 'llama-*,openai/gpt-oss-*,qwen/*'
provider mistral openai_chat "${MISTRAL_API_KEY:-}" https://api.mistral.ai/v1 'mistral-*,codestral-*,ministral-*,pixtral-*'
provider deepseek openai_chat "${DEEPSEEK_API_KEY:-}" https://api.deepseek.com/v1 'deepseek-*'
echo "Ctrl-C ends it."

# If any part ends by itself, so does the whole: a half-running gateway only puzzles.
while :; do
	for child in $children; do
		kill -0 "$child" 2>/dev/null || { echo "run: a part ended by itself; see $var/log" >&2; exit 1; }
	done
	sleep 1 &
	wait $! || true
done
