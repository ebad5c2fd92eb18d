# JupyterLab's terminal: your own ~/.bashrc, and after it the workspace's environment again, which that may have changed.
export BASH_SILENCE_DEPRECATION_WARNING=1 # macOS
lab_environment=$(export -p)
[ ! -f ~/.bashrc ] || . ~/.bashrc
eval "$lab_environment"
unset lab_environment
# $PORT_NAME of the servers that notebooks keep now
PROMPT_COMMAND='for lab_port in "$LAB_WORK"/logs/*.port; do [ ! -f "$lab_port" ] || . "$lab_port"; done; unset lab_port'
