#!/bin/sh
# "namespace_agent.sh ADDRESS COMMAND..." runs the command on the pretended host of that address: a network namespace
# named fathom-ADDRESS, with a host name of its own.
address=$1
shift
name=$(echo "fathom-$address" | tr . -)  # what follows a dot is no part of a host's name
exec ip netns exec "fathom-$address" unshare --uts sh -c 'hostname "$0"; eval "$@"' "$name" "$@"
