# SPDX-License-Identifier: Apache-2.0
# TAP for suites: `. /suites/lib.sh`, then `check "claim" COMMAND…`, `skip "claim" "why"`, and `finish`. Each suite has a
# guest of its own; what a check makes for itself alone it removes by `finally`, so that the next sees nothing of it.
count=0
failed=0

check() {
	count=$((count + 1))
	claim=$1
	shift
	if said=$(undoing "$@" 2>&1); then
		echo "ok $count - $claim"
	else
		failed=$((failed + 1))
		echo "not ok $count - $claim"
		printf '%s\n' "$said" | sed 's/^/# /'
	fi
}

undoing() (
	undo=
	trap 'status=$?; eval "$undo"; exit $status' EXIT
	"$@"
)

# In a check: the command removes what it is about to make, when it ends and however it ends; the last of them first.
finally() {
	undo="$* >/dev/null 2>&1; $undo"
}

skip() {
	count=$((count + 1))
	echo "ok $count - $1 # SKIP $2"
}

finish() {
	echo "1..$count"
	[ "$failed" -eq 0 ]
}

# What is, and what should be: says both where they differ.
is() {
	[ "$1" = "$2" ] || { echo "it is '$1', and should be '$2'"; return 1; }
}

# Until the command succeeds, for 30 seconds: emulated machines are slow. What the last try said is said when none does.
soon() {
	patience=$(($(uptime_s) + 30))
	until tried=$("$@" 2>&1); do
		[ "$(uptime_s)" -lt $patience ] || { printf '%s\nnot within 30 s: %s\n' "$tried" "$*"; return 1; }
		sleep 0.2
	done
}
# Not the time of day, which suites change.
uptime_s() { cut -d. -f1 /proc/uptime; }

# The root file system of all tests at $1.
rootfs() {
	mkdir -p "$1/bin" "$1/etc" "$1/proc" "$1/dev" "$1/sys" "$1/tmp"
	cp /bin/busybox "$1/bin/busybox"
	for name in sh cat sleep true false dd echo head tail kill id touch fallocate; do ln -sf busybox "$1/bin/$name"; done
	echo root:x:0:0::/:/bin/sh >"$1/etc/passwd"
}

# A bundle at $1 whose busybox runs `sh -c "$2"`; $3: a jq program on its config. $spec: options of `kelp-runtime spec`.
bundle() {
	rm -rf "$1"
	mkdir -p "$1"
	rootfs "$1/rootfs"
	(cd "$1" && kelp-runtime spec ${spec:-})
	jq --arg program "$2" ".process.terminal=false | .process.args=[\"sh\",\"-c\",\$program] | .root.readonly=false | ${3:-.}" \
		"$1/config.json" >"$1/new" && mv "$1/new" "$1/config.json"
}

# The same as an image, kelp-test, in a docker-archive that everybody may read: /var/tmp/kelp-test.tar.
image() {
	[ ! -e /var/tmp/kelp-test.tar ] || return 0
	made=$(mktemp -d)
	rootfs "$made/rootfs"
	tar -C "$made/rootfs" --owner=0 --group=0 -cf "$made/layer.tar" .
	diff=$(sha256sum "$made/layer.tar" | cut -d' ' -f1)
	jq -nc --arg diff "sha256:$diff" '{architecture: "amd64", os: "linux", config: {Env: ["PATH=/bin"], Cmd: ["sh"]},
		rootfs: {type: "layers", diff_ids: [$diff]}}' >"$made/config.json"
	echo '[{"Config":"config.json","RepoTags":["kelp-test:latest"],"Layers":["layer.tar"]}]' >"$made/manifest.json"
	tar -C "$made" -cf /var/tmp/kelp-test.tar manifest.json config.json layer.tar
	chmod 644 /var/tmp/kelp-test.tar
	rm -rf "$made"
}

# The cgroup directory of the process $1.
cgroup_of() {
	echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$1/cgroup")"
}
