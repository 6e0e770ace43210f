# Written by Ansible (role base_host). A forgotten session ends after fifteen minutes.
TMOUT=900
readonly TMOUT
export TMOUT
umask 027
