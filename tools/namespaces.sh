#!/usr/bin/env bash
# namespaces.sh GROUP COMMAND...: runs the command in namespaces of its own (mounts, processes, cgroups, names), in a
# cgroup GROUP below the caller's. NETNS names a network namespace to join; without it there is a new one.
# SIGKILL to this process ends everything in there; `namespaces.sh --remove GROUP` then takes its cgroups away.
set -euo pipefail

v2() { [ -e /sys/fs/cgroup/cgroup.controllers ]; }

# The hierarchies of version 1: their folders, which are their controllers. "unified" holds none that a kubelet needs.
hierarchies() { sed -n 's/^[1-9][0-9]*:\(name=\)\{0,1\}\([^:]*\):.*/\2/p' /proc/self/cgroup; }

# In version 2 a group gives its controllers to groups below it once it has no processes of its own.
give_controllers() {
  local controller given
  given=" $(cat /sys/fs/cgroup/cgroup.subtree_control) "
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    case $controller in cpu | cpuset | hugetlb | io | memory | pids) ;; *) continue ;; esac
    [[ $given != *" $controller "* ]] || continue
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control ||
      { echo "the cgroup that this runs in gives none of its controller $controller to groups below it" >&2; exit 1; }
  done
}

join() {
  local id controllers path group
  if v2; then
    give_controllers
    mkdir -p "/sys/fs/cgroup/$1/init" && echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
    return
  fi
  while IFS=: read -r id controllers path; do
    [ "$id" != 0 ] || continue
    group=/sys/fs/cgroup/${controllers#name=}${path%/}/$1
    mkdir -p "$group"
    if [ -e "$group/cpuset.cpus" ]; then
      cat "$group/../cpuset.cpus" > "$group/cpuset.cpus"
      cat "$group/../cpuset.mems" > "$group/cpuset.mems"
    fi
    echo $$ > "$group/cgroup.procs"
  done <<< "$(cat /proc/self/cgroup)"  # read at once: it changes on the way
}

if [ "$1" = --remove ]; then
  for attempt in $(seq 50); do  # the kernel takes a moment to let go of what was killed
    left=$(find /sys/fs/cgroup -depth -type d \( -path "*/$2" -o -path "*/$2/*" \) 2> /dev/null)
    [ -n "$left" ] || exit 0
    for group in $left; do rmdir "$group" 2> /dev/null || true; done
    sleep 0.1
  done
  echo "cgroups are left: $left" >&2
  exit 1
fi

# The group is the root of a cgroup namespace, so this process has to be in it when that is made. It then steps aside,
# before there is a child: nobody in there could see it any more, and in version 2 the group must be without processes.
if [ "$1" != --inside ]; then
  if [ "$1" != --grouped ]; then
    join "$1"
    exec unshare --cgroup "$0" --grouped "$@"
  fi
  ! v2 || echo $$ > "/sys/fs/cgroup/$2/init/cgroup.procs"
  shift 2
  if [ -n "${NETNS-}" ]; then network=(nsenter --net="$NETNS" --); else network=(); fi
  exec "${network[@]}" unshare $([ -n "${NETNS-}" ] || echo --net) --mount --pid --uts --ipc --fork --kill-child \
    --propagation private "$0" --inside "$@"
fi

shift
mount -t proc proc /proc
v2 && version=2 || version=1
umount -R /sys 2> /dev/null || umount -R -l /sys
mount -t sysfs sysfs /sys
if [ $version = 2 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  give_controllers
else
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for each in $(hierarchies); do
    mkdir "/sys/fs/cgroup/$each"
    case $each in systemd) options=none,name=systemd ;; *) options=$each ;; esac
    mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$each"
  done
fi
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up
status=0
"$@" || status=$?  # not exec: this shell is process 1, and reaps what others leave
exit $status
