# SPDX-License-Identifier: Apache-2.0
# TAP for suites: `. /suites/lib.sh`, then `check "claim" COMMAND…`, `skip "claim" "why"`, and `finish`.
count=0
failed=0

check() {
	count=$((count + 1))
	claim=$1
	shift
	if said=$("$@" 2>&1); then
		echo "ok $count - $claim"
	else
		failed=$((failed + 1))
		echo "not ok $count - $claim"
		printf '%s\n' "$said" | sed 's/^/# /'
	fi
}

skip() {
	count=$((count + 1))
	echo "ok $count - $1 # SKIP $2"
}

finish() {
	echo "1..$count"
	[ "$failed" -eq 0 ]
}

# A bundle at $1 whose busybox runs `sh -c "$2"`; $3: a jq program on its config.
bundle() {
	mkdir -p "$1/rootfs/bin" "$1/rootfs/proc" "$1/rootfs/dev" "$1/rootfs/sys" "$1/rootfs/tmp"
	cp /bin/busybox "$1/rootfs/bin/busybox"
	for name in sh cat sleep true dd head tail; do ln -sf busybox "$1/rootfs/bin/$name"; done
	(cd "$1" && rm -f config.json && kelp-runtime spec ${ROOTLESS:+--rootless})
	jq --arg program "$2" ".process.terminal=false | .process.args=[\"sh\",\"-c\",\$program] | .root.readonly=false | ${3:-.}" \
		"$1/config.json" >"$1/new" && mv "$1/new" "$1/config.json"
}
