# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Debian's own kernels, with what it takes to build a module for them.

stock_suite()
{
	case $1 in
	6.1) echo bookworm ;;
	6.12) echo bookworm-backports ;;
	7.2) echo forky ;;
	esac
}

stock_packages()
{
	resolve "$(stock_suite "$1")" '^linux-' linux-image-amd64 linux-headers-amd64 |
		grep -vE '^linux-(base|libc-dev|image-amd64|headers-amd64|base-amd64)='
}

stock_version()
{
	stock_packages "$1" | sed -nE 's/^linux-image-[^=]*=//p'
}

# Hardware that no virtual machine here has: two thirds of all modules.
unwanted="sound drivers/gpu drivers/media drivers/infiniband drivers/staging drivers/iio
	drivers/net/ethernet drivers/net/wireless drivers/net/usb drivers/usb drivers/scsi
	drivers/hwmon drivers/isdn drivers/comedi drivers/hid drivers/input drivers/bluetooth
	drivers/mtd drivers/mfd drivers/platform net/wireless net/mac80211 net/bluetooth"

trim_modules()
{
	local dir=$1 release=$2 modules=$1/lib/modules/$2 symbols=$1/build/Module.symvers d broken

	for d in $unwanted; do
		rm -rf "${modules:?}/kernel/$d"
	done
	find "$modules" -name '*.ko.xz' -print0 | xargs -0 -r -P "$(nproc)" -n 64 xz -d
	find "$modules" -name '*.ko.zst' -print0 | xargs -0 -r -P "$(nproc)" -n 64 zstd -q -d --rm
	# Modules that need one of those just removed are of no use either.
	while :; do
		broken=$(depmod -n -e -E "$symbols" -b "$dir" "$release" 2>&1 >/dev/null |
			sed -nE 's/.*WARNING: ([^ ]*) needs unknown symbol.*/\1/p' | sort -u)
		[ -n "$broken" ] || break
		# shellcheck disable=SC2086
		rm $broken
	done
	depmod -b "$dir" "$release"
}

# Where a suite's headers come with tools for a newer C library than the
# machine's: that library, and compiler, make and shell to go with it.
make_sysroot()
{
	local suite=$1 dir=$2 packages

	packages=$(resolve "$suite" . linux-headers-amd64 make gcc bash dash base-files \
		coreutils diffutils findutils grep mawk sed perl-base | grep -v '^linux-')
	# shellcheck disable=SC2086
	unpack "$suite" "$dir" $packages
	mkdir -p "$dir/usr/local" "$dir/usr/src"
	# What the packages' own scripts would have linked.
	ln -sf dash "$dir/usr/bin/sh"
	ln -sf mawk "$dir/usr/bin/awk"
}

make_wrapper()
{
	cat <<-'END'
	#!/bin/sh
	exec make -C "$(dirname "$(realpath "$0")")/build" "$@"
	END
}

# The sysroot's /usr takes the place of the machine's, for make and its
# children only; every other path is the caller's.
sysroot_make_wrapper()
{
	cat <<-'END'
	#!/bin/sh
	dir=$(dirname "$(realpath "$0")")
	[ "$(id -u)" = 0 ] && user= || user=--map-root-user
	export dir DEB_BUILD_ARCH=amd64
	exec unshare --mount $user sh -ec '
		for d in local src; do
			[ ! -d /usr/$d ] || mount --rbind /usr/$d "$dir/sysroot/usr/$d"
		done
		mount --rbind "$dir/sysroot/usr" /usr
		exec make -C "$dir/build" "$@"' make "$@"
	END
}

make_stock()
{
	local name=$1 dir=$2 suite packages release modules headers

	suite=$(stock_suite "$name")
	packages=$(stock_packages "$name")
	# shellcheck disable=SC2086
	unpack "$suite" "$dir/root" $packages

	# Before 7.2 these are outside /usr, the image in /boot.
	find "$dir/root" -type f -name 'vmlinuz*' -exec cp {} "$dir/vmlinuz" \;
	for modules in "$dir/root"/lib/modules/* "$dir/root"/usr/lib/modules/*; do
		[ ! -d "$modules/kernel" ] || break
	done
	release=${modules##*/}
	echo "$release" >"$dir/version"
	mkdir -p "$dir/lib/modules"
	mv "$modules" "$dir/lib/modules/"
	modules=$dir/lib/modules/$release

	# The packages' links lead to where they would have been installed.
	headers=root/usr/src/linux-headers-$release
	rm -f "$modules/build" "$modules/source"
	ln -s "../../../$headers" "$modules/build"
	ln -s "$headers" "$dir/build"
	# shellcheck disable=SC2016
	sed -i 's,/usr/src/,$(dir $(realpath $(lastword $(MAKEFILE_LIST))))../,' "$dir/build/Makefile"
	# Only there to give modules BTF, which nothing here reads and which
	# takes a pahole as new as the kernel.
	rm -f "$dir/build/vmlinux"

	trim_modules "$dir" "$release"
	if [ "$suite" = forky ]; then
		make_sysroot "$suite" "$dir/sysroot"
		sysroot_make_wrapper >"$dir/make"
	else
		make_wrapper >"$dir/make"
	fi
	chmod +x "$dir/make"
}
