# Written by Ansible (role base_host). A forgotten session ends after fifteen minutes, what somebody leaves behind is
# not for everybody to read, and a crash leaves no copy of the memory.
TMOUT=900
readonly TMOUT
export TMOUT
umask 027
ulimit -c 0
