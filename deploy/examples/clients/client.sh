#!/bin/sh
# Talks to a cluster of craft with nats, the command line of NATS. README.md has the commands that run it.
set -eu
url=${CRAFT_NATS_URL:-nats://127.0.0.1:4222}
cluster=${CRAFT_CLUSTER:-craft}
server=${CRAFT_SERVER:-s1}

# Prints the reply. Without a reply it fails: ask again with the same id.
ask() {
  subject=$1
  input=$2
  shift 2
  nats --no-context --server "$url" request --raw "$cluster.$subject" "$input" "$@" | grep .
}

key=nats-$(date +%s)-$$
put="{\"key\":\"$key\",\"value\":{\"n\":1},\"ifVersion\":0}"
first=$(ask cmd.kv.put "$put" --header "Nats-Msg-Id:$key")
echo "$first"
# The same id again: the same result, although the key is there now.
ask cmd.kv.put "$put" --header "Nats-Msg-Id:$key"
# Another id is another command, which is refused.
ask cmd.kv.put "$put" --header "Nats-Msg-Id:$key-2"
# Any server answers, and sees every command that was acknowledged before.
ask query.kv.get "{\"key\":\"$key\"}" --header Craft-Consistency:linearizable
ask query.craft.describe '{}'

# The merged log is protobuf. Without tools for that, read it as JSON from the command line of craft, here from the
# first command on. With the package installed, that is `npx craft`.
index=$(echo "$first" | sed 's/.*"index":\([0-9]*\).*/\1/')
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
mkfifo "$folder/log"
node "$(dirname "$0")/../../../dist/services/cli/main.js" --nats "$url" --cluster "$cluster" \
  log --server "$server" --from "$index" --follow >"$folder/log" &
follower=$!
read -r entry <"$folder/log"
kill "$follower"
echo "$entry"
