// SPDX-License-Identifier: GPL-2.0
/*
 * The library as it is built and installed: symbols, header, pkg-config file,
 * manual pages. Runs the tools that a user of it would run; each case's command
 * prints what it found wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

/* Set by the Makefile: directories, compilers. */
#define PRELUDE \
	"set -e; export LC_ALL=C; unset MAKEFLAGS MFLAGS MAKELEVEL; src='" SOURCE_DIR "'; lib='" LIBRARY_DIR "'; " \
	"uapi='" UAPI_DIR "'; t='%s'; cc='" C_COMPILER "'; cxx='" CXX_COMPILER "'; " \
	"w='-Wall -Wextra -Wpedantic -Werror'; "

static char dir[] = "/tmp/test_library.XXXXXX";

/* Runs a shell script in an empty directory; its exit status is the result. */
static int shell(const char *script)
{
	char prelude[4096], *command;
	int status;

	snprintf(prelude, sizeof(prelude), PRELUDE, dir);
	command = malloc(strlen(prelude) + strlen(script) + 64);
	assert_non_null(command);
	sprintf(command, "exec 2>&1; %s cd \"$t\"; rm -rf -- *; %s", prelude, script);
	status = system(command);
	free(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	(void)state;
	return shell("cd /; rm -rf \"$t\"");
}

#define DEFINED "nm -D --defined-only \"$lib/libmemview.so\""

static void the_shared_library_exports_exactly_the_symbols_of_the_map(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"sed -n 's/^\tmemview_\\([a-z_]*\\);$/memview_\\1/p' \"$src/memview.map\" |"
		" sort > want; test -s want;"
		DEFINED " | sed -n 's/^[0-9a-f]* T \\([^@]*\\).*/\\1/p' | sort > have;"
		"diff want have;"
		/* and nothing but functions and the version's name */
		"! " DEFINED " | grep -v ' T \\| A LIBMEMVIEW_'"), 0);
}

static void every_exported_symbol_has_version_0_1(void **state)
{
	(void)state;
	assert_int_equal(shell(
		DEFINED " | grep ' T ' > have; test -s have;"
		"! grep -v '@@LIBMEMVIEW_0\\.1$' have"), 0);
}

static void the_map_lists_exactly_the_functions_of_the_headers(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"sed -n 's/^\tmemview_\\([a-z_]*\\);$/memview_\\1/p' \"$src/memview.map\" |"
		" sort > want;"
		"$cc -E -P -I\"$src\" -x c \"$src/memview_uring.h\" | grep -o 'memview_[a-z_]*(' |"
		" tr -d '(' | sort > have; diff want have"), 0);
}

static void the_static_library_defines_only_memview_symbols(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"nm -g --defined-only \"$lib/libmemview.a\" | grep ' [A-Z] ' > have;"
		"test -s have; ! grep -v ' T memview_' have"), 0);
}

static void the_library_calls_nothing_that_prints_or_exits(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"nm -u \"$lib/libmemview.a\" > have; grep -q ' ioctl' have;"
		"! grep -w 'printf\\|fprintf\\|puts\\|perror\\|write\\|exit\\|_exit\\|abort\\|"
		"err\\|warn\\|syslog\\|stderr\\|stdout\\|__assert_fail' have"), 0);
}

static void the_soname_has_the_abi_version_and_libc_is_all_it_needs(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"objdump -p \"$lib/libmemview.so\" > have;"
		"grep -q 'SONAME *libmemview\\.so\\.0$' have;"
		"! grep NEEDED have | grep -v 'libc\\.so'"), 0);
}

static void the_header_is_c99_by_itself(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"for h in memview memview_uring; do echo \"#include <$h.h>\" > a.c;"
		" $cc -std=c99 $w -I\"$src\" -c a.c; done"), 0);
}

static void the_header_is_cxx98_and_cxx20_by_itself(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"for h in memview memview_uring; do echo \"#include <$h.h>\" > a.cc;"
		" $cxx -std=c++98 $w -Wno-long-long -I\"$src\" -c a.cc;"
		" $cxx -std=c++20 $w -I\"$src\" -c a.cc; done"), 0);
}

static void a_cxx_program_links_and_runs_with_every_function(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"{ echo '#include <memview_uring.h>'; echo 'static void (*use[])() = {';"
		" sed -n 's/^\t\\(memview_[a-z_]*\\);$/(void (*)())\\1,/p' \"$src/memview.map\";"
		" echo '}; int main() { memview *view = 0; memview_close(view);';"
		" echo 'return !use[0] || memview_open_path(\"/dev/null\", &view) >= 0; }'; } > a.cc;"
		"$cxx -std=c++17 -Wall -Wextra -Werror -I\"$src\" a.cc -L\"$lib\" -lmemview -o a;"
		"LD_LIBRARY_PATH=\"$lib\" ./a"), 0);
}

static void the_header_does_not_include_the_uapi_or_any_linux_header(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"echo '#include <memview_uring.h>' > a.c;"
		"$cc -I\"$src\" -M a.c > have; grep -q 'memview\\.h' have;"
		"! grep 'linux/\\|memory-view\\.h\\|asm/ioctl\\|liburing' have"), 0);
}

static void the_header_and_the_uapi_header_go_together_in_both_orders(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"u='#include <linux/memory-view.h>\\n#include <linux/io_uring.h>\\n';"
		"printf \"#include <memview_uring.h>\\n$u\" > a.c;"
		"printf \"$u#include <memview_uring.h>\\n\" > b.c;"
		"for f in a b; do cp $f.c $f.cc;"
		" $cc -Wall -Wextra -Werror -I\"$src\" -I\"$uapi\" -c $f.c;"
		" $cxx -Wall -Wextra -Werror -I\"$src\" -I\"$uapi\" -c $f.cc; done"), 0);
}

static void a_layout_that_differs_from_the_uapi_does_not_compile(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"cp \"$src\"/*.[ch] .;"
		"$cc -D_GNU_SOURCE -I\"$uapi\" -c view.c;"	/* control */
		"sed -i 's/uint32_t dev;/uint64_t dev;/' memview.h;"
		"if $cc -D_GNU_SOURCE -I\"$uapi\" -c view.c > log 2>&1; then exit 1; fi; grep -q 'static.assert' log;"
		"cp \"$src\"/memview.h .;"
		"sed -i 's/\\(MEMVIEW_EXEC.*\\)(1U << 2)/\\1(1U << 3)/' memview.h;"
		"if $cc -D_GNU_SOURCE -I\"$uapi\" -c view.c > log 2>&1; then exit 1; fi; grep -q 'static.assert' log;"
		"cp \"$src\"/memview.h .;"
		"$cc -D_GNU_SOURCE -I\"$uapi\" -c batch.c;"
		"sed -i 's/\\(MEMVIEW_BATCH_MAX.*\\)(1U << 16)/\\1(1U << 17)/' memview.h;"
		"if $cc -D_GNU_SOURCE -I\"$uapi\" -c batch.c > log 2>&1; then exit 1; fi; grep -q 'static.assert' log"), 0);
}

#define INSTALL "make -s -C \"$src\" BUILD=\"$lib/..\" DESTDIR=\"$t/root\" PREFIX=/usr install; "

static void an_installed_library_builds_the_example_by_pkg_config(void **state)
{
	(void)state;
	assert_int_equal(shell(
		INSTALL
		"export PKG_CONFIG_LIBDIR=\"$t/root/usr/lib/pkgconfig\""
		" PKG_CONFIG_SYSROOT_DIR=\"$t/root\" PKG_CONFIG_ALLOW_SYSTEM_LIBS=1"
		" PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1;"
		"$cc -Wall -Wextra -Werror \"$src/example.c\""
		" $(pkg-config --cflags --libs libmemview) -o example;"
		"objdump -p example | grep -q 'NEEDED *libmemview\\.so\\.0$'"), 0);
}

/* By memory-view(4), for those who do without the library. */
static void the_uapi_header_is_installed_and_stands_alone(void **state)
{
	(void)state;
	assert_int_equal(shell(
		INSTALL
		"printf '#include <linux/memory-view.h>\n"
		"unsigned int request = MEMVIEW_DROP_IDLE; struct memview_map_fd_info info;\n' > a.c;"
		"cp a.c a.cc;"
		"$cc -std=c99 $w -I\"$t/root/usr/include\" -c a.c;"
		"$cxx $w -Wno-long-long -I\"$t/root/usr/include\" -c a.cc;"
		"test \"$(stat -c %a root/usr/include/linux/memory-view.h)\" = 644"), 0);
}

static void the_pkg_config_file_has_the_librarys_version(void **state)
{
	(void)state;
	assert_int_equal(shell(
		INSTALL
		"v=$(PKG_CONFIG_LIBDIR=\"$t/root/usr/lib/pkgconfig\""
		" pkg-config --modversion libmemview);"
		"test -f \"root/usr/lib/libmemview.so.$v\";"
		"! grep @ root/usr/lib/pkgconfig/libmemview.pc"), 0);
}

static void every_function_has_an_installed_manual_page_that_names_it(void **state)
{
	(void)state;
	assert_int_equal(shell(
		INSTALL
		"for f in $(sed -n 's/^\t\\(memview_[a-z_]*\\);$/\\1/p' \"$src/memview.map\"); do"
		" grep -q \"BI.*\\b$f(\" root/usr/share/man/man3/$f.3"
		" || { echo \"no synopsis of $f\"; exit 1; }; done;"
		"test -f root/usr/share/man/man7/memview.7;"
		"test -f root/usr/share/man/man4/memory-view.4"), 0);
}

static void the_device_page_has_every_ioctl_of_the_uapi_header(void **state)
{
	(void)state;
	assert_int_equal(shell(
		"sed -n 's/^#define \\(MEMVIEW_[A-Z_]*\\)[ \t]*\\\\*\\(_IO.*\\)*$/\\1/p'"
		" \"$uapi/linux/memory-view.h\" | grep -v 'MAP_RIGHTS' > want;"
		"test $(wc -l < want) -eq 12;"
		"for i in $(cat want); do"
		" grep -q \"^\\.SS $i\\$\" \"$src/../man/memory-view.4\""
		" || { echo \"$i is missing\"; exit 1; }; done"), 0);
}

#define CASE(name) cmocka_unit_test(name)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_shared_library_exports_exactly_the_symbols_of_the_map),
		CASE(every_exported_symbol_has_version_0_1),
		CASE(the_map_lists_exactly_the_functions_of_the_headers),
		CASE(the_static_library_defines_only_memview_symbols),
		CASE(the_library_calls_nothing_that_prints_or_exits),
		CASE(the_soname_has_the_abi_version_and_libc_is_all_it_needs),
		CASE(the_header_is_c99_by_itself),
		CASE(the_header_is_cxx98_and_cxx20_by_itself),
		CASE(a_cxx_program_links_and_runs_with_every_function),
		CASE(the_header_does_not_include_the_uapi_or_any_linux_header),
		CASE(the_header_and_the_uapi_header_go_together_in_both_orders),
		CASE(a_layout_that_differs_from_the_uapi_does_not_compile),
		CASE(an_installed_library_builds_the_example_by_pkg_config),
		CASE(the_uapi_header_is_installed_and_stands_alone),
		CASE(the_pkg_config_file_has_the_librarys_version),
		CASE(every_function_has_an_installed_manual_page_that_names_it),
		CASE(the_device_page_has_every_ioctl_of_the_uapi_header),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
