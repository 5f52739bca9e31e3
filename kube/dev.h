/* kvapi --dev: all that a first try needs, in one directory: certificates, a token, a kubeconfig
 * and a kvd of its own. Blocks: start-up only. */
#ifndef KVD_KUBE_DEV_H
#define KVD_KUBE_DEV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct dev {
    const char *dir;
    /* Paths below dir; heap. */
    char *ca, *ca_key, *cert, *key, *admin_cert, *admin_key, *tokens, *kubeconfig;
    char *kvd_url; /* unix://DIR/kvd.sock */
    pid_t kvd;     /* 0: none started */
};

/* Makes dir and what is missing in it. advertise: one more address that the certificate is good
 * for; may be NULL. */
int dev_open(const char *dir, const char *advertise, struct dev *out, struct err *err);
/* Starts the kvd that lies beside this program; it ends when this process does. */
int dev_start_kvd(struct dev *dev, struct err *err);
/* Writes the kubeconfig; server: "https://127.0.0.1:6443". */
int dev_write_kubeconfig(const struct dev *dev, const char *server, struct err *err);
/* Tells kvd to stop; harmless if there is none. */
void dev_stop_kvd(const struct dev *dev);
void dev_release(struct dev *dev);

#endif
