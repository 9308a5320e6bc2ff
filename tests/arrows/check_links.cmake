# SPDX-License-Identifier: MIT
# cmake -DBINARY=<shared library or program> -P check_links.cmake
# Refuses a binary that needs a database library, by itself or through what it needs.
execute_process(COMMAND ldd ${BINARY} OUTPUT_VARIABLE needed ERROR_VARIABLE complaint RESULT_VARIABLE result)
if(NOT result EQUAL 0 OR NOT needed MATCHES "libc\\.so")
	message(FATAL_ERROR "ldd ${BINARY} does not say what it needs: ${needed}${complaint}")
endif()
if(needed MATCHES "lib(sqlite3|pq|mariadb|mysqlclient)[^\n]*")
	message("${BINARY} links a database library: ${CMAKE_MATCH_0}")
	message(FATAL_ERROR "refused")
endif()
