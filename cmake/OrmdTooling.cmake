# SPDX-License-Identifier: MIT
# Targets for people: format, lint.
find_program(CLANG_FORMAT NAMES clang-format-14 clang-format)
find_program(CPPCHECK NAMES cppcheck)
file(GLOB_RECURSE ORMD_SOURCES CONFIGURE_DEPENDS
	core/*.[ch] rpc/*.[ch] client/*.[ch] server/*.[ch] tests/*.[ch] bench/*.[ch] examples/*.[ch])
if(CLANG_FORMAT)
	add_custom_target(format COMMAND ${CLANG_FORMAT} -i ${ORMD_SOURCES} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} VERBATIM)
endif()
if(CPPCHECK)
	add_custom_target(lint COMMAND ${CPPCHECK} --project=${CMAKE_BINARY_DIR}/compile_commands.json --quiet --inline-suppr
		--enable=warning,portability --error-exitcode=1 --suppress=*:${CMAKE_BINARY_DIR}/* VERBATIM)
endif()
