/* Prints the layout of everything in shared memory: sizes of structs, offsets and sizes of fields. Compiled
 * as C11 and, through dump_cxx.cc, as C++23; both must say what golden.txt says. Every byte of a struct
 * belongs to a field named here, or a line "hole" shows up. */
#include <stdio.h>

#include "shim/abi/abi.h"
#include "shim/abi/handshake.h"
#include "shim/abi/index.h"
#include "shim/abi/key.h"
#include "shim/abi/open_file.h"
#include "shim/abi/record.h"
#include "shim/abi/session.h"

static size_t g_end;

static void field(const char* name, size_t offset, size_t size) {
  if (offset != g_end) printf("  hole %zu at %zu\n", offset - g_end, g_end);
  printf("  %s %zu %zu\n", name, offset, size);
  g_end = offset + size;
}

static void end(size_t size) {
  if (size != g_end) printf("  hole %zu at %zu\n", size - g_end, g_end);
}

#define BEGIN(type) (g_end = 0, (void)printf("%s %zu\n", #type, sizeof(struct type)))
#define FIELD(type, name) field(#name, offsetof(struct type, name), sizeof(((struct type*)0)->name))
#define END(type) end(sizeof(struct type))
#define CONSTANT(name) printf("%s %llu\n", #name, (unsigned long long)(name))

static void dump_pst_key128(void) {
  BEGIN(pst_key128);
  FIELD(pst_key128, lo);
  FIELD(pst_key128, hi);
  END(pst_key128);
}

static void dump_pst_key(void) {
  BEGIN(pst_key);
  FIELD(pst_key, id);
  FIELD(pst_key, version);
  FIELD(pst_key, ns);
  FIELD(pst_key, range);
  END(pst_key);
}

static void dump_pst_mount(void) {
  BEGIN(pst_mount);
  FIELD(pst_mount, ns);
  FIELD(pst_mount, flags);
  FIELD(pst_mount, uid);
  FIELD(pst_mount, gid);
  FIELD(pst_mount, st_dev);
  FIELD(pst_mount, path_len);
  FIELD(pst_mount, reserved);
  FIELD(pst_mount, path);
  END(pst_mount);
}

static void dump_pst_index_header(void) {
  BEGIN(pst_index_header);
  FIELD(pst_index_header, magic);
  FIELD(pst_index_header, major);
  FIELD(pst_index_header, minor);
  FIELD(pst_index_header, incarnation);
  FIELD(pst_index_header, index_bytes);
  FIELD(pst_index_header, arena_bytes);
  FIELD(pst_index_header, bucket_offset);
  FIELD(pst_index_header, bucket_count);
  FIELD(pst_index_header, segment_offset);
  FIELD(pst_index_header, segment_count);
  FIELD(pst_index_header, clock_base_ns);
  FIELD(pst_index_header, mount_count);
  FIELD(pst_index_header, reserved0);
  FIELD(pst_index_header, name_epoch);
  FIELD(pst_index_header, reserved);
  FIELD(pst_index_header, mounts);
  END(pst_index_header);
}

static void dump_pst_entry(void) {
  BEGIN(pst_entry);
  FIELD(pst_entry, key);
  FIELD(pst_entry, generation);
  FIELD(pst_entry, segment);
  FIELD(pst_entry, offset);
  FIELD(pst_entry, length);
  FIELD(pst_entry, crc32c);
  FIELD(pst_entry, flags);
  FIELD(pst_entry, expires_ds);
  END(pst_entry);
}

static void dump_pst_bucket(void) {
  BEGIN(pst_bucket);
  FIELD(pst_bucket, seq);
  FIELD(pst_bucket, reserved0);
  FIELD(pst_bucket, tags);
  FIELD(pst_bucket, reserved);
  FIELD(pst_bucket, entries);
  END(pst_bucket);
}

static void dump_pst_attr(void) {
  BEGIN(pst_attr);
  FIELD(pst_attr, size);
  FIELD(pst_attr, version);
  FIELD(pst_attr, mtime_ns);
  FIELD(pst_attr, ino);
  FIELD(pst_attr, kind);
  FIELD(pst_attr, mode);
  FIELD(pst_attr, nlink);
  FIELD(pst_attr, err);
  FIELD(pst_attr, reserved);
  END(pst_attr);
}

static void dump_pst_name_record(void) {
  BEGIN(pst_name_record);
  FIELD(pst_name_record, magic);
  FIELD(pst_name_record, name_len);
  FIELD(pst_name_record, reserved);
  FIELD(pst_name_record, attr);
  END(pst_name_record);
}

static void dump_pst_listing_page(void) {
  BEGIN(pst_listing_page);
  FIELD(pst_listing_page, magic);
  FIELD(pst_listing_page, bytes);
  FIELD(pst_listing_page, page);
  FIELD(pst_listing_page, pages);
  FIELD(pst_listing_page, count);
  FIELD(pst_listing_page, flags);
  FIELD(pst_listing_page, listing_id);
  FIELD(pst_listing_page, total_count);
  FIELD(pst_listing_page, first);
  FIELD(pst_listing_page, attrs_at);
  FIELD(pst_listing_page, finder_at);
  FIELD(pst_listing_page, finder_slots);
  FIELD(pst_listing_page, path_at);
  FIELD(pst_listing_page, path_len);
  END(pst_listing_page);
}

static void dump_pst_listing_attr(void) {
  BEGIN(pst_listing_attr);
  FIELD(pst_listing_attr, size_mode);
  FIELD(pst_listing_attr, version);
  FIELD(pst_listing_attr, mtime_ns);
  FIELD(pst_listing_attr, token);
  END(pst_listing_attr);
}

static void dump_pst_listing_head(void) {
  BEGIN(pst_listing_head);
  FIELD(pst_listing_head, magic);
  FIELD(pst_listing_head, pages);
  FIELD(pst_listing_head, complete);
  FIELD(pst_listing_head, flags);
  FIELD(pst_listing_head, listing_id);
  FIELD(pst_listing_head, total_count);
  FIELD(pst_listing_head, path_len);
  FIELD(pst_listing_head, reserved0);
  FIELD(pst_listing_head, reserved);
  END(pst_listing_head);
}

static void dump_pst_listing_entry(void) {
  BEGIN(pst_listing_entry);
  FIELD(pst_listing_entry, ino);
  FIELD(pst_listing_entry, next);
  FIELD(pst_listing_entry, record_bytes);
  FIELD(pst_listing_entry, type);
  FIELD(pst_listing_entry, name);
  END(pst_listing_entry);
}

static void dump_pst_request(void) {
  BEGIN(pst_request);
  FIELD(pst_request, state);
  FIELD(pst_request, op);
  FIELD(pst_request, ns);
  FIELD(pst_request, flags);
  FIELD(pst_request, id);
  FIELD(pst_request, version);
  FIELD(pst_request, offset);
  FIELD(pst_request, length);
  FIELD(pst_request, deadline_ns);
  FIELD(pst_request, path_len);
  FIELD(pst_request, err);
  FIELD(pst_request, ticket);
  FIELD(pst_request, slot);
  FIELD(pst_request, slot_generation);
  FIELD(pst_request, reserved0);
  FIELD(pst_request, attr);
  FIELD(pst_request, reserved1);
  END(pst_request);
}

static void dump_pst_counters(void) {
  BEGIN(pst_counters);
  FIELD(pst_counters, hits_memory);
  FIELD(pst_counters, bytes_memory);
  FIELD(pst_counters, hits_nvme);
  FIELD(pst_counters, misses);
  FIELD(pst_counters, passthrough);
  FIELD(pst_counters, hits_name);
  FIELD(pst_counters, reserved);
  END(pst_counters);
}

static void dump_pst_session(void) {
  BEGIN(pst_session);
  FIELD(pst_session, magic);
  FIELD(pst_session, major);
  FIELD(pst_session, minor);
  FIELD(pst_session, session_id);
  FIELD(pst_session, incarnation);
  FIELD(pst_session, reserved0);
  FIELD(pst_session, submitted);
  FIELD(pst_session, reserved1);
  FIELD(pst_session, log_head);
  FIELD(pst_session, reserved2);
  FIELD(pst_session, counters);
  FIELD(pst_session, log);
  FIELD(pst_session, requests);
  FIELD(pst_session, buffers);
  END(pst_session);
}

static void dump_pst_slot(void) {
  BEGIN(pst_slot);
  FIELD(pst_slot, word);
  FIELD(pst_slot, state);
  FIELD(pst_slot, ns);
  FIELD(pst_slot, id);
  FIELD(pst_slot, version);
  FIELD(pst_slot, size);
  FIELD(pst_slot, open_flags);
  FIELD(pst_slot, shared);
  FIELD(pst_slot, session);
  END(pst_slot);
}

static void dump_pst_open_file_table(void) {
  BEGIN(pst_open_file_table);
  FIELD(pst_open_file_table, magic);
  FIELD(pst_open_file_table, major);
  FIELD(pst_open_file_table, minor);
  FIELD(pst_open_file_table, job);
  FIELD(pst_open_file_table, slot_count);
  FIELD(pst_open_file_table, reserved);
  END(pst_open_file_table);
}

static void dump_pst_hello(void) {
  BEGIN(pst_hello);
  FIELD(pst_hello, magic);
  FIELD(pst_hello, major);
  FIELD(pst_hello, minor);
  FIELD(pst_hello, role);
  FIELD(pst_hello, flags);
  FIELD(pst_hello, pid);
  FIELD(pst_hello, reserved0);
  FIELD(pst_hello, parent_session);
  FIELD(pst_hello, reserved);
  END(pst_hello);
}

static void dump_pst_welcome(void) {
  BEGIN(pst_welcome);
  FIELD(pst_welcome, magic);
  FIELD(pst_welcome, major);
  FIELD(pst_welcome, minor);
  FIELD(pst_welcome, err);
  FIELD(pst_welcome, fd_count);
  FIELD(pst_welcome, session_id);
  FIELD(pst_welcome, incarnation);
  FIELD(pst_welcome, index_bytes);
  FIELD(pst_welcome, arena_bytes);
  FIELD(pst_welcome, session_bytes);
  FIELD(pst_welcome, open_file_bytes);
  FIELD(pst_welcome, job);
  FIELD(pst_welcome, reserved);
  FIELD(pst_welcome, slot_count);
  FIELD(pst_welcome, reserved0);
  FIELD(pst_welcome, slots);
  END(pst_welcome);
}

static void dump_pst_fd_request(void) {
  BEGIN(pst_fd_request);
  FIELD(pst_fd_request, magic);
  FIELD(pst_fd_request, reserved);
  FIELD(pst_fd_request, ticket);
  END(pst_fd_request);
}

static void dump_pst_fd_reply(void) {
  BEGIN(pst_fd_reply);
  FIELD(pst_fd_reply, magic);
  FIELD(pst_fd_reply, err);
  FIELD(pst_fd_reply, ticket);
  END(pst_fd_reply);
}

int main(void) {
  CONSTANT(PST_ABI_MAJOR);
  CONSTANT(PST_ABI_MINOR);
  CONSTANT(PST_RANGE_SHIFT);
  CONSTANT(PST_RANGE_BYTES);
  CONSTANT(PST_SEGMENT_SHIFT);
  CONSTANT(PST_SEGMENT_BYTES);
  CONSTANT(PST_ALIGN);
  CONSTANT(PST_MAX_MOUNTS);
  CONSTANT(PST_PATH_MAX);
  CONSTANT(PST_MOUNT_PATH_MAX);
  CONSTANT(PST_MAX_FILE_BYTES);
  CONSTANT(PST_MAX_SEGMENTS);
  CONSTANT(PST_NS_FILES);
  CONSTANT(PST_NS_KV);
  CONSTANT(PST_NS_INDEX_MASK);
  CONSTANT(PST_RANGE_DATA_MAX);
  CONSTANT(PST_RANGE_NAME);
  CONSTANT(PST_RANGE_LISTING);
  CONSTANT(PST_LISTING_PAGES_MAX);
  CONSTANT(PST_INDEX_MAGIC);
  CONSTANT(PST_MOUNT_RW);
  CONSTANT(PST_ENTRY_RECENCY);
  CONSTANT(PST_ENTRY_READAHEAD);
  CONSTANT(PST_BUCKET_ENTRIES);
  CONSTANT(PST_NAME_MAGIC);
  CONSTANT(PST_LISTING_MAGIC);
  CONSTANT(PST_LISTING_HEAD_MAGIC);
  CONSTANT(PST_LISTING_WHOLE);
  CONSTANT(PST_LISTING_DIRECTORY);
  CONSTANT(PST_LISTING_FILE);
  CONSTANT(PST_KIND_ABSENT);
  CONSTANT(PST_KIND_FILE);
  CONSTANT(PST_KIND_DIRECTORY);
  CONSTANT(PST_NAME_RECORD_MAX);
  CONSTANT(PST_SESSION_MAGIC);
  CONSTANT(PST_REQUEST_SLOTS);
  CONSTANT(PST_COUNTER_LINES);
  CONSTANT(PST_ACCESS_LOG_ENTRIES);
  CONSTANT(PST_REQUEST_FREE);
  CONSTANT(PST_REQUEST_CLAIMED);
  CONSTANT(PST_REQUEST_SUBMITTED);
  CONSTANT(PST_REQUEST_DONE);
  CONSTANT(PST_REQUEST_ABANDONED);
  CONSTANT(PST_OP_LOOKUP);
  CONSTANT(PST_OP_FETCH);
  CONSTANT(PST_OP_LIST);
  CONSTANT(PST_OP_MATERIALIZE);
  CONSTANT(PST_OP_DIRECTORY);
  CONSTANT(PST_OP_LEASE);
  CONSTANT(PST_OP_READ);
  CONSTANT(PST_OP_NAME);
  CONSTANT(PST_OP_LISTING_READ);
  CONSTANT(PST_OP_UNLOCK);
  CONSTANT(PST_REQUEST_NOWAIT);
  CONSTANT(PST_REQUEST_OPENS);
  CONSTANT(PST_FETCHED_FROM_NVME);
  CONSTANT(PST_NO_SLOT);
  CONSTANT(PST_OPEN_FILE_MAGIC);
  CONSTANT(PST_OPEN_FILE_SLOTS);
  CONSTANT(PST_OFFSET_BITS);
  CONSTANT(PST_OFFSET_MASK);
  CONSTANT(PST_SLOT_FREE);
  CONSTANT(PST_SLOT_OPEN);
  CONSTANT(PST_SLOT_MATERIALIZED);
  CONSTANT(PST_SLOTS_OFFSET);
  CONSTANT(PST_OPEN_FILE_BYTES);
  CONSTANT(PST_HELLO_MAGIC);
  CONSTANT(PST_ROLE_CLIENT);
  CONSTANT(PST_ROLE_ADMIN);
  CONSTANT(PST_HELLO_PIDFD);
  CONSTANT(PST_HELLO_OPEN_FILES);
  CONSTANT(PST_ADMIN_MAX);
  CONSTANT(PST_WELCOME_OK);
  CONSTANT(PST_WELCOME_FDS);
  CONSTANT(PST_WELCOME_SLOTS);
  CONSTANT(PST_FD_REQUEST_MAGIC);
  printf("PST_OPEN_FILE_DIR %s\nPST_SHADOW_DIR %s\n", PST_OPEN_FILE_DIR, PST_SHADOW_DIR);
  dump_pst_key128();
  dump_pst_key();
  dump_pst_mount();
  dump_pst_index_header();
  dump_pst_entry();
  dump_pst_bucket();
  dump_pst_attr();
  dump_pst_name_record();
  dump_pst_listing_page();
  dump_pst_listing_attr();
  dump_pst_listing_head();
  dump_pst_listing_entry();
  dump_pst_request();
  dump_pst_counters();
  dump_pst_session();
  dump_pst_slot();
  dump_pst_open_file_table();
  dump_pst_hello();
  dump_pst_welcome();
  dump_pst_fd_request();
  dump_pst_fd_reply();
  return 0;
}
