import os
import pwd
import socket
from attempt import T, attempt


def ask(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.send(b"start something for me")


def write(path):
    with open(path, "a") as file:
        file.write("* * * * * root touch /srv/aegis-vm-launched\n")


attempt("systemd-private", ask, "/run/systemd/private")
attempt("system-bus", ask, "/run/dbus/system_bus_socket")
attempt("user-manager", ask, f"/run/user/{os.getuid()}/systemd/private")
attempt("session-bus", ask, f"/run/user/{os.getuid()}/bus")
attempt("container-engine", ask, "/run/docker.sock")
attempt("crontab", write, f"/var/spool/cron/crontabs/{os.getuid()}")
attempt("at-job", write, "/var/spool/cron/atjobs/a0000101a00000")
if not os.getuid():
    attempt("system-crontab", write, "/etc/cron.d/aegis-vm")
    attempt("unit-file", write, "/etc/systemd/system/aegis-vm.service")
attempt("shell-start-file", write, f"{pwd.getpwuid(os.getuid()).pw_dir}/.bashrc")
attempt("allowed-own-file", write, f"{T}/work/crontab")
