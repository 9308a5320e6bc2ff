# SPDX-License-Identifier: MIT
# cmake -DCOMPILER=gcc -DSOURCE=misspelt_column.c -DINCLUDES="dir|dir" -P check.cmake
file(STRINGS ${SOURCE} first LIMIT_COUNT 1)
string(REGEX MATCH "^/\\* error: (.+) \\*/$" wanted "${first}")
set(wanted "${CMAKE_MATCH_1}")
string(REPLACE "|" ";" INCLUDES "${INCLUDES}")
list(TRANSFORM INCLUDES PREPEND -I)

set(ENV{LC_ALL} C)
execute_process(COMMAND ${COMPILER} -std=c11 -Wall -Wextra -pedantic -Wconversion -Werror -fsyntax-only ${INCLUDES} ${SOURCE}
	RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)

if(wanted STREQUAL "")
	if(NOT result EQUAL 0)
		message(FATAL_ERROR "${SOURCE} should compile:\n${output}")
	endif()
elseif(result EQUAL 0)
	message(FATAL_ERROR "${SOURCE} should not compile")
elseif(NOT output MATCHES "error: [^\n]*(${wanted})")
	message(FATAL_ERROR "${SOURCE}: no error matches '${wanted}':\n${output}")
endif()

# The mistake is one line's: the message must point into this file, not only into orm.h.
get_filename_component(name ${SOURCE} NAME)
string(REPLACE "." "\\." name "${name}")
if(NOT wanted STREQUAL "" AND NOT output MATCHES "${name}:[0-9]+:[0-9]+: ")
	message(FATAL_ERROR "${SOURCE}: the message does not point at the mistake:\n${output}")
endif()
