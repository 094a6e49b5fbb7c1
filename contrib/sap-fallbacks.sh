#!/bin/sh
# Routes for accounts of SAP AI Core, or any others where not every model is deployed everywhere: who asks
# for a model that is not there gets the nearest one that is, and reads which in X-Sluice-Model.
#
# A route without targets asks whoever serves the model; upstreams with `discover`, or with a list of
# `models`, say what that is.  Of patterns the longer one counts, so Opus and Haiku stand before all Claudes.
# A fallback that is not there either is passed over.  Run it once, and change the names to yours.
set -eu
sluice=${SLUICE:-sluice}

# accounts in turn, in them their deployments in turn
route() {
	"$sluice" route add --name "$1" --model "$2" --strategy round-robin --fallbacks "$3"
}

route any-opus    '*claude*opus*'    'error anthropic--claude-4.5-opus,error anthropic--claude-4-opus'
route any-haiku   '*claude*haiku*'   'error anthropic--claude-4-haiku,error anthropic--claude-3.5-haiku'
route any-claude  '*claude*'         'error anthropic--claude-4.5-sonnet,error anthropic--claude-4-sonnet,error anthropic--claude-3.7-sonnet'
route any-gemini  '*gemini*'         'error gemini-2.5-pro'
route embeddings  'text-embedding-*' 'error text-embedding-3-small'
route any-other   '*'                'error gpt-4.1'
