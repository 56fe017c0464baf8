#!/bin/bash
# Gives one test node its own mount and process namespaces: whatever kubelet, containerd and containers mount, write
# below /var/lib, /var/log and /run, or leave running ends with them.
#
#   node-namespace.sh DIR CGROUP
#
# DIR/kubelet appears inside as /var/lib/kubelet and DIR/log as /var/log. DIR/ready holds the process id (as the caller
# sees it) of the namespaces' first process once they are set up. Ends on SIGTERM, and removes the cgroup then.
set -u

inside() {
  set -e
  local dir=$1
  mount -t tmpfs -o mode=755 node-lib /var/lib
  mkdir /var/lib/kubelet
  mount --bind "$dir/kubelet" /var/lib/kubelet
  mount --bind "$dir/log" /var/log
  mount -t tmpfs -o mode=755 node-run /run
  # The kubelet sets these for the whole machine where they differ. Here it finds what it wants.
  local setting
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    local file="$dir/sysctl/${setting%%=*}"
    mkdir -p "${file%/*}"
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "/proc/sys/${setting%%=*}"
  done
  # Shared among the node's own processes only: containers may ask for mounts that propagate.
  mount --make-rshared /
  touch "$dir/mounted"
  # As the first process of its namespace it reaps what others leave, which bash does.
  sleep infinity &
  wait
}

outside() {
  local dir=$1 cgroup=$2 child='' try folder
  trap 'kill -KILL "$child" 2>/dev/null' TERM INT HUP
  setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child=KILL --mount-proc --propagation private \
    "$BASH" "$0" --inside "$dir" &
  child=$!
  while kill -0 "$child" 2>/dev/null && ! [ -e "$dir/mounted" ]; do sleep 0.05; done
  cat "/proc/$child/task/$child/children" >"$dir/ready.new" && mv "$dir/ready.new" "$dir/ready"
  # A trapped signal ends one wait, not the child.
  while kill -0 "$child" 2>/dev/null; do wait "$child"; done
  for try in {1..50}; do
    local left=''
    for folder in "/sys/fs/cgroup/$cgroup" /sys/fs/cgroup/*/"$cgroup"; do
      [ -d "$folder" ] || continue
      find "$folder" -depth -type d -exec rmdir {} \; 2>/dev/null
      [ -d "$folder" ] && left=yes
    done
    [ -z "$left" ] && return
    sleep 0.1
  done
}

if [ "$1" = --inside ]; then inside "$2"; else outside "$@"; fi
