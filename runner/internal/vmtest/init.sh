#!/bin/busybox sh
# The first process of the machine: sets it up, runs the suites, turns it off.
/bin/busybox --install -s /bin
set -f # arguments have no wildcards
export PATH=/bin HOME=/root BOTHY_VM=1 TMPDIR=/tmp
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts none /dev/pts
mount -t tmpfs none /tmp
chmod 1777 /tmp
mount -t cgroup2 none /sys/fs/cgroup
for c in cpuset cpu io memory pids; do
	echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control
done
ip link set lo up
ln -sf /proc/self/fd /dev/fd
hostname vmtest
uname -r
cat /sys/fs/cgroup/cgroup.subtree_control

# Each suite has a group of its own, as a session or a container has. What it
# starts does not outlive it.
while read -r name; do
	group=/sys/fs/cgroup/$name
	mkdir "$group"
	# As systemd marks a unit with Delegate=yes.
	delegate "$group"
	echo "@begin $name"
	before=$(cut -d' ' -f1 /proc/uptime)
	(
		echo 0 >"$group/cgroup.procs"
		cd "/tests/$name" || exit 9
		exec ./test -test.v -test.timeout 12m $(cat args) </dev/null 2>&1
	)
	code=$?
	echo "@time from ${before} s to $(cut -d' ' -f1 /proc/uptime) s"
	echo "@end $code"
	echo 1 >"$group/cgroup.kill"
done </tests/order
poweroff -f
