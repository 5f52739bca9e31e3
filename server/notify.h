/* Tells the service manager how we are: systemd's readiness protocol (sd_notify(3)). */
#ifndef KVD_SERVER_NOTIFY_H
#define KVD_SERVER_NOTIFY_H

/* state is "READY=1", "STOPPING=1", ... Sent to the socket that NOTIFY_SOCKET names; does nothing
 * when there is none, which is the usual case outside of systemd. Never fails, never blocks. */
void notify_manager(const char *state);

#endif
