# SPDX-License-Identifier: MIT
# The library ormd_test_support, which the bench uses as well.
include_guard(GLOBAL)

# The packaged servers. Debian keeps PostgreSQL's programs outside PATH, each version apart; the newest is taken.
file(GLOB postgresql_bins /usr/lib/postgresql/*/bin)
list(SORT postgresql_bins COMPARE NATURAL ORDER DESCENDING)
find_program(POSTGRESQL_SERVER NAMES postgres HINTS ${postgresql_bins} REQUIRED)
find_program(MARIADB_SERVER NAMES mariadbd HINTS /usr/sbin REQUIRED)
find_library(GALERA_PROVIDER NAMES galera_smm HINTS /usr/lib/galera /usr/lib64/galera-4 REQUIRED)
find_program(MARIADB_INSTALL NAMES mariadb-install-db REQUIRED)
cmake_path(GET POSTGRESQL_SERVER PARENT_PATH postgresql_bin)
execute_process(COMMAND ${POSTGRESQL_SERVER} --version OUTPUT_VARIABLE postgresql_version COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "[0-9]+" postgresql_version "${postgresql_version}")

add_library(ormd_test_support STATIC
	${CMAKE_CURRENT_LIST_DIR}/engine.c
	${CMAKE_CURRENT_LIST_DIR}/engine_bare.c
	${CMAKE_CURRENT_LIST_DIR}/engine_place.c
	${CMAKE_CURRENT_LIST_DIR}/eventually.c
	${CMAKE_CURRENT_LIST_DIR}/galera.c
	${CMAKE_CURRENT_LIST_DIR}/mariadb.c
	${CMAKE_CURRENT_LIST_DIR}/postgresql.c
	${CMAKE_CURRENT_LIST_DIR}/process.c
	${CMAKE_CURRENT_LIST_DIR}/proxy.c
	${CMAKE_CURRENT_LIST_DIR}/server.c
	${CMAKE_CURRENT_LIST_DIR}/tempdir.c
	${CMAKE_CURRENT_LIST_DIR}/template.c)
target_include_directories(ormd_test_support PUBLIC ${CMAKE_SOURCE_DIR}/tests)
target_link_libraries(ormd_test_support
	PRIVATE ormd_options orm_base PkgConfig::SQLITE PkgConfig::POSTGRESQL PkgConfig::MARIADB)
target_compile_definitions(ormd_test_support PRIVATE
	SUPPORT_POSTGRESQL_BIN="${postgresql_bin}"
	SUPPORT_POSTGRESQL_VERSION="${postgresql_version}"
	SUPPORT_GALERA_PROVIDER="${GALERA_PROVIDER}"
	SUPPORT_MARIADB_SERVER="${MARIADB_SERVER}"
	SUPPORT_MARIADB_INSTALL="${MARIADB_INSTALL}")
