/* Messages on the job's unix socket (SOCK_SEQPACKET; one struct a message; host byte order).
 *
 *   client                                       sidecar
 *   hello  + pidfd [+ open-file table fd] ----->
 *          <----- welcome + 6 fds: index, arena, session, doorbell, open-file table, fd folder
 *   fd_request {ticket} -----> <----- fd_reply {err} + fd
 *
 * The socket then stays open: its end of file tells the client that the sidecar is gone. Liveness of the
 * client is its pidfd (a socket's end of file can lie after fork and closefrom). SO_PEERCRED's uid
 * decides who may join. A client that brings an open-file table (it was joined to an earlier incarnation)
 * gets that one back if it is this job's.
 *
 * Role admin: after the welcome (which then carries no fds) each message is a JSON document of at most
 * PST_ADMIN_MAX bytes, request and reply in turn.
 */
#pragma once

#include "shim/abi/abi.h"

#define PST_HELLO_MAGIC 0x4c484550u /* "PEHL" */
#define PST_ROLE_CLIENT 1u
#define PST_ROLE_ADMIN 2u
#define PST_HELLO_PIDFD 1u        /* flags: the first fd is a pidfd of the client */
#define PST_HELLO_OPEN_FILES 2u   /* flags: the next fd is an open-file table */
#define PST_ADMIN_MAX 65536u

struct pst_hello {
  uint32_t magic;
  uint16_t major;
  uint16_t minor;
  uint32_t role;
  uint32_t flags;
  uint32_t pid;              /* in the client's pid namespace; for messages only */
  uint32_t reserved0;
  uint64_t parent_session;   /* of the process this one was forked from or exec'ed in; 0 none */
  uint64_t reserved[4];
};
PST_CHECK_SIZE(struct pst_hello, 64);

/* welcome.err */
#define PST_WELCOME_OK 0
/* else a positive errno: EPROTO another ABI version, EACCES uid refused, EBUSY draining or too many
 * sessions, EINVAL not a hello */

#define PST_WELCOME_FDS 6u
#define PST_WELCOME_SLOTS 64u

struct pst_welcome {
  uint32_t magic;            /* PST_HELLO_MAGIC */
  uint16_t major;
  uint16_t minor;
  int32_t err;
  uint32_t fd_count;
  uint64_t session_id;
  uint64_t incarnation;
  uint64_t index_bytes;
  uint64_t arena_bytes;
  uint64_t session_bytes;
  uint64_t open_file_bytes;
  uint64_t job;
  uint64_t reserved[6];
  uint32_t slot_count;       /* open-file slots leased with this session */
  uint32_t reserved0;
  uint32_t slots[PST_WELCOME_SLOTS];
};
PST_CHECK_OFFSET(struct pst_welcome, session_id, 16);
PST_CHECK_OFFSET(struct pst_welcome, slot_count, 120);
PST_CHECK_SIZE(struct pst_welcome, 128 + 4 * PST_WELCOME_SLOTS);

#define PST_FD_REQUEST_MAGIC 0x51444650u /* "PFDQ" */
struct pst_fd_request {
  uint32_t magic;
  uint32_t reserved;
  uint64_t ticket;
};
PST_CHECK_SIZE(struct pst_fd_request, 16);

struct pst_fd_reply {
  uint32_t magic;            /* PST_FD_REQUEST_MAGIC */
  int32_t err;               /* 0: one fd comes with it */
  uint64_t ticket;
};
PST_CHECK_SIZE(struct pst_fd_reply, 16);
