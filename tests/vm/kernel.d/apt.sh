# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Debian packages without installing them, with an apt state of our own. The
# machine's apt configuration is only read: for its mirror, keys and proxy.

# How long the answer to "which version is current?" stands.
fresh_minutes=1440

# The machine's own package sources, one "URI SUITE KEYRING" per line; KEYRING
# is "-" where the source does not name a file.
machine_sources()
{
	local f

	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -f "$f" ] || continue
		sed -E 's/#.*//' "$f" | awk '
			$1 != "deb" { next }
			{
				key = "-"; i = 2
				if ($2 ~ /^\[/) {
					for (; i <= NF; i++) {
						o = $i
						gsub(/[][]/, "", o)
						if (o ~ /^signed-by=\//) key = substr(o, 11)
						if ($i ~ /\]$/) { i++; break }
					}
				}
				print $i, $(i + 1), key
			}'
	done
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -f "$f" ] || continue
		grep -v '^#' "$f" | awk '
			function flush(	u, s, i, j, nu, ns) {
				if (types ~ /(^| )deb( |$)/ && enabled !~ /^no$/) {
					nu = split(uris, u, " "); ns = split(suites, s, " ")
					for (i = 1; i <= nu; i++)
						for (j = 1; j <= ns; j++)
							print u[i], s[j], key
				}
				types = uris = suites = enabled = field = ""; key = "-"
			}
			BEGIN { key = "-" }
			/^[ \t]*$/ { flush(); next }
			/^[ \t]/ { value = $0 }
			/^[^ \t]/ {
				field = tolower($0); sub(/:.*/, "", field)
				value = $0; sub(/^[^:]*:/, "", value)
			}
			{ sub(/^[ \t]+/, "", value); sub(/[ \t]+$/, "", value) }
			field == "types" { types = types " " value }
			field == "uris" { uris = uris " " value }
			field == "suites" { suites = suites " " value }
			field == "enabled" { enabled = tolower(value) }
			field == "signed-by" && value ~ /^\// { key = value }
			END { flush() }'
	done
}

# source_line SUITE LIKE...: a source for SUITE on the mirror from which the
# machine takes one of the suites LIKE.
source_line()
{
	local suite=$1 like found uri key
	shift

	for like in "$@"; do
		found=$(machine_sources | awk -v s="$like" '$2 == s { print; exit }')
		[ -n "$found" ] && break
	done
	[ -n "$found" ] || die "no source for any of \"$*\" among the machine's apt sources"
	read -r uri _ key <<<"$found"
	[ "$key" != - ] || key=/usr/share/keyrings/debian-archive-keyring.gpg
	printf 'deb [signed-by=%s] %s %s main\n' "$key" "$uri" "$suite"
}

sources()
{
	case $1 in
	bookworm)
		source_line bookworm bookworm
		source_line bookworm-security bookworm-security
		;;
	bookworm-backports)
		source_line bookworm-backports bookworm-backports bookworm
		source_line bookworm bookworm
		;;
	forky)
		source_line forky forky bookworm
		;;
	esac
}

# apt SUITE TOOL ARG...: apt's tools with a state of their own. Without a dpkg
# status nothing counts as installed, so a simulation names everything needed.
apt()
{
	local state=$top/apt/$1 tool=$2
	shift 2

	"$tool" -q \
		-o Dir::Etc::sourcelist="$state/sources.list" \
		-o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferences=/dev/null \
		-o Dir::Etc::preferencesparts=/dev/null \
		-o Dir::State="$state" \
		-o Dir::State::status="$state/status" \
		-o Dir::Cache="$state/cache" \
		-o Dir::Cache::archives="$state/archives" \
		-o APT::Sandbox::User=root \
		-o APT::Architecture=amd64 \
		-o APT::Install-Recommends=false \
		-o Acquire::Languages=none \
		-o Acquire::Check-Valid-Until=false \
		-o Acquire::Retries=3 \
		"$@"
}

# resolve SUITE PATTERN PACKAGE...: what has to be fetched for PACKAGEs, one
# "name=version" per line, of those whose name matches PATTERN.
resolve()
{
	local suite=$1 pattern=$2 state=$top/apt/$1 prefer=() stamp packages
	shift 2
	# Backports have to be asked for.
	[[ $suite != *-backports ]] || prefer=(-t "$suite")
	stamp=$state/$(printf '%s+' "$@" "$pattern" | sha256sum | cut -c1-16).resolved

	mkdir -p "$state"
	(
		flock 9
		if [ -n "$(find "$stamp" -mmin -$fresh_minutes 2>/dev/null)" ]; then
			cat "$stamp"
			exit
		fi
		mkdir -p "$state/lists/partial" "$state/cache" "$state/archives/partial"
		: >"$state/status"
		sources "$suite" >"$state/sources.list"
		if ! apt "$suite" apt-get -qq -o APT::Update::Error-Mode=any update >&2; then
			[ -s "$stamp" ] || die "cannot read the package lists of $suite"
			say "cannot read the package lists of $suite; taking the answer of $(date -r "$stamp" +%F)"
			cat "$stamp"
			exit
		fi
		packages=$(apt "$suite" apt-get -s "${prefer[@]}" install "$@" |
			sed -nE 's/^Inst ([^ ]+) \(([^ ]+) .*/\1=\2/p' | grep -E "$pattern")
		printf '%s\n' "$packages" >"$stamp.new"
		mv "$stamp.new" "$stamp"
		cat "$stamp"
	) 9>"$state/lock"
}

# unpack SUITE DIR NAME=VERSION...: fetch packages and unpack them into DIR.
unpack()
{
	local suite=$1 to=$2 archives f
	shift 2
	archives=$to.archives

	say "fetching $# packages of $suite"
	mkdir -p "$to" "$archives"
	(cd "$archives" && apt "$suite" apt-get -qq download "$@" >&2)
	for f in "$archives"/*.deb; do
		dpkg-deb --fsys-tarfile "$f" | tar -x -C "$to" --no-same-owner --keep-directory-symlink
		rm "$f"
	done
	rmdir "$archives"
}
