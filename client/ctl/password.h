/* Passwords from people and scripts. */
#ifndef KVD_CLIENT_CTL_PASSWORD_H
#define KVD_CLIENT_CTL_PASSWORD_H

#include "client/ctl/ctl.h"

/* Asks on stderr, without echo if a terminal answers. 0, *out in the arena; or an exit code. */
int password_ask(struct ctl *ctl, const char *prompt, const char **out);
/* For a new password: asks twice, or with interactive false takes the first word of the input. */
int password_new(struct ctl *ctl, const char *user, bool interactive, const char **out);
/* What --user and --password say: "name:password", or the name, with the password beside it or
 * asked for. *user is NULL if nobody is named. 0 or an exit code. */
int password_of_flags(struct ctl *ctl, const char *user_flag, const char *password_flag,
                      const char **user, const char **password);

#endif
