# SPDX-License-Identifier: MIT
# Packaged libraries only; third-party code is never copied in.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4.1) # older: CVE-2022-48468, CVE-2022-33070
pkg_check_modules(SQLITE REQUIRED IMPORTED_TARGET sqlite3>=3.37)            # RETURNING, sqlite3_changes64
pkg_check_modules(POSTGRESQL REQUIRED IMPORTED_TARGET libpq>=14)            # pipeline mode
pkg_check_modules(MARIADB REQUIRED IMPORTED_TARGET libmariadb)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(INIH REQUIRED IMPORTED_TARGET inih)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
find_path(NNG_INCLUDE_DIR nng/nng.h REQUIRED)
find_library(NNG_LIBRARY nng REQUIRED)
find_path(UNISTRING_INCLUDE_DIR unistr.h REQUIRED)
find_library(UNISTRING_LIBRARY unistring REQUIRED)
find_program(PROTOC_C NAMES protoc-c REQUIRED)

add_library(nng_nng INTERFACE IMPORTED)
target_include_directories(nng_nng SYSTEM INTERFACE ${NNG_INCLUDE_DIR})
target_link_libraries(nng_nng INTERFACE ${NNG_LIBRARY} Threads::Threads)

add_library(unistring_unistring INTERFACE IMPORTED)
target_include_directories(unistring_unistring SYSTEM INTERFACE ${UNISTRING_INCLUDE_DIR})
target_link_libraries(unistring_unistring INTERFACE ${UNISTRING_LIBRARY})
