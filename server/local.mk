# SPDX-License-Identifier: Apache-2.0
# keymootd. Everything but main is a library, so that tests link the same code.
noinst_LTLIBRARIES += server/libkmserver.la
server_libkmserver_la_SOURCES = \
	$(server_net_sources) $(server_raft_sources) $(server_store_sources) $(server_hsm_sources) $(server_govern_sources) $(server_service_sources)
nodist_server_libkmserver_la_SOURCES = server/raft/log.pb-c.c server/raft/log.pb-c.h
BUILT_SOURCES += server/raft/log.pb-c.c server/raft/log.pb-c.h
CLEANFILES += server/raft/log.pb-c.c server/raft/log.pb-c.h
EXTRA_DIST += server/raft/log.proto

server_net_sources = \
	server/net/front.c server/net/front.h server/net/gate.c server/net/gate.h server/net/hangup.c \
	server/net/hangup.h server/net/pipe.c server/net/pipe.h server/net/quiet.c server/net/quiet.h \
	server/net/peer_in.c server/net/peer_out.c server/net/peers.c server/net/peers.h server/net/peers_impl.h

# the state machine and its store: no clock, no randomness, no I/O
server_store_sources = \
	server/raft/command.c server/raft/command.def server/raft/command_object.c server/raft/command_token.c \
	server/raft/store.c server/raft/store_bytes.h server/raft/store_client.c server/raft/store_object.c \
	server/raft/store_restore.c server/raft/store_snapshot.c \
	server/raft/store_state.c server/raft/store_state.h server/raft/store_token.c server/raft/store_tree.c \
	server/raft/store_tree.h

server_raft_sources = \
	server/raft/disk.h server/raft/link.h server/raft/replica.h server/raft/store.h \
	server/raft/crc32c.c server/raft/crc32c.h server/raft/disk_load.c server/raft/disk_load.h server/raft/disk_provision.c \
	server/raft/disk_sqlite.c server/raft/disk_sqlite.h server/raft/disk_writer.c server/raft/disk_writer.h \
	server/raft/folder.c server/raft/folder.h server/raft/mark.c server/raft/mark.h server/raft/sql.c server/raft/sql.def \
	server/raft/sql.h server/raft/world_uv.c server/raft/world_uv.h \
	server/raft/bytes.h server/raft/codec.c server/raft/codec.h server/raft/io.c server/raft/io.h server/raft/lease.c \
	server/raft/lease.h server/raft/peer.c server/raft/peer.h server/raft/replica.c server/raft/replica_member.c \
	server/raft/replica_peer.c server/raft/replica_private.h server/raft/replica_propose.c server/raft/replica_read.c \
	server/raft/replica_wait.c

server_hsm_sources = \
	server/hsm/backend.h server/hsm/head.c server/hsm/head.h server/hsm/pubkey.c server/hsm/pubkey.h \
	server/hsm/builtin.c server/hsm/builtin.h server/hsm/builtin_make.c server/hsm/crypto_derive.c \
	server/hsm/crypto_kdf.c server/hsm/crypto_keywrap.c server/hsm/crypto_make.h server/hsm/crypto.c server/hsm/crypto.h server/hsm/crypto_cipher.c \
	server/hsm/crypto_ec.c server/hsm/crypto_message.c \
	server/hsm/crypto_mac.c server/hsm/crypto_rsa.c server/hsm/keybuild.c server/hsm/keycache.c server/hsm/keycache.h \
	server/hsm/keyform.c server/hsm/keymake.c server/hsm/master_key.c server/hsm/seal.c server/hsm/seal.h

server_govern_sources = \
	server/govern/access.c server/govern/access.h server/govern/audit.c server/govern/audit.h \
	server/govern/audit_event.c server/govern/audit_event.h server/govern/audit_file.c server/govern/audit_file.h \
	server/conf.c server/conf.h server/govern/gate.c server/govern/level.c server/govern/level.h server/govern/limits.c server/govern/limits.h server/govern/login.c server/govern/login.h

server_service_sources = \
	server/service/service.h server/service/template.h server/service/template.c \
	server/service/template_change.c server/service/template_rules.h \
	server/service/arena.c server/service/arena.h server/service/call.c server/service/call.h \
	server/service/change.c server/service/dispatch.c server/service/dispatch.def server/service/held.c \
	server/service/lineage.c server/service/lineage.h server/service/op_derive.c server/service/op_encapsulate.c server/service/op_make.c server/service/op_make.h \
	server/service/op_wrap.c \
	server/service/op_admin.c server/service/op_key.c server/service/op_login.c server/service/op_object.c \
	server/service/op_token.c server/service/op_use.c server/service/operations.h server/service/pool.c \
	server/service/pool.h server/service/service.c server/service/steward.c

# server/ itself: the parts put together. Not in the library: main is the program's.
sbin_PROGRAMS += keymootd
keymootd_SOURCES = server/main.c server/dev.c server/dev.h server/dev_pki.c server/dev_token.c server/server.c server/server.h
keymootd_LDADD = server/libkmserver.la common/libkmcommon.la $(CRYPTO_LIBS) $(PROTOBUFC_LIBS) $(RAFT_LIBS) $(UV_LIBS) $(SQLITE_LIBS) $(NNG_LIBS) $(SYSTEMD_LIBS)
EXTRA_DIST += conf/server.conf
