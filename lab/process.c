#include "lab/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: only what is safe between fork and exec. */
__attribute__((noreturn)) static void become(char *const *argv, char *const *env, int log,
                                             pid_t parent)
{
    int null = open("/dev/null", O_RDONLY);
    sigset_t none;

    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGXFSZ, SIG_DFL);
    /* A terminal's Ctrl-C is for the lab, which ends its children itself. */
    (void)setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(126); /* the lab died in between */
    if (null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        _exit(126);
    execve(argv[0], argv, env);
    _exit(127);
}

int lab_process_start(struct lab_process *process, char *const *argv, char *const *env,
                      const char *log_path, struct err *err)
{
    pid_t parent = getpid(), pid;
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    if (log < 0)
        return err_set_errno(err, errno, "opening %s", log_path);
    pid = fork();
    if (pid == 0)
        become(argv, env, log, parent);
    (void)close(log); /* nothing was written through it */
    if (pid < 0)
        return err_set_errno(err, errno, "starting %s", argv[0]);
    *process = (struct lab_process){.pid = pid};
    return 0;
}

bool lab_process_reap(struct lab_process *process)
{
    int status;

    if (process->pid == 0 || waitpid(process->pid, &status, WNOHANG) != process->pid)
        return false;
    process->pid = 0;
    process->stopped = false;
    process->wait_status = status;
    return true;
}

void lab_process_signal(struct lab_process *process, int number)
{
    if (process->pid == 0)
        return;
    (void)kill(process->pid, number); /* it is ours and not reaped: cannot fail */
    if (number == SIGSTOP || number == SIGCONT)
        process->stopped = number == SIGSTOP;
}

void lab_process_kill(struct lab_process *process)
{
    pid_t pid = process->pid, rc;

    if (pid == 0)
        return;
    (void)kill(pid, SIGKILL);
    do
        rc = waitpid(pid, &process->wait_status, 0);
    while (rc < 0 && errno == EINTR);
    process->pid = 0;
    process->stopped = false;
}

const char *lab_process_outcome(const struct lab_process *process, char *out, size_t size)
{
    int status = process->wait_status;

    if (WIFSIGNALED(status))
        (void)snprintf(out, size, "SIG%s", sigabbrev_np(WTERMSIG(status)));
    else
        (void)snprintf(out, size, "exit code %d", WEXITSTATUS(status));
    return out;
}

void lab_process_log_tail(const char *log_path, char *out, size_t size)
{
    int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ssize_t len = 0;

    if (fd >= 0 && fstat(fd, &st) == 0) {
        off_t at = st.st_size > (off_t)size - 1 ? st.st_size - (off_t)size + 1 : 0;

        len = pread(fd, out, size - 1, at);
    }
    if (fd >= 0)
        (void)close(fd); /* only read */
    while (len > 0 && out[len - 1] == '\n')
        len--;
    out[len > 0 ? len : 0] = '\0';
    if (strrchr(out, '\n') != NULL)
        memmove(out, strrchr(out, '\n') + 1, strlen(strrchr(out, '\n')));
    for (char *at = out; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    }
}

bool lab_process_log_has(const char *log_path, const char *text)
{
    FILE *log = fopen(log_path, "re");
    char *line = NULL;
    size_t cap = 0;
    bool found = false;

    while (log != NULL && !found && getline(&line, &cap, log) >= 0)
        found = strstr(line, text) != NULL;
    free(line);
    if (log != NULL)
        (void)fclose(log); /* only read */
    return found;
}
