#include "client/ctl/ctl.h"

#include <signal.h>

extern char **environ;

int main(int argc, char **argv)
{
    /* A reader that goes away is an error of the write, not the end of the process. */
    (void)signal(SIGPIPE, SIG_IGN);
    /* So is a file that may not grow any more. */
    (void)signal(SIGXFSZ, SIG_IGN);
    return ctl_run(argc, argv, environ, stdin, stdout, stderr);
}
