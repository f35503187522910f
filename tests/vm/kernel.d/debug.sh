# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Kernels with checks that no distribution turns on, built from Debian's
# linux-source packages and the fragments tests/vm/config-*.

source_version()
{
	resolve "$(stock_suite "$1")" "^linux-source-$1=" "linux-source-$1" | cut -d= -f2
}

# Shared by the kernels built from it, which need it for as long as modules
# are built against them. Most of the tree is drivers and architectures that
# are not even looked at; their Kconfig files are.
make_source()
{
	local package=linux-source-$1 version=$2 dir=$3 suite d exclude=()

	suite=$(stock_suite "$1")
	for d in drivers/{gpu,media,infiniband,staging,iio,usb,scsi,hid,mtd,pinctrl,clk} \
		drivers/net/{ethernet,wireless} sound; do
		exclude+=(--exclude="$package/$d/*.[chS]")
	done
	unpack "$suite" "$dir.package" "$package=$version"
	xz -dc "$dir.package/usr/src/$package.tar.xz" |
		tar -x -C "$dir" --strip-components=1 --anchored --wildcards \
		--exclude="$package/Documentation/*/*" \
		--exclude="$package/arch/[!x]*/*.[chS]" \
		--exclude="$package/arch/[!x]*/boot/dts/*" \
		--exclude="$package/tools/testing/*" \
		--exclude="$package/tools/perf/*" \
		"${exclude[@]}"
	rm -r "$dir.package"
}

source_tree()
{
	local version
	version=$(source_version "$1")
	publish source "$version-$(recipe debug.sh </dev/null)" make_source "$1" "$version"
}

# check_config WANTED CONFIG: what was asked for has to have come about.
check_config()
{
	local wanted=$1 config=$2 line lost=()

	while read -r line; do
		case $line in
		CONFIG_*)
			grep -qxF -e "$line" "$config" || lost+=("$line")
			;;
		"# CONFIG_"*" is not set")
			line=${line#\# }
			! grep -q "^${line%% *}=" "$config" || lost+=("# $line")
			;;
		esac
	done <"$wanted"
	[ ${#lost[@]} -eq 0 ] || die "these options did not come about: ${lost[*]}"
}

make_debug()
{
	local name=$1 dir=$2 build=$2/build src release
	local make=(env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL nice make -s "-j$(nproc)"
		KBUILD_BUILD_USER=memory-view KBUILD_BUILD_HOST="$name")

	src=$(source_tree "$(debug_release "$name")")
	mkdir "$build"
	make+=(-C "$src" O="$build")
	debug_fragments "$name" >"$dir/fragments"
	"${make[@]}" KCONFIG_ALLCONFIG="$dir/fragments" allnoconfig
	check_config "$dir/fragments" "$build/.config"
	say "$name: building, this takes some minutes"
	"${make[@]}" bzImage modules
	"${make[@]}" INSTALL_MOD_PATH="$dir" INSTALL_MOD_STRIP=1 modules_install

	release=$(cat "$build/include/config/kernel.release")
	echo "$release" >"$dir/version"
	cp "$build/arch/x86/boot/bzImage" "$dir/vmlinuz"
	rm -f "$dir/lib/modules/$release/source" "$dir/lib/modules/$release/build"
	ln -s ../../../build "$dir/lib/modules/$release/build"
	# 7.2 writes down where this is, which is not where it will be.
	# shellcheck disable=SC2016
	sed -i 's,^export KBUILD_OUTPUT = .*,export KBUILD_OUTPUT := $(dir $(realpath $(lastword $(MAKEFILE_LIST)))),' "$build/Makefile"
	make_wrapper >"$dir/make"
	chmod +x "$dir/make"

	# Building a module takes headers, Module.symvers and scripts only.
	find "$build" \( -name '*.[oa]' -o -name '*.ko' -o -name '.*.cmd' -o -name '*.mod*' \
		-o -name 'vmlinux*' -o -name bzImage \) \
		! -name Module.symvers ! -path '*/scripts/*' ! -path '*/include/*' -type f -delete
	rm -rf "$build/arch/x86/boot"
	find "$build" -type d -empty -delete
}
