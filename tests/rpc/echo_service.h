/* SPDX-License-Identifier: MIT */
/* The service of echo.proto, for tests that serve in their own process and for the program rpc_echo_server. */
#ifndef TESTS_RPC_ECHO_SERVICE_H
#define TESTS_RPC_ECHO_SERVICE_H

#include "rpc/rpc.h"

typedef struct echo_service echo_service;

echo_service *echo_service_new(void);
void echo_service_free(echo_service *echo); /* after the server */

/* Its watcher, to be put into the server's options. */
rpc_watcher echo_service_watcher(echo_service *echo);
void echo_service_add(echo_service *echo, rpc_server *server);

#endif
