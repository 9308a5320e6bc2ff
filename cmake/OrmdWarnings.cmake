# SPDX-License-Identifier: MIT
# One interface target, ormd_options, carries the warnings, sanitizers and definitions that all our code is built with.
add_library(ormd_options INTERFACE)
target_compile_options(ormd_options INTERFACE
	-Wall -Wextra -pedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef
	-fno-common $<$<BOOL:${ORMD_WERROR}>:-Werror>)
target_compile_definitions(ormd_options INTERFACE _GNU_SOURCE)

if(ORMD_SANITIZE)
	target_compile_options(ormd_options INTERFACE -fsanitize=${ORMD_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
	target_link_options(ormd_options INTERFACE -fsanitize=${ORMD_SANITIZE})
endif()
if(ORMD_FUZZ)
	target_compile_options(ormd_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(ORMD_COVERAGE)
	target_compile_options(ormd_options INTERFACE --coverage -O0)
	target_link_options(ormd_options INTERFACE --coverage)
endif()
